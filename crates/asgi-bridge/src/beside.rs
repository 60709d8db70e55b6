//! An ASGI application on a thread of its own, beside connections that another thread serves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use tokio::runtime::Handle;
use wsgi_bridge::Hooks;

use crate::home::Home;
use crate::inbox::Inbox;
use crate::lifespan::{Lifespan, close_loop, new_loop};
use crate::service::AsgiService;
use crate::settings::Settings;

/// The loop of an ASGI application, on a thread of its own. Connections are served elsewhere, by a runtime of the caller's.
pub struct Beside {
    inbox: Arc<Inbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
    pulse: Arc<Pulse>,
}

/// When the loop last did what it was asked for.
struct Pulse {
    start: Instant,
    beat_ms: AtomicU64,
}

/// What the thread tells when it has started.
type Started = Result<(AsgiService, Arc<Inbox>), String>;

impl Beside {
    /// Starts the thread, the loop and the application. `kind` is that of the loop and `lifespan` the mode of the lifespan, as for
    /// [`new_loop`] and [`Lifespan`]; `shutdown` bounds the application's end.
    ///
    /// # Errors
    /// In words: the application cannot start.
    pub fn start(
        py: Python<'_>,
        application: Py<PyAny>,
        settings: Settings,
        hooks: Arc<dyn Hooks>,
        kind: String,
        lifespan: String,
        shutdown: Duration,
    ) -> Result<(Self, AsgiService), String> {
        let (told, started) = mpsc::channel::<Started>();
        let thread = std::thread::Builder::new().name("asgi".to_owned());
        let thread = thread.spawn(move || {
            Python::attach(|py| {
                let life = Life {
                    application,
                    settings,
                    hooks,
                    kind,
                    lifespan,
                    shutdown,
                };
                if let Err(words) = life.live(py, &told) {
                    let _ = told.send(Err(words));
                }
            });
        });
        let thread = thread.map_err(|error| format!("a thread for the event loop: {error}"))?;
        let started = py.detach(move || started.recv());
        let (service, inbox) =
            started.map_err(|_| "the thread of the event loop ended".to_owned())??;
        let beside = Self {
            inbox,
            thread: Mutex::new(Some(thread)),
            pulse: Arc::new(Pulse {
                start: Instant::now(),
                beat_ms: AtomicU64::new(0),
            }),
        };
        Ok((beside, service))
    }

    /// How long the loop has not come to what it is asked for each time this is called.
    pub fn silent_for(&self) -> Duration {
        let pulse = self.pulse.clone();
        let now = self.pulse.now_ms();
        let silent = now.saturating_sub(self.pulse.beat_ms.load(Ordering::Relaxed));
        self.inbox.errand(Box::new(move |_| {
            pulse.beat_ms.store(pulse.now_ms(), Ordering::Relaxed);
        }));
        Duration::from_millis(silent)
    }

    /// Ends the application and waits for its thread, if `wait`; without, the loop stops as soon as it can.
    pub fn end(&self, py: Python<'_>, wait: bool) {
        let event_loop = self.inbox.event_loop().clone_ref(py);
        self.inbox.errand(Box::new(move |py| {
            let _ = event_loop.bind(py).call_method0("stop");
        }));
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread.filter(|_| wait) {
            let _ = py.detach(|| thread.join());
        }
    }
}

impl Pulse {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What the thread lives with.
struct Life {
    application: Py<PyAny>,
    settings: Settings,
    hooks: Arc<dyn Hooks>,
    kind: String,
    lifespan: String,
    shutdown: Duration,
}

impl Life {
    fn live(self, py: Python<'_>, told: &mpsc::Sender<Started>) -> Result<(), String> {
        let words = |error: PyErr| error.to_string();
        let (event_loop, _) = new_loop(py, &self.kind).map_err(words)?;
        let hooks = self.hooks.clone();
        let lifespan = Lifespan::new(
            &event_loop,
            &self.application,
            &self.lifespan,
            hooks.clone(),
        )
        .map_err(words)?;
        lifespan.startup(py)?;
        let inbox = Inbox::new(&event_loop).map_err(words)?;
        let home = Arc::new(Home::There(inbox.clone(), std::sync::OnceLock::new()));
        let state = Some(lifespan.state(py).map_err(words)?);
        let service = AsgiService::at(py, self.application, self.settings, hooks, home, state)
            .map_err(words)?;
        let core = service.core();
        let _ = told.send(Ok((service, inbox.clone())));
        let run = event_loop.call_method0("run_forever");
        let mut outcomes = vec![run.map(drop)];
        for task in core.tasks.held(py) {
            let _ = task.bind(py).call_method0("cancel");
        }
        outcomes.push(lifespan.shutdown(py, self.shutdown));
        inbox.end(py);
        outcomes.push(close_loop(&event_loop));
        for error in outcomes.into_iter().filter_map(Result::err) {
            self.hooks
                .raised(py, "The event loop did not end well", &error);
        }
        Ok(())
    }
}

impl AsgiService {
    /// Says in which runtime connections are served, where that is not the loop's thread.
    pub fn set_runtime(&self, runtime: Handle) {
        self.core().home.set_runtime(runtime);
    }
}
