//! What the Python side calls: the module `viaduct_worker.native`.

use std::os::fd::{AsRawFd, RawFd};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::{logs, signals};

/// Makes the module and puts it where `import` finds it.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let module = PyModule::new(py, "viaduct_worker.native")?;
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add("HOOKS", appserver_protocol::HOOKS.to_vec())?;
    module.add_function(wrap_pyfunction!(write_log, &module)?)?;
    module.add_function(wrap_pyfunction!(log_descriptor, &module)?)?;
    module.add_function(wrap_pyfunction!(wakeup_descriptor, &module)?)?;
    module.add_function(wrap_pyfunction!(end_gracefully, &module)?)?;
    module.add_function(wrap_pyfunction!(end_quickly, &module)?)?;
    module.add_function(wrap_pyfunction!(reopen_logs, &module)?)?;
    py.import("sys")?
        .getattr("modules")?
        .set_item("viaduct_worker.native", module)
}

/// Text for the error log.
#[pyfunction]
fn write_log(text: &str) {
    logs::error().write(text.as_bytes());
}

/// The descriptor of the error log.
#[pyfunction]
fn log_descriptor() -> RawFd {
    logs::error().descriptor()
}

/// Where Python tells of signals.
#[pyfunction]
fn wakeup_descriptor() -> PyResult<RawFd> {
    Ok(signals::wakeup()?.1.as_raw_fd())
}

/// A signal handler: TERM.
#[pyfunction]
#[pyo3(signature = (*_arguments))]
fn end_gracefully(_arguments: &Bound<'_, PyTuple>) {
    signals::ask(signals::GRACEFUL);
}

/// The worker is to end at once, with this exit status.
#[pyfunction]
fn end_quickly(status: i32) {
    signals::ask(if status == 0 {
        signals::QUICK
    } else {
        signals::ABORTED
    });
}

/// A signal handler: USR1.
#[pyfunction]
#[pyo3(signature = (*_arguments))]
fn reopen_logs(_arguments: &Bound<'_, PyTuple>) {
    signals::ask(signals::REOPEN);
}
