//! The socket of a connection of HTTP/2 as the protocol's crate wants it, watched over on the way: floods, stalls.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::Meter;
use super::opening::Opening;
use crate::socket::Socket;

/// See the module.
pub(super) struct Way {
    socket: Arc<Socket>,
    watch: Arc<Watch>,
    /// Came before, and is read first.
    ahead: Bytes,
    /// The connection began with HTTP/1, and the client's first bytes are still to come.
    opening: Option<Box<Opening>>,
    /// What is read instead of those.
    opened: Bytes,
}

/// What is seen of a connection from outside.
pub(super) struct Watch {
    seen: Mutex<Seen>,
}

struct Seen {
    meter: Meter,
    flooded: bool,
    /// When the flood was last looked for.
    asked: Instant,
    /// Since when the client does not take what is to be written.
    blocked: Option<Instant>,
    /// Since when something is to come that has begun.
    unfinished: Option<Instant>,
}

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Too many frames that bring nothing.
    Flood,
    /// A frame or a head has begun and does not go on, since then.
    Unfinished(Instant),
    /// The client does not take what is to be written, since then.
    Blocked(Instant),
}

impl Way {
    pub fn new(socket: Arc<Socket>) -> (Self, Arc<Watch>) {
        let seen = Seen {
            meter: Meter::new(),
            flooded: false,
            asked: Instant::now(),
            blocked: None,
            unfinished: None,
        };
        let watch = Arc::new(Watch {
            seen: Mutex::new(seen),
        });
        let way = Self {
            socket,
            watch: watch.clone(),
            ahead: Bytes::new(),
            opening: None,
            opened: Bytes::new(),
        };
        (way, watch)
    }

    /// The same for a connection that began with HTTP/1, of which `ahead` has come.
    pub fn upgraded(socket: Arc<Socket>, ahead: Bytes, opening: Opening) -> (Self, Arc<Watch>) {
        let (mut way, watch) = Self::new(socket);
        way.ahead = ahead;
        way.opening = Some(Box::new(opening));
        (way, watch)
    }

    /// What carries it.
    pub fn socket(&self) -> Arc<Socket> {
        self.socket.clone()
    }

    /// Reads what the client sent, and looks at it.
    fn poll_heard(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = if self.ahead.is_empty() {
            ready!(self.socket.poll_read_slice(cx, buf))?
        } else {
            let now = self.ahead.len().min(buf.len());
            self.ahead.copy_to_slice(&mut buf[..now]);
            now
        };
        self.watch.received(&buf[..read]);
        Poll::Ready(Ok(read))
    }

    /// Reads until the client has opened the connection; false at its end.
    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while let Some(opening) = &self.opening {
            let mut bytes = [0; 512];
            let wanted = opening.wanted().min(bytes.len());
            let read = ready!(self.poll_heard(cx, &mut bytes[..wanted]))?;
            if read == 0 {
                return Poll::Ready(Ok(false));
            }
            let opened =
                (self.opening.as_mut()).and_then(|opening| opening.receive(&bytes[..read]));
            if let Some(opened) = opened {
                self.opened = opened;
                self.opening = None;
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Notes whether something could be written.
    fn written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut seen = self.watch.seen();
        match &written {
            Poll::Pending => {
                seen.blocked.get_or_insert_with(Instant::now);
            }
            Poll::Ready(Ok(bytes)) => {
                seen.blocked = None;
                seen.meter.sent(*bytes);
            }
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl Watch {
    /// What is wrong, the worst first.
    pub fn wrong(&self) -> impl Iterator<Item = Wrong> + use<> {
        let seen = self.seen();
        let flood = seen.flooded.then_some(Wrong::Flood);
        let unfinished = seen.unfinished.map(Wrong::Unfinished);
        let blocked = seen.blocked.map(Wrong::Blocked);
        flood.into_iter().chain(unfinished).chain(blocked)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn received(&self, bytes: &[u8]) {
        let mut seen = self.seen();
        let seen = &mut *seen;
        seen.meter.received(bytes);
        let asked = &mut seen.asked;
        seen.flooded = seen.meter.is_flooded(|| {
            let seconds = asked.elapsed().as_secs();
            if seconds > 0 {
                *asked = Instant::now();
            }
            seconds
        });
        if seen.meter.is_unfinished() {
            seen.unfinished.get_or_insert_with(Instant::now);
        } else {
            seen.unfinished = None;
        }
    }
}

impl AsyncRead for Way {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.seen().flooded {
            // Whoever drives the connection looks for that next, and ends it.
            return Poll::Pending;
        }
        if !ready!(this.poll_opened(cx))? {
            return Poll::Ready(Ok(()));
        }
        if !this.opened.is_empty() {
            let now = this.opened.len().min(buf.remaining());
            buf.put_slice(&this.opened.split_to(now));
            return Poll::Ready(Ok(()));
        }
        let read = ready!(this.poll_heard(cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Way {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written(self.socket.poll_write(cx, &[IoSlice::new(buf)]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written(self.socket.poll_write(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.socket.poll_flush(cx).map_ok(|()| 0);
        self.written(flushed).map_ok(|_| ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
