//! An HTTP request in the hands of the application: what `receive()` gives and `send()` takes.
//!
//! ```text
//! content ─► incoming ─► receive()                                  send() ─► held head ─► answer ─► connection
//!    (read when asked for)   http.disconnect: client left,                        outgoing ─► body ─┘
//!                            or response complete                   (waits while 64 KiB are under way)
//! ```
//!
//! The head of a response waits for its first content, so that both leave together; where the application waits in between, the head
//! goes alone.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::Frame;
use http_wire::fields::Fields;
use proxy_core::body::BodyError;
use proxy_core::server::{Content, ContentError, Interim};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use static_files::FileBody;
use wsgi_bridge::shared::log_invalid;
use wsgi_bridge::{Facts, Level};

use crate::awaitable::forget;
use crate::call::{self, Conversation, Progress, lock};
use crate::core::Core;
use crate::incoming::{Incoming, Next, pump};
use crate::message::Head;
use crate::outgoing::{Outgoing, Piece};
use crate::surrounded::Surrounded;
use crate::waits::Waits;

/// See the module.
pub(crate) struct Exchange {
    pub core: Arc<Core>,
    pub facts: Arc<Facts>,
    pub interim: Interim,
    state: Mutex<State>,
    progress: Mutex<Progress>,
}

struct State {
    incoming: Incoming,
    response: Phase,
    outgoing: Outgoing,
    /// The client has left.
    gone: bool,
    answer: Option<Answer>,
    /// Who waits for the answer.
    server: Option<Waker>,
    /// Who takes the content.
    reader: Option<Waker>,
    /// Futures of those who wait in `receive()`.
    receivers: Vec<Py<PyAny>>,
    /// Futures of those who wait in `send()`.
    senders: Vec<Py<PyAny>>,
    /// For the hooks around the call, where there are some.
    surrounded: Option<Box<Surrounded>>,
}

/// How far the application is with its response.
enum Phase {
    /// No `http.response.start` yet.
    Silent,
    /// Its head waits for content.
    Held(Head),
    /// Content follows; then trailers, perhaps.
    Streams { trailers: bool },
    /// The content is complete; trailers follow.
    Trailers(HeaderMap),
    /// That was all.
    Complete,
}

/// What the connection is to send.
pub(crate) enum Answer {
    /// All of it.
    Whole(Head, Bytes),
    /// A file.
    File(Head, FileBody),
    /// A head; the content comes by [`Exchange::poll_frame`].
    Stream(Head),
    /// A head without content, whatever the application sends.
    Bare(Head),
    /// A page of ours.
    Page(StatusCode),
}

impl Exchange {
    pub fn new(
        core: Arc<Core>,
        facts: Arc<Facts>,
        content: Content,
        interim: Interim,
    ) -> Arc<Self> {
        Arc::new(Self {
            core,
            facts,
            interim,
            state: Mutex::new(State {
                incoming: Incoming::Here(content),
                response: Phase::Silent,
                outgoing: Outgoing::default(),
                gone: false,
                answer: None,
                server: None,
                reader: None,
                receivers: Vec::new(),
                senders: Vec::new(),
                surrounded: None,
            }),
            progress: Mutex::default(),
        })
    }

    /// What to answer, once.
    pub fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.state();
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.server = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The client has left. Tells the application.
    pub fn leave(self: &Arc<Self>) {
        let mut state = self.state();
        if std::mem::replace(&mut state.gone, true) {
            return;
        }
        let complete = matches!(state.response, Phase::Complete);
        state.outgoing.abandon();
        state.incoming.stop();
        let waiting = state.everybody();
        drop(state);
        self.core.home.resolve(waiting);
        if !complete {
            call::cancel_later(self);
        }
    }

    /// Bytes of content that the connection took.
    pub fn delivered_bytes(&self) -> u64 {
        self.state().outgoing.delivered_bytes()
    }

