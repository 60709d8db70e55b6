//! A WebSocket in the hands of the application.
//!
//! Before the application accepts, the request waits for its answer like any other. Afterwards the connection belongs to its
//! [tunnel](super::tunnel), which fills the inbox as long as the application keeps up (a few messages and some KiB may wait) and
//! writes what was sent; `send()` waits while much of that is under way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::StatusCode;
use http_wire::Known;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wsgi_bridge::Facts;

use super::deflate::WORTH_BYTES;
use super::frame::{Opcode, encode, encode_close};
use super::handshake::Asked;
use crate::awaitable::forget;
use crate::call::{self, Conversation, Progress, lock};
use crate::core::Core;
use crate::message::Head;
use crate::outgoing::HIGH_BYTES;

/// Messages, and bytes of them, that wait for the application before the client has to.
const INBOX_MESSAGES: usize = 32;
const INBOX_BYTES: usize = 64 << 10;

/// See the module.
pub(crate) struct Session {
    pub core: Arc<Core>,
    pub facts: Arc<Facts>,
    pub asked: Asked,
    state: Mutex<State>,
    progress: Mutex<Progress>,
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// `websocket.connect` was given.
    pub(super) connected: bool,
    pub(super) inbox: VecDeque<Incoming>,
    pub(super) inbox_bytes: usize,
    /// Frames on their way to the client.
    pub(super) out: Vec<u8>,
    /// How much of the front of it is written.
    pub(super) written: usize,
    pub(super) full: bool,
    /// A close frame is in `out`, or sent.
    pub(super) close_sent: bool,
    /// The client closed, or is gone: what the application is told.
    pub(super) closed: Option<(u16, String)>,
    /// The client's close frame came.
    pub(super) close_came: bool,
    /// A ping was sent and not answered.
    pub(super) pinged: bool,
    pub(super) answer: Option<Answer>,
    pub(super) server: Option<Waker>,
    pub(super) tunnel: Option<Waker>,
    pub(super) receivers: Vec<Py<PyAny>>,
    pub(super) senders: Vec<Py<PyAny>>,
}

pub(super) enum Phase {
    /// The application was asked.
    Asked,
    /// It answers with a response of HTTP (`websocket.http.response`).
    Denies(Head, Vec<u8>),
    /// It accepted.
    Open,
    /// Nothing can be sent any more.
    Over,
}

/// A message for the application.
pub(crate) enum Incoming {
    Text(String),
    Binary(Vec<u8>),
}

/// What the handshake is answered with.
pub(crate) enum Answer {
    /// 101, with these fields.
    Accept(Head),
    /// Another response.
    Deny(Head, Bytes),
    /// A page of ours.
    Page(StatusCode),
}

/// What `receive()` gives.
pub(crate) enum Told {
    Connect,
    Message(Incoming),
    Disconnect(u16, String),
}

/// Why a message of the application's was not taken.
pub(crate) enum Refused {
    /// It comes out of turn.
    OutOfTurn(&'static str),
    /// The client is gone.
    Gone,
}

impl Session {
    pub fn new(core: Arc<Core>, facts: Arc<Facts>, asked: Asked) -> Arc<Self> {
        Arc::new(Self {
            core,
            facts,
            asked,
            state: Mutex::new(State {
                phase: Phase::Asked,
                connected: false,
                inbox: VecDeque::new(),
                inbox_bytes: 0,
                out: Vec::new(),
                written: 0,
                full: false,
                close_sent: false,
                closed: None,
                close_came: false,
                pinged: false,
                answer: None,
                server: None,
                tunnel: None,
                receivers: Vec::new(),
                senders: Vec::new(),
            }),
            progress: Mutex::default(),
        })
    }

    /// What to answer the handshake with, once.
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

