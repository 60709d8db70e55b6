//! PEP 3333 between HTTP and Python: a WSGI application as a [`proxy_core::server::Service`].
//!
//! ```text
//! connection ─► Request ─► policy ─► content taken in ─► environ ─► application ─► start_response, items ─► Response
//!                (scheme, peers,     (memory or file)     (template)                  (checked, framed)
//!                 forwarders)
//! ```
//!
//! - [`WsgiService`] answers; [`Settings`] say how; [`Hooks`] hear of it: logs, watchers, Python code around each request.
//! - With one thread the application runs on the connection's own thread, with the GIL held except while the runtime is parked
//!   ([`share_thread`]); with more, on Python threads beside it.
//! - [`embedded`] starts Python in a program of one's own; [`proxy_core::tower::Handler`] makes the service one of tower's, for axum,
//!   hyper and others. `examples/axum_django` shows both.
//!
//! The rules are gunicorn's wherever an application or a client can tell, so that applications need no change. Where they are
//! better, or cannot be the same:
//!
//! - `SERVER_SOFTWARE` is what the settings say. There is no `gunicorn.socket`: the connection belongs to another thread or task.
//! - The application is called when the content of its request is complete. So `wsgi.input` never waits and never ends early;
//!   content that breaks off, or is badly chunked, is answered (400) without the application.
//! - Chunked content has its length in `CONTENT_LENGTH` too, which is known by then: Django reads nothing without it.
//! - A list or tuple is sent with `Content-Length`; only what is made bit by bit is chunked.
//! - `start_response` with `exc_info` replaces status and headers as long as nothing was sent; an application that never calls it,
//!   or gives an interim status, is answered with 500.
//! - Content shorter than its `Content-Length` cuts the connection, so that nobody takes the next response for the rest of it.
//! - Transfer codings other than `chunked` are refused (501); gunicorn lets `gzip, chunked` through, still compressed.
//! - `close()` of a wrapped file's iterable is called as soon as the file has been taken over, before it is sent.
//! - What follows the last item of a HEAD request's iterable is not iterated, only closed.

mod answer;
mod call;
mod content;
mod core;
pub mod embedded;
mod environ;
mod errors;
mod file_wrapper;
mod gil;
mod handover;
mod hooks;
mod inline;
mod input;
mod names;
mod outlet;
mod page;
mod piece;
mod policy;
mod pool;
mod reception;
mod response_head;
mod service;
mod settings;
mod spool;
mod start;
mod starter;
mod text;
mod trailers;

pub use environ::{headers, percent_decoded};
pub use gil::{attached, share_thread};
pub use hooks::{Done, Facts, Finished, Hooks, Level, traceback};
pub use service::{Record, WsgiService};
pub use settings::{HeadSizes, HeaderMap, NotAPeer, Settings, Trusted, limits};
pub use trailers::Trailers;

/// What a bridge for another interface shares with this one: the rules about requests, the answers to those that break them, and
/// Python's texts and bytes.
pub mod shared {
    pub use crate::page::{error as error_page, peer_text};
    pub use crate::piece::bytes_of;
    pub use crate::policy::{Objection, Policy};
    pub use crate::reception::{METHODS, log_invalid, log_trouble, receive, refuse, unstated};
    pub use crate::response_head::is_field_text;
    pub use crate::text::{append_latin1, borrow as borrow_text, latin1};
}

#[cfg(test)]
mod tests {
    use pyo3::prelude::*;

    /// Runs with Python, on whatever thread.
    pub(crate) fn with_python<T>(f: impl for<'py> FnOnce(Python<'py>) -> T) -> T {
        Python::initialize();
        Python::attach(f)
    }

    /// Whether an object equals the value of an expression.
    pub(crate) fn py_eq(object: &Bound<'_, PyAny>, expression: &std::ffi::CStr) -> bool {
        let expected = object.py().eval(expression, None, None).expect("evaluates");
        object.eq(expected).expect("compares")
    }
}
