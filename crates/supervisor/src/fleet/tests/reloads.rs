//! Starts and reloads, onto good code and bad.

use super::*;

#[test]
fn a_reload_never_takes_a_worker_away_before_its_generation_is_ready() {
    let mut machine = Machine::running(4);
    let old = machine.serving();
    machine.fleet.reload(machine.now);
    machine.run(50);
    assert!(machine.told.is_empty() && machine.fleet.is_reloading());
    machine.run(2000);
    assert_eq!(machine.fewest, 4);
    assert_eq!(machine.fleet.generation(), Generation(2));
    assert!(machine.serving().iter().all(|worker| !old.contains(worker)));
    assert_eq!(machine.told.len(), 4);
    assert_eq!(machine.disbanded, [Generation(1)]);
    assert!(machine.notices.contains(&Notice::Reloaded {
        generation: Generation(2),
        workers: 4
    }));
}

#[test]
fn a_reload_onto_broken_code_is_given_up_and_the_old_generation_serves_on() {
    let mut machine = Machine::running(3);
    let old = machine.serving();
    machine.manners = BROKEN;
    machine.fleet.reload(machine.now);
    machine.run(10_000);
    assert_eq!((machine.serving(), machine.fewest), (old, 3));
    let failed = Notice::ReloadFailed {
        generation: Generation(2),
        worker: Some(machine.spawned[9].1),
        death: Death::Exited(Exit::Code(1)),
    };
    assert!(machine.notices.contains(&failed), "{:?}", machine.notices);
    assert_eq!(
        machine.spawned.len(),
        3 + 3 * 3,
        "three attempts for each seat"
    );
    assert_eq!(machine.disbanded, [Generation(2)]);

    machine.manners = GOOD;
    machine.fleet.reload(machine.now);
    machine.run(1000);
    assert_eq!(machine.fleet.generation(), Generation(3));
}

#[test]
fn a_fatal_code_ends_a_reload_at_the_first_death_and_a_start_too() {
    let policy = Policy {
        fatal_codes: vec![3],
        ..Policy::default()
    };
    let fatal = Manners {
        dies: Some((50, 3)),
        ..BROKEN
    };
    let mut machine = Machine::new(2, policy);
    machine.fleet.start(machine.now);
    machine.run(1000);
    machine.manners = fatal;
    machine.fleet.reload(machine.now);
    machine.run(1000);
    assert_eq!(machine.spawned.len(), 4);
    assert_eq!(
        (machine.fleet.serving(), machine.fleet.generation()),
        (2, Generation(1))
    );

    let mut machine = Machine::new(2, machine.fleet.policy().clone());
    machine.manners = fatal;
    machine.fleet.start(machine.now);
    machine.run(1000);
    assert_eq!(machine.spawned.len(), 2);
    assert_eq!(machine.outcome.map(Outcome::exit_code), Some(3));
}

#[test]
fn a_start_that_does_not_succeed_is_given_up_with_the_workers_own_code() {
    for (manners, code) in [
        (BROKEN, 1),
        (
            Manners {
                dies: Some((50, 0)),
                ..BROKEN
            },
            1,
        ),
        (
            Manners {
                spawns: false,
                ..GOOD
            },
            1,
        ),
        (
            Manners {
                dies: Some((1, 77)),
                ..BROKEN
            },
            77,
        ),
    ] {
        let mut machine = Machine::new(2, Policy::default());
        machine.manners = manners;
        machine.fleet.start(machine.now);
        machine.run(10_000);
        assert_eq!(
            machine.outcome.map(Outcome::exit_code),
            Some(code),
            "{manners:?}"
        );
        // The seat that fails first ends it; the last order for the other one may be taken back.
        assert!((5..=6).contains(&machine.spawned.len()), "{manners:?}");
    }
}

#[test]
fn a_reload_may_change_the_size_and_a_failed_one_does_not() {
    let mut machine = Machine::running(2);
    machine.fleet.reload_to(4, machine.now);
    machine.run(1000);
    assert_eq!((machine.fleet.serving(), machine.fleet.target()), (4, 4));
    machine.manners = BROKEN;
    machine.fleet.reload_to(1, machine.now);
    machine.run(5000);
    assert_eq!((machine.fleet.serving(), machine.fleet.target()), (4, 4));
}

#[test]
fn a_generation_without_hope_is_given_up_before_it_has_a_worker() {
    let death = Death::Exited(Exit::Code(4));
    let mut machine = Machine::running(2);
    machine.fleet.reload(machine.now);
    assert!(machine.fleet.condemn(Generation(2), death, machine.now));
    machine.run(1000);
    assert_eq!((machine.spawned.len(), machine.fleet.serving()), (2, 2));
    assert!(
        !machine.fleet.condemn(Generation(1), death, machine.now),
        "it was complete"
    );
    assert_eq!(machine.outcome, None);

    let mut machine = Machine::new(2, Policy::default());
    machine.fleet.start(machine.now);
    machine.fleet.condemn(Generation(1), death, machine.now);
    machine.run(1000);
    assert_eq!(machine.outcome.map(Outcome::exit_code), Some(4));
}

#[test]
fn asked_again_during_a_reload_another_one_follows() {
    let mut machine = Machine::running(2);
    for _ in 0..5 {
        machine.fleet.reload(machine.now);
    }
    machine.run(5000);
    assert_eq!(machine.fleet.generation(), Generation(3));
    assert_eq!((machine.fleet.serving(), machine.fewest), (2, 2));
    assert_eq!(machine.disbanded, [Generation(1), Generation(2)]);
}
