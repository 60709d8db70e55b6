//! A WebSocket in the hands of the application.
//!
//! Before the application accepts, the request waits for its answer like any other. Afterwards the connection belongs to
//! [`Session::run`], which reads as long as the application keeps up (a few messages and some KiB may wait) and writes what was
//! sent; `send()` waits while much of that is under way.

use std::collections::VecDeque;
use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_wire::Known;
use proxy_core::server::{Socket, TunnelEnd, Upgraded};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::time::{Instant, Sleep, sleep_until};
use wsgi_bridge::{Facts, Level};

use super::deflate::WORTH_BYTES;
use super::frame::{Decoder, Event, Fault, Opcode, encode, encode_close};
use super::handshake::Asked;
use crate::call::{self, Conversation, lock};
use crate::core::Core;
use crate::message::Head;
use crate::outgoing::HIGH_BYTES;

/// Messages, and bytes of them, that wait for the application before the client has to.
const INBOX_MESSAGES: usize = 32;
const INBOX_BYTES: usize = 64 << 10;
/// `send()` goes on when so many bytes are left.
const LOW_BYTES: usize = 16 << 10;
/// How long a client may take to answer a close frame.
const CLOSING: Duration = Duration::from_secs(10);
const READ: usize = 16 << 10;

/// See the module.
pub(crate) struct Session {
    pub core: Arc<Core>,
    pub facts: Arc<Facts>,
    pub asked: Asked,
    state: Mutex<State>,
    task: Mutex<Option<Py<PyAny>>>,
}

struct State {
    phase: Phase,
    /// `websocket.connect` was given.
    connected: bool,
    inbox: VecDeque<Incoming>,
    inbox_bytes: usize,
    /// Frames on their way to the client.
    out: Vec<u8>,
    /// How much of the front of it is written.
    written: usize,
    full: bool,
    /// A close frame is in `out`, or sent.
    close_sent: bool,
    /// The client closed, or is gone: what the application is told.
    closed: Option<(u16, String)>,
    /// The client's close frame came.
    close_came: bool,
    /// A ping was sent and not answered.
    pinged: bool,
    answer: Option<Answer>,
    server: Option<Waker>,
    tunnel: Option<Waker>,
    receivers: Vec<Py<PyAny>>,
    senders: Vec<Py<PyAny>>,
}