    /// `http.response.start`.
    pub fn start(self: &Arc<Self>, head: Head) -> Result<(), &'static str> {
        let mut state = self.state();
        match state.response {
            Phase::Silent => {}
            _ => return Err("http.response.start was sent already"),
        }
        if let Some(surrounded) = &mut state.surrounded {
            surrounded.started(&head);
        }
        state.response = Phase::Held(head);
        drop(state);
        if !self.core.home.in_turn() {
            // Not in the first step, whose end is noticed otherwise.
            let this = self.clone();
            self.core.home.soon(move || this.release());
        }
        Ok(())
    }

    /// `http.response.body`, and what takes its place.
    pub fn content(&self, piece: Piece, more: bool) -> Result<(), &'static str> {
        let mut state = self.state();
        let bytes = piece.len();
        let response = std::mem::replace(&mut state.response, Phase::Complete);
        match response {
            Phase::Silent => {
                state.response = Phase::Silent;
                return Err("http.response.start was not sent yet");
            }
            Phase::Held(head) if !more && !head.trailers => {
                state.answer = Some(match piece {
                    Piece::Bytes(bytes) => Answer::Whole(head, bytes),
                    Piece::File(file) => Answer::File(head, file),
                });
            }
            Phase::Held(head) => {
                state.stream(head, &self.facts);
                state.put(piece, more);
            }
            Phase::Streams { trailers } => {
                state.response = Phase::Streams { trailers };
                state.put(piece, more);
            }
            Phase::Trailers(trailers) => {
                state.response = Phase::Trailers(trailers);
                return Err("the content is complete already");
            }
            Phase::Complete => return Err("the response is complete already"),
        }
        if let Some(surrounded) = &mut state.surrounded {
            surrounded.produced_bytes += bytes;
        }
        self.told(state);
        Ok(())
    }

    /// `http.response.trailers`.
    pub fn trailers(&self, fields: &Fields, more: bool) -> Result<(), &'static str> {
        let mut state = self.state();
        let Phase::Trailers(trailers) = &mut state.response else {
            return Err("http.response.trailers needs a head with trailers, and complete content");
        };
        for (name, value) in fields {
            let name = http::HeaderName::from_bytes(name.as_bytes());
            let value = http::HeaderValue::from_bytes(value);
            if let (Ok(name), Ok(value)) = (name, value) {
                trailers.append(name, value);
            }
        }
        if !more {
            let trailers = std::mem::take(trailers);
            state.outgoing.finish(Ok(Some(trailers)));
            state.response = Phase::Complete;
        }
        self.told(state);
        Ok(())
    }

    /// Lets a head go without content.
    fn release(&self) {
        let mut state = self.state();
        if !matches!(state.response, Phase::Held(_)) {
            return;
        }
        if let Phase::Held(head) = std::mem::replace(&mut state.response, Phase::Complete) {
            state.stream(head, &self.facts);
        }
        self.told(state);
    }

    /// Wakes whom a change concerns.
    fn told(&self, mut state: MutexGuard<'_, State>) {
        let server = if state.answer.is_some() {
            state.server.take()
        } else {
            None
        };
        let reader = state.reader.take();
        let mut receivers = Vec::new();
        if matches!(state.response, Phase::Complete) {
            receivers = std::mem::take(&mut state.receivers);
            state.incoming.stop();
        }
        drop(state);
        server.into_iter().chain(reader).for_each(Waker::wake);
        self.core.home.resolve(receivers);
    }

    /// Whether what is sent goes nowhere.
    pub fn is_deaf(&self) -> bool {
        self.state().gone
    }

    /// Sends an interim response.
    pub fn hint(&self, status: StatusCode, fields: &Fields) {
        if matches!(self.state().response, Phase::Silent) {
            self.interim.send(status, fields);
        }
    }

    /// The content of the request failed: for the application, the client has left.
    pub fn fail(self: &Arc<Self>, error: &ContentError) {
        let level = match error {
            ContentError::ClientGone { .. } => Level::Debug,
            _ => Level::Warning,
        };
        log_invalid(&*self.core.hooks, level, &self.facts.connection, error);
        {
            let mut state = self.state();
            if let (Some(status), Phase::Silent) = (error.status(), &state.response) {
                state.response = Phase::Complete;
                state.answer = Some(Answer::Page(status));
                return self.told(state);
            }
        }
        self.leave();
    }

    /// A job has read more of the request.
    pub fn pumped(&self, piece: Option<Bytes>, ended: bool) {
        let mut state = self.state();
        state.incoming.add(piece, ended);
        let receivers = std::mem::take(&mut state.receivers);
        drop(state);
        self.core.home.resolve(receivers);
    }

    /// Looks at the content of the request.
    pub fn incoming<T>(&self, look: impl FnOnce(&mut Incoming) -> T) -> T {
        look(&mut self.state().incoming)
    }

    /// The next frame of the response's content.
    pub fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.state();
        let before = state.outgoing.is_full();
        let next = state.outgoing.poll(cx);
        if next.is_pending() {
            state.reader = Some(cx.waker().clone());
        }
        let senders = if before && !state.outgoing.is_full() {
            std::mem::take(&mut state.senders)
        } else {
            Vec::new()
        };
        drop(state);
        self.core.home.resolve(senders);
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Waits for Exchange {
    fn event(self: &Arc<Self>, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let mut state = self.state();
        if state.gone || matches!(state.response, Phase::Complete) {
            drop(state);
            return disconnect(py).map(Some);
        }
        let (bytes, more) = match state.incoming.next() {
            Next::Bytes(bytes, more) => (bytes, more),
            Next::Nothing => return Ok(None),
            Next::Pump(content) => {
                drop(state);
                self.core.home.spawn(pump(self.clone(), content));
                return Ok(None);
            }
            Next::Failed(error) => {
                drop(state);
                self.fail(&error);
                return disconnect(py).map(Some);
            }
        };
        drop(state);
        let event = PyDict::new(py);
        event.set_item(pyo3::intern!(py, "type"), pyo3::intern!(py, "http.request"))?;
        event.set_item(
            pyo3::intern!(py, "body"),
            pyo3::types::PyBytes::new(py, &bytes),
        )?;
        event.set_item(pyo3::intern!(py, "more_body"), more)?;
        Ok(Some(event.into_any().unbind()))
    }

    fn is_full(&self) -> bool {
        let state = self.state();
        !state.gone && state.outgoing.is_full()
    }

    fn await_event(&self, future: Py<PyAny>) {
        self.state().receivers.push(future);
    }

    fn await_room(&self, future: Py<PyAny>) {
        self.state().senders.push(future);
    }

    fn forget(&self, future: &Py<PyAny>) {
        let mut state = self.state();
        let receiver = forget(&mut state.receivers, future);
        let sender = forget(&mut state.senders, future);
        drop(state);
        drop((receiver, sender));
    }
}

