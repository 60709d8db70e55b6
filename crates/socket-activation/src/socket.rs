//! One descriptor that was handed to us: examined once, then turned into the type that fits it, or refused in words.

use std::fmt;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::{Mutex, PoisonError};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, ipproto, sockopt};

use crate::sockets::check_inherited;
use crate::{Address, FIRST_FD, TakeError};

/// What a descriptor is, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// TCP (or Multipath TCP), listening.
    TcpListener,
    /// TCP, not listening: a connection (`Accept=yes`), or a socket on which `listen(2)` was not called.
    TcpStream,
    /// UDP.
    Udp,
    /// Unix stream socket, listening.
    UnixListener,
    /// Unix stream socket, not listening.
    UnixStream,
    /// Unix datagram socket.
    UnixDatagram,
    /// Unix socket of sequenced packets.
    UnixSeqpacket,
    /// A socket of another family or type.
    OtherSocket,
    /// No socket: a file, a FIFO, a memfd, a device.
    File,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TcpListener => "a listening TCP socket",
            Self::TcpStream => "a TCP socket that does not listen",
            Self::Udp => "a UDP socket",
            Self::UnixListener => "a listening unix stream socket",
            Self::UnixStream => "a unix stream socket that does not listen",
            Self::UnixDatagram => "a unix datagram socket",
            Self::UnixSeqpacket => "a unix socket of sequenced packets",
            Self::OtherSocket => "a socket of another family or type",
            Self::File => "no socket",
        })
    }
}

/// The socket is not what the caller asked for; it comes back in `socket`.
#[derive(Debug, thiserror::Error)]
#[error(
    "socket {:?} (number {}, {}) is {}, expected {wanted}; {}",
    socket.name(), socket.index(), socket.address(), socket.kind(), advice(socket.kind(), *wanted)
)]
pub struct SocketError {
    /// The socket, untouched.
    pub socket: Box<Socket>,
    /// What it was expected to be.
    pub wanted: Kind,
}

/// What to change so that the socket becomes what is expected.
fn advice(found: Kind, wanted: Kind) -> &'static str {
    match (found, wanted) {
        (Kind::TcpStream, Kind::TcpListener) | (Kind::UnixStream, Kind::UnixListener) => {
            "set Accept=no in the .socket unit, so that the listening socket is passed"
        }
        (Kind::TcpListener, Kind::TcpStream) | (Kind::UnixListener, Kind::UnixStream) => {
            "set Accept=yes in the .socket unit, so that each connection is passed"
        }
        (_, Kind::TcpListener | Kind::UnixListener) => "use ListenStream= in the .socket unit",
        (_, Kind::Udp | Kind::UnixDatagram) => "use ListenDatagram= in the .socket unit",
        _ => "check the order and the names of the sockets",
    }
}

/// An owned descriptor with what is known about it. Close-on-exec is set.
#[derive(Debug)]
pub struct Socket {
    index: usize,
    name: String,
    kind: Kind,
    address: Address,
    fd: OwnedFd,
}

impl Socket {
    /// Examines `fd` and marks it close-on-exec.
    ///
    /// # Errors
    /// What the kernel says when the descriptor cannot be examined.
    pub fn examine(index: usize, name: impl Into<String>, fd: OwnedFd) -> io::Result<Self> {
        fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        let kind = kind_of(&fd)?;
        let address = if kind == Kind::File {
            Address::Unnamed
        } else {
            Address::of(&fd)?
        };
        Ok(Self {
            index,
            name: name.into(),
            kind,
            address,
            fd,
        })
    }

