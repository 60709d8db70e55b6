//! What the Python side calls: the module `viaduct_worker.native`.

use std::os::fd::{AsRawFd, RawFd};

use appserver_protocol::{FromTemplate, Settings};
use appserver_reports::Level;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::reports::{Reports, reports};
use crate::{immortal, logs, signals, voice};

/// Makes the module and puts it where `import` finds it.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let module = PyModule::new(py, "viaduct_worker.native")?;
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add("HOOKS", appserver_protocol::HOOKS.to_vec())?;
    let defaults = appserver_protocol::WorkerSettings::default();
    module.add("ACCESS_LOG_FORMAT", defaults.access_log_format)?;
    module.add_function(wrap_pyfunction!(write_log, &module)?)?;
    module.add_function(wrap_pyfunction!(write_access, &module)?)?;
    module.add_function(wrap_pyfunction!(count, &module)?)?;
    module.add_function(wrap_pyfunction!(metric, &module)?)?;
    module.add_function(wrap_pyfunction!(log_descriptor, &module)?)?;
    module.add_function(wrap_pyfunction!(wakeup_descriptor, &module)?)?;
    module.add_function(wrap_pyfunction!(end_gracefully, &module)?)?;
    module.add_function(wrap_pyfunction!(end_quickly, &module)?)?;
    module.add_function(wrap_pyfunction!(is_ending, &module)?)?;
    module.add_function(wrap_pyfunction!(set_workers, &module)?)?;
    module.add_function(wrap_pyfunction!(check_setting, &module)?)?;
    module.add_function(wrap_pyfunction!(reopen_logs, &module)?)?;
    module.add_function(wrap_pyfunction!(set_title, &module)?)?;
    module.add_function(wrap_pyfunction!(retire, &module)?)?;
    module.add_function(wrap_pyfunction!(keep_shared, &module)?)?;
    py.import("sys")?
        .getattr("modules")?
        .set_item("viaduct_worker.native", module)
}

/// A line for the error log: the number of its level, the line as it goes to a file, and the message alone.
#[pyfunction]
fn write_log(level: i64, line: &str, message: &str) {
    logs::error().write(line.as_bytes());
    if let Some(reports) = reports() {
        reports.to_syslog(Level::of_number(level), message);
    }
}

/// A line for the access log.
#[pyfunction]
fn write_access(line: &str) {
    crate::reports::write_access(line);
}

/// One more of something, for StatsD.
#[pyfunction]
fn count(name: &str) {
    if let Some(statsd) = reports().and_then(Reports::statsd) {
        statsd.increment(name, 1);
    }
}

/// A metric of the application's own, for StatsD.
#[pyfunction]
fn metric(kind: &str, name: &str, value: &str) {
    let Some(statsd) = reports().and_then(Reports::statsd) else {
        return;
    };
    match kind {
        "gauge" => statsd.gauge(name, value),
        "counter" => statsd.counter(name, value),
        "histogram" => statsd.histogram(name, value),
        "timer" => statsd.timer(name, value),
        _ => {}
    }
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

/// Does the worker say its last words? Nothing that the application does is left to be broken off.
#[pyfunction]
fn is_ending() -> bool {
    signals::last_words_have_begun()
}

/// The master is to have as many workers from now on.
#[pyfunction]
fn set_workers(number: u32) -> PyResult<()> {
    voice::say(&FromTemplate::Workers { number })
        .map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// Is this, in JSON, a value that a worker can read?
#[pyfunction]
fn check_setting(name: String, value: &str) -> PyResult<()> {
    let value =
        serde_json::from_str(value).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let changed = Settings([(name, value)].into_iter().collect());
    let settings = changed.worker().map_err(|error| error.to_string());
    settings
        .and_then(|settings| crate::template::check_values(&settings))
        .map_err(PyValueError::new_err)
}

/// The worker is to be replaced: it finishes what it has begun, and goes.
#[pyfunction]
fn retire() {
    signals::ask(signals::RETIRE);
}

/// Names this process. Where that can't be done, it is called as it was before.
#[pyfunction]
fn set_title(title: &str) {
    let _ = supervisor::title::set_title(title);
}

/// A signal handler: USR1.
#[pyfunction]
#[pyo3(signature = (*_arguments))]
fn reopen_logs(_arguments: &Bound<'_, PyTuple>) {
    signals::ask(signals::REOPEN);
}

/// Keeps what is alive from being written to by whoever looks at it. Gives what was done, in words.
#[pyfunction]
fn keep_shared(py: Python<'_>) -> PyResult<String> {
    Ok(match immortal::make_immortal(py)? {
        Ok(objects) => format!("{objects} objects are immortal: workers share them"),
        Err(reason) => format!("no objects are made immortal: {reason}"),
    })
}
