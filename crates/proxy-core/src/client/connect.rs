//! Making a connection to an origin server.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, socket_with};
use tokio::time::{Instant, timeout_at};

use crate::server::Address;
use crate::socket::Socket;

/// The first and the longest wait for a place in the queue of a unix socket.
const QUEUE_WAITS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// Connects; `None` when that took longer than `limit`.
///
/// A unix socket whose queue is full refuses at once, without queueing (`EAGAIN`). It is asked again within the limit, so that
/// a burst on a busy application waits as it would with TCP.
///
/// # Errors
/// What the operating system says.
pub async fn connect(address: &Address, limit: Duration) -> io::Result<Option<Socket>> {
    let connecting = async {
        match address {
            Address::Inet(address) => inet(*address).await,
            Address::Unix(Some(path)) => unix(&SocketAddrUnix::new(&**path)?).await,
            Address::Unix(None) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a unix socket without a path",
            )),
        }
    };
    let Some(deadline) = Instant::now().checked_add(limit) else {
        return connecting.await.map(Some);
    };
    timeout_at(deadline, connecting)
        .await
        .map_or(Ok(None), |result| result.map(Some))
}

async fn inet(address: std::net::SocketAddr) -> io::Result<Socket> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let fd = stream(family, Some(ipproto::TCP))?;
    let _ = rustix::net::sockopt::set_tcp_nodelay(&fd, true);
    match rustix::net::connect(&fd, &address) {
        Ok(()) => Socket::from_nonblocking(fd),
        Err(Errno::INPROGRESS) => {
            let socket = Socket::from_nonblocking(fd)?;
            poll_fn(|cx| socket.poll_connected(cx)).await?;
            Ok(socket)
        }
        Err(error) => Err(error.into()),
    }
}

async fn unix(address: &SocketAddrUnix) -> io::Result<Socket> {
    let fd = stream(AddressFamily::UNIX, None)?;
    let (mut wait, longest) = QUEUE_WAITS;
    loop {
        match rustix::net::connect(&fd, address) {
            Ok(()) => return Socket::from_nonblocking(fd),
            Err(Errno::AGAIN) => tokio::time::sleep(wait).await,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        wait = (wait * 2).min(longest);
    }
}

fn stream(family: AddressFamily, protocol: Option<rustix::net::Protocol>) -> io::Result<OwnedFd> {
    Ok(socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        protocol,
    )?)
}
