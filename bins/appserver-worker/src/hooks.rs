//! What a worker does around requests: the board that the master watches, the logs, and the hooks of the configuration file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_wire::Version;
use proxy_core::server::Address;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use supervisor::{Board, Counter};
use wsgi_bridge::{Done, Facts, Finished, Hooks, Level};

use crate::access::AccessLog;
use crate::peers::Peers;

/// Longest note about a running request.
const NOTE: usize = supervisor::board::NOTE_MAX;

/// See the module.
pub(crate) struct WorkerHooks {
    board: Arc<Board>,
    peers: Arc<Peers>,
    access: Option<Arc<AccessLog>>,
    /// `viaduct_worker.template`.
    python: Py<PyModule>,
    threshold: Level,
    surrounds: bool,
    requests: AtomicU64,
}

impl WorkerHooks {
    pub fn new(
        py: Python<'_>,
        board: Arc<Board>,
        peers: Arc<Peers>,
        access: Option<Arc<AccessLog>>,
        python: &Bound<'_, PyModule>,
        loglevel: &str,
    ) -> PyResult<Self> {
        let _ = py;
        let threshold = match loglevel.to_ascii_lowercase().as_str() {
            "debug" => Level::Debug,
            "warning" => Level::Warning,
            "error" => Level::Error,
            "critical" => Level::Critical,
            _ => Level::Info,
        };
        let surrounds = python.call_method0("surrounds")?.extract()?;
        Ok(Self {
            board,
            peers,
            access,
            python: python.clone().unbind(),
            threshold,
            surrounds,
            requests: AtomicU64::new(0),
        })
    }

    /// Requests that are over.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Hooks for WorkerHooks {
    fn log(&self, level: Level, message: &str) {
        if level < self.threshold {
            return;
        }
        let number = match level {
            Level::Debug => 10,
            Level::Info => 20,
            Level::Warning => 30,
            Level::Error => 40,
            Level::Critical => 50,
        };
        Python::attach(|py| {
            if let Err(error) = self.python.bind(py).call_method1("log", (number, message)) {
                error.write_unraisable(py, None);
            }
        });
    }

    fn output(&self, text: &str) {
        crate::logs::error().write(text.as_bytes());
    }

    fn raised(&self, py: Python<'_>, message: &str, error: &PyErr) {
        if let Err(error) = self
            .python
            .bind(py)
            .call_method1("log_exception", (message, with_traceback(py, error)))
        {
            error.write_unraisable(py, None);
        }
    }

    fn began(&self, slot: usize, facts: &Facts) {
        let (method, target) = (
            facts.head.method.as_str().as_bytes(),
            facts.head.target.as_bytes(),
        );
        let mut note = [b' '; NOTE];
        let length = method.len().min(NOTE);
        note[..length].copy_from_slice(&method[..length]);
        let start = (length + 1).min(NOTE);
        let rest = target.len().min(NOTE - start);
        note[start..start + rest].copy_from_slice(&target[..rest]);
        self.board.lane(slot).begin(&note[..start + rest]);
        self.peers.began();
    }

    fn ended(&self, slot: usize) {
        self.peers.ended();
        self.board.lane(slot).finish();
    }

    fn keeps_connection(&self) -> bool {
        !self.peers.has_too_many()
    }

    fn surrounds(&self) -> bool {
        self.surrounds
    }

    fn before(&self, py: Python<'_>, facts: &Facts) -> PyResult<Option<Py<PyAny>>> {
        let head = &facts.head;
        let latin1 = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|&byte| char::from(byte))
                .collect::<String>()
        };
        let version = (1, u8::from(head.version == Version::Http11));
        let scheme = if facts.secure { "https" } else { "http" };
        let peer = match &facts.connection.peer {
            Address::Inet(peer) => (peer.ip().to_string(), peer.port())
                .into_pyobject(py)?
                .into_any(),
            Address::Unix(_) => PyString::new(py, "").into_any(),
        };
        let request = (
            head.method.as_str(),
            latin1(head.target.as_bytes()),
            latin1(head.target.path()),
            latin1(head.target.query().unwrap_or_default()),
            version,
            scheme,
            peer,
            wsgi_bridge::headers(py, &head.fields)?,
        );
        Ok(Some(
            self.python
                .bind(py)
                .call_method1("before_request", request)?
                .unbind(),
        ))
    }

    fn after(
        &self,
        py: Python<'_>,
        _facts: &Facts,
        request: Option<Py<PyAny>>,
        done: &Done<'_, '_>,
    ) {
        let call = || -> PyResult<()> {
            let headers = match done.fields {
                Some(fields) => response_headers(py, fields)?,
                None => PyList::empty(py),
            };
            let status = format!(
                "{} {}",
                done.status.as_u16(),
                done.status.canonical_reason().unwrap_or_default()
            );
            let answer = (
                request,
                done.environ,
                status.trim_end(),
                done.status.as_u16(),
                headers,
                done.produced_bytes,
            );
            self.python
                .bind(py)
                .call_method1("after_request", answer)
                .map(drop)
        };
        if let Err(error) = call() {
            error.write_unraisable(py, None);
        }
    }

    fn finished(&self, finished: &Finished<'_>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.peers.answered();
        let lane = self.board.lane(0);
        lane.add(Counter::Requests, 1);
        if finished.status.is_server_error() {
            lane.add(Counter::Failed, 1);
        }
        if let Some(access) = &self.access {
            access.line(finished);
        }
    }
}

/// The exception as `sys.exc_info()` has it; pyo3 keeps the traceback beside the value.
fn with_traceback<'py>(
    py: Python<'py>,
    error: &PyErr,
) -> (
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Option<Bound<'py, PyAny>>,
) {
    let traceback = error.traceback(py).map(Bound::into_any);
    (
        error.get_type(py).into_any(),
        error.value(py).clone().into_any(),
        traceback,
    )
}

fn response_headers<'py>(
    py: Python<'py>,
    fields: &http_wire::Fields,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (name, value) in fields {
        let value: String = value.iter().map(|&byte| char::from(byte)).collect();
        list.append((name.as_str(), value))?;
    }
    Ok(list)
}
