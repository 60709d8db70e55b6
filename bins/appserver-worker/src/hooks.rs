//! What a worker does around requests: the board that the master watches, the logs, and the hooks of the configuration file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use appserver_protocol::tally;
use http_wire::Version;
use proxy_core::server::{Address, Connection};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use supervisor::{Board, Counter};
use wsgi_bridge::{Done, Facts, Finished, Hooks, Level};

use crate::access::{AccessLog, Format};
use crate::peers::Peers;
use crate::reports::{Reports, reports};
use crate::room::Room;
use crate::signals;

/// Longest note about a running request.
const NOTE: usize = supervisor::board::NOTE_MAX;

/// See the module.
pub(crate) struct WorkerHooks {
    board: Arc<Board>,
    peers: Arc<Peers>,
    room: Option<Arc<Room>>,
    access: Option<Arc<AccessLog>>,
    /// `viaduct_worker.template`.
    python: Py<PyModule>,
    /// Python's logging is to write lines: of errors, of requests.
    python_errors: bool,
    python_requests: bool,
    notes_queue_time: bool,
    counts: bool,
    surrounds: bool,
    requests: AtomicU64,
    /// As many wake the watch.
    most: OnceLock<u64>,
}

impl WorkerHooks {
    pub fn new(
        board: Arc<Board>,
        peers: Arc<Peers>,
        room: Option<Arc<Room>>,
        access: Option<Arc<AccessLog>>,
        python: &Bound<'_, PyModule>,
        counts: bool,
    ) -> PyResult<Self> {
        let (errors, requests): (bool, bool) = python.call_method0("way_of_lines")?.extract()?;
        let surrounds = python.call_method0("surrounds")?.extract()?;
        let format = access.as_ref().map(|access| access.format());
        Ok(Self {
            board,
            notes_queue_time: counts || format.is_some_and(Format::needs_queue_time),
            counts,
            // Python makes these lines itself then.
            access: access.filter(|_| requests),
            peers,
            room,
            python: python.clone().unbind(),
            python_errors: !errors,
            python_requests: !requests,
            surrounds,
            requests: AtomicU64::new(0),
            most: OnceLock::new(),
        })
    }

    /// Has the watch look at once when so many requests are over, not with its next beat.
    pub fn wake_after(&self, requests: u64) {
        let _ = self.most.set(requests);
    }

