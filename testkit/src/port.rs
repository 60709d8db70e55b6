//! Ports that nobody else uses, and an address that refuses connections.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};

/// A TCP port of the loopback addresses for a program that takes a port by its configuration.
///
/// While this lives the kernel gives the port to nobody who asks for any: it is bound, though nobody listens, so connections are
/// refused. A program that asks for this very port gets it when it sets `SO_REUSEADDR`, as servers do. Were the port only free, a
/// listener of another test might take it for a moment, be taken for the program that is waited for, and reset what it is sent.
#[derive(Debug)]
pub struct FreePort {
    number: u16,
    _bound: [Option<OwnedFd>; 2],
}

impl FreePort {
    /// Reserves a port that is free for IPv4 and, where there is such, IPv6.
    ///
    /// # Errors
    /// Whatever `bind` says.
    pub fn find() -> io::Result<Self> {
        // Kept until a port is found, so that the kernel cannot offer the same one again.
        let mut refused = Vec::new();
        loop {
            let four = reserve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            let number = SocketAddr::try_from(getsockname(&four)?)?.port();
            match reserve(SocketAddr::from((Ipv6Addr::LOCALHOST, number))) {
                Ok(six) => return Ok(Self::held(number, four, Some(six))),
                Err(Errno::ADDRINUSE) => refused.push(four),
                Err(_) => return Ok(Self::held(number, four, None)),
            }
        }
    }

    fn held(number: u16, four: OwnedFd, six: Option<OwnedFd>) -> Self {
        FreePort {
            number,
            _bound: [Some(four), six],
        }
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The port on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// A socket that is bound so that a server may be, too.
fn reserve(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let bound = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&bound, true)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&bound, true)?;
    }
    bind(&bound, &address)?;
    Ok(bound)
}

/// An address of 127.0.0.1 that refuses connections for as long as this lives: bound, but never listening.
#[derive(Debug)]
pub struct Refusing {
    _bound: OwnedFd,
    address: SocketAddr,
}

impl Refusing {
    /// Reserves such an address.
    ///
    /// # Errors
    /// Whatever `socket` or `bind` say.
    pub fn reserve() -> io::Result<Self> {
        let bound = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        bind(&bound, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = SocketAddr::try_from(getsockname(&bound)?)?;
        Ok(Refusing {
            _bound: bound,
            address,
        })
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn nobody_else_is_given_the_port() {
        let port = FreePort::find().unwrap();
        // More than enough to be offered every port that is free now.
        let others: Vec<_> = (0..2000)
            .map_while(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok())
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        assert!(!others.contains(&port.number()));
        let again = FreePort::find().unwrap();
        assert_ne!(again.number(), port.number());
    }

    #[test]
    fn connections_are_refused_until_somebody_listens() {
        let port = FreePort::find().unwrap();
        let error = TcpStream::connect(port.address()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        for place in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
            let listener = TcpListener::bind((place, port.number())).unwrap();
            TcpStream::connect(port.address()).unwrap();
            let second = TcpListener::bind(port.address()).unwrap_err();
            assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
            drop(listener);
        }
    }

    #[test]
    fn a_refusing_address_refuses() {
        let refusing = Refusing::reserve().unwrap();
        let error = TcpStream::connect(refusing.address()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
