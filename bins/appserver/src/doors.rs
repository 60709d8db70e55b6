//! The listening sockets: those of systemd, of a predecessor, and our own.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use supervisor::bind::Staged;
use supervisor::socket_activation::{Address, Socket, Sockets, Successor};
use supervisor::{BindError, BindOptions, Listeners, Wanted};

use crate::address::{Bind, Listening};
use crate::settings::Resolved;

/// The name under which sockets of a service manager go to a new binary; others are `OWN`.
const MANAGED: &str = "managed";
const OWN: &str = "own";
/// What everybody may do with a unix socket, before the umask.
const ALL_RIGHTS: u32 = 0o777;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    listeners: Listeners,
    /// Where the descriptors of `fd://` are.
    descriptors: BTreeMap<i32, Address>,
    /// The sockets belong to a service manager; `bind` does not count.
    managed: bool,
}

/// Why the addresses cannot be listened on.
#[derive(Debug)]
pub(crate) enum DoorFault {
    /// An address that is none, or a descriptor that cannot be had.
    Setting(String),
    /// The kernel's answers.
    Bind(Vec<BindError>),
}

impl Doors {
    /// Takes what was handed to this process: everything from a service manager; from a predecessor, that too, while its own
    /// sockets are left in `inherited` to be found by their addresses.
    pub fn inherit(inherited: &mut Sockets, has_predecessor: bool) -> Self {
        let mut doors = Self::default();
        let taken: Vec<Socket> = if has_predecessor {
            inherited.take_all_named(MANAGED)
        } else {
            std::iter::from_fn(|| {
                let index = inherited
                    .iter()
                    .find(|socket| socket.is_listener())?
                    .index();
                inherited.take_index(index)
            })
            .collect()
        };
        for socket in taken {
            doors.managed = true;
            doors.listeners.add(socket);
        }
        doors
    }

    /// Opens what the settings want more than what is open; nothing changes before [`Doors::commit`].
    ///
    /// # Errors
    /// [`DoorFault`].
    pub fn stage(
        &mut self,
        resolved: &Resolved,
        inherited: &mut Sockets,
    ) -> Result<Option<Staged>, DoorFault> {
        if self.managed {
            return Ok(None);
        }
        let mut wanted = Vec::new();
        for text in resolved.list("bind") {
            match Bind::read(&text).map_err(DoorFault::Setting)? {
                Bind::Open(address) => wanted.push(Wanted {
                    address,
                    options: options(resolved),
                    copies: 1,
                }),
                Bind::Descriptor(number) => wanted.push(Wanted::new(self.descriptor(number)?)),
            }
        }
        if wanted.is_empty() {
            return Err(DoorFault::Setting(
                "bind is empty; name an address to listen on".to_owned(),
            ));
        }
        self.listeners
            .stage(&wanted, inherited)
            .map(Some)
            .map_err(DoorFault::Bind)
    }

    /// Closes what is not wanted any more.
    pub fn commit(&mut self, staged: Option<Staged>) {
        if let Some(staged) = staged {
            self.listeners.commit(staged);
        }
    }

    /// Copies of the descriptors that workers get: what stays, then what was opened.
    pub fn descriptors(&self, staged: Option<&Staged>) -> std::io::Result<Vec<OwnedFd>> {
        let stays = |wanted: &Address| staged.is_none_or(|staged| staged.wants(wanted));
        let kept = self
            .listeners
            .iter()
            .filter(|listener| stays(&listener.wanted().address));
        let opened = staged.into_iter().flat_map(Staged::opened);
        kept.chain(opened)
            .flat_map(|listener| listener.fds())
            .map(|fd| fd.try_clone_to_owned())
            .collect()
    }

    /// Where the server listens, as the log tells it.
    pub fn names(&self, tls: bool) -> Vec<String> {
        self.listeners
            .iter()
            .map(|listener| Listening(listener.address(), tls).to_string())
            .collect()
    }

    /// Every socket.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().flat_map(|listener| listener.fds())
    }

    /// Address, kind and descriptor of every socket.
    pub fn described(&self, tls: bool) -> Vec<(String, &'static str, i32)> {
        let described = self.listeners.iter().flat_map(|listener| {
            let kind = match listener.address() {
                Address::Inet(address) if address.is_ipv4() => "tcp",
                Address::Inet(_) => "tcp6",
                _ => "unix",
            };
            let name = Listening(listener.address(), tls).to_string();
            listener
                .fds()
                .map(move |fd| (name.clone(), kind, fd.as_raw_fd()))
        });
        described.collect()
    }

    /// Hands everything to a new binary.
    ///
    /// # Errors
    /// In words.
    pub fn hand_over(&self, mut successor: Successor) -> Result<Successor, String> {
        let name = if self.managed { MANAGED } else { OWN };
        for fd in self.listeners.iter().flat_map(|listener| listener.fds()) {
            successor = successor
                .socket(name, fd)
                .map_err(|error| error.to_string())?;
        }
        Ok(successor)
    }

    /// A new binary has the sockets too: the files of unix sockets stay when this process ends.
    pub fn give_files_away(&mut self) {
        self.listeners.give_files_away();
    }

    /// It failed.
    pub fn take_files_back(&mut self) {
        self.listeners.take_files_back();
    }

    /// The predecessor is gone.
    pub fn adopt_files(&mut self) {
        if !self.managed {
            self.listeners.adopt_files();
        }
    }

    /// Closes everything.
    pub fn close(&mut self) {
        self.listeners = Listeners::new();
    }

    /// Takes a descriptor that whoever started us left open.
    fn descriptor(&mut self, number: i32) -> Result<Address, DoorFault> {
        if let Some(address) = self.descriptors.get(&number) {
            return Ok(address.clone());
        }
        let fault = |words: String| DoorFault::Setting(format!("{words} (--bind fd://{number})"));
        let socket = Socket::inherited(number).map_err(|error| fault(error.to_string()))?;
        if !socket.is_listener() {
            return Err(fault(format!(
                "descriptor {number} is {}, not a listening socket",
                socket.kind()
            )));
        }
        let address = socket.address().clone();
        self.descriptors.insert(number, address.clone());
        self.listeners.add(socket);
        Ok(address)
    }
}

fn options(resolved: &Resolved) -> BindOptions {
    let mask = resolved.number("umask") as u32;
    BindOptions {
        backlog: i32::try_from(resolved.number("backlog")).unwrap_or(i32::MAX),
        // gunicorn leaves it to the kernel: [::] takes IPv4 too.
        v6_only: false,
        reuse_port: resolved.is_on("reuse_port"),
        mode: Some(ALL_RIGHTS & !mask),
        owner: (resolved.id("user"), resolved.id("group")),
        ..BindOptions::default()
    }
}
