//! One call of the application: from the request's facts to the first bytes of the response, and the iteration that gives the rest.
//!
//! Knows nothing of how the response is sent; [`crate::inline`] and [`crate::pool`] do.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::Method;
use proxy_core::body::BodyError;
use proxy_core::server::Interim;
use pyo3::exceptions::{PyAssertionError, PyStopIteration};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple};
use static_files::FileBody;

use crate::answer::{Answer, Route, Shared};
use crate::content::Collected;
use crate::core::Core;
use crate::environ;
use crate::file_wrapper::{self, FileWrapper};
use crate::handover::Offer;
use crate::hooks::{Done, Facts, Level};
use crate::input::Input;
use crate::outlet::Outlet;
use crate::piece::bytes_of;
use crate::response_head::Head;
use crate::starter::Starter;

/// Content up to this size is gathered before it is sent, where that costs the application nothing.
const GATHERED: usize = 1 << 20;

/// What the application's call came to.
pub(crate) enum Begun {
    /// The application is done, and this is its response.
    Whole(Head, Whole),
    /// It has begun; [`Call::next`] gives what follows. `None` where the head went out by `write()` already.
    More(Option<Head>, Bytes),
    /// It failed, and nothing was sent: 500.
    Failed,
    /// It failed after content had been given to `write()`, which is in the outlet; the head is there unless it went out.
    Broken(Option<Head>, Arc<Outlet>),
}

/// Content that is complete.
pub(crate) enum Whole {
    Bytes(Bytes),
    File(FileBody),
    /// The response has none, and what its length would have been is not known (HEAD).
    Unknown,
}

/// A request in the hands of the application.
pub(crate) struct Call {
    pub facts: Arc<Facts>,
    pub answer: Shared,
    slot: usize,
    start: Option<Starter>,
    environ: Option<Py<PyDict>>,
    /// What [`Hooks::before`](crate::Hooks::before) returned.
    surrounding: Option<Py<PyAny>>,
    iterable: Option<Py<PyAny>>,
    iterator: Option<Py<PyIterator>>,
    /// The iterator only hands out what is there already.
    pub eager: bool,
    failed: bool,
    finished: bool,
    /// The environ has a socket that the application may have taken.
    offered: bool,
    logged: Option<Arc<Logged>>,
}

impl Call {
    /// Calls the application.
    #[expect(clippy::too_many_arguments, reason = "each comes from another place")]
    pub fn begin(
        core: &Core,
        py: Python<'_>,
        facts: Arc<Facts>,
        input: Option<Collected>,
        logged: Option<Arc<Logged>>,
        slot: usize,
        route: Route,
        interim: Interim,
        offer: Option<Offer>,
    ) -> (Self, Begun) {
        let mut call = Self {
            facts,
            answer: Shared::default(),
            slot,
            start: None,
            environ: None,
            surrounding: None,
            iterable: None,
            iterator: None,
            eager: false,
            failed: false,
            finished: false,
            offered: offer.is_some(),
            logged,
        };
        core.hooks.began(slot, &call.facts);
        let begun = match call.run(core, py, input, route, interim, offer) {
            Ok(begun) => begun,
            Err(error) => call.fail(core, py, &error),
        };
        if !matches!(begun, Begun::More(..)) {
            call.finish(core, py);
        }
        core.hooks.ended(slot);
        (call, begun)
    }

    fn run(
        &mut self,
        core: &Core,
        py: Python<'_>,
        input: Option<Collected>,
        route: Route,
        interim: Interim,
        offer: Option<Offer>,
    ) -> PyResult<Begun> {
        let start = self.start.insert(core.take_start(py)?);
        self.answer = start.state().answer().clone();
        self.answer.lock().reset(
            self.facts.head.method == Method::HEAD,
            core.settings.log_fields,
            route,
            Some(interim),
        );
        if core.surrounds {
            self.surrounding = core.hooks.before(py, &self.facts)?;
        }
        let input = input
            .map(|content| Py::new(py, Input::new(content)?))
            .transpose()?;
        let environ = core.environ(py, self.slot, &self.facts, input, start.state().hints())?;
        if let Some(request) = &self.surrounding {
            core.hooks.amend(py, request, &environ)?;
        }
        if let Some(offer) = offer {
            offer.put(&environ, self.slot)?;
        }
        let application = core.application.as_ptr();
        let (environ, callable) = (self.environ.insert(environ.unbind()), start.callable());
        // SAFETY: all three are live objects that we hold references to; the arguments end with null. The result is a new
        // reference, or null with an exception set.
        let result = unsafe {
            let result = ffi::PyObject_CallFunctionObjArgs(
                application,
                environ.as_ptr(),
                callable.as_ptr(),
                std::ptr::null_mut::<ffi::PyObject>(),
            );
            Bound::from_owned_ptr_or_err(py, result)?
        };
        self.take_result(core, py, result)
    }

