//! What a generation of workers is made from: settings, a template, sockets.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use appserver_protocol::{Fork, ToTemplate, exit};
use supervisor::{Kit, Policy, WorkerId};

use crate::settings::Resolved;
use crate::template::{Asked, Template};

/// What workers get beyond `graceful_timeout` before they are killed: they end by themselves then, with their last words.
const GRACE: Duration = Duration::from_millis(500);
/// Heartbeats come every second; a busy machine may swallow a few.
const HEARTBEAT_GRACE: Duration = Duration::from_secs(4);
/// The least time for importing the application.
const BOOT_MIN: Duration = Duration::from_secs(60);

/// What a template says when it has settled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Its logging writes the master's lines.
    pub python_logging: bool,
    /// Processes have titles.
    pub titles: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Release {
    /// The settings.
    pub resolved: Resolved,
    /// What forks its workers.
    pub template: Template,
    /// What its template said.
    pub manner: Manner,
    /// By their names.
    sockets: Vec<(String, OwnedFd)>,
    workers: usize,
}

impl Release {
    /// A release whose template has settled.
    pub fn new(
        template: Template,
        resolved: Resolved,
        sockets: Vec<(String, OwnedFd)>,
        manner: Manner,
    ) -> Self {
        let set = resolved.number("workers");
        let workers = template.workers().map_or(set, u64::from) as usize;
        Self {
            workers,
            resolved,
            template,
            manner,
            sockets,
        }
    }

    /// What the master is called; `None` for what the command line says. The new binary of an upgrade has a mark, as its pid file.
    pub fn title(&self, mark: &str) -> Option<String> {
        let named = self
            .resolved
            .text("proc_name")
            .filter(|name| !name.is_empty());
        let name = named.unwrap_or(&self.resolved.application);
        self.manner
            .titles
            .then(|| format!("gunicorn: master [{name}{mark}]"))
    }

    /// Asks the template for a worker; `false` when it does not listen.
    pub fn fork(&mut self, worker: WorkerId, kit: &Kit) -> bool {
        let mut fds: Vec<BorrowedFd<'_>> = vec![kit.channel.as_fd(), kit.board.as_fd()];
        fds.extend(self.sockets.iter().map(|(_, socket)| socket.as_fd()));
        let order = ToTemplate::Fork(Fork {
            age: worker.0,
            listeners: self.sockets.iter().map(|(name, _)| name.clone()).collect(),
        });
        self.template.order(&order, Asked::Fork(worker), &fds)
    }

    /// Its workers to come would have nothing to listen on; there are none to come.
    pub fn close_doors(&mut self) {
        self.sockets.clear();
    }

    /// How many workers it wants: as many as are set, or as its hooks have asked for.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Lanes on the boards of its workers.
    pub fn lanes(&self) -> usize {
        let threads = self.resolved.number("threads").max(1) as usize;
        // An event loop beside them has one of its own.
        threads + usize::from(self.resolved.text("asgi_app").is_some())
    }

    /// How long its workers may take for what.
    pub fn policy(&self) -> Policy {
        let timeout = self.resolved.number("timeout");
        let timeout = (timeout > 0).then(|| Duration::from_secs(timeout));
        let graceful = Some(Duration::from_secs(self.resolved.number("graceful_timeout")) + GRACE);
        Policy {
            ready_timeout: timeout.map(|timeout| (timeout * 2).max(BOOT_MIN)),
            heartbeat_timeout: timeout.map(|timeout| timeout + HEARTBEAT_GRACE),
            request_timeout: timeout,
            graceful_timeout: graceful,
            retire_timeout: graceful,
            fatal_codes: vec![exit::WORKER_BOOT, exit::APP_LOAD],
            ..Policy::default()
        }
    }
}
