//! The listeners of a server, from one configuration to the next: what stays is not touched, so nobody is refused.

use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::listen;
use rustix::net::sockopt::ipv6_v6only;
use socket_activation::{Address, HandoverError, Socket, Sockets, Successor};

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

    fn inherit(
        wanted: &Wanted,
        sockets: &mut Sockets,
        take: fn(&mut Sockets, &Address) -> Option<Socket>,
    ) -> Option<Self> {
        let first = take(sockets, &wanted.address)?;
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
/// configuration wants `[::]:80` too.
fn both_families(sockets: &mut Sockets, wanted: &Address) -> Option<Socket> {
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

/// Each address once, as it is asked for first.
fn unique(wanted: &[Wanted]) -> Vec<Wanted> {
    let mut unique: Vec<Wanted> = Vec::new();
    for wish in wanted {
        if unique.iter().all(|other| other.address != wish.address) {
            unique.push(wish.clone());
        }
    }
    unique
}

/// How long to wait for addresses that another process still listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often to try. Default 1; nginx and gunicorn try 5 times.
    pub attempts: u32,
    /// Pause in between. Default 0; nginx waits 500 ms, gunicorn 1 s.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 1,
            pause: Duration::ZERO,
        }
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

impl Staged {
    /// What was opened, or taken over, beyond what was open.
    pub fn opened(&self) -> impl Iterator<Item = &Listener> {
        self.opened.iter()
    }

    /// Is this address part of the configuration?
    #[must_use]
    pub fn wants(&self, address: &Address) -> bool {
        self.wanted.iter().any(|wish| wish.address == *address)
    }
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
        self.stage_patiently(wanted, inherited, Patience::default(), |_, _| {})
    }

    /// Like [`Listeners::stage`], and tries again for a while what another process still listens on. `on_wait` is called
    /// before each pause, with the number of the attempt, from 1. It blocks: for the start of a server only.
    ///
    /// # Errors
    /// As [`Listeners::stage`].
    pub fn stage_patiently(
        &self,
        wanted: &[Wanted],
        inherited: &mut Sockets,
        patience: Patience,
        mut on_wait: impl FnMut(&[BindError], u32),
    ) -> Result<Staged, Vec<BindError>> {
        let unique = unique(wanted);
        let mut missing: Vec<&Wanted> = unique
            .iter()
            .filter(|wish| self.find(&wish.address).is_none())
            .collect();
        let mut opened = Vec::new();
        for take in [Sockets::take_listener, both_families] {
            missing.retain(|wish| {
                let found = Listener::inherit(wish, inherited, take);
                let missing = found.is_none();
                opened.extend(found);
                missing
            });
        }
        for attempt in 1.. {
            let faults = self.open_all(&mut missing, &mut opened);
            if faults.is_empty() {
                break;
            }
            if attempt >= patience.attempts || !faults.iter().all(BindError::in_use) {
                return Err(faults);
            }
            on_wait(&faults, attempt);
            std::thread::sleep(patience.pause);
        }
        Ok(Staged {
            wanted: unique,
            opened,
        })
    }

    /// Tries each once; leaves those in `missing` that failed.
    fn open_all(&self, missing: &mut Vec<&Wanted>, opened: &mut Vec<Listener>) -> Vec<BindError> {
        let mut faults = Vec::new();
        missing.retain(|wish| match Listener::open(wish) {
            Ok(listener) => {
                opened.push(listener);
                false
            }
            Err(fault) => {
                faults.push(self.explain(fault));
                true
            }
        });
        faults
    }

    /// Perhaps it is this server itself that is in the way.
    fn explain(&self, fault: BindError) -> BindError {
        let port = fault
            .address
            .inet()
            .map(|inet| inet.port())
            .filter(|port| *port > 0);
        let ours = self.listeners.iter().find(|listener| {
            port.is_some() && listener.address.inet().map(|inet| inet.port()) == port
        });
        match ours {
            Some(ours) if fault.in_use() => fault.because_of(&ours.address),
            _ => fault,
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

    /// Hands a copy of every socket to a program that is about to be started, each under the name `listener`; there
    /// they are told apart by their addresses.
    ///
    /// # Errors
    /// [`HandoverError::Descriptors`].
    pub fn attach(&self, successor: Successor) -> Result<Successor, HandoverError> {
        let mut fds = self.listeners.iter().flat_map(Listener::fds);
        fds.try_fold(successor, |successor, fd| successor.socket("listener", fd))
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

    /// The predecessor is gone: the files of the sockets that it handed over are ours to remove. Those of a service manager are not:
    /// `is_ours` tells by the address.
    pub fn adopt_files(&mut self, is_ours: impl Fn(&Address) -> bool) {
        for listener in self
            .listeners
            .iter_mut()
            .filter(|listener| listener.inherited && is_ours(&listener.address))
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