    /// Looks at what the application returned.
    fn take_result(
        &mut self,
        core: &Core,
        py: Python<'_>,
        result: Bound<'_, PyAny>,
    ) -> PyResult<Begun> {
        if let Ok(list) = result.cast_exact::<PyList>()
            && let Some(begun) = self.take_items(core, list.iter())?
        {
            return Ok(begun);
        }
        if let Ok(tuple) = result.cast_exact::<PyTuple>()
            && let Some(begun) = self.take_items(core, tuple.iter())?
        {
            return Ok(begun);
        }
        let written = self.answer.lock().outlet.is_some();
        self.iterable = Some(result.clone().unbind());
        if !written
            && core.settings.sendfile
            && let Ok(wrapper) = result.cast::<FileWrapper>()
            && let Some(begun) = self.take_file(wrapper)?
        {
            return Ok(begun);
        }
        let iterator = result.try_iter()?;
        self.eager = core.is_eager(&iterator);
        self.iterator = Some(iterator.unbind());
        if written {
            // Content is on its way already; there is no need to wait for an item.
            return Ok(self.more(Bytes::new()));
        }
        let Some(first) = self.next_item(py)? else {
            let written = self.answer.lock().outlet.is_some();
            return if written {
                Ok(self.more(Bytes::new()))
            } else {
                self.whole(core, &mut self.answer.lock(), Bytes::new())
            };
        };
        if self.eager {
            self.gather(core, py, first)
        } else {
            Ok(self.more(first))
        }
    }

    fn more(&mut self, first: Bytes) -> Begun {
        let mut answer = self.answer.lock();
        answer.committed |= !first.is_empty();
        Begun::More(answer.head.take(), first)
    }

    /// The rest of an iterator that only hands out what is there, unless that is much.
    fn gather(&mut self, core: &Core, py: Python<'_>, first: Bytes) -> PyResult<Begun> {
        let mut joined = BytesMut::new();
        while first.len() + joined.len() < GATHERED {
            let Some(next) = self.next_item(py)? else {
                let content = if joined.is_empty() {
                    first
                } else {
                    join(&first, joined)
                };
                return self.whole(core, &mut self.answer.lock(), content);
            };
            joined.extend_from_slice(&next);
        }
        Ok(self.more(if joined.is_empty() {
            first
        } else {
            join(&first, joined)
        }))
    }

