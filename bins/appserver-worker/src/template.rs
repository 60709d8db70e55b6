//! The template process: takes orders from the master, one after the other, and turns into a worker where it forks.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use appserver_protocol::{
    Failure, FromTemplate, Hook, Line, Settings, Settled, Stage, ToTemplate, WorkerSettings,
    fork_fds,
};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use supervisor::{Channel, ChannelError, Received};

use crate::access::Format;
use crate::reports::Reports;
use crate::statics::Mounts;
use crate::{logs, native, peers, protocols, voice, worker};

/// The Python side, in the order in which its parts need each other.
const PARTS: [(&std::ffi::CStr, &std::ffi::CStr, &str); 11] = [
    (
        c"viaduct_worker.places",
        c"viaduct_worker/places.py",
        include_str!("../python/places.py"),
    ),
    (
        c"viaduct_worker.config",
        c"viaduct_worker/config.py",
        include_str!("../python/config.py"),
    ),
    (
        c"viaduct_worker.changes",
        c"viaduct_worker/changes.py",
        include_str!("../python/changes.py"),
    ),
    (
        c"viaduct_worker.late",
        c"viaduct_worker/late.py",
        include_str!("../python/late.py"),
    ),
    (
        c"viaduct_worker.faces",
        c"viaduct_worker/faces.py",
        include_str!("../python/faces.py"),
    ),
    (
        c"viaduct_worker.listeners",
        c"viaduct_worker/listeners.py",
        include_str!("../python/listeners.py"),
    ),
    (
        c"viaduct_worker.glogging",
        c"viaduct_worker/glogging.py",
        include_str!("../python/glogging.py"),
    ),
    (
        c"viaduct_worker.compat",
        c"viaduct_worker/compat.py",
        include_str!("../python/compat.py"),
    ),
    (
        c"viaduct_worker.application",
        c"viaduct_worker/application.py",
        include_str!("../python/application.py"),
    ),
    (
        c"viaduct_worker.classes",
        c"viaduct_worker/classes.py",
        include_str!("../python/classes.py"),
    ),
    (
        c"viaduct_worker.template",
        c"viaduct_worker/template.py",
        include_str!("../python/template.py"),
    ),
];

/// Runs until the master has no more orders; the result is the exit status, of the template or of a worker.
///
/// # Errors
/// Python's and the channel's.
pub(crate) fn run(py: Python<'_>, descriptor: RawFd) -> PyResult<i32> {
    let channel = adopt(descriptor)?;
    let python = load(py)?;
    python.call_method0("prepare")?;
    peers::prepare()?;
    voice::lend(&channel)?;
    Template {
        channel,
        python,
        settled: None,
    }
    .serve(py)
}

struct Template<'py> {
    channel: Channel,
    python: Bound<'py, PyModule>,
    settled: Option<Settled>,
}

