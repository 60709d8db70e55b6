//! The engine: one thread that waits for signals, workers, timers and the program's own descriptors, and carries out
//! what the [`Fleet`] decides.
//!
//! The program implements [`Program`] and runs [`Master::run`]; its hooks get the master and may ask for anything
//! (reload, scale, send, stop) at any time. What they ask for is carried out when they return.

mod event;
mod member;
mod wait;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use event::{Event, Level};
pub use member::WorkerInfo;
use member::{Member, Members};

use crate::board::BoardError;
use crate::channel::{ChannelError, Packet};
use crate::fleet::{Action, Ending, Fleet, Generation, Outcome, Phase, Policy, WorkerId};
use crate::link::{Kit, Order, Report};
use crate::oom::OomWatch;
use crate::reap::reap;
use crate::signals::Signals;
use crate::{Exit, Notice};

/// Most ends of processes remembered that nobody has claimed yet.
const UNCLAIMED_MAX: usize = 256;

/// What a program adds to the master: how a worker comes into being, what signals mean, what is said.
pub trait Program {
    /// The program's own orders to its workers.
    type Order: Serialize;
    /// The program's own reports from its workers.
    type Report: DeserializeOwned;

    /// Brings a worker into being and gives it the kit, by exec ([`Kit::attach`]) or by asking another process.
    ///
    /// # Errors
    /// Why not, in words; the fleet tries again later, ever more slowly.
    fn spawn(
        &mut self,
        order: SpawnOrder,
        master: &mut Master,
    ) -> Result<Spawned, Box<dyn std::error::Error>>;

    /// A worker that was to come into being later is not wanted any more. If its process appears all the same, call
    /// [`Master::started`], which kills it.
    fn cancel(&mut self, _worker: WorkerId, _master: &mut Master) {}

    /// A signal came, other than SIGCHLD.
    fn on_signal(&mut self, signal: Signal, master: &mut Master);

    /// A worker said something of the program's own.
    fn on_report(
        &mut self,
        _worker: WorkerId,
        _report: Self::Report,
        _fds: Vec<std::os::fd::OwnedFd>,
        _master: &mut Master,
    ) {
    }

    /// Something happened; usually it is logged.
    fn on_event(&mut self, event: &Event, master: &mut Master);

    /// A generation has no worker left and gets none: its template, say, may go.
    fn on_disband(&mut self, _generation: Generation, _master: &mut Master) {}

    /// A child that is no worker (as far as is known) ended: a template, a new binary, an orphan. Compare the number
    /// with those of your own; the end of a worker whose start was not reported yet is shown here too.
    fn on_child(&mut self, _pid: Pid, _exit: Exit, _master: &mut Master) {}

    /// Descriptors of the program's own to wait for, each with a number that [`Program::on_source`] gets.
    fn sources(&self) -> Vec<(u64, BorrowedFd<'_>)> {
        Vec::new()
    }

    /// One of the program's own descriptors is readable or hung up.
    fn on_source(&mut self, _number: u64, _master: &mut Master) {}

    /// When to call [`Program::on_deadline`].
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The program's own deadline has come.
    fn on_deadline(&mut self, _now: Instant, _master: &mut Master) {}

    /// Tells a worker to go. The default sends an order over the control channel, and SIGTERM to a worker that cannot
    /// be reached that way.
    fn end(&mut self, worker: WorkerId, ending: Ending, master: &mut Master) {
        master.order_end(worker, ending);
    }
}

/// What to bring into being.
#[derive(Debug)]
pub struct SpawnOrder {
    /// Its identity.
    pub worker: WorkerId,
    /// The code and settings it is to run.
    pub generation: Generation,
    /// Its place, from 0.
    pub seat: u32,
    /// What makes it a worker. Give it to the process and keep no copy.
    pub kit: Kit,
}

/// How far bringing a worker into being has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spawned {
    /// The process exists and is, or will become, a child of this one.
    Now(Pid),
    /// [`Master::started`] or [`Master::spawn_failed`] will be called.
    Later,
}

