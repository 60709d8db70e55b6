//! The read side of a connection while a request is answered: lent to the content, or watched here for the client's end.

use std::task::{Context, Poll};

use super::Line;
use super::input::Input;
use crate::output::Output;
use crate::server::connection::Connection;
use crate::server::content::{Lent, State};
use crate::server::service::Limits;
use crate::socket::Readable;

/// Bytes of further requests that are read while one is answered, to notice when the client closes.
const AHEAD_MAX: usize = 16 * 1024;

/// See the module.
pub(super) struct Reader {
    /// Somebody else reads.
    pub(super) lent: bool,
    /// Content that came back before its end.
    pub(super) unread: Option<Box<Lent>>,
    wire_bytes: u64,
    watching: bool,
    /// How much of unread content was thrown away.
    discarded: u64,
}

/// The client has left.
pub(super) struct Gone;

/// What became of content that nobody read.
pub(super) enum Discarded {
    /// It was read to its end.
    All,
    /// There is too much of it, or its end can't be found.
    TooMuch,
    /// The client closed before its end.
    Gone,
}

impl Reader {
    pub(super) fn new(lent: bool) -> Self {
        Self {
            lent,
            unread: None,
            wire_bytes: 0,
            watching: true,
            discarded: 0,
        }
    }

    /// One that neither reads nor watches.
    pub(super) fn idle() -> Self {
        Self {
            watching: false,
            ..Self::new(false)
        }
    }

    /// Takes the content back if it has come.
    pub(super) fn collect(&mut self, connection: &Connection, input: &mut Input) {
        if !self.lent {
            return;
        }
        if let Some(lent) = connection.take_returned() {
            self.lent = false;
            self.accept(lent, input);
        }
    }

    pub(super) fn accept(&mut self, lent: Box<Lent>, input: &mut Input) {
        self.wire_bytes = lent.wire_bytes;
        if lent.state == State::Ended {
            input.append(&lent.buffered);
        } else {
            self.unread = Some(lent);
        }
    }

    /// Bytes of content and its framing that were read.
    pub(super) fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }

    /// Whether the next request can be read at once.
    pub(super) fn is_settled(&self) -> bool {
        !self.lent && self.unread.is_none()
    }

    /// Whether, by what is known, the connection will be able to carry another request.
    pub(super) fn may_stay(&self, limits: &Limits) -> bool {
        // Content that is still being read will come to its end, most likely; if not, the connection closes all the same.
        let Some(lent) = &self.unread else {
            return true;
        };
        let short = lent
            .remaining()
            .is_none_or(|remaining| remaining <= limits.drain_bytes);
        lent.state == State::Open && !lent.expects && short
    }

    /// Ready when the client has left (or stopped listening). Passes on what is to be written ahead of the response.
    pub(super) fn poll_gone(
        &mut self,
        cx: &mut Context<'_>,
        line: &mut Line,
        input: &mut Input,
        output: &mut Output,
    ) -> Poll<Gone> {
        line.connection.await_letters(cx);
        if let Some(interim) = line.connection.take_interim() {
            output.push_slice(&interim);
        }
        self.collect(&line.connection, input);
        if let Poll::Ready(Err(_)) = output.poll_flush(cx, &line.socket) {
            return Poll::Ready(Gone);
        }
        if self.lent || !self.watching {
            return Poll::Pending;
        }
        match self.poll_discard(cx, &line.limits, input) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Discarded::All) => return self.poll_end(cx, line, input),
            Poll::Ready(Discarded::Gone) if !line.connection.ignores_client_abort() => {
                return Poll::Ready(Gone);
            }
            Poll::Ready(_) => self.watching = false,
        }
        Poll::Pending
    }

    /// Reads unread content and forgets it, within limits; ready when it has come to its end or never will.
    pub(super) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
        input: &mut Input,
    ) -> Poll<Discarded> {
        let Some(mut lent) = self.unread.take() else {
            return Poll::Ready(Discarded::All);
        };
        let mut gone = false;
        while lent.state == State::Open {
            match lent.step() {
                Err(_) => lent.state = State::Broken,
                Ok(Some(piece)) => {
                    self.discarded += piece.len() as u64;
                    if self.discarded > limits.drain_bytes {
                        lent.state = State::Broken;
                    }
                }
                Ok(None) => match lent.poll_fill(cx) {
                    Poll::Pending => {
                        self.unread = Some(lent);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => {
                        gone = true;
                        lent.state = State::Broken;
                    }
                },
            }
        }
        self.accept(lent, input);
        Poll::Ready(match (gone, self.unread.is_none()) {
            (true, _) => Discarded::Gone,
            (false, true) => Discarded::All,
            (false, false) => Discarded::TooMuch,
        })
    }

    /// Reads ahead, to notice the client's end.
    fn poll_end(&mut self, cx: &mut Context<'_>, line: &Line, input: &mut Input) -> Poll<Gone> {
        let ignore = line.connection.ignores_client_abort();
        while self.watching {
            match line.socket.poll_readable(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Readable::PeerClosed) | Err(_)) if !ignore => {
                    return Poll::Ready(Gone);
                }
                // What lies there is read when its turn comes.
                Poll::Ready(Ok(Readable::PeerClosed) | Err(_)) => self.watching = false,
                Poll::Ready(Ok(Readable::Bytes)) => {}
            }
            if input.unused().len() >= AHEAD_MAX {
                self.watching = false;
            }
            if self.watching {
                match input.poll_fill(cx, &line.socket) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(read)) if read > 0 => {}
                    Poll::Ready(_) if ignore => self.watching = false,
                    Poll::Ready(_) => return Poll::Ready(Gone),
                }
            }
        }
        Poll::Pending
    }
}
