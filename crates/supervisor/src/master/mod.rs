//! The engine: one thread that waits for signals, workers, timers and the program's own descriptors, and carries out
//! what the [`Fleet`] decides.
//!
//! The program implements [`Program`] and runs [`Master::run`]; its hooks get the master and may ask for anything
//! (reload, scale, send, stop) at any time. What they ask for is carried out when they return.

mod act;
mod event;
mod member;
mod program;
mod wait;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

pub use event::{Event, Level};
pub use member::WorkerInfo;
use member::{Member, Members};
pub use program::{Config, Program, SpawnOrder, Spawned};

use crate::Exit;
use crate::board::BoardError;
use crate::channel::{ChannelError, Packet};
use crate::fleet::{Ending, Fleet, Generation, Outcome, Phase, Policy, WorkerId};
use crate::link::Order;
use crate::oom::OomWatch;
use crate::signals::Signals;

/// The engine. See the [module](self).
#[derive(Debug)]
pub struct Master {
    fleet: Fleet,
    lanes: usize,
    members: Members,
    signals: Signals,
    oom: OomWatch,
    /// Ends of processes whose start was not reported yet.
    unclaimed: Vec<(Pid, Exit)>,
    looked: Option<Instant>,
    outcome: Option<Outcome>,
    events: Vec<Event>,
}

