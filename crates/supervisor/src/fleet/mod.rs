//! The decisions of a master, without a process, a signal or a clock.
//!
//! A [`Fleet`] is told what happened, with the time at which it did, and answers with [`Action`]s. The engine
//! ([`Master`](crate::Master)) carries them out; tests use a virtual clock instead.
//!
//! - **Things that happened**: [`started`](Fleet::started), [`spawn_failed`](Fleet::spawn_failed),
//!   [`ready`](Fleet::ready), [`leaving`](Fleet::leaving), [`exited`](Fleet::exited), [`observe`](Fleet::observe).
//! - **Things you ask for**: [`start`](Fleet::start), [`reload`](Fleet::reload), [`scale`](Fleet::scale),
//!   [`stop`](Fleet::stop).
//! - **Things to poll**: [`next_action`](Fleet::next_action); [`deadline`](Fleet::deadline), at which to call
//!   [`expire`](Fleet::expire).
//!
//! ```text
//!            started        ready                 (reload, scale down, replaced, stop)
//! Spawning ──────────► Booting ─────► Serving ───────────────► Ending ──────► gone
//!     │ cancelled         │ too slow     │ stuck                  │ overdue     ▲
//!     ▼                   ▼              ▼                        ▼             │
//!   gone                Killed ◄──── Aborted (SIGABRT) ──────► Killed ──────────┘
//! ```
//!
//! Promises, each checked by a property test: a serving worker is only told to go when the fleet shrinks or stops, when
//! its successor is ready, or when a whole new generation is ready; the first death is answered at once and repeated
//! early deaths ever more slowly; after [`stop`](Fleet::stop) every worker is told, then killed, and the end is reported.

mod action;
mod decide;
mod line;
mod policy;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

pub use action::{Action, Death, Ending, Generation, KillReason, Notice, Outcome, WorkerId};
use line::Line;
pub use policy::Policy;
use watch::Watch;
pub use watch::{LaneSample, Stuck};

use crate::Exit;

/// Where a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Ordered; no process yet.
    Spawning,
    /// The process exists and prepares itself.
    Booting,
    /// It accepts requests.
    Serving,
    /// It was told to go.
    Ending(Ending),
    /// It was stuck and was sent SIGABRT.
    Aborted,
    /// It was sent SIGKILL.
    Killed,
}

#[derive(Clone, Debug)]
struct Worker {
    generation: Generation,
    phase: Phase,
    serving_since: Option<Instant>,
    /// It asked for a successor.
    leaving: bool,
    /// When its phase has lasted too long.
    deadline: Option<Instant>,
    watch: Watch,
}

/// The master's decisions. See the [module](self).
#[derive(Clone, Debug)]
pub struct Fleet {
    policy: Policy,
    target: usize,
    workers: BTreeMap<WorkerId, Worker>,
    current: Line,
    next: Option<Line>,
    /// Another reload is to follow the present one, with this many workers.
    reload_again: Option<usize>,
    started: bool,
    stopping: Option<(Ending, Outcome)>,
    stopped: bool,
    /// Generations that were not disbanded yet.
    generations: BTreeSet<Generation>,
    last_worker: u64,
    last_generation: u32,
    actions: VecDeque<Action>,
}

impl Fleet {
    /// A fleet that shall have `target` workers; nothing happens before [`Fleet::start`].
    #[must_use]
    pub fn new(policy: Policy, target: usize) -> Self {
        let generation = Generation(1);
        Self {
            policy,
            target,
            workers: BTreeMap::new(),
            current: Line::new(generation, 0),
            next: None,
            reload_again: None,
            started: false,
            stopping: None,
            stopped: false,
            generations: BTreeSet::from([generation]),
            last_worker: 0,
            last_generation: 1,
            actions: VecDeque::new(),
        }
    }

    // What you ask for.

    /// Spawns the first generation.
    pub fn start(&mut self, now: Instant) {
        if self.stopping.is_none() {
            self.started = true;
            self.current.grow(self.target);
            self.settle(now);
        }
    }

    /// Brings up a new generation; the current one retires when all of it is ready, and serves on if that fails.
    /// Asked during a reload, another one follows it.
    pub fn reload(&mut self, now: Instant) {
        self.reload_to(self.target, now);
    }

    /// Like [`Fleet::reload`], with another number of workers in the new generation.
    pub fn reload_to(&mut self, workers: usize, now: Instant) {
        if self.stopping.is_some() {
            return;
        }
        if self.next.is_some() {
            self.reload_again = Some(workers);
            return;
        }
        self.target = workers;
        self.last_generation += 1;
        let generation = Generation(self.last_generation);
        self.generations.insert(generation);
        self.next = Some(Line::new(generation, workers));
        self.tell(Notice::Reloading { generation });
        self.settle(now);
    }

    /// Says that a generation cannot be brought up, whatever its workers try: its template failed, say. Has no effect
    /// on a generation that was complete once; `false` then.
    pub fn condemn(&mut self, generation: Generation, death: Death, now: Instant) -> bool {
        let hopeless = self.line_of(generation).is_some_and(|line| !line.complete);
        if hopeless && self.stopping.is_none() {
            self.fail(generation, None, death, now);
            self.settle(now);
        }
        hopeless
    }

