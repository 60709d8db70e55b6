//! The listeners of a server, from one configuration to the next: what stays is not touched, so nobody is refused.

use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::listen;
use rustix::net::sockopt::ipv6_v6only;
use socket_activation::{Address, Socket, Sockets};

use super::{BindError, BindOptions, SocketFile, bind_one, tune};

/// A listener that a configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where; port 0 lets the kernel choose.
    pub address: Address,
    /// How.
    pub options: BindOptions,
    /// How many sockets, with `SO_REUSEPORT` (one for each thread); otherwise 1.
    pub copies: usize,
}

impl Wanted {
    /// One socket with the default options.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            options: BindOptions::default(),
            copies: 1,
        }
    }
}

/// An open listener.
#[derive(Debug)]
pub struct Listener {
    wanted: Wanted,
    address: Address,
    fds: Vec<OwnedFd>,
    file: Option<SocketFile>,
    inherited: bool,
}

impl Listener {
    /// What the configuration calls it.
    #[must_use]
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Where it really is: with the port that the kernel chose.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its sockets; more than one with `SO_REUSEPORT`.
    pub fn fds(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.fds.iter().map(AsFd::as_fd)
    }

    /// Was it handed to this process?
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.inherited
    }

    fn open(wanted: &Wanted) -> Result<Self, BindError> {
        let mut options = wanted.options.clone();
        options.reuse_port |= wanted.copies > 1;
        let (first, file) = bind_one(&wanted.address, &options)?;
        let fault = |source| BindError::new(&wanted.address, "getsockname()", source);
        let address = Address::of(&first).map_err(fault)?;
        let mut fds = vec![first];
        while fds.len() < copies(wanted) {
            fds.push(bind_one(&address, &options)?.0);
        }
        Ok(Self {
            wanted: wanted.clone(),
            address,
            fds,
            file,
            inherited: false,
        })
    }

    fn inherit(wanted: &Wanted, sockets: &mut Sockets) -> Option<Self> {
        let first = sockets
            .take_listener(&wanted.address)
            .or_else(|| both_families(&wanted.address, sockets))?;
        let address = first.address().clone();
        let mut fds = vec![first.into_fd()];
        while fds.len() < copies(wanted) {
            let Some(next) = sockets.take_listener(&address) else {
                break;
            };
            fds.push(next.into_fd());
        }
        Some(Self {
            wanted: wanted.clone(),
            address,
            fds,
            file: None,
            inherited: true,
        })
    }
}

/// `ListenStream=80` of a `.socket` unit is one socket for IPv6 and IPv4; it serves a wanted `0.0.0.0:80`, unless the
/// configuration takes `[::]:80` before.
fn both_families(wanted: &Address, sockets: &mut Sockets) -> Option<Socket> {
    let inet = wanted
        .inet()
        .filter(|inet| inet.is_ipv4() && inet.ip().is_unspecified())?;
    let six = Address::Inet((Ipv6Addr::UNSPECIFIED, inet.port()).into());
    let found = sockets
        .iter()
        .find(|socket| socket.is_listener() && *socket.address() == six)?;
    if ipv6_v6only(found).unwrap_or(true) {
        return None;
    }
    let index = found.index();
    sockets.take_index(index)
}

/// Several sockets at one address make sense for TCP only.
fn copies(wanted: &Wanted) -> usize {
    if wanted.address.inet().is_some() {
        wanted.copies.max(1)
    } else {
        1
    }
}

/// What a new configuration did to the listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Opened, or taken over from another process.
    pub added: Vec<Address>,
    /// The same sockets as before.
    pub kept: Vec<Address>,
    /// Closed.
    pub closed: Vec<Address>,
}

/// Listeners that a new configuration needs in addition. Dropped, they are closed again and nothing has changed.
#[derive(Debug)]
pub struct Staged {
    wanted: Vec<Wanted>,
    opened: Vec<Listener>,
}

/// All listeners of a server.
#[derive(Debug, Default)]
pub struct Listeners {
    listeners: Vec<Listener>,
}