enum Phase {
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
            task: Mutex::default(),
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
        let receiver = crate::exchange::forget(&mut state.receivers, future);
        let sender = crate::exchange::forget(&mut state.senders, future);
        drop(state);
        drop((receiver, sender));
    }

    /// Wakes whom a change concerns.
    fn told(&self, mut state: MutexGuard<'_, State>) {
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

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Incoming {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

impl State {
    fn is_crowded(&self) -> bool {
        self.inbox.len() >= INBOX_MESSAGES || self.inbox_bytes >= INBOX_BYTES
    }

    fn close(&mut self, code: Option<u16>, reason: &str) {
        if !std::mem::replace(&mut self.close_sent, true) {
            encode_close(code, reason, &mut self.out);
        }
    }

    /// The application is told, once, that it is over, and with which code.
    fn end(&mut self, code: u16) {
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

    fn task(&self) -> &Mutex<Option<Py<PyAny>>> {
        &self.task
    }
}

/// A session whose answer is on its way; the client is lost when this is dropped before its connection was handed over.
pub(crate) struct Opening(pub Option<Arc<Session>>);

impl Opening {
    /// What takes the connection over.
    pub fn run(mut self, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = TunnelEnd> + Send>> {
        match self.0.take() {
            Some(session) => Box::pin(Tunnel::new(session, upgraded)),
            None => Box::pin(std::future::ready(TunnelEnd::default())),
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            session.lost();
        }
    }
}

/// The connection of an open WebSocket.
struct Tunnel {
    session: Arc<Session>,
    socket: Arc<Socket>,
    decoder: Decoder,
    /// What was read ahead.
    ahead: Bytes,
    buffer: Vec<u8>,
    sent_bytes: u64,
    received_bytes: u64,
    /// When the next ping is due, an answer is late, or a close has taken too long.
    alarm: Option<Pin<Box<Sleep>>>,
    closing: bool,
    /// The client has closed its direction, or its bytes are not understood.
    deaf: bool,
}

impl Tunnel {
    fn new(session: Arc<Session>, upgraded: Upgraded) -> Self {
        let (socket, ahead) = upgraded.into_parts();
        let settings = &session.core.settings;
        let limit = settings.message_bytes_max.unwrap_or(usize::MAX);
        let interval = settings.ping_interval;
        let decoder = Decoder::new(limit, session.asked.deflate.is_some());
        Self {
            alarm: interval.map(after),
            session,
            socket,
            decoder,
            ahead,
            buffer: Vec::new(),
            sent_bytes: 0,
            received_bytes: 0,
            closing: false,
            deaf: false,
        }
    }

    /// Writes what there is; `Ready` when that is nothing.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut state = self.session.state();
        let mut result = Ok(());
        let mut pending = false;
        while state.written < state.out.len() {
            let parts = [IoSlice::new(&state.out[state.written..])];
            match self.socket.poll_write(cx, &parts) {
                Poll::Ready(Ok(written)) => {
                    state.written += written;
                    self.sent_bytes += written as u64;
                }
                Poll::Ready(Err(error)) => {
                    result = Err(error);
                    break;
                }
                Poll::Pending => {
                    pending = true;
                    break;
                }
            }
        }
        let left = state.out.len() - state.written;
        if left == 0 && result.is_ok() {
            match self.socket.poll_flush(cx) {
                Poll::Ready(flushed) => result = flushed,
                Poll::Pending => pending = true,
            }
        }
        if left == 0 {
            state.out.clear();
            state.written = 0;
            if state.out.capacity() > HIGH_BYTES {
                state.out = Vec::new();
            }
        } else if state.written > HIGH_BYTES {
            let written = std::mem::take(&mut state.written);
            state.out.drain(..written);
        }
        let senders = if state.full && left <= LOW_BYTES {
            state.full = false;
            std::mem::take(&mut state.senders)
        } else {
            Vec::new()
        };
        drop(state);
        self.session.core.home.resolve(senders);
        match (result, pending) {
            (Err(error), _) => Poll::Ready(Err(error)),
            (Ok(()), true) => Poll::Pending,
            (Ok(()), false) => Poll::Ready(Ok(())),
        }
    }

    /// Reads while the application keeps up; `Ready` when the client is gone.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.ahead.is_empty() {
                let bytes = std::mem::take(&mut self.ahead);
                self.received_bytes += bytes.len() as u64;
                self.hear(&bytes);
            }
            {
                let state = self.session.state();
                if self.deaf || (state.is_crowded() && !state.close_sent) {
                    return Poll::Pending;
                }
            }
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            buffer.reserve(READ);
            let read = self.socket.poll_read(cx, &mut buffer);
            if let Poll::Ready(Ok(1..)) = read {
                self.received_bytes += buffer.len() as u64;
                self.hear(&buffer);
                self.buffer = buffer;
                continue;
            }
            // Nothing is held while nothing comes.
            ready!(read).ok();
            return Poll::Ready(());
        }
    }

    /// Takes in bytes of the client's.
    fn hear(&mut self, mut bytes: &[u8]) {
        while !self.deaf {
            match self.decoder.next(&mut bytes) {
                Ok(Some(event)) => {
                    if let Err(fault) = self.take(event) {
                        self.fail(fault);
                    }
                }
                Ok(None) => return,
                Err(fault) => self.fail(fault),
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Fault> {
        match event {
            Event::Ping(content) => {
                let mut state = self.session.state();
                if !state.close_sent {
                    encode(Opcode::Pong, false, &content, &mut state.out);
                }
            }
            Event::Pong(_) => self.session.state().pinged = false,
            Event::Close(told) => {
                self.deaf = true;
                let mut state = self.session.state();
                state.close_came = true;
                state.close(told.as_ref().map(|(code, _)| *code), "");
                let told = told.unwrap_or((1005, String::new()));
                state.closed.get_or_insert(told);
                self.session.told(state);
            }
            Event::Message {
                text,
                compressed,
                mut content,
            } => {
                if compressed {
                    let limit = self.session.core.settings.message_bytes_max;
                    let mut deflate = self.session.core.deflate();
                    content = deflate.unpack(&content, limit.unwrap_or(usize::MAX))?;
                }
                let message = if text {
                    Incoming::Text(String::from_utf8(content).map_err(|_| Fault {
                        code: 1007,
                        reason: "text that is no UTF-8",
                    })?)
                } else {
                    Incoming::Binary(content)
                };
                let mut state = self.session.state();
                // After our close frame the application hears no more.
                if !state.close_sent && state.closed.is_none() {
                    state.inbox_bytes += message.len();
                    state.inbox.push_back(message);
                    let receivers = std::mem::take(&mut state.receivers);
                    drop(state);
                    self.session.core.home.resolve(receivers);
                }
            }
        }
        Ok(())
    }

    /// The client broke the rules.
    fn fail(&mut self, fault: Fault) {
        self.deaf = true;
        let peer = wsgi_bridge::shared::peer_text(&self.session.facts.connection);
        let words = format!(
            "WebSocket of ip={peer} closed with {}: {}",
            fault.code, fault.reason
        );
        self.session.core.hooks.log(Level::Warning, &words);
        let mut state = self.session.state();
        state.close(Some(fault.code), fault.reason);
        state.end(fault.code);
        // Nothing that could be understood will come.
        state.close_came = true;
        self.session.told(state);
    }

    /// Pings, and gives up on who does not answer; `Ready` to end the connection.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let close_sent = self.session.state().close_sent;
        if close_sent && !std::mem::replace(&mut self.closing, true) {
            self.alarm = Some(after(CLOSING));
        }
        loop {
            let Some(alarm) = &mut self.alarm else {
                return Poll::Pending;
            };
            ready!(alarm.as_mut().poll(cx));
            if self.closing {
                return Poll::Ready(());
            }
            let settings = &self.session.core.settings;
            let mut state = self.session.state();
            if state.pinged {
                let words = "WebSocket keepalive: no answer to a ping (ws_ping_timeout)";
                state.close(Some(1011), "keepalive ping timeout");
                drop(state);
                self.session.core.hooks.log(Level::Debug, words);
                return Poll::Ready(());
            }
            encode(Opcode::Ping, false, b"", &mut state.out);
            let wait = match (settings.ping_timeout, settings.ping_interval) {
                (Some(timeout), _) => {
                    state.pinged = true;
                    timeout
                }
                (None, Some(interval)) => interval,
                (None, None) => return Poll::Pending,
            };
            drop(state);
            self.alarm = Some(after(wait));
            if let Poll::Ready(Err(_)) = self.poll_write(cx) {
                return Poll::Ready(());
            }
        }
    }

    fn end(&self) -> TunnelEnd {
        TunnelEnd {
            sent_bytes: self.sent_bytes,
            received_bytes: self.received_bytes,
        }
    }
}

impl Future for Tunnel {
    type Output = TunnelEnd;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TunnelEnd> {
        let this = self.get_mut();
        this.session.state().tunnel = Some(cx.waker().clone());
        if this.poll_read(cx).is_ready() {
            return Poll::Ready(this.end());
        }
        let written = this.poll_write(cx);
        if matches!(written, Poll::Ready(Err(_))) {
            return Poll::Ready(this.end());
        }
        let over = {
            let state = this.session.state();
            state.close_sent && state.close_came
        };
        if over && written.is_ready() {
            this.socket.shutdown(std::net::Shutdown::Write);
            return Poll::Ready(this.end());
        }
        if this.poll_alarm(cx).is_ready() {
            let _ = this.poll_write(cx);
            return Poll::Ready(this.end());
        }
        this.session.state().tunnel = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.session.lost();
    }
}

fn after(span: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + span))
}