impl Master {
    /// Installs the signal handlers; nothing is spawned before [`Master::run`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(config: Config) -> io::Result<Self> {
        let mut signals = config.signals;
        signals.retain(|signal| *signal != Signal::CHILD);
        signals.push(Signal::CHILD);
        Ok(Self {
            fleet: Fleet::new(config.policy, config.workers),
            lanes: config.lanes,
            members: Members::default(),
            signals: Signals::listen(&signals)?,
            oom: OomWatch::new(),
            unclaimed: Vec::new(),
            looked: None,
            outcome: None,
            events: Vec::new(),
        })
    }

    /// Starts the fleet and serves it until it has stopped.
    ///
    /// # Errors
    /// The kernel's, when waiting is impossible. Workers notice that their master is gone by their closed channels.
    pub fn run<P: Program>(&mut self, program: &mut P) -> io::Result<Outcome> {
        self.fleet.start(Instant::now());
        loop {
            self.carry_out(program);
            if let Some(outcome) = self.outcome {
                return Ok(outcome);
            }
            let ready = self.wait(program)?;
            // What workers have said first: one that has just become ready is to be told to go as one that serves.
            for worker in ready.workers {
                self.hear(worker, program);
            }
            for signal in self.signals.take() {
                if signal != Signal::CHILD {
                    program.on_signal(signal, self);
                }
            }
            for number in ready.sources {
                program.on_source(number, self);
            }
            self.collect(program)?;
            self.look();
            let now = Instant::now();
            self.fleet.expire(now);
            if program.deadline().is_some_and(|deadline| deadline <= now) {
                program.on_deadline(now, self);
            }
        }
    }

    // What a program may ask for.

    /// Brings up a new generation; see [`Fleet::reload`].
    pub fn reload(&mut self) {
        self.fleet.reload(Instant::now());
    }

    /// Brings up a new generation of another size; see [`Fleet::reload_to`].
    pub fn reload_to(&mut self, workers: usize) {
        self.fleet.reload_to(workers, Instant::now());
    }

    /// A generation cannot be brought up (its template failed); see [`Fleet::condemn`].
    pub fn condemn(&mut self, generation: Generation, exit: Exit) -> bool {
        self.fleet
            .condemn(generation, crate::Death::Exited(exit), Instant::now())
    }

    /// Changes the number of workers.
    pub fn scale(&mut self, workers: usize) {
        self.fleet.scale(workers, Instant::now());
    }

    /// Ends every worker, then [`Master::run`].
    pub fn stop(&mut self, ending: Ending) {
        self.fleet.stop(ending, Instant::now());
    }

    /// Replaces the policy.
    pub fn set_policy(&mut self, policy: Policy) {
        self.fleet.set_policy(policy);
    }

    /// A child that this process has not killed ended so: has the kernel killed it for lack of memory? Ask once for each child; those
    /// of workers are asked already.
    pub fn was_out_of_memory(&mut self, exit: Exit) -> bool {
        exit.was_killed() && self.oom.claim(Instant::now())
    }

    /// Changes the number of lanes of the boards of workers to come.
    pub fn set_lanes(&mut self, lanes: usize) {
        self.lanes = lanes;
    }

    /// The decisions, for reading.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Every worker, the oldest first.
    pub fn workers(&self) -> impl Iterator<Item = WorkerInfo<'_>> {
        self.members
            .iter()
            .map(|(id, member)| member.info(id, self.fleet.phase(id)))
    }

    /// One worker.
    #[must_use]
    pub fn worker(&self, id: WorkerId) -> Option<WorkerInfo<'_>> {
        self.members
            .get(id)
            .map(|member| member.info(id, self.fleet.phase(id)))
    }

    /// Sends an order of the program's own; it waits its turn when the worker is slow to read.
    ///
    /// # Errors
    /// [`ChannelError`]; [`ChannelError::Closed`] also for a worker that is gone.
    pub fn send<O: Serialize>(
        &mut self,
        worker: WorkerId,
        order: &O,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let packet = Packet::new(&Order::Program(order), fds)?;
        self.members
            .get_mut(worker)
            .ok_or(ChannelError::Closed)?
            .send(packet)
    }

    /// Sends a signal to every worker that has a process.
    pub fn signal_workers(&self, signal: Signal) {
        for (_, member) in self.members.iter() {
            if let Some(pid) = member.pid {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Sends a signal to one worker, if it has a process.
    pub fn signal_worker(&self, worker: WorkerId, signal: Signal) {
        self.signal(worker, signal);
    }

    /// The process of a worker that was to come [`Spawned::Later`] exists now.
    pub fn started(&mut self, worker: WorkerId, pid: Pid) {
        let ended = self.unclaimed.iter().position(|(gone, _)| *gone == pid);
        let ended = ended.map(|place| self.unclaimed.swap_remove(place).1);
        if !self.fleet.started(worker) {
            // The number of a process that was collected may be another's by now.
            if ended.is_none() {
                let _ = kill_process(pid, Signal::KILL);
            }
            return;
        }
        if let Some(member) = self.members.get_mut(worker) {
            member.pid = Some(pid);
            let (seat, generation) = (member.seat, member.generation);
            self.events.push(Event::Spawned {
                worker,
                pid,
                seat,
                generation,
            });
        }
        if let Some(exit) = ended {
            self.fleet.exited(worker, exit, Instant::now());
        }
    }

    /// A worker that was to come [`Spawned::Later`] does not come.
    pub fn spawn_failed(&mut self, worker: WorkerId, reason: impl Into<String>) {
        self.events.push(Event::SpawnFailed {
            worker,
            reason: reason.into(),
        });
        self.fleet.spawn_failed(worker, Instant::now());
    }

    /// Tells a worker to go: by order, or by SIGTERM when its channel does not work.
    pub fn order_end(&mut self, worker: WorkerId, ending: Ending) {
        let order = if ending == Ending::Graceful {
            Order::<()>::EndGracefully
        } else {
            Order::EndQuickly
        };
        let Some(member) = self.members.get_mut(worker) else {
            return;
        };
        let sent = Packet::new(&order, &[]).and_then(|packet| member.send(packet));
        if let (Err(_), Some(pid)) = (sent, member.pid) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// Why a worker cannot be prepared.
#[derive(Debug, thiserror::Error)]
enum AdmitError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Board(#[from] BoardError),
}

impl AsFd for Member {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl WorkerInfo<'_> {
    /// Does it accept requests?
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }
}
