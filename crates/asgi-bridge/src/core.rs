//! What all requests of a service share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use wsgi_bridge::shared::Policy;
use wsgi_bridge::{Facts, Hooks};

use crate::awaitable::Done;
use crate::buffers::Buffers;
use crate::home::Home;
use crate::scope::Scopes;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::websocket::{Deflate, Session};

/// The application, the settings, and what is made once.
pub(crate) struct Core {
    pub application: Py<PyAny>,
    pub settings: Settings,
    pub policy: Policy,
    pub hooks: Arc<dyn Hooks>,
    /// [`Hooks::surrounds`].
    pub surrounds: bool,
    pub home: Arc<Home>,
    pub tasks: Tasks,
    pub done: Py<Done>,
    /// Of WebSockets.
    pub buffers: Buffers,
    /// What is raised by a `send()` that nobody will ever get.
    pub disconnected: Py<PyAny>,
    scopes: Mutex<Scopes>,
    deflate: Mutex<Deflate>,
    sessions: Mutex<HashMap<usize, Weak<Session>>>,
}

impl Core {
    pub fn new(
        py: Python<'_>,
        application: Py<PyAny>,
        settings: Settings,
        hooks: Arc<dyn Hooks>,
        home: Arc<Home>,
        state: Option<Py<PyDict>>,
    ) -> PyResult<Self> {
        let tasks = Tasks::new(py, home.event_loop())?;
        let bases = (
            py.get_type::<pyo3::exceptions::PyOSError>(),
            py.get_type::<pyo3::exceptions::PyRuntimeError>(),
        );
        let namespace = PyDict::new(py);
        namespace.set_item("__module__", "viaduct")?;
        namespace.set_item("__doc__", "The client is gone.")?;
        let disconnected =
            py.get_type::<pyo3::types::PyType>()
                .call1(("ClientDisconnected", bases, namespace))?;
        Ok(Self {
            application,
            policy: Policy::new(&settings.http),
            buffers: Buffers::default(),
            deflate: Mutex::default(),
            sessions: Mutex::default(),
            scopes: Mutex::new(Scopes::new(py, &settings, state)?),
            settings,
            surrounds: hooks.surrounds(),
            hooks,
            home,
            tasks,
            done: Py::new(py, Done)?,
            disconnected: disconnected.unbind(),
        })
    }

    pub fn http_scope<'py>(&self, py: Python<'py>, facts: &Facts) -> PyResult<Bound<'py, PyDict>> {
        self.scopes().http(py, facts, &self.policy)
    }

    pub fn websocket_scope<'py>(
        &self,
        py: Python<'py>,
        facts: &Facts,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.scopes().websocket(py, facts, &self.policy)
    }

    /// Whether an exception says no more than that the client is gone.
    pub fn is_disconnect(&self, py: Python<'_>, error: &PyErr) -> bool {
        error
            .matches(py, self.disconnected.bind(py))
            .unwrap_or(false)
    }

    /// What to raise when the client is gone.
    pub fn disconnect(&self, py: Python<'_>, words: &'static str) -> PyErr {
        match self.disconnected.bind(py).call1((words,)) {
            Ok(value) => PyErr::from_value(value),
            Err(error) => error,
        }
    }

    /// What packs and unpacks the messages of WebSockets.
    pub fn deflate(&self) -> MutexGuard<'_, Deflate> {
        self.deflate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The WebSockets that there are.
    pub fn sessions(&self) -> MutexGuard<'_, HashMap<usize, Weak<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Only the loop's thread makes scopes, and making them calls no code of the application's.
    fn scopes(&self) -> MutexGuard<'_, Scopes> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
