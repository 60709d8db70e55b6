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
    socket: Arc<Socket>,
    ahead: Bytes,
}

impl Upgraded {
    /// A connection and what was read from it already.
    pub fn new(socket: Arc<Socket>, ahead: Bytes) -> Self {
        Self { socket, ahead }
    }

    /// The socket and what was read from it already.
    pub fn into_parts(self) -> (Arc<Socket>, Bytes) {
        (self.socket, self.ahead)
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
        let read = ready!(this.socket.poll_read_slice(cx, buf.initialize_unfilled()))?;
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
        self.socket.poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
