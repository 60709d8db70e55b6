//! How a fleet ends.

use super::*;

#[test]
fn a_drain_ends_with_the_last_request_a_deaf_worker_with_sigkill() {
    let mut machine = Machine::running(2);
    machine.fleet.stop(Ending::Graceful, machine.now);
    machine.run(300);
    assert_eq!(machine.outcome, Some(Outcome::Asked));
    assert!(machine.killed.is_empty());

    let mut machine = Machine::new(2, Policy::default());
    machine.manners = DEAF;
    machine.fleet.start(machine.now);
    machine.run(1000);
    machine.fleet.stop(Ending::Graceful, machine.now);
    machine.run(29_900);
    assert!(machine.killed.is_empty());
    machine.run(200);
    assert_eq!(machine.killed.len(), 2);
    assert_eq!(machine.outcome, Some(Outcome::Asked));
}

#[test]
fn a_second_order_turns_a_drain_quick_and_a_third_ends_it() {
    let mut machine = Machine::new(1, Policy::default());
    machine.manners = DEAF;
    machine.fleet.start(machine.now);
    machine.run(1000);
    let worker = machine.serving()[0];
    machine.fleet.stop(Ending::Graceful, machine.now);
    machine.run(100);
    machine.fleet.stop(Ending::Quick, machine.now);
    machine.run(100);
    assert_eq!(
        machine.told,
        [(worker, Ending::Graceful), (worker, Ending::Quick)]
    );
    machine.fleet.stop(Ending::Graceful, machine.now);
    assert_eq!(
        machine.fleet.stopping(),
        Some(Ending::Quick),
        "never back to kinder"
    );
    machine.fleet.stop(Ending::Kill, machine.now);
    machine.run(100);
    assert_eq!(machine.killed, [(worker, KillReason::Asked)]);
    assert_eq!(machine.outcome, Some(Outcome::Asked));
}

#[test]
fn workers_that_retire_since_a_reload_do_not_outlive_the_drain() {
    let mut machine = Machine::running(1);
    machine
        .living
        .values_mut()
        .for_each(|manners| manners.obeys = false);
    machine.fleet.reload(machine.now);
    machine.run(100_000);
    assert!(machine.killed.is_empty(), "it may finish its tunnels");
    machine.fleet.stop(Ending::Graceful, machine.now);
    machine.run(31_000);
    assert_eq!(machine.outcome, Some(Outcome::Asked));
    assert_eq!(machine.killed.len(), 1);
}

#[test]
fn what_does_not_exist_yet_is_cancelled() {
    let mut fleet = Fleet::new(Policy::default(), 2);
    let now = Instant::now();
    fleet.start(now);
    let mut orders = Vec::new();
    while let Some(action) = fleet.next_action() {
        orders.push(action);
    }
    assert_eq!(orders.len(), 2);
    fleet.stop(Ending::Graceful, now);
    let rest: Vec<_> = std::iter::from_fn(|| fleet.next_action()).collect();
    assert!(
        matches!(rest[..2], [Action::Cancel { .. }, Action::Cancel { .. }]),
        "{rest:?}"
    );
    assert_eq!(rest.last(), Some(&Action::Stopped(Outcome::Asked)));
    assert!(!fleet.started(WorkerId(1)), "the process is to be killed");
    // And one that never appears is given up after the time to get ready.
    let mut fleet = Fleet::new(Policy::default(), 1);
    fleet.start(now);
    fleet.next_action();
    fleet.expire(now + Duration::from_secs(61));
    let rest: Vec<_> = std::iter::from_fn(|| fleet.next_action()).collect();
    assert!(
        rest.contains(&Action::Cancel {
            worker: WorkerId(1)
        }),
        "{rest:?}"
    );
}
