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

use std::collections::VecDeque;
use std::pin::Pin;
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
use wsgi_bridge::{Facts, Level};

use crate::awaitable::Awaited;
use crate::call::{self, Conversation, lock};
use crate::core::Core;
use crate::message::Head;
use crate::outgoing::{Outgoing, Piece};

/// Content of a request that waits for the application; from this on the client waits.
const INCOMING_BYTES: usize = 64 << 10;

/// See the module.
pub(crate) struct Exchange {
    pub core: Arc<Core>,
    pub facts: Arc<Facts>,
    pub interim: Interim,
    state: Mutex<State>,
    task: Mutex<Option<Py<PyAny>>>,
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
}

/// The content of the request.
enum Incoming {
    /// Nobody had to wait for it yet.
    Here(Content),
    /// A job reads it.
    Pumped {
        pieces: VecDeque<Bytes>,
        bytes: usize,
        ended: bool,
        pump: Option<Waker>,
    },
    /// The application has all of it.
    Taken,
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
    /// A head; the content comes by the [`Stream`].
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
            }),
            task: Mutex::default(),
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
        state.stop_reading();
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
            state.stop_reading();
        }
        drop(state);
        server.into_iter().chain(reader).for_each(Waker::wake);
        self.core.home.resolve(receivers);
    }

    /// Whether `send()` should wait.
    pub fn is_full(&self) -> bool {
        let state = self.state();
        !state.gone && state.outgoing.is_full()
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

    /// What `receive()` gives, where it is at hand.
    fn event(self: &Arc<Self>, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let mut state = self.state();
        if state.gone || matches!(state.response, Phase::Complete) {
            drop(state);
            return disconnect(py).map(Some);
        }
        let (bytes, more) = match state.next_content() {
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

    /// The content of the request failed: for the application, the client has left.
    fn fail(self: &Arc<Self>, error: &ContentError) {
        let peer = wsgi_bridge::shared::peer_text(&self.facts.connection);
        let level = match error {
            ContentError::ClientGone { .. } => Level::Debug,
            _ => Level::Warning,
        };
        let words = format!("Invalid request from ip={peer}: {error}");
        self.core.hooks.log(level, &words);
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

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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

    fn task(&self) -> &Mutex<Option<Py<PyAny>>> {
        &self.task
    }
}

enum Next {
    Bytes(Bytes, bool),
    Nothing,
    Pump(Content),
    Failed(ContentError),
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

    fn next_content(&mut self) -> Next {
        match std::mem::replace(&mut self.incoming, Incoming::Taken) {
            Incoming::Taken => Next::Nothing,
            Incoming::Here(content) if content.is_end() => Next::Bytes(Bytes::new(), false),
            Incoming::Here(mut content) => match content.buffered() {
                Ok(Some(bytes)) if content.is_end() => Next::Bytes(bytes, false),
                Ok(Some(bytes)) => {
                    self.incoming = Incoming::Here(content);
                    Next::Bytes(bytes, true)
                }
                Ok(None) if content.is_end() => Next::Bytes(Bytes::new(), false),
                Ok(None) => {
                    self.incoming = Incoming::Pumped {
                        pieces: VecDeque::new(),
                        bytes: 0,
                        ended: false,
                        pump: None,
                    };
                    Next::Pump(content)
                }
                Err(error) => Next::Failed(error),
            },
            Incoming::Pumped {
                mut pieces,
                bytes,
                ended,
                mut pump,
            } => {
                let Some(piece) = pieces.pop_front() else {
                    if ended {
                        return Next::Bytes(Bytes::new(), false);
                    }
                    self.incoming = Incoming::Pumped {
                        pieces,
                        bytes,
                        ended,
                        pump,
                    };
                    return Next::Nothing;
                };
                if ended && pieces.is_empty() {
                    return Next::Bytes(piece, false);
                }
                if let Some(pump) = pump.take() {
                    pump.wake();
                }
                self.incoming = Incoming::Pumped {
                    bytes: bytes - piece.len(),
                    pieces,
                    ended,
                    pump,
                };
                Next::Bytes(piece, true)
            }
        }
    }

    /// Nobody wants the rest of the request.
    fn stop_reading(&mut self) {
        if let Incoming::Pumped {
            pump: Some(pump), ..
        } = std::mem::replace(&mut self.incoming, Incoming::Taken)
        {
            pump.wake();
        }
    }

    fn everybody(&mut self) -> Vec<Py<PyAny>> {
        let mut waiting = std::mem::take(&mut self.receivers);
        waiting.append(&mut self.senders);
        waiting
    }
}

/// Reads the content of a request for an application that waits for it.
async fn pump(exchange: Arc<Exchange>, mut content: Content) {
    let limit = exchange.core.settings.http.content_bytes_max;
    if let Err(error) = content.limit(limit) {
        return exchange.fail(&error);
    }
    loop {
        let room = std::future::poll_fn(|cx| exchange.poll_room(cx)).await;
        if !room {
            return;
        }
        // Who stops reading meanwhile is heard too.
        let next = std::future::poll_fn(|cx| {
            if !exchange.is_pumped(cx) {
                return Poll::Ready(None);
            }
            content.poll_chunk(cx).map(Some)
        });
        match next.await {
            None => return,
            Some(Ok(piece)) => {
                let ended = piece.is_none() || content.is_end();
                exchange.pumped(piece, ended);
                if ended {
                    return;
                }
            }
            Some(Err(error)) => return exchange.fail(&error),
        }
    }
}

impl Exchange {
    /// True when there is room for more; false when nobody wants more.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<bool> {
        match &mut self.state().incoming {
            Incoming::Pumped { bytes, pump, .. } => {
                if *bytes < INCOMING_BYTES {
                    return Poll::Ready(true);
                }
                *pump = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(false),
        }
    }

    fn is_pumped(&self, cx: &mut Context<'_>) -> bool {
        match &mut self.state().incoming {
            Incoming::Pumped { pump, .. } => {
                *pump = Some(cx.waker().clone());
                true
            }
            _ => false,
        }
    }

    fn pumped(&self, piece: Option<Bytes>, end: bool) {
        let mut state = self.state();
        if let Incoming::Pumped {
            pieces,
            bytes,
            ended,
            ..
        } = &mut state.incoming
        {
            *ended = end;
            *bytes += piece.as_ref().map_or(0, Bytes::len);
            pieces.extend(piece);
        }
        let receivers = std::mem::take(&mut state.receivers);
        drop(state);
        self.core.home.resolve(receivers);
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

/// What `receive()` waits for.
pub(crate) struct Events(pub Arc<Exchange>);

impl Awaited for Events {
    fn take(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.0.event(py)
    }

    fn wait(&self, future: Py<PyAny>) {
        self.0.state().receivers.push(future);
    }

    fn give_up(&self, _py: Python<'_>, future: &Py<PyAny>) {
        let forgotten = forget(&mut self.0.state().receivers, future);
        drop(forgotten);
    }
}

/// What `send()` waits for.
pub(crate) struct Room(pub Arc<Exchange>);

impl Awaited for Room {
    fn take(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok((!self.0.is_full()).then(|| py.None()))
    }

    fn wait(&self, future: Py<PyAny>) {
        self.0.state().senders.push(future);
    }

    fn give_up(&self, _py: Python<'_>, future: &Py<PyAny>) {
        let forgotten = forget(&mut self.0.state().senders, future);
        drop(forgotten);
    }
}

/// Takes a future out of a list, for the caller to drop when nothing is locked.
pub(crate) fn forget(waiting: &mut Vec<Py<PyAny>>, future: &Py<PyAny>) -> Option<Py<PyAny>> {
    let at = waiting.iter().position(|other| other.is(future))?;
    Some(waiting.swap_remove(at))
}

/// The content of a response that the application sends piece by piece.
pub(crate) struct Stream(pub Arc<Exchange>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.0.state();
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
        self.0.core.home.resolve(senders);
        next
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.leave();
    }
}
