//! The worker process: HTTP by Rust, the application by Python.

use std::future::{pending, poll_fn};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use appserver_protocol::{FromWorker, Settled, ToWorker, WorkerSettings, exit, fork_fds};
use asgi_bridge::Reactor;
use proxy_core::server::{Accepted, Connection, Drain, Listener, Service, serve_connection};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use supervisor::{Counter, Kit, Link, Order};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};
use wsgi_bridge::{Hooks, WsgiService, attached, share_thread};

use crate::access::{AccessLog, Format};
use crate::asgi::{self, Asgi};
use crate::both::Both;
use crate::hooks::WorkerHooks;
use crate::peers::{Open, Peers};
use crate::reports::{reports, set_access};
use crate::{logs, protocols, settings, signals};

/// How often the heart beats.
const BEAT: Duration = Duration::from_secs(1);
/// How long a connection may wait for another worker while this one makes a long response.
const DEFERENCE: Duration = Duration::from_millis(50);

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
            python.call_method0("end")?;
            return Ok(failure.exit);
        }
    };
    python.call_method0("end")?;
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

/// A service of connections that can be told to come to its end.
pub(crate) trait Application: Service {
    /// Waits, at most so long, until a new connection would not have to wait.
    fn ready(&self, at_most: Duration) -> impl Future<Output = ()> + Send;

    /// The worker comes to its end: tells those that would otherwise stay.
    fn part(&self);

    /// Waits until nothing of the application is under way any more.
    fn over(&self) -> impl Future<Output = ()> + Send;

    /// The worker's heart beats: what has a heart of its own beats too.
    fn beat(&self) {}
}

impl Application for WsgiService {
    async fn ready(&self, at_most: Duration) {
        Self::ready(self, at_most).await;
    }

    fn part(&self) {}

    async fn over(&self) {}
}

/// Where connections run.
#[derive(Clone)]
pub(crate) enum Place {
    /// In the runtime of this thread.
    Runtime,
    /// On an event loop.
    Loop(Arc<Reactor>),
}

impl Place {
    /// Serves a connection.
    fn serve(&self, future: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Runtime => drop(tokio::spawn(future)),
            Self::Loop(reactor) => reactor.spawn_connection(future),
        }
    }

    /// Runs something else.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Runtime => drop(tokio::spawn(future)),
            Self::Loop(reactor) => reactor.spawn(future),
        }
    }

    /// Sees to it that a pause is not longer than it was meant: a loop keeps time only roughly.
    fn pause(&self, span: Option<Duration>) -> Option<Duration> {
        if let (Self::Loop(reactor), Some(span)) = (self, span) {
            reactor.look_after(span);
        }
        span
    }

    /// Lets others run.
    async fn step_aside(&self) {
        match self {
            Self::Runtime => tokio::task::yield_now().await,
            Self::Loop(_) => asgi_bridge::step_aside().await,
        }
    }
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
    pub access: Option<Arc<AccessLog>>,
    /// Requests after which it asks to be replaced.
    requests_max: Option<u64>,
}

