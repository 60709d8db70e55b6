//! An ASGI application on a thread of its own, beside connections that another thread serves.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::Handle;
use wsgi_bridge::{Hooks, Level};

use crate::home::Home;
use crate::inbox::Inbox;
use crate::lifespan::{Lifespan, close_loop, new_loop};
use crate::service::AsgiService;
use crate::settings::Settings;

/// The loop of an ASGI application, on a thread of its own. Connections are served elsewhere, by a runtime of the caller's.
pub struct Beside {
    inbox: Arc<Inbox>,
    /// Hears nothing, but that the thread has ended.
    over: Mutex<mpsc::Receiver<()>>,
    patience: Duration,
}

/// What the application may take beyond the time for its shutdown, for tasks that end because they are cancelled.
const LAST_WORDS: Duration = Duration::from_secs(2);

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
        let (alive, over) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("asgi".to_owned());
        let thread = thread.spawn(move || {
            let _alive = alive;
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
        thread.map_err(|error| format!("a thread for the event loop: {error}"))?;
        let started = py.detach(move || started.recv());
        let (service, inbox) =
            started.map_err(|_| "the thread of the event loop ended".to_owned())??;
        let beside = Self {
            inbox,
            over: Mutex::new(over),
            patience: shutdown + LAST_WORDS,
        };
        Ok((beside, service))
    }

    /// Does something on the loop's thread, as soon as the loop comes to it.
    pub fn on_loop(&self, work: impl FnOnce() + Send + 'static) {
        self.inbox.put_off(Box::new(|_| work()));
    }

    /// Ends the application: what it still does is cancelled, and its lifespan ended. Waits for its thread, but not for ever: a loop
    /// that is blocked never comes to its end.
    pub fn end(&self, py: Python<'_>) {
        let event_loop = self.inbox.event_loop().clone_ref(py);
        self.inbox.put_off(Box::new(move |py| {
            let _ = event_loop.bind(py).call_method0("stop");
        }));
        py.detach(|| {
            let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = over.recv_timeout(self.patience);
        });
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
        let (event_loop, kind) = new_loop(py, &self.kind).map_err(words)?;
        let hooks = self.hooks.clone();
        if self.kind == "uvloop" && kind != "uvloop" {
            hooks.log(
                Level::Warning,
                "uvloop is not installed (asgi_loop = uvloop); falling back to asyncio",
            );
        }
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
    /// Says in which runtime connections are served, where that is not the loop's thread. To be called before the first request: what
    /// the application sends is passed on there.
    pub fn set_runtime(&self, runtime: Handle) {
        self.core().home.set_runtime(runtime);
    }
}
