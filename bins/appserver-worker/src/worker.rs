//! The worker process: HTTP by Rust, the application by Python.
//!
//! - [`prepare`]: from the fork to an application that is loaded.
//! - [`place`]: where connections run. [`accept`]: how they come.
//! - [`watch`]: heartbeats, signals, the master's orders.

mod accept;
mod place;
mod prepare;
mod watch;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use appserver_protocol::{FromWorker, Settled, WorkerSettings, exit, fork_fds};
use proxy_core::server::{Drain, Listener};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use supervisor::{Board, Kit, Link};
use tokio::runtime::Handle;
use tokio::sync::watch as word;
use wsgi_bridge::{WsgiService, attached, share_thread};

use self::accept::accept;
pub(crate) use self::place::{Application, Place};
use self::prepare::{flusher, prepare};
use self::watch::{Ended, register};
use crate::access::AccessLog;
use crate::asgi::{self, Asgi};
use crate::both::Both;
use crate::hooks::WorkerHooks;
use crate::peers::Peers;
use crate::retire::Limits;
use crate::room::Room;
use crate::signals;
use crate::statics::{Files, WithFiles};

/// Runs a worker to its end; the result is its exit status.
///
/// # Errors
/// Python's, where nothing else can be done about them.
pub(crate) fn run(
    py: Python<'_>,
    python: &Bound<'_, PyModule>,
    settled: &Settled,
    fds: Vec<OwnedFd>,
) -> PyResult<i32> {
    let (kit, listeners) = unpack(fds)?;
    let link = Link::from_kit(kit).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let status = match prepare(py, python, settled, &link) {
        Ok((worker, App::Wsgi(service))) => {
            worker.serve(py, Arc::new(*service), link, listeners, |_| ())?
        }
        Ok((worker, App::Both(both))) => worker.serve_both(py, *both, link, listeners)?,
        Ok((worker, App::Asgi(app))) => app.serve(py, worker, link, listeners)?,
        Err(failure) => {
            let report = FromWorker::Failed {
                exit: failure.exit,
                message: failure.message,
            };
            let _ = link.report(report, &[]);
            say_last_words(python)?;
            return Ok(failure.exit);
        }
    };
    say_last_words(python)?;
    if settled
        .settings
        .worker()
        .is_ok_and(|settings| settings.threads > 1 || settings.is_asgi() || settings.has_both())
    {
        // A thread of the application may be running still; the interpreter would not end well under it.
        leave(py, status)?;
    }
    Ok(status)
}

/// A signal may have come already, or come now; it does not keep the hook from its end.
fn say_last_words(python: &Bound<'_, PyModule>) -> PyResult<()> {
    signals::begin_last_words();
    python.call_method0("end").map(drop)
}

/// Why a worker did not come up.
pub(crate) struct Failure {
    pub exit: i32,
    pub message: String,
}

/// The application, ready to answer.
enum App {
    Wsgi(Box<WsgiService>),
    Both(Box<Both>),
    Asgi(Box<Asgi>),
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self {
            exit: exit::WORKER_BOOT,
            message: error.to_string(),
        }
    }
}

/// What a worker has besides its service.
pub(crate) struct Worker {
    python: Py<PyModule>,
    pub settings: WorkerSettings,
    pub hooks: Arc<WorkerHooks>,
    peers: Arc<Peers>,
    room: Option<Arc<Room>>,
    board: Arc<Board>,
    pub access: Option<Arc<AccessLog>>,
    /// When it asks to be replaced.
    limits: Limits,
    /// What is answered in front of the application.
    files: Option<Files>,
}

