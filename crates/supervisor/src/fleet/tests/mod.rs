//! The fleet against a simulated machine: workers that boot, die, hang and obey by a script, on a virtual clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

mod deeds;
mod ends;
mod reloads;
mod workers;

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