impl Template<'_> {
    fn serve(mut self, py: Python<'_>) -> PyResult<i32> {
        let mut dismissed = false;
        loop {
            let received = py.detach(|| self.channel.receive::<ToTemplate>());
            let Received { message, fds } = match received {
                Ok(received) => received,
                Err(ChannelError::Closed) => return self.leave(),
                Err(error @ ChannelError::Decode(_)) => {
                    self.answer(&refused(&error.to_string()))?;
                    continue;
                }
                Err(error) => return Err(PyRuntimeError::new_err(error.to_string())),
            };
            self.show_sockets(&message, &fds)?;
            // Held until the answer is sent: the master knows a worker before the worker does anything.
            let mut gate = None;
            let answer = match message {
                ToTemplate::Exit => return self.leave(),
                order if dismissed && !matches!(order, ToTemplate::ChildExit { .. }) => continue,
                ToTemplate::Fork(order) => match self.fork(py, order.age)? {
                    Forked::Template(answer, held) => {
                        gate = held;
                        answer
                    }
                    Forked::Worker => return self.into_worker(py, fds),
                },
                ToTemplate::Settle(settled) => self.settle(settled)?,
                ToTemplate::ReopenLogs => self.reopen_logs()?,
                ToTemplate::AskLogging => self.ask_logging()?,
                ToTemplate::Log(line) => {
                    self.log(&line)?;
                    continue;
                }
                order if self.settled.is_none() && needs_settings(&order) => {
                    refused("the settings have to be settled first")
                }
                order => self.carry_out(&order)?,
            };
            self.hide_sockets(fds)?;
            let sent = self.channel.send(&answer, &[]);
            drop(gate);
            match sent {
                Ok(()) => {}
                // The master has no use for this template any more. The last workers' ends, of which it told before, are still told to
                // the hook: what they left behind may have to be cleared away.
                Err(ChannelError::Closed) => dismissed = true,
                Err(error) => return Err(PyRuntimeError::new_err(error.to_string())),
            }
        }
    }

    /// Threads that hooks have started do not keep a template alive whose master is gone.
    fn leave(&self) -> PyResult<i32> {
        self.python.call_method0("leave")?;
        Ok(0)
    }

    /// Hooks may look at the sockets that an order brings, while it is carried out.
    fn show_sockets(&self, order: &ToTemplate, fds: &[OwnedFd]) -> PyResult<()> {
        let (listeners, fds) = match order {
            ToTemplate::Hook(Hook::WhenReady { listeners }) => (listeners, fds),
            ToTemplate::Fork(order) => (
                &order.listeners,
                fds.get(fork_fds::LISTENERS..).unwrap_or_default(),
            ),
            _ => return Ok(()),
        };
        if self.settled.is_none() {
            return Ok(());
        }
        let descriptors = fds.iter().map(AsRawFd::as_raw_fd).map(Some);
        let sockets: Vec<(&String, Option<RawFd>)> = listeners
            .iter()
            .zip(descriptors.chain(std::iter::repeat(None)))
            .collect();
        self.python
            .call_method1("show_sockets", (sockets,))
            .map(drop)
    }

    /// The template keeps no address open that the server has left.
    fn hide_sockets(&self, fds: Vec<OwnedFd>) -> PyResult<()> {
        if self.settled.is_some() && !fds.is_empty() {
            self.python.call_method0("hide_sockets")?;
        }
        drop(fds);
        Ok(())
    }

    fn ask_logging(&self) -> PyResult<FromTemplate> {
        let python_logging = self.python.call_method0("python_logging")?.extract()?;
        Ok(FromTemplate::Settled {
            python_logging,
            titles: false,
        })
    }

    /// What cannot be logged there is written to the error log.
    fn log(&self, line: &Line) -> PyResult<()> {
        let order = PyDict::new(self.python.py());
        order.set_item("level", line.level)?;
        order.set_item("pid", line.pid)?;
        order.set_item("message", &line.message)?;
        if self.settled.is_none() || self.python.call_method1("log_line", (order,)).is_err() {
            logs::error().write(format!("{}\n", line.message).as_bytes());
        }
        Ok(())
    }

    fn reopen_logs(&self) -> PyResult<FromTemplate> {
        if self.settled.is_some() {
            self.python.call_method0("reopen_files")?;
        }
        let captures = self.settled.as_ref().is_some_and(|settled| {
            settled
                .settings
                .worker()
                .is_ok_and(|settings| settings.capture_output)
        });
        let mut done = logs::error().reopen();
        if captures {
            done = done.and_then(|()| logs::error().capture_output());
        }
        Ok(done.map_or_else(
            |error| refused(&error.to_string()),
            |()| FromTemplate::HookDone,
        ))
    }

    /// Has the Python side carry out an order.
    fn carry_out(&self, order: &ToTemplate) -> PyResult<FromTemplate> {
        let order = serde_json::to_string(order)
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        parse(
            &self
                .python
                .call_method1("handle", (order,))?
                .extract::<String>()?,
        )
    }

    fn settle(&mut self, mut settled: Settled) -> PyResult<FromTemplate> {
        if let Err(message) = check(&settled) {
            return Ok(unsettled(message));
        }
        let answer = self.carry_out(&ToTemplate::Settle(settled.clone()))?;
        if matches!(answer, FromTemplate::Settled { .. }) {
            settled.settings.0.extend(self.of_class()?.0);
            // Now, for names of files begin at chdir.
            let settings = settled.settings.worker().map_err(|error| error.to_string());
            let settle = |settings| {
                protocols::settle(&settings)?;
                Mounts::settle(&settings)
            };
            if let Err(message) = settings.and_then(settle) {
                return Ok(unsettled(message));
            }
            self.settled = Some(settled);
        }
        Ok(answer)
    }

    /// Settings that a worker class of somebody's own brings, its kind among them.
    fn of_class(&self) -> PyResult<Settings> {
        let brought: String = self.python.call_method0("of_class")?.extract()?;
        serde_json::from_str(&brought).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }

    fn fork(&self, _py: Python<'_>, age: u64) -> PyResult<Forked> {
        if self.settled.is_none() {
            let words = "the settings have to be settled before a worker can be forked";
            return Ok(Forked::Template(refused(words), None));
        }
        let forked = self.python.call_method1("fork_answer", (age,))?;
        let (pid, gate, failure): (Option<u32>, Option<RawFd>, Option<String>) =
            forked.extract()?;
        // SAFETY: Python has made this descriptor for us and forgets it.
        let gate = gate.map(|gate| unsafe { OwnedFd::from_raw_fd(gate) });
        Ok(match pid {
            Some(0) => Forked::Worker,
            Some(pid) => Forked::Template(FromTemplate::Forked { age, pid }, gate),
            None => Forked::Template(parse(&failure.unwrap_or_default())?, None),
        })
    }

    fn into_worker(self, py: Python<'_>, fds: Vec<OwnedFd>) -> PyResult<i32> {
        let Self {
            channel,
            python,
            settled,
        } = self;
        // The template's channel is not the worker's.
        voice::give_back();
        drop(channel);
        let settled =
            settled.ok_or_else(|| PyRuntimeError::new_err("a worker without settings"))?;
        worker::run(py, &python, &settled, fds)
    }

    fn answer(&self, answer: &FromTemplate) -> PyResult<()> {
        self.channel
            .send(answer, &[])
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }
}

