//! What the master, the template and the workers of `appserver` say to each other.
//!
//! Three kinds of process (the master is Rust, the other two run in the user's Python interpreter):
//!
//! ```text
//! master ──spawns──► template   python -c BOOTSTRAP libviaduct_worker.so template FD
//!    │   ◄─channel──►    │      one answer per order, in order: ToTemplate → FromTemplate
//!    │                   └─forks twice─► worker (its parent becomes the master: PR_SET_CHILD_SUBREAPER)
//!    └───◄──link────────────────────────────┘   supervisor's Order<ToWorker> and Report<FromWorker>, and its board
//! ```
//!
//! The template's channel is a `supervisor::Channel`; a worker's is the `Kit` that the master's `Program::spawn` is given, sent
//! along with [`ToTemplate::Fork`].
//! The life of a server:
//!
//! 1. [`ToTemplate::ReadConfig`] → [`FromTemplate::Config`]: the configuration file was executed.
//! 2. [`ToTemplate::Settle`] → [`FromTemplate::Settled`]: what the master resolved from defaults, file, environment and
//!    command line; the template applies `chdir`, `raw_env` and `pythonpath`, and imports the application with `preload_app`.
//! 3. [`ToTemplate::Hook`] → [`FromTemplate::HookDone`]: `nworkers_changed`, `on_starting`, then `when_ready`, …
//! 4. [`ToTemplate::Fork`] with descriptors → [`FromTemplate::Forked`]; the worker itself reports `Ready`, or [`FromWorker::Failed`].
//! 5. [`ToTemplate::ChildExit`] after each worker that the master reaped.
//! 6. [`ToTemplate::Exit`], or simply closing the socket, ends the template. A worker whose channel closes (the master is
//!    gone) finishes its requests and ends.
//!
//! A reload starts at 1. with a new template beside the old one.
#![forbid(unsafe_code)]

pub mod ciphers;
mod settings;
pub mod tally;
mod template;
mod worker;

pub use settings::{Settings, WorkerSettings};
pub use template::{
    ConfigValue, Failure, Fork, FromTemplate, Hook, Line, ReadConfig, Settled, Stage, ToTemplate,
};
pub use worker::{FromWorker, Retirement, ToWorker};

/// Exit statuses of a worker that the master acts on; the numbers are gunicorn's.
pub mod exit {
    /// A normal end: TERM, INT, QUIT, a reload, the master gone.
    pub const NORMAL: i32 = 0;
    /// Ended by SIGABRT because a request ran longer than `timeout`.
    pub const ABORTED: i32 = 1;
    /// The worker could not boot: an exception while the application was imported or a hook ran.
    pub const WORKER_BOOT: i32 = 3;
    /// The application was not found in its module, or is not callable.
    pub const APP_LOAD: i32 = 4;
}

/// Where the descriptors of [`Fork`] stand, in the order in which they are sent.
pub mod fork_fds {
    /// `Kit::channel`: the worker's end of its control channel.
    pub const CHANNEL: usize = 0;
    /// `Kit::board`: the shared memory for its heartbeat and its counters; one lane per thread (`threads`).
    pub const BOARD: usize = 1;
    /// The first listening socket; the others follow.
    pub const LISTENERS: usize = 2;
}

/// The word that starts a template (see the crate's drawing); its argument is the number of the inherited control socket.
pub const TEMPLATE: &str = "template";

