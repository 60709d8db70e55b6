//! The listening sockets: found among those that were handed to this process, else opened; kept over every reload.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use proxy_core::engine::ports::{Listen, ListenAddress};
use rustix::io::Errno;
use rustix::net::sockopt::{
    ipv6_v6only, set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use socket_activation::{Address, Sockets};
use supervisor::bind::Staged;
use supervisor::{BindError, BindOptions, Listeners, Wanted};

use crate::logs::reason;

/// An address that is in use may be let go in a moment: nginx tries this often, and so do we.
const ATTEMPTS: usize = 5;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Anyone may connect to a unix socket that a web server listens at; who may enter its directory is decided there.
const SOCKET_FILE_MODE: u32 = 0o666;

/// Every listening socket of this process.
pub struct Listening {
    listeners: Listeners,
    /// Handed to this process and not used yet.
    spare: Sockets,
    /// What the configuration calls them, and under which address they were opened.
    names: Vec<(ListenAddress, Address)>,
}

/// Sockets that a configuration needs in addition. Dropped, nothing has changed.
pub struct Opened {
    staged: Staged,
    names: Vec<(ListenAddress, Address)>,
}

/// Why sockets can't be opened: a line and what to do, each.
pub type Faults = Vec<(String, Option<String>)>;

impl Listening {
    /// None open yet; `spare` is what was handed to this process.
    pub fn new(spare: Sockets) -> Self {
        Self {
            listeners: Listeners::new(),
            spare,
            names: Vec::new(),
        }
    }

    /// Opens what `listens` has beyond what is open. Waits up to two seconds for addresses that are in use; each time
    /// `complain` is told.
    ///
    /// # Errors
    /// Every address that can't be listened at.
    pub fn open(
        &mut self,
        listens: &[Listen],
        mut complain: impl FnMut(&str),
    ) -> Result<Opened, Faults> {
        let names: Vec<(ListenAddress, Address)> = listens
            .iter()
            .map(|listen| (listen.address.clone(), self.address_for(listen)))
            .collect();
        let wanted: Vec<Wanted> = listens
            .iter()
            .zip(&names)
            .map(|(listen, (_, address))| self.sharing(wanted(listen, address.clone())))
            .collect();
        for attempt in 1.. {
            let errors = match self.listeners.stage(&wanted, &mut self.spare) {
                Ok(staged) => return Ok(Opened { staged, names }),
                Err(errors) => errors,
            };
            let may_pass = errors
                .iter()
                .all(|error| error.in_use() && error.address.inet().is_some());
            if attempt == ATTEMPTS || !may_pass {
                return Err(errors.iter().map(words).collect());
            }
            errors.iter().for_each(|error| complain(&words(error).0));
            thread::sleep(PAUSE);
        }
        Err(Vec::new())
    }

    /// Makes what was opened the sockets in force; others are closed.
    pub fn commit(&mut self, opened: Opened) {
        self.listeners.commit(opened.staged);
        self.names = opened.names;
    }

    /// Copies of all sockets, under the addresses of the configuration.
    ///
    /// # Errors
    /// When no descriptors are left.
    pub fn hand_over(&self) -> io::Result<Vec<(ListenAddress, OwnedFd)>> {
        let open = self.names.iter().filter_map(|(name, address)| {
            let socket = self.listeners.find(address)?.fds().next()?;
            Some((name, socket))
        });
        open.map(|(name, socket)| Ok((name.clone(), socket.try_clone_to_owned()?)))
            .collect()
    }

    /// Closes all of them, and removes the files of unix sockets unless they were given away.
    pub fn close(&mut self) {
        self.listeners = Listeners::new();
        self.names.clear();
    }

    /// The sockets as such.
    pub fn listeners(&mut self) -> &mut Listeners {
        &mut self.listeners
    }

    /// Closes what was handed to this process and is not used, and tells where that was.
    pub fn close_spare(&mut self) -> Vec<String> {
        let spare = std::mem::replace(&mut self.spare, none());
        spare
            .into_iter()
            .map(|socket| socket.address().to_string())
            .collect()
    }

    /// From `127.0.0.1:80` to `*:80` and back: the kernel lets the new socket be bound beside the old one, which is closed in a
    /// moment, when both say that they share (nginx has to be restarted for this).
    fn sharing(&self, mut wanted: Wanted) -> Wanted {
        let Some(inet) = wanted.address.inet() else {
            return wanted;
        };
        if self.listeners.find(&wanted.address).is_some() {
            return wanted;
        }
        let overlaps = |other: SocketAddr| {
            let any = inet.ip().is_unspecified() || other.ip().is_unspecified();
            any && other.port() == inet.port()
        };
        for listener in self.listeners.iter() {
            if !listener.address().inet().is_some_and(overlaps) {
                continue;
            }
            wanted.options.reuse_port |= listener
                .fds()
                .all(|socket| set_socket_reuseport(socket, true).is_ok());
        }
        wanted
    }

    /// Where to listen. `ListenStream=80` of systemd is `[::]:80` for both families: it serves as `0.0.0.0:80`, too.
    fn address_for(&self, listen: &Listen) -> Address {
        let address = address_of(&listen.address);
        if let Some((_, known)) = self.names.iter().find(|(name, _)| *name == listen.address) {
            return known.clone();
        }
        let ListenAddress::Inet(SocketAddr::V4(inet)) = &listen.address else {
            return address;
        };
        let both = Address::Inet(SocketAddr::new(
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            inet.port(),
        ));
        let serves_both = |socket: &socket_activation::Socket| {
            socket.is_listener()
                && *socket.address() == both
                && ipv6_v6only(socket.as_fd()) == Ok(false)
        };
        let given: HashSet<&Address> = self.spare.iter().map(|socket| socket.address()).collect();
        if inet.ip().is_unspecified()
            && !given.contains(&address)
            && self.spare.iter().any(serves_both)
        {
            return both;
        }
        address
    }
}

/// No sockets.
pub fn none() -> Sockets {
    Sockets::from_fds([]).unwrap_or_else(|_| unreachable!("nothing is examined"))
}

/// What `-t` checks: that every address could be bound. One that somebody listens at now is fine: that may well be the
/// server that this configuration is for.
///
/// # Errors
/// Every address that can't be bound, ever.
pub fn check(listens: &[Listen]) -> Result<(), Faults> {
    let faults: Faults = listens
        .iter()
        .filter_map(|listen| check_one(listen).err())
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

fn check_one(listen: &Listen) -> Result<(), (String, Option<String>)> {
    let fault = |errno: Errno, advice: Option<&str>| {
        let error = io::Error::from(errno);
        let message = format!("bind() to {} failed ({})", listen.address, reason(&error));
        (message, advice.map(str::to_owned))
    };
    match &listen.address {
        ListenAddress::Unix(path) => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(std::path::Path::new("."));
            let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
            rustix::fs::access(folder, access).map_err(|errno| {
                fault(
                    errno,
                    Some("the directory of the socket must exist and be writable"),
                )
            })
        }
        ListenAddress::Inet(address) => match try_bind(*address, listen.ipv6_only) {
            Err(Errno::ADDRINUSE) | Ok(()) => Ok(()),
            Err(errno) => {
                let advice = match errno {
                    Errno::ACCESS => Some("ports below 1024 need root or CAP_NET_BIND_SERVICE"),
                    Errno::ADDRNOTAVAIL => Some("no interface of this machine has this address"),
                    Errno::AFNOSUPPORT => Some("this machine has no IPv6; leave the address out"),
                    _ => None,
                };
                Err(fault(errno, advice))
            }
        },
    }
}

/// Binds without listening, so that no client is ever accepted.
fn try_bind(address: SocketAddr, ipv6_only: bool) -> Result<(), Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, ipv6_only)?;
    }
    bind(&socket, &address)
}