    /// Changes the number of workers; 0 rests the fleet until the next change.
    pub fn scale(&mut self, target: usize, now: Instant) {
        self.target = target;
        if self.stopping.is_some() {
            return;
        }
        self.reload_again = self.reload_again.map(|_| target);
        let mut removed = self.current.shrink(target);
        self.current.grow(target);
        if let Some(next) = &mut self.next {
            removed.extend(next.shrink(target));
            next.grow(target);
        }
        for worker in removed.iter().flat_map(line::Seat::workers) {
            self.end(worker, Ending::Graceful, now);
        }
        self.settle(now);
    }

    /// Ends every worker, and the fleet with the last of them. A harder ending may follow a kinder one.
    pub fn stop(&mut self, ending: Ending, now: Instant) {
        self.stop_with(ending, Outcome::Asked, now);
    }

    /// Replaces the policy; deadlines that run already stay.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    // What happened.

    /// The process of a worker exists. `false` when that worker was cancelled: kill the process.
    pub fn started(&mut self, worker: WorkerId) -> bool {
        match self.workers.get_mut(&worker) {
            Some(known) => {
                if known.phase == Phase::Spawning {
                    known.phase = Phase::Booting;
                }
                true
            }
            None => false,
        }
    }

    /// A worker could not be started.
    pub fn spawn_failed(&mut self, worker: WorkerId, now: Instant) {
        self.lose(worker, Death::NotSpawned, now);
        self.settle(now);
    }

    /// A worker accepts requests.
    pub fn ready(&mut self, worker: WorkerId, now: Instant) {
        let Some(known) = self.workers.get_mut(&worker) else {
            return;
        };
        if !matches!(known.phase, Phase::Spawning | Phase::Booting) {
            return;
        }
        known.phase = Phase::Serving;
        known.serving_since = Some(now);
        known.deadline = None;
        let generation = known.generation;
        if let Some(predecessor) = self.promote(generation, worker) {
            self.end(predecessor, Ending::Graceful, now);
        }
        self.settle(now);
    }

    /// A worker asks to be replaced (it served its number of requests, or leaks). It serves on until its successor is
    /// ready.
    pub fn leaving(&mut self, worker: WorkerId, now: Instant) {
        if let Some(known) = self.workers.get_mut(&worker) {
            known.leaving = true;
            self.settle(now);
        }
    }

    /// The process of a worker ended.
    pub fn exited(&mut self, worker: WorkerId, exit: Exit, now: Instant) {
        self.lose(worker, Death::Exited(exit), now);
        self.settle(now);
    }

    /// What the lanes of a worker show now; see [`Policy::tick`].
    pub fn observe(
        &mut self,
        worker: WorkerId,
        lanes: impl IntoIterator<Item = LaneSample>,
        now: Instant,
    ) {
        let Some(known) = self.workers.get_mut(&worker) else {
            return;
        };
        if !matches!(
            known.phase,
            Phase::Serving | Phase::Ending(Ending::Graceful)
        ) {
            return;
        }
        if let Some(stuck) = known.watch.observe(lanes, &self.policy, now) {
            known.phase = Phase::Aborted;
            known.deadline = Some(now + self.policy.abort_grace);
            self.actions.push_back(Action::Abort { worker, stuck });
        }
    }

    // What to poll.

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Fleet::expire`] if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let phases = self.workers.values().filter_map(|worker| worker.deadline);
        let seats = self.lines().flat_map(|line| &line.seats);
        phases.chain(seats.filter_map(|seat| seat.due)).min()
    }

    /// Time has passed: acts on every deadline up to `now`.
    pub fn expire(&mut self, now: Instant) {
        let late: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.deadline.is_some_and(|deadline| deadline <= now))
            .map(|(id, worker)| (*id, worker.phase))
            .collect();
        for (worker, phase) in late {
            match phase {
                Phase::Spawning => {
                    self.cancel(worker);
                    self.lose(worker, Death::NeverStarted, now);
                }
                Phase::Booting => self.kill(worker, KillReason::NotReady),
                Phase::Ending(ending) => self.kill(worker, KillReason::Overdue(ending)),
                Phase::Aborted => self.kill(worker, KillReason::Stuck),
                Phase::Serving | Phase::Killed => {}
            }
        }
        self.settle(now);
    }

    // What is the case.

    /// How many workers there shall be.
    #[must_use]
    pub fn target(&self) -> usize {
        self.target
    }

    /// Where a worker stands; `None` when it is gone.
    #[must_use]
    pub fn phase(&self, worker: WorkerId) -> Option<Phase> {
        self.workers.get(&worker).map(|worker| worker.phase)
    }

    /// Every worker that is not gone, with its generation and phase, the oldest first.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, Generation, Phase)> {
        self.workers
            .iter()
            .map(|(id, worker)| (*id, worker.generation, worker.phase))
    }

    /// How many workers accept requests, of any generation.
    #[must_use]
    pub fn serving(&self) -> usize {
        self.workers
            .values()
            .filter(|worker| worker.phase == Phase::Serving)
            .count()
    }

    /// The generation that serves (or is being started for the first time).
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.current.generation
    }

    /// Is a reload under way?
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.next.is_some()
    }

    /// Is the fleet on its way out, and how?
    #[must_use]
    pub fn stopping(&self) -> Option<Ending> {
        self.stopping.map(|(ending, _)| ending)
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl Worker {
    fn new(generation: Generation, deadline: Option<Instant>) -> Self {
        let (phase, watch) = (Phase::Spawning, Watch::default());
        Self {
            generation,
            phase,
            serving_since: None,
            leaving: false,
            deadline,
            watch,
        }
    }
}
