//! `receive` and `send` of an HTTP request.

use std::fs::File;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use http::StatusCode;
use http_wire::fields::Fields;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use static_files::FileBody;
use wsgi_bridge::shared::borrow_text;

use crate::awaitable::{Ready, Waiting};
use crate::exchange::Exchange;
use crate::message::{Message, octets, read_fields};
use crate::outgoing::Piece;
use crate::waits::{Events, Room, Waits};

/// `receive()`.
#[pyclass(frozen, name = "receive", module = "viaduct")]
pub(crate) struct Receive(pub Arc<Exchange>);

#[pymethods]
impl Receive {
    fn __call__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if let Some(event) = self.0.event(py)? {
            return Ok(Py::new(py, Ready::new(event))?.into_any());
        }
        let waiting = Waiting::new(self.0.core.home.clone(), Arc::new(Events(self.0.clone())));
        Ok(Py::new(py, waiting)?.into_any())
    }
}

/// `send(message)`.
#[pyclass(frozen, name = "send", module = "viaduct")]
pub(crate) struct Send(pub Arc<Exchange>);

#[pymethods]
impl Send {
    fn __call__(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let more = self.take(message)?;
        let core = &self.0.core;
        core.home.flush();
        if more && self.0.is_full() {
            let waiting = Waiting::new(core.home.clone(), Arc::new(Room(self.0.clone())));
            return Ok(Py::new(py, waiting)?.into_any());
        }
        Ok(core.done.clone_ref(py).into_any())
    }
}

impl Send {
    /// Takes a message; true when content may follow it.
    fn take(&self, message: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = message.py();
        let exchange = &self.0;
        let message = Message::new(message);
        let kind = message.kind()?;
        let out_of_turn = |words: &str| {
            PyRuntimeError::new_err(format!("unexpected ASGI message {kind:?}: {words}"))
        };
        let kind = borrow_text(&kind)?;
        let more = || message.flag(intern!(py, "more_body"));
        if exchange.is_deaf() {
            return Ok(false);
        }
        let out_of_turn: &dyn Fn(&'static str) -> PyErr = &out_of_turn;
        match kind {
            "http.response.start" => exchange.start(message.head()?).map_err(out_of_turn)?,
            "http.response.body" => {
                let (piece, more) = (Piece::Bytes(message.body()?), more()?);
                exchange.content(piece, more).map_err(out_of_turn)?;
                return Ok(more);
            }
            "http.response.pathsend" => {
                let piece = Piece::File(whole_file(&message.need(intern!(py, "path"))?)?);
                exchange.content(piece, false).map_err(out_of_turn)?;
            }
            "http.response.zerocopysend" => {
                let (piece, more) = (Piece::File(part_of_file(&message)?), more()?);
                exchange.content(piece, more).map_err(out_of_turn)?;
                return Ok(more);
            }
            "http.response.trailers" => {
                let mut fields = Fields::default();
                if let Some(headers) = message.get(intern!(py, "headers"))? {
                    read_fields(&headers, &mut fields)?;
                }
                let more = message.flag(intern!(py, "more_trailers"))?;
                exchange.trailers(&fields, more).map_err(out_of_turn)?;
            }
            "http.response.early_hint" => {
                let mut fields = Fields::default();
                for link in message.need(intern!(py, "links"))?.try_iter()? {
                    fields
                        .append("Link", octets(&link?)?)
                        .map_err(|error| PyValueError::new_err(error.to_string()))?;
                }
                exchange.hint(StatusCode::EARLY_HINTS, &fields);
            }
            "http.response.informational" => {
                let status: u16 = message.need(intern!(py, "status"))?.extract()?;
                let status = StatusCode::from_u16(status)
                    .map_err(|error| PyValueError::new_err(error.to_string()))?;
                let mut fields = Fields::default();
                if let Some(headers) = message.get(intern!(py, "headers"))? {
                    read_fields(&headers, &mut fields)?;
                }
                exchange.hint(status, &fields);
            }
            _ => return Err(out_of_turn("an HTTP response has no such message")),
        }
        Ok(false)
    }
}

/// The file of `http.response.pathsend`.
fn whole_file(path: &Bound<'_, PyAny>) -> PyResult<FileBody> {
    let path: std::path::PathBuf = path.extract()?;
    let file = File::open(&path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(PyOSError::new_err(format!(
            "{} is no regular file",
            path.display()
        )));
    }
    Ok(FileBody::new(file, 0, facts.len()))
}

/// The part of a file of `http.response.zerocopysend`: a descriptor or a file object, from its position or `offset` on.
fn part_of_file(message: &Message<'_, '_>) -> PyResult<FileBody> {
    let file = message.need(intern!(message.py(), "file"))?;
    let py = file.py();
    let number: RawFd = match file.extract() {
        Ok(number) => number,
        Err(_) => file
            .call_method0(intern!(py, "fileno"))?
            .extract()
            .map_err(|_| PyTypeError::new_err("file must be a file or a descriptor"))?,
    };
    if number < 0 {
        return Err(PyValueError::new_err("file is no descriptor"));
    }
    // SAFETY: the application's descriptor is open while it sends; it is only duplicated here. A wrong number is an error.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let own = rustix::io::dup(borrowed).map_err(std::io::Error::from)?;
    let offset: Option<u64> = message
        .get(intern!(py, "offset"))?
        .map(|offset| offset.extract())
        .transpose()?;
    let count: Option<u64> = message
        .get(intern!(py, "count"))?
        .map(|count| count.extract())
        .transpose()?;
    let offset = match offset {
        Some(offset) => offset,
        None => rustix::fs::tell(&own).map_err(std::io::Error::from)?,
    };
    let file = File::from(own);
    // A file that cannot be read at a place cannot be sent by the kernel either.
    file.read_at(&mut [0; 1], offset)?;
    let left = file.metadata()?.len().saturating_sub(offset);
    let length = count.map_or(left, |count| count.min(left));
    Ok(FileBody::new(file, offset, length))
}
