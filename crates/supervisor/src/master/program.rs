//! What a program supplies to its master.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::process::{Pid, Signal};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Event, Master};
use crate::Exit;
use crate::fleet::{Ending, Generation, Policy, WorkerId};
use crate::link::Kit;

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
    /// with those of your own. The end of a worker is shown here only when its start has not been reported, so tell of a
    /// worker that comes [`Spawned::Later`] before it can do anything, its end included.
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
    /// [`Master::started`] or [`Master::spawn_failed`] will be called. Hold the process back until its number has been sent.
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
