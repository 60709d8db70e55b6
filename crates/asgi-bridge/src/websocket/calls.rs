//! `receive` and `send` of a WebSocket.

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use wsgi_bridge::shared::borrow_text;

use super::frame::is_close_code;
use super::session::{Incoming, Refused, Session, Told};
use crate::awaitable::{Ready, Waiting};
use crate::message::{Head, Message, octets, read_fields};
use crate::waits::{Events, Room, Waits};

/// `receive()`.
#[pyclass(frozen, name = "receive", module = "viaduct")]
pub(crate) struct Receive(pub Arc<Session>);

#[pymethods]
impl Receive {
    fn __call__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if let Some(event) = Waits::event(&self.0, py)? {
            return Ok(Py::new(py, Ready::new(event))?.into_any());
        }
        let waiting = Waiting::new(self.0.core.home.clone(), Arc::new(Events(self.0.clone())));
        Ok(Py::new(py, waiting)?.into_any())
    }
}

/// `send(message)`.
#[pyclass(frozen, name = "send", module = "viaduct")]
pub(crate) struct Send(pub Arc<Session>);

#[pymethods]
impl Send {
    fn __call__(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.take(message)?;
        let core = &self.0.core;
        core.home.flush();
        if self.0.is_full() {
            let waiting = Waiting::new(core.home.clone(), Arc::new(Room(self.0.clone())));
            return Ok(Py::new(py, waiting)?.into_any());
        }
        Ok(core.done.clone_ref(py).into_any())
    }
}

impl Send {
    fn take(&self, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = message.py();
        let session = &self.0;
        let message = Message::new(message);
        let kind = message.kind()?;
        let done = match borrow_text(&kind)? {
            "websocket.send" => return self.send(&message, &kind),
            "websocket.accept" => {
                let mut head = Head::default();
                if let Some(headers) = message.get(intern!(py, "headers"))? {
                    read_fields(&headers, &mut head.fields)?;
                }
                let subprotocol = message.get(intern!(py, "subprotocol"))?;
                let subprotocol: Option<String> = subprotocol
                    .map(|subprotocol| subprotocol.extract())
                    .transpose()?;
                session.accept(head, subprotocol.as_deref())
            }
            "websocket.close" => {
                let code = message.get(intern!(py, "code"))?;
                let code: u16 = code.map_or(Ok(1000), |code| code.extract())?;
                if !is_close_code(code) {
                    return Err(PyValueError::new_err(format!(
                        "close code {code} cannot be sent"
                    )));
                }
                let reason = message.get(intern!(py, "reason"))?;
                let reason: String = reason.map_or(Ok(String::new()), |it| it.extract())?;
                session.close(code, &reason)
            }
            "websocket.http.response.start" => session.deny(message.head()?),
            "websocket.http.response.body" => {
                let more = message.flag(intern!(py, "more_body"))?;
                session.denial(&message.body()?, more)
            }
            _ => Err(Refused::OutOfTurn("a WebSocket has no such message")),
        };
        self.outcome(done, &kind)
    }

    fn send(&self, message: &Message<'_, '_>, kind: &Bound<'_, PyString>) -> PyResult<()> {
        let py = message.py();
        if let Some(text) = message.get(intern!(py, "text"))? {
            let text = text
                .cast_into::<PyString>()
                .map_err(|_| PyTypeError::new_err("text of websocket.send must be a str"))?;
            return self.outcome(self.0.send(true, borrow_text(&text)?.as_bytes()), kind);
        }
        let Some(content) = message.get(intern!(py, "bytes"))? else {
            return Err(PyValueError::new_err(
                "websocket.send needs \"text\" or \"bytes\"",
            ));
        };
        let sent = match content.cast::<PyBytes>() {
            Ok(bytes) => self.0.send(false, bytes.as_bytes()),
            Err(_) => self.0.send(false, &octets(&content)?),
        };
        self.outcome(sent, kind)
    }

    fn outcome(&self, done: Result<(), Refused>, kind: &Bound<'_, PyString>) -> PyResult<()> {
        match done {
            Ok(()) => Ok(()),
            Err(Refused::Gone) => Err(self.0.core.disconnect(kind.py(), "the WebSocket is closed")),
            Err(Refused::OutOfTurn(words)) => Err(PyRuntimeError::new_err(format!(
                "unexpected ASGI message {kind:?}: {words}"
            ))),
        }
    }
}

/// A message as `receive()` gives it.
fn event(py: Python<'_>, told: Told) -> PyResult<Py<PyAny>> {
    let event = PyDict::new(py);
    let kind = intern!(py, "type");
    match told {
        Told::Connect => event.set_item(kind, intern!(py, "websocket.connect"))?,
        Told::Message(message) => {
            event.set_item(kind, intern!(py, "websocket.receive"))?;
            match message {
                Incoming::Text(text) => event.set_item(intern!(py, "text"), text)?,
                Incoming::Binary(bytes) => {
                    event.set_item(intern!(py, "bytes"), PyBytes::new(py, &bytes))?;
                }
            }
        }
        Told::Disconnect(code, reason) => {
            event.set_item(kind, intern!(py, "websocket.disconnect"))?;
            event.set_item(intern!(py, "code"), code)?;
            event.set_item(intern!(py, "reason"), reason)?;
        }
    }
    Ok(event.into_any().unbind())
}

impl Waits for Session {
    fn event(self: &Arc<Self>, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.take().map(|told| event(py, told)).transpose()
    }

    fn is_full(&self) -> bool {
        Self::is_full(self)
    }

    fn await_event(&self, future: Py<PyAny>) {
        self.await_message(future);
    }

    fn await_room(&self, future: Py<PyAny>) {
        Self::await_room(self, future);
    }

    fn forget(&self, future: &Py<PyAny>) {
        Self::forget(self, future);
    }
}
