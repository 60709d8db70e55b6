//! What a [`Fleet`](super::Fleet) is told and what it asks for.

use std::fmt;
use std::time::Duration;

use super::Stuck;
use crate::Exit;

/// One worker process, from the order to spawn it until its end; never used again. Counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// All workers that run the same code and settings; each reload makes a new one. Counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How a worker ends, from the kindest to the hardest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// Accept nothing new, finish what runs, go.
    Graceful,
    /// Drop what runs, go.
    Quick,
    /// SIGKILL.
    Kill,
}

/// Why a worker is killed by its master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KillReason {
    /// It did not become ready in time.
    NotReady,
    /// It was stuck, and SIGABRT did not end it.
    Stuck,
    /// It was told to go and did not in time.
    Overdue(Ending),
    /// Somebody wants everything to end now.
    Asked,
}

/// What the fleet wants done. Carry actions out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Start a worker; answer with `started` or `spawn_failed`, then `ready`.
    Spawn {
        /// Its identity from now on.
        worker: WorkerId,
        /// The code and settings it is to run.
        generation: Generation,
        /// Its place among its peers, from 0; taken over by the next worker in this place.
        seat: u32,
    },
    /// Forget a worker whose process does not exist yet; should it appear, kill it.
    Cancel {
        /// Which one.
        worker: WorkerId,
    },
    /// Ask a worker to go.
    End {
        /// Which one.
        worker: WorkerId,
        /// How ([`Ending::Kill`] comes as [`Action::Kill`] instead).
        ending: Ending,
    },
    /// Send SIGABRT: it is stuck and shall say where.
    Abort {
        /// Which one.
        worker: WorkerId,
        /// How that was found out.
        stuck: Stuck,
    },
    /// Send SIGKILL.
    Kill {
        /// Which one.
        worker: WorkerId,
        /// Why.
        reason: KillReason,
    },
    /// A generation has no worker left and gets none any more: let go of what its workers were made from.
    Disband {
        /// Which one.
        generation: Generation,
    },
    /// Something that people may want to read about.
    Tell(Notice),
    /// No worker is left and none will be: the end.
    Stopped(Outcome),
}

/// How a fleet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to stop.
    Asked,
    /// Its first generation could not be started; the death that decided it.
    GaveUp(Death),
}

impl Outcome {
    /// The exit code that the master should end with: 0, the worker's own code, or 128 + the number of its signal.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Asked => 0,
            Self::GaveUp(Death::Exited(exit)) => match exit.shell_code() {
                0 => 1, // leaving before being ready is a failure, whatever the worker called it
                code => code,
            },
            Self::GaveUp(_) => 1,
        }
    }
}

/// How a worker was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Death {
    /// Its process ended.
    Exited(Exit),
    /// It could not be started in the first place.
    NotSpawned,
    /// It was ordered but nobody said within the time that it exists.
    NeverStarted,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(exit) => write!(f, "{exit}"),
            Self::NotSpawned => write!(f, "could not be started"),
            Self::NeverStarted => write!(f, "did not start in time"),
        }
    }
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Every worker of the first generation is ready for the first time.
    Started {
        /// Which generation.
        generation: Generation,
        /// How many workers.
        workers: usize,
    },
    /// A reload has begun.
    Reloading {
        /// The new generation.
        generation: Generation,
    },
    /// A reload is complete: the new generation is ready, the old one retires.
    Reloaded {
        /// The new generation.
        generation: Generation,
        /// How many workers.
        workers: usize,
    },
    /// A reload is given up, the old generation serves on.
    ReloadFailed {
        /// The generation that failed.
        generation: Generation,
        /// The worker that decided it, if it was one.
        worker: Option<WorkerId>,
        /// How it was lost.
        death: Death,
    },
    /// A worker is gone.
    Gone {
        /// Which one.
        worker: WorkerId,
        /// Its generation.
        generation: Generation,
        /// How.
        death: Death,
        /// Was it ever ready?
        was_ready: bool,
        /// Was it told to go, or had it said that it would?
        expected: bool,
        /// The pause before its seat is filled again; `None` when it is not, or somebody sits there already.
        respawn_in: Option<Duration>,
    },
}
