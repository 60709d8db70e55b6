//! A connected stream socket as the kernel has it: its bytes are those of the connection.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Readable, register};

/// See the module.
pub(super) struct Plain {
    fd: AsyncFd<OwnedFd>,
}

impl Plain {
    pub fn from_nonblocking(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            fd: register(fd, Interest::READABLE | Interest::WRITABLE)?,
        })
    }

    /// Reads into the free capacity of `buf` (which must have some) and says how much came; 0 is the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let room = buf.capacity() - buf.len();
        self.poll_recv(cx, room, |fd| {
            Ok(rustix::net::recv(fd, spare_capacity(buf), RecvFlags::empty())?.0)
        })
    }

    /// Reads over `buf` and says how much came; 0 is the end.
    pub fn poll_read_slice(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_recv(cx, buf.len(), |fd| {
            Ok(rustix::net::recv(fd, &mut *buf, RecvFlags::empty())?.0)
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        room: usize,
        mut recv: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            match recv(self.fd.as_fd()) {
                Ok(read) => {
                    // A short read emptied the socket: epoll will tell of more, no second read is needed to learn that.
                    if read > 0 && read < room {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(read));
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Waits until reading would tell something.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readable>> {
        let guard = ready!(self.fd.poll_read_ready(cx))?;
        let closed = guard.ready().is_read_closed();
        Poll::Ready(Ok(if closed {
            Readable::PeerClosed
        } else {
            Readable::Bytes
        }))
    }

    /// Looks at what would be read; waits for more than the `seen` bytes that are known, or for the end.
    pub fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
        seen: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            match rustix::net::recv(&self.fd, &mut *buf, RecvFlags::PEEK) {
                Ok((there, _)) if there > seen || there == 0 || guard.ready().is_read_closed() => {
                    return Poll::Ready(Ok(there));
                }
                Ok(_) | Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Writes what the socket takes now, without waiting and without telling anybody of more room.
    #[cfg(feature = "tls")]
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(
            &self.fd,
            bytes,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )?)
    }

    /// Whether there is nothing to read and the peer has not closed: how an idle connection should be.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(
            rustix::net::recv(&self.fd, &mut byte, flags),
            Err(Errno::AGAIN)
        )
    }

    /// Ready when an idle connection is not [quiet](Self::is_quiet) any more: the peer closed it, or sent what nobody asked for.
    pub fn poll_disturbed(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok(mut guard) = ready!(self.fd.poll_read_ready(cx)) else {
                return Poll::Ready(());
            };
            if guard.ready().is_read_closed() || !self.is_quiet() {
                return Poll::Ready(());
            }
            guard.clear_ready();
        }
    }

    /// Waits for the end of a `connect` that was begun.
    pub fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.fd.poll_write_ready(cx))?.retain_ready();
        Poll::Ready(rustix::net::sockopt::socket_error(&self.fd)?.map_err(io::Error::from))
    }

    /// Writes from the start of `parts` and says how much went.
    pub fn poll_write(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let flags = SendFlags::NOSIGNAL;
        let wanted: usize = parts.iter().map(|part| part.len()).sum();
        loop {
            let mut guard = ready!(self.fd.poll_write_ready(cx))?;
            let result = match parts {
                [one] => rustix::net::send(&self.fd, one, flags),
                _ => rustix::net::sendmsg(
                    &self.fd,
                    parts,
                    &mut SendAncillaryBuffer::default(),
                    flags,
                ),
            };
            match result {
                Ok(written) => {
                    if written < wanted {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(written));
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Sends up to `count` bytes of `file` from `offset` and says how much went; 0 is the end of the file.
    pub fn poll_sendfile(
        &self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_write_ready(cx))?;
            let mut position = offset;
            match rustix::fs::sendfile(&self.fd, file, Some(&mut position), count) {
                Ok(sent) => return Poll::Ready(Ok(sent)),
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Closes a direction; an error (the peer was faster) does not matter to anybody.
    pub fn shutdown(&self, how: Shutdown) {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        let _ = rustix::net::shutdown(&self.fd, how);
    }

    /// Makes the close that follows a reset (RST), which throws away what is unsent. Nothing on unix sockets.
    pub fn reset_on_close(&self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.fd, Some(std::time::Duration::ZERO));
    }
}

impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