fn wanted(listen: &Listen, address: Address) -> Wanted {
    let bytes = |size: Option<u64>| size.and_then(|size| usize::try_from(size).ok());
    let options = BindOptions {
        backlog: i32::try_from(listen.backlog).unwrap_or(i32::MAX),
        v6_only: listen.ipv6_only,
        receive_buffer: bytes(listen.receive_buffer_bytes),
        send_buffer: bytes(listen.send_buffer_bytes),
        mode: matches!(listen.address, ListenAddress::Unix(_)).then_some(SOCKET_FILE_MODE),
        ..BindOptions::default()
    };
    Wanted {
        options,
        ..Wanted::new(address)
    }
}

fn address_of(address: &ListenAddress) -> Address {
    match address {
        ListenAddress::Inet(inet) => Address::Inet(*inet),
        ListenAddress::Unix(path) => Address::Path(path.clone()),
    }
}

/// As nginx says it: `bind() to 127.0.0.1:80 failed (98: Address already in use)`.
fn words(error: &BindError) -> (String, Option<String>) {
    let step = match error.step() {
        "bind()" => "bind() to",
        step => step,
    };
    let message = format!(
        "{step} {} failed ({})",
        error.address,
        reason(&error.source)
    );
    (message, error.advice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn listen(address: &str) -> Listen {
        Listen {
            address: match address.strip_prefix("unix:") {
                Some(path) => ListenAddress::Unix(path.into()),
                None => ListenAddress::Inet(address.parse().expect("an address")),
            },
            backlog: 511,
            ipv6_only: true,
            receive_buffer_bytes: None,
            send_buffer_bytes: None,
        }
    }

    #[test]
    fn a_socket_that_was_handed_over_is_used() {
        let given = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = given.local_addr().expect("it is bound").to_string();
        let spare = Sockets::from_fds([("web".to_owned(), given.into())]).expect("a socket");
        let mut listening = Listening::new(spare);
        let opened = listening
            .open(&[listen(&address)], |_| ())
            .expect("it is there");
        listening.commit(opened);
        assert!(
            listening
                .listeners()
                .iter()
                .all(supervisor::Listener::is_inherited)
        );
        assert_eq!(
            listening.hand_over().expect("descriptors are left").len(),
            1
        );
        assert_eq!(listening.close_spare(), Vec::<String>::new());
    }

    #[test]
    fn a_socket_of_both_families_serves_for_ipv4() {
        let socket = socket_with(
            AddressFamily::INET6,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("IPv6 is there");
        set_ipv6_v6only(&socket, false).expect("it can be set");
        bind(
            &socket,
            &"[::]:0".parse::<SocketAddr>().expect("an address"),
        )
        .expect("a port is free");
        rustix::net::listen(&socket, 1).expect("it listens");
        let port = Address::of(&socket)
            .expect("bound")
            .inet()
            .expect("inet")
            .port();
        let spare = Sockets::from_fds([("web".to_owned(), socket)]).expect("a socket");
        let mut listening = Listening::new(spare);
        let wanted = [listen(&format!("0.0.0.0:{port}"))];
        for _ in 0..2 {
            let opened = listening.open(&wanted, |_| ()).expect("it serves");
            listening.commit(opened);
            let handed = listening.hand_over().expect("descriptors are left");
            assert_eq!(handed[0].0, wanted[0].address);
            assert_eq!(
                Address::of(&handed[0].1)
                    .expect("bound")
                    .inet()
                    .expect("inet")
                    .port(),
                port
            );
        }
    }

    #[test]
    fn an_address_in_use_is_no_fault_of_the_configuration() {
        let other = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = other.local_addr().expect("it is bound").to_string();
        assert_eq!(check(&[listen(&address)]), Ok(()));
        let faults = check(&[listen("192.0.2.1:80"), listen("unix:/nowhere/at/all.sock")])
            .expect_err("neither can be");
        assert_eq!(
            faults[0].0,
            "bind() to 192.0.2.1:80 failed (99: Cannot assign requested address)"
        );
        assert!(
            faults[1]
                .0
                .starts_with("bind() to unix:/nowhere/at/all.sock failed (2: ")
        );
        assert!(faults.iter().all(|(_, advice)| advice.is_some()));
    }
}