fn prepare(
    py: Python<'_>,
    python: &Bound<'_, PyModule>,
    settled: &Settled,
    link: &Link,
) -> Result<(Worker, App), Failure> {
    let boot_failure = |message: String| Failure {
        exit: exit::WORKER_BOOT,
        message,
    };
    let settings = settled
        .settings
        .worker()
        .map_err(|error| boot_failure(error.to_string()))?;
    let age = python.getattr("State")?.getattr("worker")?.getattr("age")?;
    let access = open_access_log(&settings, age.extract()?).map_err(boot_failure)?;
    if let Some(reports) = reports() {
        reports.forked();
    }
    set_access(access.clone());
    raise_open_files();
    let event_loop = match settings.is_asgi() {
        true => Some(asgi::EventLoop::new(py, &settings)?),
        false => None,
    };
    let application = python
        .call_method0("boot")
        .map_err(|error| boot_error(py, &error))?
        .unbind();
    // As many calls as there are connections can be under way on an event loop.
    let at_a_time = if settings.is_asgi() {
        settings.worker_connections
    } else {
        settings.threads
    };
    let peers = Arc::new(Peers::join(at_a_time.max(1)));
    let hooks = WorkerHooks::new(
        link.board().clone(),
        peers.clone(),
        access.clone(),
        python,
        settings.metrics_bind.is_some(),
    )?;
    let hooks = Arc::new(hooks);
    let variable = |name: &str| -> PyResult<Option<String>> {
        py.import("os")?
            .getattr("environ")?
            .call_method1("get", (name,))?
            .extract()
    };
    let format = access.as_ref().map(|access| access.format());
    let script_name = variable("SCRIPT_NAME")?.unwrap_or_default();
    let mut bridge = settings::translate(
        &settings,
        format,
        script_name,
        variable("SENDFILE")?.as_deref(),
    )
    .map_err(boot_failure)?;
    bridge.log_fields |= hooks.surrounds();
    if hooks.python_requests() {
        // Something that is always there when the application was called.
        bridge.log_environ = vec!["REQUEST_METHOD".to_owned()];
    }
    let names = python.call_method0("server_names")?;
    let (field, software): (Option<String>, Option<String>) = names.extract()?;
    if let Some(field) = field {
        // Once in the life of a process.
        let field: &'static str = Box::leak(field.into_boxed_str());
        bridge.server = Some(field).filter(|field| !field.is_empty());
    }
    if let Some(software) = software {
        bridge.server_software = software;
    }
    let threads = settings.threads.max(1) as usize;
    let app = match event_loop {
        Some(event_loop) => {
            let flush = flusher(access.clone());
            let app = Asgi::start(
                py,
                application,
                bridge,
                &settings,
                &hooks,
                event_loop,
                flush,
            )?;
            App::Asgi(Box::new(app))
        }
        None => {
            let service =
                WsgiService::new(py, application, bridge.clone(), hooks.clone(), threads)?;
            if settings.has_both() {
                let beside = python.call_method0("application_beside")?.unbind();
                let board = link.board().clone();
                let both = Both::start(py, service, beside, bridge, &settings, &hooks, board)?;
                App::Both(Box::new(both))
            } else {
                App::Wsgi(Box::new(service))
            }
        }
    };
    let jitter = if settings.max_requests_jitter == 0 {
        0
    } else {
        py.import("random")?
            .call_method1("randint", (0, settings.max_requests_jitter))?
            .extract()?
    };
    let requests_max = (settings.max_requests > 0).then_some(settings.max_requests + jitter);
    Ok((
        Worker {
            python: python.clone().unbind(),
            settings,
            hooks,
            peers,
            access,
            requests_max,
        },
        app,
    ))
}

/// Writes out what the access log and the reports have gathered.
fn flusher(access: Option<Arc<AccessLog>>) -> impl Fn() + Send + Sync + 'static {
    move || {
        access.iter().for_each(|access| access.flush());
        if let Some(reports) = reports() {
            reports.flush();
        }
    }
}

/// The exit status and the line of a `BootFailure`.
fn boot_error(py: Python<'_>, error: &PyErr) -> Failure {
    let told = error
        .value(py)
        .getattr("args")
        .and_then(|args| args.extract::<(i32, String)>());
    told.map_or_else(
        |_| Failure {
            exit: exit::WORKER_BOOT,
            message: error.to_string(),
        },
        |(exit, message)| Failure { exit, message },
    )
}

