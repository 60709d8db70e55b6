//! Conversions into tokio's types. They set the socket non-blocking and must run inside a runtime with I/O enabled.

use std::io;

use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};

use crate::{Kind, Socket};

impl Socket {
    /// As tokio's TCP listener.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] with the words of [`crate::SocketError`] when it is something else; the
    /// kernel's error otherwise.
    ///
    /// # Panics
    /// Outside a runtime, like every conversion in tokio.
    pub fn into_tokio_tcp_listener(self) -> io::Result<TcpListener> {
        let socket = self.into_tcp_listener().map_err(wrong_kind)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    }

    /// As tokio's unix listener.
    ///
    /// # Errors
    /// As [`Socket::into_tokio_tcp_listener`].
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn into_tokio_unix_listener(self) -> io::Result<UnixListener> {
        let socket = self.into_unix_listener().map_err(wrong_kind)?;
        socket.set_nonblocking(true)?;
        UnixListener::from_std(socket)
    }

    /// As tokio's UDP socket.
    ///
    /// # Errors
    /// As [`Socket::into_tokio_tcp_listener`].
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn into_tokio_udp_socket(self) -> io::Result<UdpSocket> {
        let socket = self.into_udp_socket().map_err(wrong_kind)?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }

    /// As tokio's unix datagram socket.
    ///
    /// # Errors
    /// As [`Socket::into_tokio_tcp_listener`].
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn into_tokio_unix_datagram(self) -> io::Result<UnixDatagram> {
        let socket = self.into_unix_datagram().map_err(wrong_kind)?;
        socket.set_nonblocking(true)?;
        UnixDatagram::from_std(socket)
    }

    /// As tokio's stream of a connection, when it is one (`Accept=yes`).
    ///
    /// # Errors
    /// As [`Socket::into_tokio_tcp_listener`].
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn into_tokio_tcp_stream(self) -> io::Result<tokio::net::TcpStream> {
        let socket = self.into_tcp_stream().map_err(wrong_kind)?;
        socket.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(socket)
    }

    /// Can it become one of tokio's listeners?
    #[must_use]
    pub fn fits_tokio_listener(&self) -> bool {
        matches!(self.kind(), Kind::TcpListener | Kind::UnixListener)
    }
}

fn wrong_kind(error: crate::SocketError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
