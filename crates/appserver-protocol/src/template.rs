//! Between the master and a template.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Settings;

/// An order to the template. Each gets exactly one answer, in order; [`ToTemplate::Exit`] gets none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum ToTemplate {
    /// Execute the configuration file: [`FromTemplate::Config`].
    ReadConfig(ReadConfig),
    /// Take the final settings, apply `chdir`, `raw_env`, `pythonpath`; with `preload_app` import the application:
    /// [`FromTemplate::Settled`].
    Settle(Settled),
    /// Import the application now (`--check-config`): [`FromTemplate::Loaded`].
    LoadApplication,
    /// Run a hook of the master's: [`FromTemplate::HookDone`], also where the file has no such hook.
    Hook(Hook),
    /// Fork a worker; descriptors as in [`crate::fork_fds`]: [`FromTemplate::Forked`].
    Fork(Fork),
    /// A worker ended and was reaped; runs `child_exit`: [`FromTemplate::HookDone`].
    ChildExit {
        /// Its age, as given in [`Fork`].
        age: u64,
        /// Its process id.
        pid: u32,
    },
    /// Open the error log again, for it was renamed; workers to come inherit it: [`FromTemplate::HookDone`].
    ReopenLogs,
    /// Does Python's logging write the lines of the master? Asked after hooks that may change it: [`FromTemplate::Settled`].
    AskLogging,
    /// A line of the master's for Python's logging. There is no answer.
    Log(Line),
    /// End.
    Exit,
}

/// Which configuration file, and what to look for in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadConfig {
    /// `PATH`, `file:PATH` or `python:MODULE`; `None` reads `./gunicorn.conf.py` where that exists. The directory that
    /// counts is the one the template was started in; it goes first on `sys.path` before the file runs.
    pub location: Option<String>,
    /// The names that are settings; every other name in the file is ignored (as gunicorn does: files hold imports and helpers).
    pub names: Vec<String>,
    /// Those of the names that hold hooks: a function or a `"module.function"` string, which stay in the template.
    pub hooks: Vec<String>,
}

/// The outcome of reading the configuration: the application and all settings, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// `module`, `module:name` or `module:factory("literal")`.
    pub application: String,
    /// The server's command line, for `sys.argv`; left as it is when empty.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Every setting by gunicorn's name; what Python sees as `cfg`.
    pub settings: Settings,
}

/// A hook that runs in the template because it belongs to the master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "hook", rename_all = "snake_case")]
pub enum Hook {
    /// `nworkers_changed(server, new, old)`; `old` is `None` at start.
    NworkersChanged {
        /// Workers from now on.
        new: u32,
        /// Workers before.
        old: Option<u32>,
    },
    /// `on_starting(server)`: before the listeners exist.
    OnStarting,
    /// `when_ready(server)`: the listeners are up. Their descriptors come along, in this order, for as long as the hook runs.
    WhenReady {
        /// Where the server listens, as in the log: `http://127.0.0.1:8000`, `unix:/run/app.sock`.
        listeners: Vec<String>,
    },
    /// `on_reload(server)`: in the new template, after the configuration was read again.
    OnReload,
    /// `pre_exec(server)`: before a new binary is started (USR2).
    PreExec,
    /// `on_exit(server)`.
    OnExit,
}

/// A line of the error log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Python's number of its level: 20 is `INFO`.
    pub level: u8,
    /// The process that it is from.
    pub pid: u32,
    /// The text.
    pub message: String,
}

/// The worker to fork.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fork {
    /// A number that grows with each worker (`worker.age` in hooks).
    pub age: u64,
    /// The address of each socket that comes along, as in [`Hook::WhenReady`].
    #[serde(default)]
    pub listeners: Vec<String>,
}

/// What the template answers: to each order once, but for [`FromTemplate::Workers`], which comes unasked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum FromTemplate {
    /// The configuration file ran (or there is none).
    Config {
        /// Which file or module was read; `None` where no file was named and there is no `./gunicorn.conf.py`.
        location: Option<String>,
        /// The settings that it sets.
        values: BTreeMap<String, ConfigValue>,
        /// Where in it they stand, `file:line`, as far as that can be told.
        #[serde(default)]
        places: BTreeMap<String, String>,
    },
    /// The settings are in force (and the application is imported, with `preload_app`).
    Settled {
        /// Python's logging was configured (`logconfig`, `logger_class`, handlers of the configuration file): it is to write what
        /// the master says, too.
        python_logging: bool,
        /// Processes are to have titles: the package setproctitle is installed, or a `proc_name` was given.
        #[serde(default)]
        titles: bool,
    },
    /// The application can be imported.
    Loaded,
    /// The hook returned.
    HookDone,
    /// A worker exists.
    Forked {
        /// Its age, as in the order.
        age: u64,
        /// Its process id; it is, or in an instant will be, a child of the master.
        pid: u32,
    },
    /// No answer: a hook, or a thread that one has started, has set `server.num_workers`, and `nworkers_changed` was called. Comes before the
    /// answer to the order during which it was set, if there is one.
    Workers {
        /// As many workers from now on.
        number: u32,
    },
    /// The order failed.
    Failed(Failure),
}

/// The value of a setting in a configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum ConfigValue {
    /// A string, number, bool, list, dict or `None`; tuples and sets arrive as lists.
    Plain(serde_json::Value),
    /// A function; or, under the name of a hook, a string that names one.
    Callable {
        /// Python's `repr` of it, for `--print-config` and messages.
        repr: String,
    },
    /// Anything else: a class, a module, an object.
    Other {
        /// The name of its type.
        kind: String,
        /// Python's `repr` of it.
        repr: String,
    },
}

/// Why an order failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done.
    pub stage: Stage,
    /// One line; gunicorn's words where it has some (`Failed to read config file: PATH`).
    pub message: String,
    /// Python's traceback, where there is one.
    pub traceback: Option<String>,
    /// The exit status that gunicorn would end with: 1, 3 ([`crate::exit::WORKER_BOOT`]) or 4 ([`crate::exit::APP_LOAD`]).
    pub exit: i32,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Executing the configuration file.
    Config,
    /// Applying settings (`chdir`, environment, hooks that are not functions).
    Settle,
    /// Importing the application.
    Application,
    /// Running a hook.
    Hook,
    /// Forking.
    Fork,
    /// The order itself was not understood.
    Protocol,
}