enum Forked {
    /// The answer, and what holds the worker back while it is open.
    Template(FromTemplate, Option<OwnedFd>),
    Worker,
}

fn needs_settings(order: &ToTemplate) -> bool {
    !matches!(order, ToTemplate::ReadConfig(_))
}

fn unsettled(message: String) -> FromTemplate {
    FromTemplate::Failed(Failure {
        stage: Stage::Settle,
        message,
        traceback: None,
        exit: 1,
    })
}

fn refused(message: &str) -> FromTemplate {
    FromTemplate::Failed(Failure {
        stage: Stage::Protocol,
        message: message.to_owned(),
        traceback: None,
        exit: 1,
    })
}

fn parse(answer: &str) -> PyResult<FromTemplate> {
    serde_json::from_str(answer).map_err(|error| {
        PyRuntimeError::new_err(format!(
            "the template's answer {answer:?} is not understood: {error}"
        ))
    })
}

/// Checks settings before anything depends on them, and opens the error log.
fn check(settled: &Settled) -> Result<(), String> {
    let settings = settled
        .settings
        .worker()
        .map_err(|error| error.to_string())?;
    check_values(&settings)?;
    Reports::settle(&settings, &settled.application)?;
    logs::error()
        .open(&settings.errorlog)
        .map_err(|error| error.to_string())?;
    if settings.capture_output {
        logs::error()
            .capture_output()
            .map_err(|error| format!("capture_output: {error}"))?;
    }
    Ok(())
}

/// Checks what the types of settings leave open.
pub(crate) fn check_values(settings: &WorkerSettings) -> Result<(), String> {
    let format = Format::read(&settings.access_log_format)?;
    crate::settings::translate(settings, Some(&format), String::new(), None).map(drop)
}

fn adopt(descriptor: RawFd) -> PyResult<Channel> {
    // SAFETY: the master left this descriptor open for us and named it; nobody else in this process knows it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)
        .map_err(std::io::Error::from)?;
    let number = descriptor.as_raw_fd();
    Channel::from_fd(descriptor)
        .map_err(|error| PyRuntimeError::new_err(format!("descriptor {number}: {error}")))
}

/// Loads the Python side and gives its `viaduct_worker.template`.
fn load(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    native::install(py)?;
    let mut last = None;
    for (name, file, source) in PARTS {
        let source = std::ffi::CString::new(source)?;
        last = Some(PyModule::from_code(py, &source, file, name)?);
    }
    last.ok_or_else(|| PyRuntimeError::new_err("nothing to load"))
}