    /// `websocket.accept`.
    pub fn accept(&self, mut head: Head, subprotocol: Option<&str>) -> Result<(), Refused> {
        let mut state = self.state();
        match state.phase {
            Phase::Asked if state.closed.is_some() => return Err(Refused::Gone),
            Phase::Asked => {}
            _ => return Err(Refused::OutOfTurn("the handshake was answered already")),
        }
        head.status = StatusCode::SWITCHING_PROTOCOLS;
        let ours = |head: &mut Head, name, value: &str| {
            head.fields
                .append(name, value)
                .map_err(|_| Refused::OutOfTurn("the subprotocol cannot be sent"))
        };
        for name in [
            Known::SecWebSocketAccept,
            Known::SecWebSocketExtensions,
            Known::Upgrade,
        ] {
            head.fields.remove(name);
        }
        ours(&mut head, Known::Upgrade, "websocket")?;
        ours(&mut head, Known::SecWebSocketAccept, &self.asked.accept)?;
        if let Some(subprotocol) = subprotocol {
            head.fields.remove(Known::SecWebSocketProtocol);
            ours(&mut head, Known::SecWebSocketProtocol, subprotocol)?;
        }
        if let Some(agreed) = self.asked.deflate {
            ours(&mut head, Known::SecWebSocketExtensions, &agreed.answer())?;
        }
        state.phase = Phase::Open;
        state.answer = Some(Answer::Accept(head));
        self.told(state);
        Ok(())
    }

    /// `websocket.http.response.start`.
    pub fn deny(&self, head: Head) -> Result<(), Refused> {
        let mut state = self.state();
        match state.phase {
            Phase::Asked => {
                state.phase = Phase::Denies(head, Vec::new());
                Ok(())
            }
            _ => Err(Refused::OutOfTurn("the handshake was answered already")),
        }
    }

    /// `websocket.http.response.body`.
    pub fn denial(&self, content: &[u8], more: bool) -> Result<(), Refused> {
        let mut state = self.state();
        let Phase::Denies(_, gathered) = &mut state.phase else {
            return Err(Refused::OutOfTurn(
                "websocket.http.response.start was not sent yet",
            ));
        };
        gathered.extend_from_slice(content);
        if more {
            return Ok(());
        }
        if let Phase::Denies(head, gathered) = std::mem::replace(&mut state.phase, Phase::Over) {
            state.answer = Some(Answer::Deny(head, gathered.into()));
        }
        state.end(1006);
        self.told(state);
        Ok(())
    }

    /// `websocket.send`.
    pub fn send(&self, text: bool, content: &[u8]) -> Result<(), Refused> {
        let mut state = self.state();
        match state.phase {
            Phase::Open if state.closed.is_some() => return Err(Refused::Gone),
            Phase::Open => {}
            Phase::Over if state.closed.is_some() => return Err(Refused::Gone),
            Phase::Over => return Err(Refused::OutOfTurn("the WebSocket is closed")),
            _ => return Err(Refused::OutOfTurn("the WebSocket is not accepted yet")),
        }
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let packed = self
            .asked
            .deflate
            .filter(|_| content.len() >= WORTH_BYTES)
            .and_then(|agreed| self.core.deflate().pack(agreed, content));
        if state.out.capacity() == 0 {
            state.out = self.core.buffers.take();
        }
        match packed {
            Some(packed) => encode(opcode, true, &packed, &mut state.out),
            None => encode(opcode, false, content, &mut state.out),
        }
        state.full |= state.out.len() - state.written >= HIGH_BYTES;
        self.told(state);
        Ok(())
    }

    /// `websocket.close`.
    pub fn close(&self, code: u16, reason: &str) -> Result<(), Refused> {
        let mut state = self.state();
        match state.phase {
            Phase::Asked => {
                state.phase = Phase::Over;
                state.answer = Some(Answer::Page(StatusCode::FORBIDDEN));
                state.end(1006);
            }
            Phase::Open => {
                state.close(Some(code), reason);
                state.phase = Phase::Over;
            }
            // Closing twice does no harm, and applications do it when both sides close at once.
            Phase::Over => return Ok(()),
            Phase::Denies(..) => {
                return Err(Refused::OutOfTurn("the handshake is answered already"));
            }
        }
        self.told(state);
        Ok(())
    }

    /// The server goes away: closes with 1012 (service restart).
    pub fn restart(self: &Arc<Self>) {
        let mut state = self.state();
        match state.phase {
            Phase::Open => {
                state.close(Some(1012), "");
                state.end(1012);
            }
            Phase::Asked => state.end(1012),
            _ => return,
        }
        self.told(state);
    }