/// What a [`Master`] needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long things may take.
    pub policy: Policy,
    /// Number of workers at the start.
    pub workers: usize,
    /// Lanes on each worker's board: one per thread that serves requests.
    pub lanes: usize,
    /// The signals that the program wants to hear of. SIGCHLD is always heard.
    pub signals: Vec<Signal>,
}

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
            for signal in self.signals.take() {
                if signal != Signal::CHILD {
                    program.on_signal(signal, self);
                }
            }
            for worker in ready.workers {
                self.hear(worker, program);
            }
            for number in ready.sources {
                program.on_source(number, self);
            }
            self.collect(program);
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
        if !self.fleet.started(worker) {
            let _ = kill_process(pid, Signal::KILL);
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
        if let Some(place) = self.unclaimed.iter().position(|(gone, _)| *gone == pid) {
            let (_, exit) = self.unclaimed.swap_remove(place);
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

    // How it is carried out.

    fn carry_out<P: Program>(&mut self, program: &mut P) {
        loop {
            for event in std::mem::take(&mut self.events) {
                program.on_event(&event, self);
            }
            let Some(action) = self.fleet.next_action() else {
                if self.events.is_empty() {
                    return;
                }
                continue;
            };
            match action {
                Action::Spawn {
                    worker,
                    generation,
                    seat,
                } => {
                    self.spawn(worker, generation, seat, program);
                }
                Action::Cancel { worker } => {
                    self.members.remove(worker);
                    program.cancel(worker, self);
                }
                Action::End { worker, ending } => {
                    let pid = self.pid(worker);
                    self.events.push(Event::Told {
                        worker,
                        pid,
                        ending,
                    });
                    program.end(worker, ending, self);
                }
                Action::Abort { worker, stuck } => self.abort(worker, stuck),
                Action::Kill { worker, reason } => {
                    let pid = self.pid(worker);
                    self.events.push(Event::Killed {
                        worker,
                        pid,
                        reason,
                    });
                    self.signal(worker, Signal::KILL);
                }
                Action::Disband { generation } => program.on_disband(generation, self),
                Action::Tell(Notice::Gone {
                    worker,
                    death,
                    was_ready,
                    expected,
                    respawn_in,
                    ..
                }) => {
                    let gone = self.members.remove(worker);
                    let killed = matches!(death, crate::Death::Exited(exit) if exit.was_killed());
                    let out_of_memory = killed && self.oom.struck();
                    let pid = gone.and_then(|member| member.pid);
                    self.events.push(Event::Gone {
                        worker,
                        pid,
                        death,
                        was_ready,
                        expected,
                        respawn_in,
                        out_of_memory,
                    });
                }
                Action::Tell(notice) => self.events.push(Event::Fleet(notice)),
                Action::Stopped(outcome) => self.outcome = Some(outcome),
            }
        }
    }

    fn spawn<P: Program>(
        &mut self,
        worker: WorkerId,
        generation: Generation,
        seat: u32,
        program: &mut P,
    ) {
        let kit = match self.members.admit(worker, generation, seat, self.lanes) {
            Ok(kit) => kit,
            Err(error) => return self.spawn_failed(worker, error.to_string()),
        };
        match program.spawn(
            SpawnOrder {
                worker,
                generation,
                seat,
                kit,
            },
            self,
        ) {
            Ok(Spawned::Now(pid)) => self.started(worker, pid),
            Ok(Spawned::Later) => {}
            Err(error) => self.spawn_failed(worker, error.to_string()),
        }
    }

    fn abort(&mut self, worker: WorkerId, stuck: crate::Stuck) {
        let (crate::Stuck::Busy { lane, .. } | crate::Stuck::Quiet { lane, .. }) = stuck;
        let note = self
            .members
            .get(worker)
            .and_then(|member| member.board.lane(lane).note());
        let pid = self.pid(worker);
        self.events.push(Event::Stuck {
            worker,
            pid,
            stuck,
            note,
        });
        self.signal(worker, Signal::ABORT);
    }

    fn pid(&self, worker: WorkerId) -> Option<Pid> {
        self.members.get(worker).and_then(|member| member.pid)
    }

    /// Until its end is collected, the number of a child is not given to another process.
    fn signal(&self, worker: WorkerId, signal: Signal) {
        if let Some(pid) = self.pid(worker) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Reads everything that a worker has said.
    fn hear<P: Program>(&mut self, worker: WorkerId, program: &mut P) {
        loop {
            let Some(member) = self.members.get_mut(worker) else {
                return;
            };
            let pid = member.pid;
            match member.receive::<P::Report>() {
                Ok(None) => return,
                Ok(Some(received)) => match received.message {
                    Report::Ready => {
                        self.events.push(Event::Ready { worker, pid });
                        self.fleet.ready(worker, Instant::now());
                    }
                    Report::Leaving => {
                        self.events.push(Event::Leaving { worker, pid });
                        self.fleet.leaving(worker, Instant::now());
                    }
                    Report::Program(report) => {
                        program.on_report(worker, report, received.fds, self);
                    }
                },
                Err(ChannelError::Closed) => return,
                Err(error) => {
                    self.events.push(Event::Channel {
                        worker,
                        pid,
                        reason: error.to_string(),
                    });
                    if matches!(error, ChannelError::Io(_)) {
                        return;
                    }
                }
            }
        }
    }

    /// Collects children that ended. What a worker said last is heard before its end.
    fn collect<P: Program>(&mut self, program: &mut P) {
        for (pid, exit) in reap() {
            let Some(worker) = self.members.with_pid(pid) else {
                if self.members.awaits_pid() {
                    self.unclaimed.truncate(UNCLAIMED_MAX - 1);
                    self.unclaimed.insert(0, (pid, exit));
                }
                program.on_child(pid, exit, self);
                continue;
            };
            self.hear(worker, program);
            self.fleet.exited(worker, exit, Instant::now());
        }
        if !self.members.awaits_pid() {
            self.unclaimed.clear();
        }
    }

    /// Looks at the boards, as often as the policy wants.
    fn look(&mut self) {
        let Some(tick) = self.fleet.policy().tick() else {
            return;
        };
        let now = Instant::now();
        if self.looked.is_some_and(|looked| now < looked + tick) {
            return;
        }
        self.looked = Some(now);
        for (worker, member) in self.members.iter() {
            let lanes = member.board.lanes().iter().map(crate::Lane::sample);
            self.fleet.observe(worker, lanes, now);
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
