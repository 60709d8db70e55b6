//! A worker whose application speaks ASGI: an event loop, and the connections on its thread.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use appserver_protocol::{WorkerSettings, exit};
use asgi_bridge::{AsgiService, Lifespan, Reactor, Settings, close_loop, new_loop};
use proxy_core::server::Address;
use pyo3::prelude::*;
use supervisor::Link;
use wsgi_bridge::{Hooks, Level};

use crate::hooks::WorkerHooks;
use crate::signals;
use crate::worker::{Application, Failure, Place, Worker};

/// The loop that the application is imported under.
pub(crate) struct EventLoop {
    inner: Py<PyAny>,
    /// What it is.
    kind: String,
}

impl EventLoop {
    pub fn new(py: Python<'_>, settings: &WorkerSettings) -> Result<Self, Failure> {
        let (inner, kind) = new_loop(py, &settings.asgi_loop)?;
        Ok(Self {
            inner: inner.unbind(),
            kind,
        })
    }
}

/// An ASGI application that has started.
pub(crate) struct Asgi {
    service: Arc<AsgiService>,
    reactor: Arc<Reactor>,
    lifespan: Lifespan,
}

impl Asgi {
    /// Starts an application.
    ///
    /// # Errors
    /// It cannot start.
    pub fn start(
        py: Python<'_>,
        application: Py<PyAny>,
        http: wsgi_bridge::Settings,
        settings: &WorkerSettings,
        hooks: &Arc<WorkerHooks>,
        event_loop: EventLoop,
        flush: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let EventLoop { inner, kind } = event_loop;
        if settings.asgi_loop == "uvloop" && kind != "uvloop" {
            hooks.log(
                Level::Warning,
                "uvloop is not installed (asgi_loop = uvloop); falling back to asyncio",
            );
        }
        hooks.log(Level::Debug, &format!("Using {kind} event loop"));
        let lifespan = Lifespan::new(
            inner.bind(py),
            &application,
            &settings.asgi_lifespan,
            hooks.clone(),
        )?;
        lifespan.startup(py).map_err(|message| {
            hooks.log(Level::Error, &message);
            Failure {
                exit: exit::WORKER_BOOT,
                message,
            }
        })?;
        let reactor = Reactor::new(py, inner, flush)?;
        let service = AsgiService::new(
            py,
            application,
            translate(settings, http, hooks),
            hooks.clone(),
            &reactor,
            Some(lifespan.state(py)?),
        )?;
        Ok(Self {
            service: Arc::new(service),
            reactor,
            lifespan,
        })
    }

    /// Serves until told to end; the result is the exit status.
    pub fn serve(
        self,
        py: Python<'_>,
        worker: Worker,
        link: Link,
        listeners: Vec<OwnedFd>,
    ) -> PyResult<i32> {
        let worker = Arc::new(worker);
        let place = Place::Loop(self.reactor.clone());
        let living = {
            let (worker, service) = (worker.clone(), self.service.clone());
            async move { worker.live(service, place, link, listeners).await }
        };
        let status = match self.reactor.run_until(py, living) {
            Ok(Some(status)) => status?,
            Ok(None) => exit::NORMAL,
            // A handler of a signal ended the loop.
            Err(error) => asked_for().ok_or(error)?,
        };
        self.service.cancel(py);
        let quickly = asked_for().is_some();
        if !quickly {
            let patience = Duration::from_secs(worker.settings.graceful_timeout);
            worker.without_beats(|| self.lifespan.shutdown(py, patience))?;
        }
        self.reactor.end(py);
        let closed = close_loop(self.reactor.event_loop().bind(py));
        if let Err(error) = closed {
            worker
                .hooks
                .raised(py, "The event loop did not end well", &error);
        }
        if let Some(access) = &worker.access {
            access.flush();
        }
        Ok(status)
    }
}

/// The exit status that a signal asked for, which does not wait.
pub(crate) fn asked_for() -> Option<i32> {
    let asked = signals::asked();
    if asked & signals::ABORTED != 0 {
        return Some(exit::ABORTED);
    }
    (asked & signals::QUICK != 0).then_some(exit::NORMAL)
}

impl Application for AsgiService {
    const SHOWS_LISTENER: bool = false;

    async fn ready(&self, _at_most: Duration) {}

    fn trusts(&self, peer: &Address) -> bool {
        Self::trusts(self, peer)
    }

    fn part(&self) {
        Self::part(self);
    }

    async fn over(&self) {
        self.ended().await;
    }
}

/// From gunicorn's settings to those of the bridge.
pub(crate) fn translate(
    worker: &WorkerSettings,
    mut http: wsgi_bridge::Settings,
    hooks: &WorkerHooks,
) -> Settings {
    if hooks.python_requests() {
        // Python's logger has not seen these requests: it is given them when they are over.
        http.log_environ.clear();
        http.log_fields = true;
    }
    let seconds = |seconds: u64| (seconds > 0).then(|| Duration::from_secs(seconds));
    let message_bytes = usize::try_from(worker.websocket_max_message_size).unwrap_or(usize::MAX);
    Settings {
        http,
        root_path: worker.root_path.clone(),
        root_path_in_path: worker.is_uvicorn(),
        forwarded_client: worker.is_uvicorn(),
        disconnect_grace: (!worker.is_uvicorn())
            .then(|| Duration::from_secs(worker.asgi_disconnect_grace_period)),
        message_bytes_max: (message_bytes > 0).then_some(message_bytes),
        ping_interval: seconds(worker.ws_ping_interval),
        ping_timeout: seconds(worker.ws_ping_timeout),
        ..Settings::default()
    }
}
