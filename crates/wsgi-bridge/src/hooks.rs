//! Where a service tells what happens: logs, watchers, and Python code around each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use http_wire::fields::Fields;
use http_wire::head::RequestHead;
use proxy_core::server::{Connection, Sent};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::trailers::Trailers;

/// How much a line of the error log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// What goes on.
    Info,
    /// A request was refused, or something will go wrong.
    Warning,
    /// A request failed.
    Error,
    /// The server is at stake.
    Critical,
}

impl Level {
    /// `DEBUG` … `CRITICAL`, as Python's logging spells them.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

/// What the owner of a service wants to know and add. Every method has an empty default but [`Hooks::log`].
///
/// Methods with a `py` run on the thread that runs the application; the others may run on any thread, attached to Python or not,
/// and must not block.
pub trait Hooks: Send + Sync + 'static {
    /// A line (or several) for the error log.
    fn log(&self, level: Level, message: &str);

    /// Text that the application wrote to `wsgi.errors`.
    fn output(&self, text: &str) {
        self.log(Level::Error, text.trim_end());
    }

    /// The application (or a hook) raised: `message` says during what. Default: logs both with the traceback.
    fn raised(&self, py: Python<'_>, message: &str, error: &PyErr) {
        self.log(
            Level::Error,
            &format!("{message}\n{}", traceback(py, error)),
        );
    }

    /// The application takes over; `slot` is the number of its thread, 0 where there is one.
    fn began(&self, slot: usize, facts: &Facts) {
        let _ = (slot, facts);
    }

    /// The application has given control back: it returned, or waits for the client between two items.
    fn ended(&self, slot: usize) {
        let _ = slot;
    }

    /// Whether a connection may be kept after a response. Asked for each response that would keep it. Default true.
    fn keeps_connection(&self) -> bool {
        true
    }

    /// Whether [`Hooks::before`] and [`Hooks::after`] do something.
    fn surrounds(&self) -> bool {
        false
    }

    /// Before the application is called (gunicorn's `pre_request`). What it returns is given to [`Hooks::after`].
    ///
    /// # Errors
    /// Whatever it raises answers the request with 500.
    fn before(&self, py: Python<'_>, facts: &Facts) -> PyResult<Option<Py<PyAny>>> {
        let _ = (py, facts);
        Ok(None)
    }

    /// What [`Hooks::before`] has returned may have changed what the application is to be told.
    ///
    /// # Errors
    /// Whatever it raises answers the request with 500.
    fn amend(
        &self,
        py: Python<'_>,
        request: &Py<PyAny>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let _ = (py, request, environ);
        Ok(())
    }

    /// After the application is done with a request (gunicorn's `post_request`).
    fn after(
        &self,
        py: Python<'_>,
        facts: &Facts,
        request: Option<Py<PyAny>>,
        done: &Done<'_, '_>,
    ) {
        let _ = (py, facts, request, done);
    }

    /// The response was sent, or could not be: time for a line in the access log.
    fn finished(&self, finished: &Finished<'_>) {
        let _ = finished;
    }
}

/// What is known of a request from its head.
#[derive(Debug)]
pub struct Facts {
    /// Method, target, version and fields.
    pub head: RequestHead,
    /// The connection that it came by.
    pub connection: Arc<Connection>,
    /// How many requests the connection has carried, this one included.
    pub ordinal: u64,
    /// When its first byte was read.
    pub received: Instant,
    /// Whether `wsgi.url_scheme` is `https`.
    pub secure: bool,
    /// Whether the peer is believed.
    pub trusted: bool,
    /// Whether a believed peer gave the `SCRIPT_NAME`.
    pub script_told: bool,
    /// For whoever measures how long the application was waited for, in microseconds; 0 until somebody writes it
    /// ([`Facts::note_queue_time`]).
    pub queued_us: AtomicU64,
    /// Whether the connection ends with this request, whatever the client asked for ([`Facts::end_connection`]).
    pub ends_connection: AtomicBool,
    /// What follows the content of the response, where the protocol is HTTP/2.
    pub trailers: Option<Trailers>,
}

impl Facts {
    /// The application takes over now. Called from [`Hooks::began`] where somebody wants to know.
    pub fn note_queue_time(&self) {
        let waited = self.received.elapsed().as_micros() as u64;
        self.queued_us.store(waited.max(1), Ordering::Relaxed);
    }

    /// The connection is to end with the response. Called from [`Hooks::before`] (gunicorn's `req.force_close()`).
    pub fn end_connection(&self) {
        self.ends_connection.store(true, Ordering::Relaxed);
    }

    /// Has somebody called [`Facts::end_connection`]?
    pub fn ends_connection(&self) -> bool {
        self.ends_connection.load(Ordering::Relaxed)
    }

    /// Microseconds from the first byte to the application; 0 where nobody noted it, or it was not called.
    pub fn queue_us(&self) -> u64 {
        self.queued_us.load(Ordering::Relaxed)
    }
}

/// What the application made of a request.
pub struct Done<'a, 'py> {
    /// The environ, as the application left it; `None` where the application's interface has none (ASGI).
    pub environ: Option<&'a Bound<'py, PyDict>>,
    /// The status; 500 where it failed before it gave one.
    pub status: StatusCode,
    /// Bytes of content that it produced.
    pub produced_bytes: u64,
    /// The response's fields, where [`Settings::log_fields`](crate::Settings::log_fields) is set.
    pub fields: Option<&'a Fields>,
}

/// A request that is over.
#[derive(Debug)]
pub struct Finished<'a> {
    /// The request.
    pub facts: &'a Facts,
    /// The status of the response.
    pub status: StatusCode,
    /// Bytes of content sent, without framing.
    pub content_bytes: u64,
    /// The values of [`Settings::log_environ`](crate::Settings::log_environ), in that order.
    pub environ: &'a [Option<String>],
    /// The response's fields, where [`Settings::log_fields`](crate::Settings::log_fields) is set.
    pub fields: Option<&'a Fields>,
    /// What became of the response.
    pub sent: &'a Sent,
}

impl Finished<'_> {
    /// From the first byte of the request to the end of the response.
    pub fn took(&self) -> Duration {
        self.facts.received.elapsed()
    }
}

/// A traceback as Python prints it, without the last line end.
pub fn traceback(py: Python<'_>, error: &PyErr) -> String {
    let format = || -> PyResult<String> {
        let value = error.value(py);
        let lines = py.import("traceback")?.call_method1(
            "format_exception",
            (value.get_type(), value, error.traceback(py)),
        )?;
        pyo3::types::PyString::new(py, "")
            .call_method1("join", (lines,))?
            .extract()
    };
    format().map_or_else(|_| error.to_string(), |text| text.trim_end().to_owned())
}
