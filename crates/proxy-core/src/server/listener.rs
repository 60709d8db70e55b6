//! Accepting connections from a socket that other threads and processes accept from too.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::connection::{Address, Connection};
use super::drain::Drain;
use super::http1::serve_connection;
use super::service::Service;
use crate::socket::{Socket, register};

/// How long accepting rests when the process has no descriptor or memory left: nginx's `accept_mutex_delay`.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(500);

/// A listening TCP or unix stream socket, in one thread's runtime.
///
/// Any number of threads and processes may have a listener for the same socket. A connection that comes wakes all of them
/// that have nothing to do, and the first takes it: an idle machine wastes a few microseconds, a busy one nothing.
/// `EPOLLEXCLUSIVE` can't help: the kernel honours it only where a thread sleeps in the very `epoll_wait` that has the socket, not
/// through an epoll instance inside of another, and the runtime's own can't be asked for it.
pub struct Listener {
    socket: AsyncFd<OwnedFd>,
    local: Address,
    inet: bool,
    exhausted: Option<Tell>,
}

/// See [`Listener::on_exhausted`].
type Tell = Box<dyn Fn(&io::Error) + Send + Sync>;

/// A connection that was accepted.
pub struct Accepted {
    /// Its socket.
    pub socket: Socket,
    /// Who it is from.
    pub peer: Address,
    /// Where it was accepted.
    pub local: Address,
}

impl Listener {
    /// Takes a listening socket (`std::net::TcpListener`, `std::os::unix::net::UnixListener`, or one that was handed over). Makes
    /// it non-blocking.
    ///
    /// # Errors
    /// What the operating system says; also when the socket is neither TCP nor unix.
    pub fn new(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = socket.into();
        rustix::io::ioctl_fionbio(&socket, true)?;
        let name = rustix::net::getsockname(&socket)?;
        let local = address(&name)?;
        let inet = name.address_family() != AddressFamily::UNIX;
        let socket = register(socket, Interest::READABLE)?;
        Ok(Self {
            socket,
            local,
            inet,
            exhausted: None,
        })
    }

    /// Who is told each time that nothing can be accepted because descriptors or memory are used up.
    #[must_use]
    pub fn on_exhausted(mut self, tell: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        self.exhausted = Some(Box::new(tell));
        self
    }

    /// Where it listens.
    pub fn local(&self) -> &Address {
        &self.local
    }

    /// The next connection. Cancel safe.
    ///
    /// Connections that were closed before they were accepted are passed over. When the process has run out of descriptors or
    /// memory, it waits for half a second, so that the rest can be served, and tries again.
    ///
    /// # Errors
    /// Errors of the listening socket itself; it is of no use after them.
    pub async fn accept(&self) -> io::Result<Accepted> {
        self.accept_after(|_| None).await
    }

    /// As [`Listener::accept`], but leaves a connection to others for a while: `pause` is told how long it has been waiting for
    /// this listener, and says for how long it is to wait on before it is asked again. `None` takes it.
    ///
    /// # Errors
    /// As [`Listener::accept`].
    pub async fn accept_after(
        &self,
        pause: impl Fn(Duration) -> Option<Duration>,
    ) -> io::Result<Accepted> {
        let mut since = None;
        loop {
            let mut guard = self.socket.readable().await?;
            let waited = since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
            if let Some(more) = pause(waited) {
                since.get_or_insert_with(Instant::now);
                tokio::time::sleep(more).await;
                if !self.is_waited_at()? {
                    since = None;
                    guard.clear_ready();
                }
                continue;
            }
            since = None;
            match rustix::net::acceptfrom_with(
                &self.socket,
                SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            ) {
                Ok((socket, peer)) => {
                    guard.retain_ready();
                    if let Some(accepted) = self.accepted(socket, peer)? {
                        return Ok(accepted);
                    }
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(error) if is_of_one_connection(error) => guard.retain_ready(),
                Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                    guard.retain_ready();
                    if let Some(tell) = &self.exhausted {
                        tell(&error.into());
                    }
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether there is a connection to be accepted at this moment.
    fn is_waited_at(&self) -> io::Result<bool> {
        let mut listening = [PollFd::new(&self.socket, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut listening, Some(&Timespec::default())))? > 0)
    }

    /// Accepts connections and serves each in a task of its own, until `drain` starts.
    ///
    /// After each connection it lets other tasks run and the runtime look for events, so that a connection is read, and answered
    /// if that takes no waiting, before the next is taken: what one thread does not get to, another takes.
    ///
    /// # Errors
    /// As [`Listener::accept`].
    pub async fn serve<S: Service>(&self, service: Arc<S>, drain: &Drain) -> io::Result<()> {
        let begun = drain.begun();
        tokio::pin!(begun);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut begun => return Ok(()),
                accepted = self.accept() => accepted?,
            };
            let Accepted {
                socket,
                peer,
                local,
            } = accepted;
            let connection = Arc::new(Connection::new(peer, local, false));
            tokio::spawn(serve_connection(socket, connection, service.clone(), drain));
            tokio::task::yield_now().await;
        }
    }

    /// `None` when the connection is broken already.
    fn accepted(
        &self,
        socket: OwnedFd,
        peer: Option<SocketAddrAny>,
    ) -> io::Result<Option<Accepted>> {
        let mut local = self.local.clone();
        if self.inet {
            let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
            if matches!(&self.local, Address::Inet(address) if address.ip().is_unspecified()) {
                match rustix::net::getsockname(&socket) {
                    Ok(name) => local = address(&name)?,
                    Err(_) => return Ok(None),
                }
            }
        }
        let peer = match peer {
            Some(peer) if self.inet => address(&peer)?,
            _ if self.inet => return Ok(None),
            _ => Address::Unix(None),
        };
        Ok(Some(Accepted {
            socket: Socket::from_nonblocking(socket)?,
            peer,
            local,
        }))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Errors that concern the connection that was to be accepted, not the listening socket (accept(2)).
fn is_of_one_connection(error: Errno) -> bool {
    matches!(
        error,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::NETDOWN
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            | Errno::PERM
    )
}

fn address(name: &SocketAddrAny) -> io::Result<Address> {
    if let Ok(address) = SocketAddr::try_from(name.clone()) {
        return Ok(Address::Inet(address));
    }
    let unix = SocketAddrUnix::try_from(name.clone())
        .map_err(|_| io::Error::other("the socket is neither TCP nor a unix socket"))?;
    let path = unix
        .path()
        .map(|path| Arc::from(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()))));
    Ok(Address::Unix(path))
}