impl Worker {
    /// Serves until told to end; the result is the exit status.
    fn serve<A: Application>(
        &self,
        py: Python<'_>,
        service: Arc<A>,
        link: Link,
        listeners: Vec<OwnedFd>,
        before: impl FnOnce(&Handle),
    ) -> PyResult<i32> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all();
        let flush = flusher(self.access.clone());
        let inline = self.settings.threads <= 1;
        let status = if inline {
            let runtime = share_thread(&mut builder, flush).build()?;
            before(runtime.handle());
            attached(py, || {
                runtime.block_on(self.live(service, Place::Runtime, link, listeners))
            })
        } else {
            let runtime = builder.on_thread_park(flush).build()?;
            before(runtime.handle());
            py.detach(|| runtime.block_on(self.live(service, Place::Runtime, link, listeners)))
        };
        if let Some(access) = &self.access {
            access.flush();
        }
        Ok(status?)
    }

    /// The same with an ASGI application beside the other.
    fn serve_both(
        &self,
        py: Python<'_>,
        both: Both,
        link: Link,
        listeners: Vec<OwnedFd>,
    ) -> PyResult<i32> {
        let both = Arc::new(both);
        let here = both.clone();
        let before = |runtime: &Handle| here.set_runtime(runtime.clone());
        let status = self.serve(py, both.clone(), link, listeners, before)?;
        if asgi::asked_for().is_none() {
            self.without_beats(|| both.end(py));
        }
        if let Some(access) = &self.access {
            access.flush();
        }
        Ok(status)
    }

    /// Does something that ends in its own time, during which nobody is to miss this worker's heartbeats.
    pub fn without_beats<T>(&self, work: impl FnOnce() -> T) -> T {
        self.board.lane(0).rest();
        let done = work();
        self.board.lane(0).beat();
        done
    }

    /// Accepts connections and serves them until the end; the result is the exit status.
    pub async fn live<A: Application>(
        &self,
        application: Arc<A>,
        place: Place,
        link: Link,
        listeners: Vec<OwnedFd>,
    ) -> std::io::Result<i32> {
        match self.files.clone() {
            None => self.live_as(application, place, link, listeners).await,
            Some(files) => {
                let service = Arc::new(WithFiles { files, application });
                self.live_as(service, place, link, listeners).await
            }
        }
    }

    async fn live_as<A: Application>(
        &self,
        service: Arc<A>,
        place: Place,
        link: Link,
        listeners: Vec<OwnedFd>,
    ) -> std::io::Result<i32> {
        let drain = Drain::new();
        let (stop, stopped) = word::channel(());
        for socket in listeners {
            let listener = Listener::new(socket)?;
            let task = accept(
                listener,
                service.clone(),
                drain.clone(),
                self.room.clone(),
                link.board().clone(),
                self.peers.clone(),
                place.clone(),
            );
            let mut stopped = stopped.clone();
            place.spawn(async move {
                tokio::select! {
                    () = task => {}
                    _ = stopped.changed() => {}
                }
            });
        }
        if link.ready().is_err() {
            return Ok(exit::NORMAL);
        }
        let mut link = Some(register(link)?);
        let ended = self.watch(&mut link, &*service, false).await?;
        self.peers.leave();
        drop(stop);
        Python::attach(|py| self.python.bind(py).call_method0("hide_sockets").map(drop))
            .map_err(std::io::Error::other)?;
        if let Ended::Quickly(status) = ended {
            return Ok(status);
        }
        let patience = Duration::from_secs(self.settings.graceful_timeout);
        // Clients that use their connections get a last answer on them; the others lose theirs after `Limits::idle_grace`.
        drain.start();
        service.part();
        let over = async {
            drain.ended().await;
            service.over().await;
        };
        tokio::select! {
            () = over => Ok(exit::NORMAL),
            () = tokio::time::sleep(patience) => Ok(exit::NORMAL),
            ended = self.watch(&mut link, &*service, true) => match ended? {
                Ended::Quickly(status) => Ok(status),
                Ended::Gracefully => Ok(exit::NORMAL),
            },
        }
    }
}

fn unpack(mut fds: Vec<OwnedFd>) -> PyResult<(Kit, Vec<OwnedFd>)> {
    if fds.len() < fork_fds::LISTENERS {
        return Err(PyRuntimeError::new_err(format!(
            "a worker needs a channel and a board, got {} descriptors",
            fds.len()
        )));
    }
    let listeners = fds.split_off(fork_fds::LISTENERS);
    let mut ours = fds.into_iter();
    match (ours.next(), ours.next()) {
        (Some(channel), Some(board)) => Ok((Kit { channel, board }, listeners)),
        _ => Err(PyRuntimeError::new_err("a worker without a channel")),
    }
}

/// Runs what is registered for the end, and ends without taking the interpreter apart.
fn leave(py: Python<'_>, status: i32) -> PyResult<()> {
    py.import("atexit")?.call_method0("_run_exitfuncs")?;
    py.import("os")?.call_method1("_exit", (status,))?;
    Ok(())
}
