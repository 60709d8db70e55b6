//! The fleet against a simulated machine: workers that boot, die, hang and obey by a script, on a virtual clock.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// How a worker behaves, from the order to spawn it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Manners {
    /// Milliseconds until it says that it is ready; `None`: never.
    boots: Option<u64>,
    /// Milliseconds until it ends by itself, with this code.
    dies: Option<(u64, i32)>,
    /// Does it go when told?
    obeys: bool,
    /// Can it be started at all?
    spawns: bool,
}

const GOOD: Manners = Manners {
    boots: Some(100),
    dies: None,
    obeys: true,
    spawns: true,
};
const BROKEN: Manners = Manners {
    boots: None,
    dies: Some((50, 1)),
    obeys: true,
    spawns: true,
};
const DEAF: Manners = Manners {
    boots: Some(100),
    dies: None,
    obeys: false,
    spawns: true,
};

/// What will happen to a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Ready,
    Exit(Exit),
}

#[derive(Debug)]
struct Machine {
    fleet: Fleet,
    start: Instant,
    now: Instant,
    manners: Manners,
    living: BTreeMap<WorkerId, Manners>,
    fates: Vec<(Instant, WorkerId, Fate)>,
    spawned: Vec<(u64, WorkerId, Generation)>,
    killed: Vec<(WorkerId, KillReason)>,
    told: Vec<(WorkerId, Ending)>,
    notices: Vec<Notice>,
    disbanded: Vec<Generation>,
    outcome: Option<Outcome>,
    /// The fewest workers that served at any moment since this was reset.
    fewest: usize,
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl Machine {
    fn new(workers: usize, policy: Policy) -> Self {
        let start = Instant::now();
        Self {
            fleet: Fleet::new(policy, workers),
            start,
            now: start,
            manners: GOOD,
            living: BTreeMap::new(),
            fates: Vec::new(),
            spawned: Vec::new(),
            killed: Vec::new(),
            told: Vec::new(),
            notices: Vec::new(),
            disbanded: Vec::new(),
            outcome: None,
            fewest: 0,
        }
    }

    /// Running and ready.
    fn running(workers: usize) -> Self {
        let mut machine = Self::new(workers, Policy::default());
        machine.fleet.start(machine.now);
        machine.run(1000);
        assert_eq!(machine.fleet.serving(), workers);
        machine.fewest = workers;
        machine
    }

    fn fate(&mut self, after: u64, worker: WorkerId, fate: Fate) {
        self.fates.push((self.now + millis(after), worker, fate));
    }

    /// Carries out what the fleet wants.
    fn obey(&mut self) {
        while let Some(action) = self.fleet.next_action() {
            match action {
                Action::Spawn {
                    worker, generation, ..
                } => self.spawn(worker, generation),
                Action::Cancel { worker } => drop(self.living.remove(&worker)),
                Action::End { worker, ending } => {
                    self.told.push((worker, ending));
                    if self.living[&worker].obeys {
                        let after = if ending == Ending::Graceful { 200 } else { 10 };
                        self.fate(after, worker, Fate::Exit(Exit::Code(0)));
                    }
                }
                Action::Abort { worker, .. } => {
                    if self.living[&worker].obeys {
                        let exit = Exit::Signal {
                            number: 6,
                            core_dumped: false,
                        };
                        self.fate(10, worker, Fate::Exit(exit));
                    }
                }
                Action::Kill { worker, reason } => {
                    self.killed.push((worker, reason));
                    self.fate(
                        1,
                        worker,
                        Fate::Exit(Exit::Signal {
                            number: 9,
                            core_dumped: false,
                        }),
                    );
                }
                Action::Disband { generation } => self.disbanded.push(generation),
                Action::Tell(notice) => self.notices.push(notice),
                Action::Stopped(outcome) => {
                    assert!(self.outcome.is_none(), "stopped twice");
                    self.outcome = Some(outcome);
                }
            }
        }
        self.fewest = self.fewest.min(self.fleet.serving());
    }

    fn spawn(&mut self, worker: WorkerId, generation: Generation) {
        let manners = self.manners;
        let since = self.now.duration_since(self.start).as_millis() as u64;
        self.spawned.push((since, worker, generation));
        if !manners.spawns {
            self.fleet.spawn_failed(worker, self.now);
            return;
        }
        self.living.insert(worker, manners);
        assert!(self.fleet.started(worker));
        if let Some(after) = manners.boots {
            self.fate(after, worker, Fate::Ready);
        }
        if let Some((after, code)) = manners.dies {
            self.fate(after, worker, Fate::Exit(Exit::Code(code)));
        }
    }

    /// Lets time pass, event by event.
    fn run(&mut self, for_millis: u64) {
        let end = self.now + millis(for_millis);
        let mut steps = 0;
        loop {
            self.obey();
            steps += 1;
            assert!(steps < 20_000, "spins at {:?}", self.now - self.start);
            let fate = self.fates.iter().map(|(at, ..)| *at).min();
            let deadline = self.fleet.deadline();
            let Some(next) = fate
                .into_iter()
                .chain(deadline)
                .min()
                .filter(|next| *next <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            if let Some(place) = self.fates.iter().position(|(at, ..)| *at <= self.now) {
                let (_, worker, fate) = self.fates.remove(place);
                self.happen(worker, fate);
            } else {
                self.fleet.expire(self.now);
                let later = self
                    .fleet
                    .deadline()
                    .is_none_or(|deadline| deadline > self.now);
                assert!(later, "a deadline stays in the past");
            }
        }
        self.now = end;
    }

    fn happen(&mut self, worker: WorkerId, fate: Fate) {
        if !self.living.contains_key(&worker) {
            return;
        }
        match fate {
            Fate::Ready => self.fleet.ready(worker, self.now),
            Fate::Exit(exit) => {
                self.living.remove(&worker);
                self.fleet.exited(worker, exit, self.now);
            }
        }
    }

    fn kill_from_outside(&mut self, worker: WorkerId) {
        self.happen(
            worker,
            Fate::Exit(Exit::Signal {
                number: 9,
                core_dumped: false,
            }),
        );
        self.obey();
    }

    fn serving(&self) -> Vec<WorkerId> {
        let serving = self
            .fleet
            .workers()
            .filter(|(.., phase)| *phase == Phase::Serving);
        serving.map(|(id, ..)| id).collect()
    }
}

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

/// What people and the world do to a fleet.
#[derive(Clone, Debug)]
enum Deed {
    Run(u64),
    Reload,
    ReloadTo(usize),
    Scale(usize),
    Kill(usize),
    Leave(usize),
    Manners(Manners),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let manners = prop_oneof![
        3 => Just(GOOD),
        1 => Just(BROKEN),
        1 => Just(DEAF),
        1 => Just(Manners { spawns: false, ..GOOD }),
        1 => Just(Manners { boots: None, ..GOOD }),
        1 => Just(Manners { dies: Some((700, 0)), ..GOOD }),
    ];
    let deed = prop_oneof![
        4 => (1u64..3000).prop_map(Deed::Run),
        1 => (1u64..100_000).prop_map(Deed::Run),
        2 => Just(Deed::Reload),
        1 => (0usize..6).prop_map(Deed::ReloadTo),
        1 => (0usize..6).prop_map(Deed::Scale),
        2 => (0usize..6).prop_map(Deed::Kill),
        1 => (0usize..6).prop_map(Deed::Leave),
        2 => manners.prop_map(Deed::Manners),
    ];
    proptest::collection::vec(deed, 1..40)
}

impl Machine {
    /// Does it, and checks that nothing serves less than it must.
    fn suffer(&mut self, deed: &Deed) {
        let serving = self.serving();
        let pick = |number: usize| serving.get(number % serving.len().max(1)).copied();
        match deed {
            Deed::Run(millis) => self.run(*millis),
            Deed::Reload => self.fleet.reload(self.now),
            Deed::ReloadTo(workers) => self.fleet.reload_to(*workers, self.now),
            Deed::Scale(workers) => self.fleet.scale(*workers, self.now),
            Deed::Kill(number) => pick(*number)
                .into_iter()
                .for_each(|id| self.kill_from_outside(id)),
            Deed::Leave(number) => {
                if let Some(id) = pick(*number) {
                    self.fleet.leaving(id, self.now);
                }
            }
            Deed::Manners(manners) => self.manners = *manners,
        }
        self.obey();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens: everything that was spawned is gone after a stop, and the end is reported once.
    #[test]
    fn after_a_stop_nobody_is_left(deeds in deeds(), workers in 0usize..5, quick in any::<bool>()) {
        let policy = Policy { boot_attempts: None, ..Policy::default() };
        let mut machine = Machine::new(workers, policy);
        machine.fleet.start(machine.now);
        for deed in &deeds {
            machine.suffer(deed);
        }
        machine.fleet.stop(if quick { Ending::Quick } else { Ending::Graceful }, machine.now);
        machine.run(if quick { 6_000 } else { 32_000 });
        prop_assert!(machine.living.is_empty(), "{:?}", machine.living);
        prop_assert_eq!(machine.outcome, Some(Outcome::Asked));
        prop_assert_eq!(machine.disbanded.len() as u32 + 1, machine.fleet.last_generation);
        let spawned = machine.spawned.len();
        machine.run(100_000);
        prop_assert_eq!(machine.spawned.len(), spawned);
    }

    /// However broken the workers are: no seat is filled in a tight loop.
    #[test]
    fn spawning_is_never_a_tight_loop(
        life in 0u64..40, code in 0i32..5, workers in 1usize..4, ready in any::<bool>()
    ) {
        let policy = Policy { boot_attempts: None, ..Policy::default() };
        let mut machine = Machine::new(workers, policy);
        let boots = ready.then_some(0);
        machine.manners = Manners { boots, dies: Some((life, code)), obeys: true, spawns: true };
        machine.fleet.start(machine.now);
        machine.run(60_000);
        // Two at once, then pauses of 50 ms doubling to 5 s: at most 20 in a minute for each seat.
        prop_assert!(machine.spawned.len() <= workers * 20, "{}", machine.spawned.len());
    }

    /// A reload, whether it succeeds or not, never leaves fewer workers serving than before it.
    #[test]
    fn a_reload_costs_nobody(
        boots in proptest::option::of(0u64..5000), dies in proptest::option::of((0u64..5000, 0i32..3)),
        spawns in any::<bool>(), workers in 1usize..5, again in 0usize..3
    ) {
        let mut machine = Machine::running(workers);
        machine.manners = Manners { boots, dies, obeys: true, spawns };
        for _ in 0..=again {
            machine.fleet.reload(machine.now);
        }
        let mut before = machine.fleet.serving();
        for _ in 0..400 {
            machine.run(25);
            // Workers of the new generation that die by themselves are not the reload's doing.
            let old: usize = machine.fleet.workers()
                .filter(|(_, generation, phase)| *generation == Generation(1) && *phase == Phase::Serving)
                .count();
            if machine.fleet.generation() == Generation(1) {
                prop_assert_eq!(old, workers);
            } else if before > 0 {
                before = 0;
                prop_assert!(machine.fleet.serving() >= workers || dies.is_some());
            }
        }
    }

    /// Left in peace with good workers, the fleet always comes back to its full size, one worker for each seat.
    #[test]
    fn peace_brings_the_fleet_back_to_its_size(deeds in deeds(), workers in 1usize..5) {
        let policy = Policy { retire_timeout: Some(Duration::from_secs(10)), boot_attempts: Some(3), ..Policy::default() };
        let mut machine = Machine::running(workers);
        machine.fleet.set_policy(policy);
        for deed in &deeds {
            machine.suffer(deed);
        }
        machine.manners = GOOD;
        machine.run(400_000);
        prop_assert_eq!(machine.fleet.serving(), machine.fleet.target());
        prop_assert_eq!(machine.fleet.workers().count(), machine.fleet.target());
        prop_assert_eq!(machine.outcome, None);
        prop_assert!(!machine.fleet.is_reloading());
        prop_assert_eq!(machine.disbanded.len() as u32 + 1, machine.fleet.last_generation);
    }
}