impl Conversation for Exchange {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    fn scope<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.core.http_scope(py, &self.facts)
    }

    fn over(self: Arc<Self>, _raised: bool) {
        let mut state = self.state();
        match std::mem::replace(&mut state.response, Phase::Complete) {
            // Nothing was sent yet: a page says more than a connection that ends.
            Phase::Silent | Phase::Held(_) => {
                state.answer = Some(Answer::Page(StatusCode::INTERNAL_SERVER_ERROR));
            }
            Phase::Streams { .. } | Phase::Trailers(_) => {
                let cut = BodyError::Incomplete("the application ended before it".to_owned());
                state.outgoing.finish(Err(cut));
            }
            Phase::Complete => {}
        }
        self.told(state);
    }

    fn unfinished(&self) -> Option<&'static str> {
        let state = self.state();
        match state.response {
            _ if state.gone => None,
            Phase::Silent => Some("ASGI callable returned without starting response."),
            Phase::Complete => None,
            _ => Some("ASGI callable returned without completing response."),
        }
    }

    fn waits(self: &Arc<Self>) {
        self.release();
    }

    fn is_gone(&self) -> bool {
        self.state().gone
    }

    fn progress(&self) -> &Mutex<Progress> {
        &self.progress
    }

    fn before(&self, py: Python<'_>) -> PyResult<()> {
        if self.core.surrounds {
            let request = self.core.hooks.before(py, &self.facts)?;
            self.state().surrounded = Some(Box::new(Surrounded::new(request)));
        }
        Ok(())
    }

    fn after(&self, py: Python<'_>) {
        let surrounded = self.state().surrounded.take();
        if let Some(surrounded) = surrounded {
            surrounded.after(py, &self.core, &self.facts);
        }
    }
}

impl State {
    /// The response goes on from its head.
    fn stream(&mut self, head: Head, facts: &Facts) {
        let trailers = head.trailers;
        let bare = facts.head.method == Method::HEAD
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        self.answer = Some(if bare {
            Answer::Bare(head)
        } else {
            Answer::Stream(head)
        });
        if bare {
            // What is sent goes nowhere, but has to be sent to its end.
            self.outgoing.finish(Ok(None));
        }
        self.response = Phase::Streams { trailers };
    }

    fn put(&mut self, piece: Piece, more: bool) {
        let trailers = matches!(self.response, Phase::Streams { trailers: true });
        if !self.gone && !self.outgoing.is_finished() {
            self.outgoing.push(piece);
        }
        if more {
            return;
        }
        if trailers {
            self.response = Phase::Trailers(HeaderMap::new());
        } else {
            self.outgoing.finish(Ok(None));
            self.response = Phase::Complete;
        }
    }

    fn everybody(&mut self) -> Vec<Py<PyAny>> {
        let mut waiting = std::mem::take(&mut self.receivers);
        waiting.append(&mut self.senders);
        waiting
    }
}

fn disconnect(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let event = PyDict::new(py);
    event.set_item(
        pyo3::intern!(py, "type"),
        pyo3::intern!(py, "http.disconnect"),
    )?;
    Ok(event.into_any().unbind())
}
