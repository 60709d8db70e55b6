//! What the master has counted since it began: workers that came and went and why, and the numbers of those that are gone.

use std::collections::BTreeMap;
use std::time::Instant;

use appserver_protocol::{Retirement, tally};
use supervisor::{Board, Counter};

/// Why a worker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// Somebody told it to go: a reload, a smaller number of workers, the end.
    Asked,
    /// It had served `max_requests`.
    MaxRequests,
    /// It had `worker_max_rss` of memory.
    MaxRss,
    /// It had lived for `worker_max_lifetime`.
    MaxLifetime,
    /// A hook of the configuration file wanted it (`worker.alive = False`).
    Hook,
    /// It was stuck (`timeout`).
    Timeout,
    /// The kernel had no memory left.
    OutOfMemory,
    /// A signal killed it.
    Signal,
    /// It ended by itself.
    Exit,
    /// It did not boot.
    Boot,
}

impl Reason {
    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::MaxRequests => "max_requests",
            Self::MaxRss => "max_rss",
            Self::MaxLifetime => "max_lifetime",
            Self::Hook => "hook",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::Signal => "signal",
            Self::Exit => "exit",
            Self::Boot => "boot",
        }
    }
}

impl From<Retirement> for Reason {
    fn from(why: Retirement) -> Self {
        match why {
            Retirement::MaxRequests => Self::MaxRequests,
            Retirement::MaxRss => Self::MaxRss,
            Retirement::MaxLifetime => Self::MaxLifetime,
            Retirement::Hook => Self::Hook,
        }
    }
}

/// Numbers of boards, summed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub accepts: u64,
    pub requests: u64,
    pub failed: u64,
    pub tallies: [u64; tally::COUNT],
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            accepts: 0,
            requests: 0,
            failed: 0,
            tallies: [0; tally::COUNT],
        }
    }
}

impl Sums {
    /// Adds a worker's.
    pub fn add(&mut self, board: &Board) {
        self.accepts += board.count(Counter::Accepts);
        self.requests += board.count(Counter::Requests);
        self.failed += board.count(Counter::Failed);
        for (number, sum) in self.tallies.iter_mut().enumerate() {
            *sum += board.tallied(number);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tally {
    pub began: Instant,
    pub spawned: u64,
    pub reloads: u64,
    pub gone: BTreeMap<Reason, u64>,
    /// Of workers that are gone.
    pub before: Sums,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            spawned: 0,
            reloads: 0,
            gone: BTreeMap::new(),
            before: Sums::default(),
        }
    }

    /// A worker is gone.
    pub fn bury(&mut self, reason: Reason) {
        *self.gone.entry(reason).or_default() += 1;
    }
}