    /// A list or tuple: everything is there. `None` when content was written before; the items then follow it.
    fn take_items<'py>(
        &mut self,
        core: &Core,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
    ) -> PyResult<Option<Begun>> {
        let mut content = Bytes::new();
        let mut joined = BytesMut::new();
        for item in items {
            let piece = bytes_of(&item)?;
            if content.is_empty() {
                content = piece;
            } else {
                joined.extend_from_slice(&piece);
            }
        }
        if !joined.is_empty() {
            content = join(&content, joined);
        }
        let mut answer = self.answer.lock();
        if answer.outlet.is_some() {
            return Ok(None);
        }
        if answer.started && !answer.without_content {
            content = answer.admit(content).unwrap_or_default();
        }
        self.whole(core, &mut answer, content).map(Some)
    }

    /// A wrapped file that the kernel can send. The application's file is closed at once: we have a descriptor of our own.
    fn take_file(&mut self, wrapper: &Bound<'_, FileWrapper>) -> PyResult<Option<Begun>> {
        let (started, left) = {
            let answer = self.answer.lock();
            (answer.started, answer.left)
        };
        if !started {
            return Err(not_started());
        }
        let Some(body) = file_wrapper::body(wrapper, left) else {
            return Ok(None);
        };
        let mut answer = self.answer.lock();
        let Some(head) = answer.head.take() else {
            return Ok(None);
        };
        answer.committed = true;
        if !answer.without_content {
            answer.produced = body.len();
        }
        if answer.without_content && self.facts.head.method != Method::HEAD {
            return Ok(Some(Begun::Whole(head, Whole::Unknown)));
        }
        // A file that is shorter than promised is noticed, and the connection cut, when it is sent.
        Ok(Some(Begun::Whole(head, Whole::File(body))))
    }

    /// The response when all of its content is known, and admitted.
    fn whole(&self, core: &Core, answer: &mut Answer, content: Bytes) -> PyResult<Begun> {
        if !answer.started {
            return Err(not_started());
        }
        answer.committed = true;
        let Some(head) = answer.head.take() else {
            return Ok(Begun::More(None, Bytes::new()));
        };
        if answer.without_content {
            let is_head = self.facts.head.method == Method::HEAD;
            let told = is_head && !content.is_empty() && head.content_length.is_none();
            let whole = if told {
                Whole::Bytes(content)
            } else {
                Whole::Unknown
            };
            return Ok(Begun::Whole(head, whole));
        }
        let missing = answer.missing();
        if missing > 0 {
            // The connection notices and is cut, so that the client does too.
            self.complain(core, &short(missing).to_string());
        }
        Ok(Begun::Whole(head, Whole::Bytes(content)))
    }

    /// The next item that is not empty, cut to `Content-Length`; `None` at the end.
    fn next_item(&mut self, py: Python<'_>) -> PyResult<Option<Bytes>> {
        let Some(iterator) = &self.iterator else {
            return Ok(None);
        };
        let iterator = iterator.bind(py).clone();
        for item in iterator {
            let piece = bytes_of(&item?)?;
            if piece.is_empty() {
                continue;
            }
            let mut answer = self.answer.lock();
            if !answer.started {
                return Err(not_started());
            }
            if answer.without_content {
                return Ok(None);
            }
            if let Some(piece) = answer.admit(piece) {
                return Ok(Some(piece));
            }
        }
        self.iterator = None;
        Ok(None)
    }

    /// The next piece of content after [`Begun::More`]; `None` when the application is done.
    ///
    /// # Errors
    /// The content breaks off: the application raised (which has been logged), or gave less than it promised.
    pub fn next(&mut self, core: &Core, py: Python<'_>) -> Result<Option<Bytes>, BodyError> {
        core.hooks.began(self.slot, &self.facts);
        let item = self.next_item(py);
        let next = match item {
            Ok(Some(piece)) => Ok(Some(piece)),
            Ok(None) => match self.answer.lock().missing() {
                0 => Ok(None),
                missing => Err(short(missing)),
            },
            Err(error) => {
                self.fail(core, py, &error);
                Err(raised())
            }
        };
        if let Err(error @ BodyError::Incomplete(_)) = &next
            && !self.failed
        {
            self.complain(core, &error.to_string());
        }
        if !matches!(next, Ok(Some(_))) {
            self.finish(core, py);
        }
        core.hooks.ended(self.slot);
        next
    }

    /// Logs an exception and says what becomes of the response.
    fn fail(&mut self, core: &Core, py: Python<'_>, error: &PyErr) -> Begun {
        self.failed = true;
        if self.offered && error.is_instance_of::<PyStopIteration>(py) {
            // How simple-websocket says that it has done without a response.
            self.answer.lock().status = http::StatusCode::SWITCHING_PROTOCOLS;
            return Begun::Failed;
        }
        let head = &self.facts.head;
        core.hooks.raised(
            py,
            &format!("Error handling request {} {}", head.method, head.target),
            error,
        );
        let mut answer = self.answer.lock();
        if let Some(outlet) = &answer.outlet {
            outlet.finish(Err(raised()));
            let outlet = outlet.clone();
            return Begun::Broken(answer.head.take(), outlet);
        }
        if !answer.committed {
            answer.status = http::StatusCode::INTERNAL_SERVER_ERROR;
        }
        Begun::Failed
    }

    fn complain(&self, core: &Core, what: &str) {
        let head = &self.facts.head;
        core.hooks.log(
            Level::Error,
            &format!("{} {}: {what}", head.method, head.target),
        );
    }

    /// Calls `close()` of what the application returned, whatever happened, and lets go of everything. Can be called again.
    pub fn finish(&mut self, core: &Core, py: Python<'_>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.iterator = None;
        if let Some(iterable) = self.iterable.take()
            && let Err(error) = close(iterable.bind(py))
        {
            let head = &self.facts.head;
            core.hooks.raised(
                py,
                &format!(
                    "Error closing the response to {} {}",
                    head.method, head.target
                ),
                &error,
            );
        }
        let environ = self.environ.take();
        if let Some(environ) = &environ {
            if let Some(logged) = &self.logged {
                logged.set(environ::values(
                    environ.bind(py),
                    &core.settings.log_environ,
                ));
            }
            if core.surrounds {
                let answer = self.answer.lock();
                let (status, produced_bytes) = (answer.status, answer.produced);
                let fields = answer.fields.clone();
                drop(answer);
                let done = Done {
                    environ: Some(environ.bind(py)),
                    status,
                    produced_bytes,
                    fields: fields.as_deref(),
                };
                core.hooks
                    .after(py, &self.facts, self.surrounding.take(), &done);
            }
        }
        drop(environ);
        self.answer.lock().close();
        if let Some(start) = self.start.take() {
            core.give_start_back(py, start);
        }
    }

    /// The client is gone: ends the iteration.
    pub fn abandon(&mut self, core: &Core, py: Python<'_>) {
        if !self.finished {
            core.hooks.began(self.slot, &self.facts);
            self.finish(core, py);
            core.hooks.ended(self.slot);
        }
    }

    /// Environ values for the access log; they are there when the application is done.
    pub fn logged(&self) -> Option<Arc<Logged>> {
        self.logged.clone()
    }
}

/// Environ values for the access log.
#[derive(Default)]
pub(crate) struct Logged(Mutex<Vec<Option<String>>>);

impl Logged {
    pub fn get(&self) -> Vec<Option<String>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, values: Vec<Option<String>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = values;
    }
}

fn close(iterable: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Some(close) = iterable.getattr_opt(pyo3::intern!(iterable.py(), "close"))? {
        close.call0()?;
    }
    Ok(())
}

fn join(first: &Bytes, rest: BytesMut) -> Bytes {
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(first);
    whole.extend_from_slice(&rest);
    whole.freeze()
}

fn raised() -> BodyError {
    BodyError::Incomplete("the application raised while it made the content".to_owned())
}

fn short(missing: u64) -> BodyError {
    BodyError::Incomplete(format!(
        "the application gave {missing} bytes less than its Content-Length"
    ))
}

fn not_started() -> PyErr {
    PyAssertionError::new_err("the application returned content without calling start_response()")
}
