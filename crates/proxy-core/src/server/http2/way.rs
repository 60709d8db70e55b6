//! The socket of a connection of HTTP/2 as the protocol's crate wants it, watched over on the way: floods, stalls.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::Meter;
use crate::socket::Socket;

/// See the module.
pub(super) struct Way {
    socket: Arc<Socket>,
    watch: Arc<Watch>,
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
        };
        (way, watch)
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
        let before = buf.filled().len();
        if this.watch.seen().flooded {
            // Whoever drives the connection looks for that next, and ends it.
            return Poll::Pending;
        }
        let read = ready!(this.socket.poll_read_slice(cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        this.watch.received(&buf.filled()[before..]);
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
