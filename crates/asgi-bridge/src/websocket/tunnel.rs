//! The connection of an open WebSocket: reads frames into its [`Session`], writes what the session has to send, pings, closes.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use proxy_core::server::{TunnelEnd, Upgraded, Wire};
use proxy_core::timers;
use tokio::time::Sleep;
use wsgi_bridge::Level;

use super::frame::{Decoder, Event, Fault, Opcode, encode};
use super::session::{Incoming, Session};
use crate::outgoing::HIGH_BYTES;

/// `send()` goes on when so many bytes are left.
const LOW_BYTES: usize = 16 << 10;
/// How long a client may take to answer a close frame; gunicorn gives it as long.
const CLOSING: Duration = Duration::from_secs(5);
/// Reads before others have their turn: a client that never stops to send is not the only one.
const READS: usize = 4;

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
    wire: Wire,
    decoder: Decoder,
    /// What was read and is not heard yet.
    ahead: Bytes,
    sent_bytes: u64,
    received_bytes: u64,
    /// When the next ping is due, an answer is late, or a close has taken too long.
    alarm: Option<Pin<Box<Sleep>>>,
    closing: bool,
    /// The client has closed its direction, or its bytes are not understood.
    deaf: bool,
    /// Nothing is read until the application or the client has caught up.
    waits: bool,
}

impl Tunnel {
    fn new(session: Arc<Session>, upgraded: Upgraded) -> Self {
        let (wire, ahead) = upgraded.into_parts();
        let settings = &session.core.settings;
        let limit = settings.message_bytes_max.unwrap_or(usize::MAX);
        let interval = settings.ping_interval;
        let decoder = Decoder::new(limit, session.asked.deflate.is_some());
        Self {
            alarm: interval.map(after),
            session,
            wire,
            decoder,
            sent_bytes: 0,
            received_bytes: ahead.len() as u64,
            ahead,
            closing: false,
            deaf: false,
            waits: false,
        }
    }

    /// Writes what there is; `Ready` when that is nothing.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut state = self.session.state();
        let mut result = Ok(());
        let mut pending = false;
        while state.written < state.out.len() {
            let parts = [IoSlice::new(&state.out[state.written..])];
            match self.wire.poll_write(cx, &parts) {
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
            match self.wire.poll_flush(cx) {
                Poll::Ready(flushed) => result = flushed,
                Poll::Pending => pending = true,
            }
        }
        if left == 0 {
            state.written = 0;
            self.session
                .core
                .buffers
                .give(std::mem::take(&mut state.out));
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

    /// Reads while the application keeps up and the client takes what it is told; `Ready` when the client is gone.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..READS {
            let ahead = std::mem::take(&mut self.ahead);
            self.hear(&ahead);
            self.waits = !self.ahead.is_empty() || self.is_behind();
            if self.deaf || self.waits {
                return Poll::Pending;
            }
            let mut buffer = self.session.core.buffers.take();
            let read = self.wire.poll_read(cx, &mut buffer);
            if let Poll::Ready(Ok(1..)) = read {
                self.received_bytes += buffer.len() as u64;
                self.hear(&buffer);
            }
            // Nothing is held while nothing comes.
            self.session.core.buffers.give(buffer);
            if !matches!(ready!(read), Ok(1..)) {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the application has enough to do, or the client does not take the answers to its pings.
    fn is_behind(&self) -> bool {
        let state = self.session.state();
        let unsent = state.out.len() - state.written;
        (state.is_crowded() && !state.close_sent) || unsent >= HIGH_BYTES
    }

    /// Takes in bytes of the client's; those that have to wait are put aside.
    fn hear(&mut self, mut bytes: &[u8]) {
        while !self.deaf {
            if !bytes.is_empty() && self.is_behind() {
                self.ahead = Bytes::copy_from_slice(bytes);
                return;
            }
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
                let (code, reason) = told
                    .as_ref()
                    .map_or((None, ""), |(code, reason)| (Some(*code), reason));
                state.close(code, reason);
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
        if this.waits && !this.is_behind() {
            // It was the client that had to catch up, and it has.
            cx.waker().wake_by_ref();
        }
        let over = {
            let state = this.session.state();
            state.close_sent && state.close_came
        };
        if over && written.is_ready() {
            this.wire.end();
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
    Box::pin(timers::sleep(span))
}
