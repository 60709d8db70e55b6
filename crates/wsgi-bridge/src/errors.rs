//! `wsgi.errors`: a text file whose lines go to the error log.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::hooks::Hooks;

/// The stream that applications print their troubles to.
#[pyclass(frozen, name = "Errors", module = "viaduct")]
pub(crate) struct Errors {
    hooks: Arc<dyn Hooks>,
}

impl Errors {
    pub fn new(hooks: Arc<dyn Hooks>) -> Self {
        Self { hooks }
    }
}

#[pymethods]
impl Errors {
    fn write(&self, text: &Bound<'_, PyString>) -> PyResult<usize> {
        self.hooks.output(&text.to_string_lossy());
        text.len()
    }

    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(line?.cast::<PyString>()?)?;
        }
        Ok(())
    }

    fn flush(&self) {}

    fn close(&self) {}

    fn isatty(&self) -> bool {
        false
    }

    fn readable(&self) -> bool {
        false
    }

    fn writable(&self) -> bool {
        true
    }

    #[getter]
    fn closed(&self) -> bool {
        false
    }

    #[getter]
    fn encoding(&self) -> &'static str {
        "utf-8"
    }

    #[getter]
    fn errors(&self) -> &'static str {
        "backslashreplace"
    }
}
