//! A connection that no longer speaks HTTP.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::Socket;

/// Both directions of a connection whose protocol has changed; what the peer sent already is read first.
///
/// [`tunnel`](crate::client::tunnel) copies between two of them.
#[derive(Debug)]
pub struct Upgraded {
    wire: Wire,
    ahead: Bytes,
}

/// What carries the bytes: a socket, or a stream of HTTP/2. Clones are the same.
#[derive(Clone, Debug)]
pub struct Wire(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Socket(Arc<Socket>),
    #[cfg(feature = "http2")]
    Stream(Arc<super::http2::Duplex>),
}

impl Wire {
    /// The socket, where it is one.
    #[cfg(feature = "http2")]
    pub(super) fn into_socket(self) -> Option<Arc<Socket>> {
        match self.0 {
            Inner::Socket(socket) => Some(socket),
            Inner::Stream(_) => None,
        }
    }

    /// Reads into the free capacity of `buf` (which must have some) and says how much came; 0 is the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match &self.0 {
            Inner::Socket(socket) => socket.poll_read(cx, buf),
            #[cfg(feature = "http2")]
            Inner::Stream(stream) => {
                let room = buf.capacity() - buf.len();
                stream.poll_read_with(cx, room, |bytes| buf.extend_from_slice(bytes))
            }
        }
    }

    /// Reads over `buf` and says how much came; 0 is the end.
    pub fn poll_read_slice(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &self.0 {
            Inner::Socket(socket) => socket.poll_read_slice(cx, buf),
            #[cfg(feature = "http2")]
            Inner::Stream(stream) => {
                let room = buf.len();
                stream.poll_read_with(cx, room, |bytes| buf[..bytes.len()].copy_from_slice(bytes))
            }
        }
    }

    /// Writes from the start of `parts` and says how much went, or will go: [`Wire::poll_flush`] knows.
    pub fn poll_write(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &self.0 {
            Inner::Socket(socket) => socket.poll_write(cx, parts),
            #[cfg(feature = "http2")]
            Inner::Stream(stream) => stream.poll_write(cx, parts),
        }
    }

    /// Waits until everything that was written has gone as far as it can be waited for.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Inner::Socket(socket) => socket.poll_flush(cx),
            // The connection sees to it.
            #[cfg(feature = "http2")]
            Inner::Stream(_) => Poll::Ready(Ok(())),
        }
    }

    /// Says that nothing more comes from here.
    pub fn end(&self) {
        match &self.0 {
            Inner::Socket(socket) => socket.shutdown(Shutdown::Write),
            #[cfg(feature = "http2")]
            Inner::Stream(stream) => stream.end(),
        }
    }
}

impl From<Arc<Socket>> for Wire {
    fn from(socket: Arc<Socket>) -> Self {
        Self(Inner::Socket(socket))
    }
}

#[cfg(feature = "http2")]
impl From<super::http2::Duplex> for Wire {
    fn from(stream: super::http2::Duplex) -> Self {
        Self(Inner::Stream(Arc::new(stream)))
    }
}

impl Upgraded {
    /// A connection and what was read from it already.
    pub fn new(wire: impl Into<Wire>, ahead: Bytes) -> Self {
        Self {
            wire: wire.into(),
            ahead,
        }
    }

    /// What carries the bytes, and what was read from it already.
    pub fn into_parts(self) -> (Wire, Bytes) {
        (self.wire, self.ahead)
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let now = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..now]);
            this.ahead.advance(now);
            return Poll::Ready(Ok(()));
        }
        let read = ready!(this.wire.poll_read_slice(cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wire.poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.end();
        Poll::Ready(Ok(()))
    }
}