    /// The client is gone without a word, or never got its answer.
    pub fn lost(self: &Arc<Self>) {
        let mut state = self.state();
        let news = state.closed.is_none();
        state.end(1006);
        state.out.clear();
        state.written = 0;
        state.full = false;
        self.told(state);
        if news {
            call::cancel_later(self);
        }
    }

    /// Whether `send()` should wait.
    pub fn is_full(&self) -> bool {
        let state = self.state();
        state.full && state.closed.is_none()
    }

    /// What `receive()` gives, if it is there.
    pub fn take(&self) -> Option<Told> {
        let mut state = self.state();
        if !std::mem::replace(&mut state.connected, true) {
            return Some(Told::Connect);
        }
        if let Some(message) = state.inbox.pop_front() {
            let crowded = state.is_crowded();
            state.inbox_bytes -= message.len();
            // The client may go on.
            let tunnel = if crowded && !state.is_crowded() {
                state.tunnel.take()
            } else {
                None
            };
            drop(state);
            tunnel.into_iter().for_each(Waker::wake);
            return Some(Told::Message(message));
        }
        let (code, reason) = state.closed.clone()?;
        Some(Told::Disconnect(code, reason))
    }

    /// Has a future resolved when there is something to receive.
    pub fn await_message(&self, future: Py<PyAny>) {
        self.state().receivers.push(future);
    }

    /// Has a future resolved when there is room to send.
    pub fn await_room(&self, future: Py<PyAny>) {
        self.state().senders.push(future);
    }

    /// Nobody waits with this future any more.
    pub fn forget(&self, future: &Py<PyAny>) {
        let mut state = self.state();
        let receiver = forget(&mut state.receivers, future);
        let sender = forget(&mut state.senders, future);
        drop(state);
        drop((receiver, sender));
    }

    /// Wakes whom a change concerns.
    pub(super) fn told(&self, mut state: MutexGuard<'_, State>) {
        let server = if state.answer.is_some() {
            state.server.take()
        } else {
            None
        };
        let tunnel = state.tunnel.take();
        let mut waiting = Vec::new();
        if state.closed.is_some() || !state.inbox.is_empty() {
            waiting.append(&mut state.receivers);
        }
        if state.closed.is_some() || !state.full {
            waiting.append(&mut state.senders);
        }
        drop(state);
        server.into_iter().chain(tunnel).for_each(Waker::wake);
        self.core.home.resolve(waiting);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Incoming {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

impl State {
    pub(super) fn is_crowded(&self) -> bool {
        self.inbox.len() >= INBOX_MESSAGES || self.inbox_bytes >= INBOX_BYTES
    }

    pub(super) fn close(&mut self, code: Option<u16>, reason: &str) {
        if !std::mem::replace(&mut self.close_sent, true) {
            encode_close(code, reason, &mut self.out);
        }
    }

    /// The application is told, once, that it is over, and with which code.
    pub(super) fn end(&mut self, code: u16) {
        self.closed.get_or_insert((code, String::new()));
    }
}

impl Conversation for Session {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    fn scope<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.core.websocket_scope(py, &self.facts)
    }

    fn over(self: Arc<Self>, raised: bool) {
        let mut state = self.state();
        match std::mem::replace(&mut state.phase, Phase::Over) {
            Phase::Asked | Phase::Denies(..) => {
                state.answer = Some(Answer::Page(if raised {
                    StatusCode::INTERNAL_SERVER_ERROR
                } else {
                    StatusCode::FORBIDDEN
                }));
            }
            Phase::Open => {
                let (code, reason) = if raised {
                    (1011, "Internal server error")
                } else {
                    (1000, "")
                };
                state.close(Some(code), reason);
            }
            Phase::Over => {}
        }
        // What comes now is for nobody.
        state.inbox.clear();
        state.inbox_bytes = 0;
        state.end(1000);
        self.told(state);
    }

    fn unfinished(&self) -> Option<&'static str> {
        match self.state().phase {
            Phase::Asked | Phase::Denies(..) => {
                Some("ASGI callable returned without answering the WebSocket handshake.")
            }
            _ => None,
        }
    }

    fn waits(self: &Arc<Self>) {}

    fn is_gone(&self) -> bool {
        self.state().closed.is_some()
    }

    fn progress(&self) -> &Mutex<Progress> {
        &self.progress
    }
}
