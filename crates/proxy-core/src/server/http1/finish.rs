//! After a response: content that nobody read, the end of a connection, and its handing over.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::encode::Framing;
use super::reader::Reader;
use super::{Busy, Line, Next, Unsent};
use crate::buffers;
use crate::server::service::{Outcome, Sent, Service, TunnelEnd, UpgradeFn};
use crate::server::upgraded::Upgraded;
use crate::socket::Socket;

impl<S: Service> Busy<S> {
    /// Makes the connection ready for its next request after a response that was written, or ends it well.
    pub(super) async fn settle(
        &mut self,
        line: &mut Line,
        reader: &mut Reader,
        keep_alive: bool,
    ) -> Next<S> {
        if keep_alive {
            if reader.lent {
                self.reclaim(line, reader).await;
            }
            if reader.unread.is_some() {
                self.throw_away(line, reader).await;
            }
            if reader.is_settled() {
                return Next::Stay;
            }
        }
        // The client may still be sending. A close now would answer that with a reset, which destroys what the client has
        // not read yet of the response.
        let more = poll_fn(|cx| Poll::Ready(line.socket.poll_readable(cx).is_ready())).await;
        if more || !reader.is_settled() || !self.input.is_empty() {
            linger(line).await;
        }
        Next::Close
    }

    /// Waits until whoever holds the content lets go of it.
    async fn reclaim(&mut self, line: &mut Line, reader: &mut Reader) {
        line.alarm.set_after(line.limits.drain_timeout);
        poll_fn(|cx| {
            line.connection.await_letters(cx);
            reader.collect(&line.connection, &mut self.input);
            if reader.lent {
                line.alarm.poll(cx)
            } else {
                Poll::Ready(())
            }
        })
        .await;
        line.alarm.clear();
    }

    /// Reads the rest of the content and forgets it, within limits.
    async fn throw_away(&mut self, line: &mut Line, reader: &mut Reader) {
        line.alarm.set_after(line.limits.drain_timeout);
        poll_fn(
            |cx| match reader.poll_discard(cx, &line.limits, &mut self.input) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => line.alarm.poll(cx),
            },
        )
        .await;
        line.alarm.clear();
    }

    /// Ends a connection whose response broke off: what is there goes out, and no end that could be taken for a good one.
    pub(super) async fn cut(&mut self, service: &S, line: &mut Line, framing: Framing) -> Next<S> {
        let _ = self.flush(service, line).await;
        if framing == Framing::UntilClose {
            line.socket.reset_on_close();
        }
        Next::Close
    }
}

/// Closes our direction and reads until the client closes its own, or for so long as the limits allow.
pub(super) async fn linger(line: &mut Line) {
    line.socket.shutdown(std::net::Shutdown::Write);
    line.alarm.set_after(line.limits.drain_timeout);
    let mut buffer = buffers::small();
    poll_fn(|cx| {
        loop {
            buffer.clear();
            match line.socket.poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(read)) if read > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return line.alarm.poll(cx),
            }
        }
    })
    .await;
    buffers::give_back(buffer);
}

/// A connection whose protocol has changed.
pub(super) struct Tunnel<R> {
    future: Pin<Box<dyn Future<Output = TunnelEnd> + Send>>,
    unsent: Unsent<R>,
}

impl<R> Tunnel<R> {
    pub(super) fn new(
        socket: &Arc<Socket>,
        ahead: Bytes,
        taker: UpgradeFn,
        unsent: Unsent<R>,
    ) -> Self {
        Self {
            future: taker(Upgraded::new(socket.clone(), ahead)),
            unsent,
        }
    }

    /// Runs it to its end. It stays in its box: a future that held the record itself would make every connection larger.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TunnelEnd> {
        self.future.as_mut().poll(cx)
    }

    /// What to report of it.
    pub(super) fn finish(self, end: TunnelEnd) -> (R, Sent) {
        let Unsent {
            record,
            start,
            head_end,
            request_bytes,
            ..
        } = self.unsent;
        let sent = Sent {
            bytes: head_end - start + end.sent_bytes,
            body_bytes: end.sent_bytes,
            request_bytes: request_bytes + end.received_bytes,
            outcome: Outcome::Complete,
        };
        (record, sent)
    }
}