fn open_access_log(settings: &WorkerSettings, age: u64) -> Result<Option<Arc<AccessLog>>, String> {
    let (path, to_syslog) = (settings.accesslog.as_deref(), settings.access_to_syslog());
    if path.is_none() && !to_syslog {
        return Ok(None);
    }
    let format = Format::read(&settings.access_log_format)?;
    AccessLog::open(path, to_syslog, format, age)
        .map(|log| Some(Arc::new(log)))
        .map_err(|error| error.to_string())
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
            both.end(py);
        }
        if let Some(access) = &self.access {
            access.flush();
        }
        Ok(status)
    }

    pub async fn live<A: Application>(
        &self,
        service: Arc<A>,
        place: Place,
        link: Link,
        listeners: Vec<OwnedFd>,
    ) -> std::io::Result<i32> {
        let drain = Drain::new();
        let places = self.places();
        let (stop, stopped) = watch::channel(());
        for socket in listeners {
            let listener = Listener::new(socket)?;
            let task = accept(
                listener,
                service.clone(),
                drain.clone(),
                places.clone(),
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
        let ended = self.watch(link, &*service).await?;
        self.peers.leave();
        drop(stop);
        let patience = match ended {
            Ended::Quickly(status) => return Ok(status),
            Ended::Gracefully => Duration::from_secs(self.settings.graceful_timeout),
        };
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
            status = self.hurry() => Ok(status?),
        }
    }

    /// The places for connections, where their number is limited.
    fn places(&self) -> Option<Arc<Semaphore>> {
        let several =
            self.settings.threads > 1 || self.settings.is_asgi() || self.settings.has_both();
        let limited = several && self.settings.worker_connections > 0;
        limited.then(|| Arc::new(Semaphore::new(self.settings.worker_connections as usize)))
    }

    /// Beats, and listens to signals and the master, until one of them ends the worker.
    async fn watch<A: Application>(&self, link: Link, service: &A) -> std::io::Result<Ended> {
        let wakeup = wakeup()?;
        let mut link = register(link)?;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leaving = false;
        loop {
            if let Some(ended) = self.heed() {
                return Ok(ended);
            }
            tokio::select! {
                _ = beat.tick() => {
                    link.get_ref().board().lane(0).beat();
                    service.beat();
                    self.peers.beat();
                    if !leaving && self.requests_max.is_some_and(|most| self.hooks.requests() >= most) {
                        leaving = true;
                        self.hooks.log(wsgi_bridge::Level::Info, "Autorestarting worker after current request.");
                        let _ = link.get_ref().leaving();
                    }
                    if self.settings.reload {
                        self.look_for_changes(link.get_ref());
                    }
                    if let Some(access) = &self.access {
                        access.flush();
                    }
                }
                ready = wakeup.readable() => {
                    signals::drain();
                    ready?.clear_ready();
                }
                ready = link.readable_mut() => {
                    let mut ready = ready?;
                    let next = ready.get_inner_mut().try_next::<ToWorker>();
                    match next {
                        Ok(Some(received)) => match received.message {
                            Order::EndGracefully => signals::ask(signals::GRACEFUL),
                            Order::EndQuickly => {
                                signals::ask(signals::QUICK);
                                Python::attach(|py| {
                                    drop(self.python.bind(py).call_method0("interrupted"));
                                });
                            }
                            Order::Program(ToWorker::ReopenLogs) => signals::ask(signals::REOPEN),
                        },
                        Ok(None) => ready.clear_ready(),
                        Err(_) => {
                            self.hooks.log(wsgi_bridge::Level::Info, "The master is gone; ending.");
                            return Ok(Ended::Gracefully);
                        }
                    }
                }
            }
        }
    }

    /// While the last requests are served: a second signal that is less patient.
    async fn hurry(&self) -> std::io::Result<i32> {
        let wakeup = wakeup()?;
        loop {
            if let Some(Ended::Quickly(status)) = self.heed() {
                return Ok(status);
            }
            let mut ready = wakeup.readable().await?;
            signals::drain();
            ready.clear_ready();
        }
    }

    /// Does what signals have asked for.
    fn heed(&self) -> Option<Ended> {
        // Lets Python run its handlers; those that end the worker raise SystemExit, which is of use in an application only.
        Python::attach(|py| drop(py.check_signals()));
        let asked = signals::asked();
        if asked & signals::REOPEN != 0 {
            self.reopen_logs();
        }
        if asked & signals::ABORTED != 0 {
            return Some(Ended::Quickly(exit::ABORTED));
        }
        if asked & signals::QUICK != 0 {
            return Some(Ended::Quickly(exit::NORMAL));
        }
        (asked & signals::GRACEFUL != 0).then_some(Ended::Gracefully)
    }

    fn reopen_logs(&self) {
        let mut outcomes = vec![logs::error().reopen()];
        if self.settings.capture_output {
            outcomes.push(logs::error().capture_output());
        }
        outcomes.extend(self.access.iter().map(|access| access.reopen()));
        for error in outcomes.into_iter().filter_map(Result::err) {
            self.hooks
                .log(wsgi_bridge::Level::Error, &error.to_string());
        }
        Python::attach(|py| {
            drop(self.python.bind(py).call_method0("reopen_files"));
            drop(self.python.bind(py).call_method0("dump_stacks"));
        });
    }

    /// Tells the master of a file that changed. Goes on looking: the new code may not load, and be changed again.
    fn look_for_changes(&self, link: &Link) {
        let file: Option<String> = Python::attach(|py| {
            let changed = self.python.bind(py).call_method0("changed_file");
            changed.and_then(|file| file.extract()).unwrap_or_default()
        });
        if let Some(file) = file {
            // Without a master the worker ends anyway.
            let _ = link.report(FromWorker::Changed { file }, &[]);
        }
    }
}

