//! Ports that nobody uses, and an address that refuses connections.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// The ports this process has given out: the kernel may offer one twice before its first user binds it.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A TCP port of 127.0.0.1 that was free a moment ago, for a program that takes a port by its configuration.
///
/// Nothing holds the port until the program binds it; whoever starts the program retries when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreePort(u16);

impl FreePort {
    /// Asks the kernel for a free port. No port is given twice in one process.
    ///
    /// # Errors
    /// Whatever `bind` says.
    pub fn find() -> io::Result<Self> {
        // Listeners are kept until a port is found, so that the kernel cannot offer the same one again.
        let mut refused = Vec::new();
        loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = listener.local_addr()?.port();
            let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
            if given.get_or_insert_default().insert(port) {
                return Ok(FreePort(port));
            }
            refused.push(listener);
        }
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }

    /// The port on 127.0.0.1.
    pub fn address(self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.0))
    }
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
        let bound = socket(AddressFamily::INET, SocketType::STREAM, None)?;
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
    use std::net::TcpStream;

    #[test]
    fn no_port_is_given_twice() {
        let ports: Vec<u16> = (0..50)
            .map(|_| FreePort::find().unwrap().number())
            .collect();
        let different: HashSet<_> = ports.iter().collect();
        assert_eq!(different.len(), ports.len());
    }

    #[test]
    fn a_found_port_can_be_bound() {
        let port = FreePort::find().unwrap();
        assert_eq!(
            TcpListener::bind(port.address())
                .unwrap()
                .local_addr()
                .unwrap()
                .port(),
            port.number()
        );
    }

    #[test]
    fn a_refusing_address_refuses() {
        let refusing = Refusing::reserve().unwrap();
        let error = TcpStream::connect(refusing.address()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