    /// Requests that are over.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Hooks for WorkerHooks {
    fn log(&self, level: Level, message: &str) {
        let level = reported(level);
        let Some(reports) = reports() else { return };
        if level < reports.threshold() && !self.python_errors {
            return;
        }
        if !self.python_errors {
            return reports.line(level, message);
        }
        Python::attach(|py| {
            let line = (level.number(), message);
            if let Err(error) = self.python.bind(py).call_method1("log", line) {
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
        if self.notes_queue_time {
            facts.note_queue_time();
        }
        self.peers.began();
    }

    fn ended(&self, slot: usize) {
        self.peers.ended();
        self.board.lane(slot).finish();
    }

    fn keeps_connection(&self) -> bool {
        !self.peers.has_too_many() && !self.room.as_ref().is_some_and(|room| room.is_short())
    }

    fn surrounds(&self) -> bool {
        self.surrounds
    }

    fn before(&self, py: Python<'_>, facts: &Facts) -> PyResult<Option<Py<PyAny>>> {
        let arguments = request(py, facts)?;
        let request = self
            .python
            .bind(py)
            .call_method1("before_request", arguments)?;
        if request.getattr("must_close")?.is_truthy()? {
            facts.end_connection();
        }
        Ok(Some(request.unbind()))
    }

    fn amend(
        &self,
        py: Python<'_>,
        request: &Py<PyAny>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let request = request.bind(py);
        if request.getattr("came")?.is_none() {
            return Ok(());
        }
        self.python
            .bind(py)
            .call_method1("amend_environ", (request, environ))
            .map(drop)
    }

    fn after(
        &self,
        py: Python<'_>,
        facts: &Facts,
        request: Option<Py<PyAny>>,
        done: &Done<'_, '_>,
    ) {
        let call = || -> PyResult<()> {
            let answer = (
                request,
                done.environ,
                facts.received.elapsed().as_micros() as u64,
                status_line(done.status),
                done.status.as_u16(),
                response_headers(py, done.fields)?,
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
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        if self.most.get() == Some(&(before + 1)) {
            signals::ask(signals::SERVED);
        }
        self.peers.answered();
        let lane = self.board.lane(0);
        lane.add(Counter::Requests, 1);
        if finished.status.is_server_error() {
            lane.add(Counter::Failed, 1);
        }
        if self.counts {
            self.count(finished);
        }
        if let Some(access) = &self.access {
            access.line(finished);
        }
        if let Some(statsd) = reports().and_then(Reports::statsd) {
            statsd.request(finished.status.as_u16(), finished.took());
        }
        // What the application had to do with was logged when it was done.
        if self.python_requests && !matches!(finished.environ.first(), Some(Some(_))) {
            Python::attach(|py| {
                if let Err(error) = self.log_refused(py, finished) {
                    error.write_unraisable(py, None);
                }
            });
        }
    }
}

impl WorkerHooks {
    fn log_refused(&self, py: Python<'_>, finished: &Finished<'_>) -> PyResult<()> {
        let arguments = (
            request(py, finished.facts)?,
            finished.took().as_micros() as u64,
            status_line(finished.status),
            finished.status.as_u16(),
            response_headers(py, finished.fields)?,
            finished.content_bytes,
        );
        let python = self.python.bind(py);
        python.call_method1("refused_request", arguments).map(drop)
    }

    /// Counts a request for the metrics.
    fn count(&self, finished: &Finished<'_>) {
        let lane = self.board.lane(0);
        let took = finished.took().as_micros() as u64;
        lane.tally(tally::LATENCY + tally::bucket(&tally::LATENCY_US, took), 1);
        lane.tally(tally::LATENCY_SUM, took);
        let waited = finished.facts.queue_us();
        if waited > 0 {
            lane.tally(tally::QUEUE + tally::bucket(&tally::QUEUE_US, waited), 1);
            lane.tally(tally::QUEUE_SUM, waited);
        }
        let kind = usize::from(finished.status.as_u16() / 100);
        if (1..=tally::STATUS_KINDS).contains(&kind) {
            lane.tally(tally::STATUS + kind - 1, 1);
        }
    }

    /// Does Python's logging write the lines of requests?
    pub fn python_requests(&self) -> bool {
        self.python_requests
    }
}

fn reported(level: Level) -> appserver_reports::Level {
    match level {
        Level::Debug => appserver_reports::Level::Debug,
        Level::Info => appserver_reports::Level::Info,
        Level::Warning => appserver_reports::Level::Warning,
        Level::Error => appserver_reports::Level::Error,
        Level::Critical => appserver_reports::Level::Critical,
    }
}

fn status_line(status: http::StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("{} {reason}", status.as_u16())
        .trim_end()
        .to_owned()
}

/// The arguments of Python's `Request`.
fn request<'py>(py: Python<'py>, facts: &Facts) -> PyResult<Bound<'py, PyTuple>> {
    let head = &facts.head;
    let latin1 = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|&byte| char::from(byte))
            .collect::<String>()
    };
    let version = match head.version {
        Version::Http10 => (1, 0),
        Version::Http11 => (1, 1),
        Version::Http2 => (2, 0),
    };
    let scheme = if facts.secure { "https" } else { "http" };
    let connection = &facts.connection;
    (
        head.method.as_str(),
        latin1(head.target.as_bytes()),
        latin1(head.target.path()),
        latin1(head.target.query().unwrap_or_default()),
        version,
        scheme,
        (
            address(py, &connection.peer)?,
            address(py, connection.client())?,
            proxy_protocol_info(py, connection)?,
            facts.ordinal,
        ),
        wsgi_bridge::headers(py, &head.fields)?,
    )
        .into_pyobject(py)
}

/// An address as Python has it: host and port, or the empty text for a unix socket.
fn address<'py>(py: Python<'py>, address: &Address) -> PyResult<Bound<'py, PyAny>> {
    match address {
        Address::Inet(peer) => Ok((peer.ip().to_string(), peer.port())
            .into_pyobject(py)?
            .into_any()),
        Address::Unix(_) => Ok(PyString::new(py, "").into_any()),
    }
}

/// What a gateway said by the PROXY protocol, under gunicorn's names.
fn proxy_protocol_info<'py>(
    py: Python<'py>,
    connection: &Connection,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(proxied) = &connection.proxied else {
        return Ok(None);
    };
    let client = match proxied.client {
        Some(Address::Inet(client)) => Some(client),
        _ => None,
    };
    let told = PyDict::new(py);
    told.set_item("proxy_protocol", proxied.protocol)?;
    for (names, address) in [
        (["client_addr", "client_port"], client),
        (["proxy_addr", "proxy_port"], proxied.destination),
    ] {
        told.set_item(names[0], address.map(|address| address.ip().to_string()))?;
        told.set_item(names[1], address.map(|address| address.port()))?;
    }
    Ok(Some(told))
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
    fields: Option<&http_wire::Fields>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (name, value) in fields.into_iter().flatten() {
        let value: String = value.iter().map(|&byte| char::from(byte)).collect();
        list.append((name.as_str(), value))?;
    }
    Ok(list)
}