    /// Takes over a descriptor by its number that whoever started this process left open, without any announcement
    /// (`--bind fd://5`). Its index counts from 3, its name is empty.
    ///
    /// # Errors
    /// [`TakeError::NotInherited`] when it is not open, or was opened or taken by this process itself (then it is
    /// close-on-exec); [`TakeError::Examine`].
    pub fn inherited(fd: RawFd) -> Result<Self, TakeError> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |reason| Err(TakeError::NotInherited { fd, reason });
        if fd < FIRST_FD {
            return refused("numbers below 3 are the standard streams");
        }
        match check_inherited(fd, 1) {
            Err(TakeError::NotOpen { .. }) => return refused("it is not open"),
            Err(TakeError::OpenedHere { .. }) => {
                return refused("this process opened it, or took it before");
            }
            other => other?,
        }
        // SAFETY: `fd` is open and came through exec, because it lacks the close-on-exec mark; from here on it has the
        // mark, so it cannot be taken a second time.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        let index = (fd - FIRST_FD) as usize;
        Self::examine(index, "", owned).map_err(|source| TakeError::Examine { fd, source })
    }

    /// Place in the announcement, from 0; `number - 3`. Stays the same when others are taken out.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its name (`FileDescriptorName=`); `unknown` when it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it is bound.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Is it a listening stream socket?
    #[must_use]
    pub fn is_listener(&self) -> bool {
        matches!(self.kind, Kind::TcpListener | Kind::UnixListener)
    }

    /// The bare descriptor, whatever it is.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// As a TCP listener, blocking or not as it was handed over.
    ///
    /// # Errors
    /// [`SocketError`] when it is something else.
    pub fn into_tcp_listener(self) -> Result<TcpListener, SocketError> {
        self.into_kind(Kind::TcpListener)
    }

    /// As a TCP connection.
    ///
    /// # Errors
    /// [`SocketError`] when it is something else.
    pub fn into_tcp_stream(self) -> Result<TcpStream, SocketError> {
        self.into_kind(Kind::TcpStream)
    }

    /// As a UDP socket.
    ///
    /// # Errors
    /// [`SocketError`] when it is something else.
    pub fn into_udp_socket(self) -> Result<UdpSocket, SocketError> {
        self.into_kind(Kind::Udp)
    }

    /// As a listener on a unix stream socket.
    ///
    /// # Errors
    /// [`SocketError`] when it is something else.
    pub fn into_unix_listener(self) -> Result<UnixListener, SocketError> {
        self.into_kind(Kind::UnixListener)
    }

    /// As a connection on a unix stream socket.
    ///
    /// # Errors
    /// [`SocketError`] when it is something else.
    pub fn into_unix_stream(self) -> Result<UnixStream, SocketError> {
        self.into_kind(Kind::UnixStream)
    }

    /// As a unix datagram socket.
    ///
    /// # Errors
    /// [`SocketError`] when it is something else.
    pub fn into_unix_datagram(self) -> Result<UnixDatagram, SocketError> {
        self.into_kind(Kind::UnixDatagram)
    }

    fn into_kind<T: From<OwnedFd>>(self, wanted: Kind) -> Result<T, SocketError> {
        if self.kind == wanted {
            Ok(T::from(self.fd))
        } else {
            Err(SocketError {
                socket: Box::new(self),
                wanted,
            })
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn kind_of(fd: &OwnedFd) -> io::Result<Kind> {
    let kind = match sockopt::socket_type(fd) {
        Ok(kind) => kind,
        Err(Errno::NOTSOCK) => return Ok(Kind::File),
        Err(errno) => return Err(errno.into()),
    };
    let listening = sockopt::socket_acceptconn(fd).unwrap_or(false);
    let family = sockopt::socket_domain(fd)?;
    Ok(match (family, kind, listening) {
        (AddressFamily::UNIX, SocketType::STREAM, true) => Kind::UnixListener,
        (AddressFamily::UNIX, SocketType::STREAM, false) => Kind::UnixStream,
        (AddressFamily::UNIX, SocketType::DGRAM, _) => Kind::UnixDatagram,
        (AddressFamily::UNIX, SocketType::SEQPACKET, _) => Kind::UnixSeqpacket,
        (AddressFamily::INET | AddressFamily::INET6, ..) => inet_kind(fd, kind, listening)?,
        _ => Kind::OtherSocket,
    })
}

/// SCTP and raw sockets share the families, so the protocol decides.
fn inet_kind(fd: &OwnedFd, kind: SocketType, listening: bool) -> io::Result<Kind> {
    Ok(match (kind, sockopt::socket_protocol(fd)?) {
        (SocketType::STREAM, Some(ipproto::TCP | ipproto::MPTCP)) if listening => Kind::TcpListener,
        (SocketType::STREAM, Some(ipproto::TCP | ipproto::MPTCP)) => Kind::TcpStream,
        (SocketType::DGRAM, Some(ipproto::UDP)) => Kind::Udp,
        _ => Kind::OtherSocket,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::fcntl_getfd;
    use rustix::net::{SocketFlags, socketpair};

    fn examine(fd: impl Into<OwnedFd>) -> Socket {
        Socket::examine(1, "it", fd.into()).unwrap()
    }

    #[test]
    fn tells_the_kinds_apart() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let (stream, _other) = UnixStream::pair().unwrap();
        let packets = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::empty(),
            None,
        )
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(folder.path().join("s")).unwrap();
        assert_eq!(examine(tcp).kind(), Kind::TcpListener);
        assert_eq!(examine(peer).kind(), Kind::TcpStream);
        assert_eq!(
            examine(UdpSocket::bind("[::1]:0").unwrap()).kind(),
            Kind::Udp
        );
        assert_eq!(examine(unix).kind(), Kind::UnixListener);
        assert_eq!(examine(stream).kind(), Kind::UnixStream);
        assert_eq!(
            examine(UnixDatagram::unbound().unwrap()).kind(),
            Kind::UnixDatagram
        );
        assert_eq!(examine(packets.0).kind(), Kind::UnixSeqpacket);
        assert_eq!(
            examine(std::fs::File::open("/dev/null").unwrap()).kind(),
            Kind::File
        );
    }

    #[test]
    fn close_on_exec_is_set() {
        let (fd, _other) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::empty(),
            None,
        )
        .unwrap();
        assert_eq!(fcntl_getfd(&fd).unwrap(), FdFlags::empty());
        assert_eq!(fcntl_getfd(examine(fd)).unwrap(), FdFlags::CLOEXEC);
    }

    #[test]
    fn a_wrong_kind_is_refused_in_words_and_given_back() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let error = examine(udp).into_tcp_listener().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "socket \"it\" (number 1, {address}) is a UDP socket, expected a listening TCP socket; \
                 use ListenStream= in the .socket unit"
            )
        );
        assert_eq!(
            error
                .socket
                .into_udp_socket()
                .unwrap()
                .local_addr()
                .unwrap(),
            address
        );
    }
}