enum Ended {
    Gracefully,
    Quickly(i32),
}

/// Accepts connections from a listener, for ever.
async fn accept<A: Application>(
    listener: Listener,
    service: Arc<A>,
    drain: Drain,
    places: Option<Arc<Semaphore>>,
    board: Arc<supervisor::Board>,
    peers: Arc<Peers>,
    here: Place,
) {
    let protocols = protocols::settled();
    loop {
        service.ready(DEFERENCE).await;
        let place = match &places {
            Some(places) => places.clone().acquire_owned().await.ok(),
            None => None,
        };
        let mut accepting = pin!(listener.accept_after(|waited| here.pause(peers.pause(waited))));
        // A worker that was told to end while the application ran leaves new connections to others.
        let accepted = poll_fn(|cx| match signals::ending() {
            true => Poll::Pending,
            false => accepting.as_mut().poll(cx),
        });
        let Ok(Accepted { socket, peer, .. }) = accepted.await else {
            return pending().await;
        };
        board.lane(0).add(Counter::Accepts, 1);
        // The address that was asked for, not the one that the connection came to: what gunicorn shows.
        let tls = protocols.tls.is_some();
        let connection = Arc::new(Connection::new(peer, listener.local().clone(), tls));
        if protocols.is_plain() {
            let served = serve_connection(socket, connection, service.clone(), &drain);
            here.serve(hold(served, place, peers.opened()));
        } else {
            let served = protocols.serve(socket, connection, service.clone(), &drain);
            here.serve(hold(served, place, peers.opened()));
        }
        here.step_aside().await;
    }
}

async fn hold(
    connection: impl Future<Output = ()>,
    place: Option<OwnedSemaphorePermit>,
    open: Open,
) {
    connection.await;
    drop((place, open));
}

fn wakeup() -> std::io::Result<AsyncFd<OwnedFd>> {
    register(signals::wakeup()?.0.try_clone()?)
}

/// Registers a descriptor with the runtime.
fn register<T: AsRawFd>(owner: T) -> std::io::Result<AsyncFd<T>> {
    // SAFETY: both kinds of owner that are registered here (a link, a descriptor) hold one descriptor, which they neither change nor
    // close before they are dropped.
    unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) }
        .map_err(std::io::Error::from)
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

/// As many open files as the system lets us have: a thousand idle connections are nothing unusual.
fn raise_open_files() {
    const ENOUGH: u64 = 65_536;
    let _ = supervisor::process::raise_open_files(Some(ENOUGH));
}

/// Runs what is registered for the end, and ends without taking the interpreter apart.
fn leave(py: Python<'_>, status: i32) -> PyResult<()> {
    py.import("atexit")?.call_method0("_run_exitfuncs")?;
    py.import("os")?.call_method1("_exit", (status,))?;
    Ok(())
}
