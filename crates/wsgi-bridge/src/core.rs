//! What all requests of a service share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple, PyType};

use crate::environ::Environs;
use crate::hooks::{Facts, Hooks};
use crate::input::Input;
use crate::outlet::Room;
use crate::policy::Policy;
use crate::settings::Settings;
use crate::start::EarlyHints;
use crate::starter::Starter;

/// The application, the settings, and what is made once.
pub(crate) struct Core {
    pub application: Py<PyAny>,
    pub settings: Settings,
    pub policy: Policy,
    pub hooks: Arc<dyn Hooks>,
    /// [`Hooks::surrounds`].
    pub surrounds: bool,
    /// One for each thread of the application: building an environ can start a garbage collection, and so anything, and a lock that
    /// two threads want while one of them waits for the other's GIL would stop both.
    environs: Vec<Mutex<Environs>>,
    /// `start_response` objects that nobody holds.
    spare: Mutex<Vec<Starter>>,
    room: Arc<Room>,
    list_iterator: Py<PyType>,
    tuple_iterator: Py<PyType>,
}

impl Core {
    /// `threads` is the number of threads that run the application.
    pub fn new(
        py: Python<'_>,
        application: Py<PyAny>,
        settings: Settings,
        hooks: Arc<dyn Hooks>,
        threads: usize,
    ) -> PyResult<Self> {
        let environs = (0..threads)
            .map(|_| Environs::new(py, &settings, threads > 1, hooks.clone()).map(Mutex::new))
            .collect::<PyResult<_>>()?;
        let room = Room {
            memory_bytes: settings.output_memory_bytes,
            spool_bytes: settings.output_spool_bytes,
            spool_dir: settings.spool_dir.clone(),
        };
        Ok(Self {
            room: Arc::new(room),
            application,
            policy: Policy::new(&settings),
            surrounds: hooks.surrounds(),
            settings,
            hooks,
            environs,
            spare: Mutex::default(),
            list_iterator: PyList::empty(py).try_iter()?.get_type().unbind(),
            tuple_iterator: PyTuple::empty(py).try_iter()?.get_type().unbind(),
        })
    }

    /// The environ of a request that thread `slot` serves.
    pub fn environ<'py>(
        &self,
        py: Python<'py>,
        slot: usize,
        facts: &Facts,
        input: Option<Py<Input>>,
        hints: &Py<EarlyHints>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut environs = self.environs[slot]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        environs.build(py, facts, &self.policy, input, hints)
    }

    /// Whether an iterator only hands out what is there already, without running the application's code.
    pub fn is_eager(&self, iterator: &Bound<'_, PyIterator>) -> bool {
        let kind = iterator.get_type();
        kind.is(&self.list_iterator) || kind.is(&self.tuple_iterator)
    }

    /// A `start_response` for a request.
    pub fn take_start(&self, py: Python<'_>) -> PyResult<Starter> {
        let spare = self.spare().pop();
        spare.map_or_else(|| Starter::new(py), Ok)
    }

    /// Takes it back when the application did not keep it.
    pub fn give_start_back(&self, _py: Python<'_>, start: Starter) {
        if start.is_free() {
            self.spare().push(start);
        }
    }

    /// The limits of content on its way out.
    pub fn room(&self) -> Arc<Room> {
        self.room.clone()
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Starter>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