impl Listeners {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens what `wanted` has more than what is open; sockets that were handed to this process are taken first, by their
    /// addresses. An address that is there twice is opened once. Nothing that is open is touched before
    /// [`Listeners::commit`].
    ///
    /// # Errors
    /// Every address that cannot be listened on; what was opened for the others is closed again.
    pub fn stage(
        &self,
        wanted: &[Wanted],
        inherited: &mut Sockets,
    ) -> Result<Staged, Vec<BindError>> {
        let (mut opened, mut faults): (Vec<Listener>, Vec<BindError>) = Default::default();
        let mut unique: Vec<Wanted> = Vec::new();
        for wish in wanted {
            if unique.iter().any(|other| other.address == wish.address) {
                continue;
            }
            unique.push(wish.clone());
            if self.find(&wish.address).is_some() {
                continue;
            }
            match Listener::inherit(wish, inherited).map_or_else(|| Listener::open(wish), Ok) {
                Ok(listener) => opened.push(listener),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            Ok(Staged {
                wanted: unique,
                opened,
            })
        } else {
            Err(faults)
        }
    }

    /// Makes the staged configuration the one in force: closes what it does not want, adds what it opened, applies
    /// changed options to what stays.
    pub fn commit(&mut self, staged: Staged) -> Change {
        let mut change = Change::default();
        let before = std::mem::take(&mut self.listeners);
        for mut listener in before {
            let wish = staged
                .wanted
                .iter()
                .find(|wish| wish.address == listener.wanted.address);
            match wish {
                Some(wish) => {
                    listener.change(wish);
                    change.kept.push(listener.address.clone());
                    self.listeners.push(listener);
                }
                None => change.closed.push(listener.address.clone()),
            }
        }
        change.added.extend(
            staged
                .opened
                .iter()
                .map(|listener| listener.address.clone()),
        );
        self.listeners.extend(staged.opened);
        self.sort_as(&staged.wanted);
        change
    }

    /// [`Listeners::stage`] and [`Listeners::commit`] in one step.
    ///
    /// # Errors
    /// As [`Listeners::stage`].
    pub fn apply(
        &mut self,
        wanted: &[Wanted],
        inherited: &mut Sockets,
    ) -> Result<Change, Vec<BindError>> {
        self.stage(wanted, inherited)
            .map(|staged| self.commit(staged))
    }

    /// Adds a socket that came in another way (`fd://3`), whatever its address.
    pub fn add(&mut self, socket: Socket) {
        let address = socket.address().clone();
        let wanted = Wanted::new(address.clone());
        let fds = vec![socket.into_fd()];
        self.listeners.push(Listener {
            wanted,
            address,
            fds,
            file: None,
            inherited: true,
        });
    }

    /// Those that are open, in the order of the configuration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Listener> {
        self.listeners.iter()
    }

    /// The one that the configuration calls by this address.
    #[must_use]
    pub fn find(&self, wanted: &Address) -> Option<&Listener> {
        self.listeners
            .iter()
            .find(|listener| listener.wanted.address == *wanted)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// The files of unix sockets stay when this process ends: a successor has the sockets.
    pub fn give_files_away(&mut self) {
        for file in self
            .listeners
            .iter_mut()
            .filter_map(|listener| listener.file.as_mut())
        {
            file.give_away();
        }
    }

    /// The successor failed: the files are removed by this process again.
    pub fn take_files_back(&mut self) {
        for file in self
            .listeners
            .iter_mut()
            .filter_map(|listener| listener.file.as_mut())
        {
            file.take_back();
        }
    }

    /// The predecessor is gone: the files of the sockets that it handed over are ours to remove. Not for sockets of a
    /// service manager.
    pub fn adopt_files(&mut self) {
        for listener in self
            .listeners
            .iter_mut()
            .filter(|listener| listener.inherited)
        {
            if let (None, Some(path)) = (&listener.file, listener.address.path()) {
                listener.file = SocketFile::adopt(path).ok();
            }
        }
    }

    fn sort_as(&mut self, wanted: &[Wanted]) {
        let place = |listener: &Listener| {
            wanted
                .iter()
                .position(|wish| wish.address == listener.wanted.address)
        };
        self.listeners
            .sort_by_key(|listener| place(listener).unwrap_or(usize::MAX));
    }
}

impl Listener {
    /// Applies what may change while it is open. What the kernel refuses now stays as it was.
    fn change(&mut self, wish: &Wanted) {
        if self.wanted == *wish {
            return;
        }
        for fd in &self.fds {
            let _ = tune(fd, &self.address, &wish.options);
            let _ = listen(fd, wish.options.backlog);
        }
        self.fds.truncate(copies(wish));
        let shared = BindOptions {
            reuse_port: true,
            ..wish.options.clone()
        };
        while self.fds.len() < copies(wish) {
            // Works only when the first one was opened to be shared.
            let Ok((fd, _)) = bind_one(&self.address, &shared) else {
                break;
            };
            self.fds.push(fd);
        }
        self.wanted = wish.clone();
    }
}
