//! A connected stream socket, non-blocking and registered with the runtime: what both sides of the engine read and write.
//!
//! Reading and writing take `&self`, so that the content of a request can be read while its response is written. Each
//! direction remembers one waiting task. Knows nothing of HTTP. A connection that is encrypted (`tls`) is one more field; those that
//! are not pay a branch for it.

mod plain;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "socket/no_tls.rs"]
mod tls;

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use plain::Plain;
use tls::Session;
#[cfg(feature = "tls")]
pub use tls::TlsError;

/// A connected TCP or unix stream socket, encrypted or not.
pub struct Socket {
    plain: Plain,
    tls: Option<Box<Session>>,
}

/// What is known about reading without having read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// Bytes may be there.
    Bytes,
    /// The peer has closed its sending side; bytes sent before may still be there.
    PeerClosed,
}

impl Socket {
    /// Registers a connected socket with the runtime in which it is called; makes it non-blocking.
    ///
    /// # Errors
    /// What the operating system says to `fcntl` or `epoll_ctl`.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Self::from_nonblocking(fd)
    }

    /// Like [`Socket::new`] for a descriptor that is non-blocking already.
    ///
    /// # Errors
    /// What the operating system says to `epoll_ctl`.
    pub fn from_nonblocking(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            plain: Plain::from_nonblocking(fd)?,
            tls: None,
        })
    }

    /// Has the client's handshake made: the connection is encrypted from here on. Waits as long as the client does.
    ///
    /// # Errors
    /// [`TlsError`]; the client was told with an alert where that is possible.
    #[cfg(feature = "tls")]
    pub async fn accept_tls(
        mut self,
        config: std::sync::Arc<rustls::ServerConfig>,
    ) -> Result<Self, TlsError> {
        let session = Session::accept(&self.plain, config).await?;
        self.tls = Some(Box::new(session));
        Ok(self)
    }

    /// The protocol that was agreed on for what is inside (ALPN), where that is encrypted and anything was.
    #[cfg(feature = "tls")]
    pub fn protocol(&self) -> Option<Vec<u8>> {
        self.tls.as_ref()?.protocol()
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Looks at the bytes that would be read next, as they came, and leaves them there. Waits for more than the `seen` ones that
    /// are known, or for the end; says how many there are.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
        seen: usize,
    ) -> Poll<io::Result<usize>> {
        self.plain.poll_peek(cx, buf, seen)
    }

    /// Reads into the free capacity of `buf` (which must have some) and says how much came; 0 is the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match &self.tls {
            None => self.plain.poll_read(cx, buf),
            Some(tls) => tls.poll_read(&self.plain, cx, buf),
        }
    }

    /// Reads over `buf` and says how much came; 0 is the end.
    pub fn poll_read_slice(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &self.tls {
            None => self.plain.poll_read_slice(cx, buf),
            Some(tls) => tls.poll_read_slice(&self.plain, cx, buf),
        }
    }

    /// Waits until reading would tell something.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readable>> {
        match &self.tls {
            None => self.plain.poll_readable(cx),
            Some(tls) => tls.poll_readable(&self.plain, cx),
        }
    }

    /// Whether there is nothing to read and the peer has not closed: how an idle connection should be.
    pub fn is_quiet(&self) -> bool {
        self.plain.is_quiet() && self.tls.as_ref().is_none_or(|tls| tls.is_quiet())
    }

    /// Ready when an idle connection is not [quiet](Self::is_quiet) any more: the peer closed it, or sent what nobody asked for.
    pub fn poll_disturbed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.plain.poll_disturbed(cx)
    }

    /// Waits for the end of a `connect` that was begun.
    pub fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.plain.poll_connected(cx)
    }

    /// Writes from the start of `parts` and says how much went, or will go: [`Socket::poll_flush`] knows.
    pub fn poll_write(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &self.tls {
            None => self.plain.poll_write(cx, parts),
            Some(tls) => tls.poll_write(&self.plain, cx, parts),
        }
    }

    /// Waits until everything that was written has gone; at once where nothing is encrypted.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tls {
            None => Poll::Ready(Ok(())),
            Some(tls) => tls.poll_flush(&self.plain, cx),
        }
    }

    /// Whether [`Socket::poll_sendfile`] can be used: the bytes of the connection are the bytes of the file.
    pub fn can_sendfile(&self) -> bool {
        self.tls.is_none()
    }

    /// Sends up to `count` bytes of `file` from `offset` and says how much went; 0 is the end of the file. Fails where
    /// [`Socket::can_sendfile`] is false.
    pub fn poll_sendfile(
        &self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        if self.tls.is_some() {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        }
        self.plain.poll_sendfile(cx, file, offset, count)
    }

    /// Closes a direction; an error (the peer was faster) does not matter to anybody.
    pub fn shutdown(&self, how: Shutdown) {
        if let Some(tls) = &self.tls
            && how != Shutdown::Read
        {
            tls.close(&self.plain);
        }
        self.plain.shutdown(how);
    }

    /// Makes the close that follows a reset (RST), which throws away what is unsent. Nothing on unix sockets. An encrypted
    /// connection then ends without saying that this is its end.
    pub fn reset_on_close(&self) {
        if let Some(tls) = &self.tls {
            tls.break_off();
        }
        self.plain.reset_on_close();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(tls) = &self.tls {
            tls.close(&self.plain);
        }
    }
}

/// Registers a descriptor with the runtime.
#[expect(
    deprecated,
    reason = "its successor is unsafe because a foreign type may close its descriptor early; an OwnedFd that nobody else has can't"
)]
pub(crate) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.plain.as_fd()
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket")
            .field("fd", &self.plain.as_fd())
            .field("encrypted", &self.is_encrypted())
            .finish()
    }
}
