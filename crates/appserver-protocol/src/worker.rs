//! Between the master and a worker, beside what the supervisor's link says: `Ready`, `Leaving` (after [`FromWorker::Retires`]), and the orders to end.
//!
//! Signals work too, and reach a worker that is busy: TERM ends it gracefully, INT and QUIT at once, USR1 reopens the logs, ABRT ends
//! one whose request is stuck (it logs the stack and runs `worker_abort`).

use serde::{Deserialize, Serialize};

/// What a worker reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum FromWorker {
    /// The worker could not boot and is about to exit; the error log has the traceback.
    Failed {
        /// The status it exits with: [`crate::exit::WORKER_BOOT`] or [`crate::exit::APP_LOAD`].
        exit: i32,
        /// The last line of the traceback.
        message: String,
    },
    /// The worker has reached a limit; its `Leaving` follows.
    Retires {
        /// Which one.
        why: Retirement,
    },
    /// `reload`: a file of the application changed. Sent for each change; the worker serves on until it is told to end.
    Changed {
        /// The file.
        file: String,
    },
}

/// The limit that a worker has reached, or what else makes it ask for a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retirement {
    /// `max_requests`.
    MaxRequests,
    /// `worker_max_rss`.
    MaxRss,
    /// `worker_max_lifetime`.
    MaxLifetime,
    /// A hook has set `worker.alive` to false.
    Hook,
}

/// What a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum ToWorker {
    /// Open the log files again, for they were renamed.
    ReopenLogs,
}