/// What `PYTHON -c` is given to start a template: loads the extension module from the path in `sys.argv[1]` and hands
/// the rest of the arguments to it. Three arguments follow it: the path, [`TEMPLATE`], and the descriptor's number.
///
/// The present folder, which `-c` puts first on `sys.path`, goes before anything is imported: a project may have an `inspect.py`.
///
/// Program and module must be of one version: what they say to each other is nobody else's business and changes freely.
pub const BOOTSTRAP: &str = concat!(
    "\
import sys
sys.path[:] = [p for p in sys.path if p]
import importlib.util as u, importlib.machinery as m
p = sys.argv[1]
s = u.spec_from_file_location('viaduct_worker', p, loader=m.ExtensionFileLoader('viaduct_worker', p))
w = u.module_from_spec(s)
sys.modules['viaduct_worker'] = w
s.loader.exec_module(w)
if w.__version__ != '",
    env!("CARGO_PKG_VERSION"),
    "':
    sys.exit('the extension module %s is of version %s, appserver of version ",
    env!("CARGO_PKG_VERSION"),
    "; install both anew, and restart a running server' % (p, w.__version__))
sys.exit(w.main(sys.argv[2:]))
"
);

/// The hooks that exist here, with the number of arguments each takes; what belongs in [`ReadConfig::hooks`].
pub const HOOKS: &[(&str, usize)] = &[
    ("on_starting", 1),
    ("on_reload", 1),
    ("when_ready", 1),
    ("pre_fork", 2),
    ("post_fork", 2),
    ("post_worker_init", 1),
    ("worker_int", 1),
    ("worker_abort", 1),
    ("pre_exec", 1),
    ("pre_request", 2),
    ("post_request", 4),
    ("child_exit", 2),
    ("worker_exit", 2),
    ("nworkers_changed", 3),
    ("on_exit", 1),
];

/// The name of the extension's file, as Cargo builds it.
pub const MODULE_FILE: &str = "libviaduct_worker.so";

/// The package of Python that it is in when a wheel was installed; its `__main__` starts the program.
pub const WHEEL_PACKAGE: &str = "appserver";

/// The name of the extension's file there.
pub const WHEEL_MODULE_FILE: &str = "viaduct_worker.abi3.so";

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    >(
        message: &T,
    ) {
        let text = serde_json::to_string(message).expect("serialises");
        assert_eq!(
            &serde_json::from_str::<T>(&text).expect("parses"),
            message,
            "{text}"
        );
    }

    #[test]
    fn every_order_survives_the_wire() {
        let settled = Settled {
            application: "shop.wsgi".into(),
            arguments: vec!["appserver".into()],
            settings: Settings::default(),
        };
        for order in [
            ToTemplate::ReadConfig(ReadConfig {
                location: Some("python:conf".into()),
                names: vec!["bind".into()],
                hooks: vec!["when_ready".into()],
            }),
            ToTemplate::Settle(settled),
            ToTemplate::LoadApplication,
            ToTemplate::Hook(Hook::NworkersChanged { new: 2, old: None }),
            ToTemplate::Fork(Fork {
                age: 7,
                listeners: vec!["unix:/run/app.sock".into()],
            }),
            ToTemplate::ChildExit { age: 7, pid: 12 },
            ToTemplate::ReopenLogs,
            ToTemplate::AskLogging,
            ToTemplate::Log(Line {
                level: 20,
                pid: 7,
                message: "Listening".into(),
            }),
            ToTemplate::Exit,
        ] {
            there_and_back(&order);
        }
    }

    #[test]
    fn every_answer_survives_the_wire() {
        let values = [
            (
                "workers".to_owned(),
                ConfigValue::Plain(serde_json::json!(3)),
            ),
            (
                "when_ready".to_owned(),
                ConfigValue::Callable {
                    repr: "<function when_ready>".into(),
                },
            ),
            (
                "logger_class".to_owned(),
                ConfigValue::Other {
                    kind: "type".into(),
                    repr: "<class 'L'>".into(),
                },
            ),
        ];
        for answer in [
            FromTemplate::Config {
                location: None,
                values: values.into_iter().collect(),
                places: [("bind".to_owned(), "x.py:3".to_owned())].into(),
            },
            FromTemplate::Settled {
                python_logging: true,
                titles: false,
            },
            FromTemplate::Loaded,
            FromTemplate::HookDone,
            FromTemplate::Forked { age: 7, pid: 12 },
            FromTemplate::Workers { number: 3 },
            FromTemplate::Failed(Failure {
                stage: Stage::Config,
                message: "Failed to read config file: x.py".into(),
                traceback: Some("Traceback".into()),
                exit: 1,
            }),
        ] {
            there_and_back(&answer);
        }
        for report in [
            FromWorker::Failed {
                exit: exit::APP_LOAD,
                message: "no attribute".into(),
            },
            FromWorker::Retires {
                why: Retirement::MaxRss,
            },
            FromWorker::Changed {
                file: "/srv/app.py".into(),
            },
        ] {
            there_and_back(&report);
        }
    }

    #[test]
    fn a_worker_reads_its_settings_from_the_masters_and_keeps_defaults_for_the_rest() {
        let settings: Settings = serde_json::from_value(
            serde_json::json!({"threads": 4, "accesslog": "-", "proc_name": "shop"}),
        )
        .unwrap();
        let worker = settings.worker().expect("reads");
        assert_eq!(
            (
                worker.threads,
                worker.accesslog.as_deref(),
                worker.keepalive
            ),
            (4, Some("-"), 2)
        );
    }

    #[test]
    fn a_setting_of_the_wrong_kind_is_named() {
        let settings: Settings =
            serde_json::from_value(serde_json::json!({"threads": "many"})).unwrap();
        let fault = settings.worker().unwrap_err().to_string();
        assert!(fault.contains("threads"), "{fault}");
    }
}
