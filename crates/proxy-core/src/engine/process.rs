//! Settings of the process that serves: what stands at the top of the file and in `events`. Read by the program, not by requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nginx_conf::{Arity, Setting};

use super::compile::Settling;
use super::scopes::{EVENTS, EVENTS_ONLY, MAIN_ONLY};
use crate::feature::{Directive, Feature};

/// The process, as a feature.
pub struct Process;

/// What the program reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// `user`: name and, where written, group.
    pub user: Option<(String, Option<String>)>,
    /// `worker_processes`: how many threads serve; `None` for one per processor.
    pub workers: Option<usize>,
    /// `worker_connections`: how many connections of clients a thread holds. Default 512.
    pub worker_connections: usize,
    /// `pid`. Default `logs/nginx.pid` below the prefix.
    pub pid: PathBuf,
    /// `daemon`. Default on.
    pub daemon: bool,
    /// `master_process`. Default on.
    pub master_process: bool,
    /// `worker_rlimit_nofile`.
    pub open_files_max: Option<u64>,
    /// `worker_shutdown_timeout`: how long a worker may take to end.
    pub shutdown_timeout: Option<Duration>,
    /// `working_directory`.
    pub working_directory: Option<PathBuf>,
    /// `worker_priority`, the nice value.
    pub priority: Option<i32>,
}

/// What the file says.
#[derive(Default)]
pub struct Written {
    user: Setting<(String, Option<String>)>,
    workers: Setting<Option<usize>>,
    worker_connections: Setting<usize>,
    pid: Setting<PathBuf>,
    daemon: Setting<bool>,
    master_process: Setting<bool>,
    open_files_max: Setting<u64>,
    shutdown_timeout: Setting<Duration>,
    working_directory: Setting<PathBuf>,
    priority: Setting<i32>,
}

type D = Directive<Written>;

impl Feature for Process {
    type Written = Written;
    type Settled = ProcessSettings;
    const NAME: &'static str = "process";
    const DIRECTIVES: &'static [D] = &[
        D {
            name: "user",
            scopes: MAIN_ONLY,
            args: Arity::between(1, 2),
            syntax: "user [group]",
            default: "nobody nogroup",
            doc: "Who the worker runs as when edge is started by root.",
            read: |args, written| {
                let user = args.string()?;
                let group = if args.left() > 0 {
                    Some(args.string()?.value)
                } else {
                    None
                };
                written.user.set(user.map(|user| (user, group)))
            },
            ..D::DEFAULT
        },
        D {
            name: "worker_processes",
            scopes: MAIN_ONLY,
            syntax: "number | auto",
            default: "1",
            doc: "How many threads serve; edge has one worker process with this many threads.",
            read: |args, written| {
                let word = args.one()?;
                let number = if word.text() == "auto" {
                    word.spanned(None)
                } else {
                    word.number(1..=1024_usize)?.map(Some)
                };
                written.workers.set(number)
            },
            ..D::DEFAULT
        },
        D {
            name: "worker_connections",
            scopes: EVENTS_ONLY,
            syntax: "number",
            default: "512",
            doc: "How many connections of clients one thread may hold. Those to origin servers are not counted: there are no more of them than requests under way, and those kept open.",
            read: |args, written| written.worker_connections.set(args.number(1..=usize::MAX)?),
            ..D::DEFAULT
        },
        D {
            name: "pid",
            scopes: MAIN_ONLY,
            syntax: "file",
            default: "logs/nginx.pid",
            doc: "The file with the number of the master process.",
            read: |args, written| written.pid.set(args.path()?),
            ..D::DEFAULT
        },
        D {
            name: "daemon",
            scopes: MAIN_ONLY,
            syntax: "on | off",
            default: "on",
            doc: "Whether edge goes into the background.",
            read: |args, written| written.daemon.set(args.flag()?),
            ..D::DEFAULT
        },
        D {
            name: "master_process",
            scopes: MAIN_ONLY,
            syntax: "on | off",
            default: "on",
            doc: "Whether a master watches the worker.",
            read: |args, written| written.master_process.set(args.flag()?),
            ..D::DEFAULT
        },
        D {
            name: "worker_rlimit_nofile",
            scopes: MAIN_ONLY,
            syntax: "number",
            doc: "How many files and sockets the worker may hold open.",
            read: |args, written| written.open_files_max.set(args.number(1..=u64::MAX)?),
            ..D::DEFAULT
        },
        D {
            name: "worker_shutdown_timeout",
            scopes: MAIN_ONLY,
            syntax: "time",
            doc: "How long connections may go on after a request to end; then they are closed.",
            read: |args, written| written.shutdown_timeout.set(args.duration()?),
            ..D::DEFAULT
        },
        D {
            name: "working_directory",
            scopes: MAIN_ONLY,
            syntax: "directory",
            doc: "The worker's current directory, for its core files.",
            read: |args, written| written.working_directory.set(args.path()?),
            ..D::DEFAULT
        },
        D {
            name: "worker_priority",
            scopes: MAIN_ONLY,
            syntax: "number",
            default: "0",
            doc: "The worker's scheduling priority, from -20 (first) to 20.",
            read: |args, written| written.priority.set(args.number(-20..=20_i32)?),
            ..D::DEFAULT
        },
    ];

    fn settle(
        &self,
        written: Written,
        outer: Option<&Arc<ProcessSettings>>,
        at: &mut Settling<'_>,
    ) -> Arc<ProcessSettings> {
        let of = outer.map(Arc::as_ref);
        if at.scope == EVENTS || of.is_none() {
            let prefix = at.prefix();
            let pid = written
                .pid
                .get()
                .map_or_else(|| at.default_pid(), |pid| prefix.join(pid));
            return Arc::new(ProcessSettings {
                user: written.user.get().cloned().or_else(|| of?.user.clone()),
                workers: written
                    .workers
                    .settle(of.map(|outer| &outer.workers), || Some(1)),
                worker_connections: written
                    .worker_connections
                    .settle(of.map(|outer| &outer.worker_connections), || 512),
                pid: of.map_or(pid, |outer| outer.pid.clone()),
                daemon: written
                    .daemon
                    .settle(of.map(|outer| &outer.daemon), || true),
                master_process: written
                    .master_process
                    .settle(of.map(|outer| &outer.master_process), || true),
                open_files_max: written
                    .open_files_max
                    .get()
                    .copied()
                    .or_else(|| of?.open_files_max),
                shutdown_timeout: written
                    .shutdown_timeout
                    .get()
                    .copied()
                    .or_else(|| of?.shutdown_timeout),
                working_directory: written
                    .working_directory
                    .get()
                    .cloned()
                    .or_else(|| of?.working_directory.clone()),
                priority: written.priority.get().copied().or_else(|| of?.priority),
            });
        }
        outer.map_or_else(|| unreachable!("handled above"), Arc::clone)
    }
}
