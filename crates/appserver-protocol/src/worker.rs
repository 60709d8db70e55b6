//! From a worker to the master. The other way, signals do: TERM drains, INT and QUIT end at once, USR1 reopens the logs,
//! ABRT ends a worker whose request is stuck.

use serde::{Deserialize, Serialize};

/// A report of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum FromWorker {
    /// The application is loaded and connections are being accepted.
    Ready {
        /// The worker's process id.
        pid: u32,
    },
    /// The worker could not boot and is about to exit; the error log has the traceback.
    Failed {
        /// The worker's process id.
        pid: u32,
        /// The status it exits with: [`crate::exit::WORKER_BOOT`] or [`crate::exit::APP_LOAD`].
        exit: i32,
        /// The last line of the traceback.
        message: String,
    },
    /// `max_requests` is reached. The worker goes on serving; start a successor, and send TERM when that is ready.
    Retiring {
        /// Requests served so far.
        requests: u64,
    },
    /// `--reload`: a file of the application changed. Sent once; the worker goes on serving until it gets a signal.
    Changed {
        /// The file.
        file: String,
    },
}
