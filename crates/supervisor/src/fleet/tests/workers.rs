//! Workers that die, hang, ask to be replaced.

use super::*;

#[test]
fn a_killed_worker_is_replaced_at_once() {
    let mut machine = Machine::running(2);
    let spawned = machine.spawned.len();
    machine.run(5000);
    let victim = machine.serving()[0];
    machine.kill_from_outside(victim);
    assert_eq!(machine.spawned.len(), spawned + 1, "no time has passed");
    machine.run(1000);
    assert_eq!(machine.fleet.serving(), 2);
    let gone = machine.notices.iter().any(|notice| {
        matches!(notice, Notice::Gone { expected: false, respawn_in: Some(pause), .. } if pause.is_zero())
    });
    assert!(gone, "{:?}", machine.notices);
}

#[test]
fn workers_that_die_young_are_replaced_ever_more_slowly() {
    let mut machine = Machine::running(1);
    machine.run(4000);
    machine.manners = BROKEN;
    let victim = machine.serving()[0];
    machine.kill_from_outside(victim);
    machine.run(60_000);
    let times: Vec<_> = machine.spawned[1..]
        .iter()
        .map(|(at, ..)| *at - 5000)
        .collect();
    assert_eq!(times[..6], [0, 50, 150, 300, 550, 1000]); // 50 ms of life each
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        pauses.iter().all(|pause| *pause <= 5050) && times.len() < 22,
        "{times:?}"
    );
    // The fault is put right: all is well with the next one.
    machine.manners = GOOD;
    machine.run(6000);
    assert_eq!(machine.fleet.serving(), 1);
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_killed() {
    let mut machine = Machine::running(1);
    machine.manners = Manners {
        boots: None,
        ..DEAF
    };
    machine.fleet.reload(machine.now);
    machine.run(59_900);
    assert!(machine.killed.is_empty());
    machine.run(200);
    assert_eq!(machine.killed.len(), 1);
    assert_eq!(machine.killed[0].1, KillReason::NotReady);
    machine.run(200_000);
    assert_eq!(machine.fleet.generation(), Generation(1));
    assert!(!machine.fleet.is_reloading());
}

#[test]
fn a_worker_that_asks_for_it_is_replaced_by_a_successor_first() {
    let mut machine = Machine::running(2);
    let old = machine.serving()[0];
    machine.fleet.leaving(old, machine.now);
    machine.run(50);
    assert!(machine.told.is_empty());
    assert_eq!(machine.spawned.len(), 3);
    machine.run(1000);
    assert_eq!(machine.told, [(old, Ending::Graceful)]);
    assert_eq!((machine.fleet.serving(), machine.fewest), (2, 2));
    let gone = |notice: &&Notice| matches!(notice, Notice::Gone { expected: true, .. });
    assert_eq!(machine.notices.iter().filter(gone).count(), 1);
}

#[test]
fn a_successor_that_fails_leaves_the_old_worker_in_place() {
    let mut machine = Machine::running(1);
    let old = machine.serving()[0];
    machine.manners = BROKEN;
    machine.fleet.leaving(old, machine.now);
    machine.run(20_000);
    assert_eq!((machine.serving(), machine.fewest), (vec![old], 1));
    assert!(
        machine.spawned.len() < 15,
        "tried slowly: {:?}",
        machine.spawned
    );
    machine.manners = GOOD;
    machine.run(6_000);
    assert_ne!(machine.serving(), [old]);
    // And who leaves without waiting is followed by its successor.
    let old = machine.serving()[0];
    machine.fleet.leaving(old, machine.now);
    machine.run(50);
    machine.kill_from_outside(old);
    let spawned = machine.spawned.len();
    machine.run(500);
    assert_eq!(
        (machine.fleet.serving(), machine.spawned.len()),
        (1, spawned)
    );
}

#[test]
fn a_stuck_worker_is_aborted_then_killed_and_replaced() {
    for obeys in [true, false] {
        let mut machine = Machine::running(2);
        machine
            .living
            .values_mut()
            .for_each(|manners| manners.obeys = obeys);
        let (stuck, fine) = (machine.serving()[0], machine.serving()[1]);
        for second in 0..32 {
            let beat = |beat| {
                [LaneSample {
                    beat: Some(beat),
                    busy_since: None,
                }]
            };
            machine.fleet.observe(stuck, beat(7), machine.now);
            machine.fleet.observe(fine, beat(second), machine.now);
            machine.run(1000);
        }
        machine.run(2000);
        let killed: Vec<_> = machine.killed.clone();
        assert_eq!(
            killed,
            if obeys {
                vec![]
            } else {
                vec![(stuck, KillReason::Stuck)]
            }
        );
        assert!(!machine.serving().contains(&stuck) && machine.serving().contains(&fine));
        assert_eq!(machine.fleet.serving(), 2);
    }
}

#[test]
fn the_fleet_grows_and_shrinks_by_its_oldest() {
    let mut machine = Machine::running(2);
    let before = machine.serving();
    machine.fleet.scale(4, machine.now);
    machine.run(1000);
    assert_eq!(machine.fleet.serving(), 4);
    machine.fleet.scale(3, machine.now);
    machine.run(1000);
    assert_eq!(machine.told, [(before[0], Ending::Graceful)]);
    machine.fleet.scale(0, machine.now);
    machine.run(1000);
    assert_eq!(machine.fleet.serving(), 0);
    assert_eq!(machine.outcome, None);
    machine.fleet.scale(1, machine.now);
    machine.run(1000);
    assert_eq!(machine.fleet.serving(), 1);
    // A reload brings up as many as there shall be now.
    machine.fleet.reload(machine.now);
    machine.fleet.scale(3, machine.now);
    machine.run(1000);
    assert_eq!(
        (machine.fleet.serving(), machine.fleet.generation()),
        (3, Generation(2))
    );
}
