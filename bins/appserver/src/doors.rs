//! The listening sockets: those of systemd, of a predecessor, and our own.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use supervisor::bind::Staged;
use supervisor::socket_activation::{Address, Socket, Sockets, Successor};
use supervisor::{BindError, BindOptions, Listeners, Wanted};

use crate::address::{Bind, Listening};
use crate::given::{self, Given};
use crate::settings::Resolved;

/// The name under which our own sockets go to a new binary.
const OWN: &str = "own";
/// What everybody may do with a unix socket, before the umask.
const ALL_RIGHTS: u32 = 0o777;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    listeners: Listeners,
    given: Given,
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
        Self {
            listeners: Listeners::new(),
            given: Given::take(inherited, has_predecessor),
        }
    }

    /// What a service manager gave.
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// Opens what the settings want more than what is open; nothing changes before [`Doors::commit`].
    ///
    /// # Errors
    /// [`DoorFault`].
    pub fn stage(
        &mut self,
        resolved: &Resolved,
        inherited: &mut Sockets,
    ) -> Result<Staged, DoorFault> {
        let mut wanted = self.by_itself(resolved)?;
        if wanted.is_empty() {
            for text in resolved.list("bind") {
                self.read(&text, resolved, &mut wanted)
                    .map_err(DoorFault::Setting)?;
            }
        }
        if wanted.is_empty() {
            return Err(DoorFault::Setting(
                "bind is empty; name an address to listen on".to_owned(),
            ));
        }
        self.listeners
            .stage(&wanted, inherited)
            .map_err(DoorFault::Bind)
    }

    /// The sockets of a service manager that serve because nothing says otherwise: all that are not named for something else, where
    /// `bind` names none.
    fn by_itself(&mut self, resolved: &Resolved) -> Result<Vec<Wanted>, DoorFault> {
        let binds = resolved.list("bind");
        if binds.iter().any(|text| given::name_in(text).is_some()) {
            return Ok(Vec::new());
        }
        let elsewhere = given::names_beside(resolved);
        let serving = self.given.all().filter(|(name, socket)| {
            socket.is_listener() && elsewhere.iter().all(|(_, other)| other != name)
        });
        let serving: Vec<_> = serving
            .map(|(_, socket)| given::copy(socket))
            .collect::<Result<_, _>>()
            .map_err(|error| DoorFault::Setting(error.to_string()))?;
        Ok(self.admit(serving))
    }

    fn read(
        &mut self,
        text: &str,
        resolved: &Resolved,
        wanted: &mut Vec<Wanted>,
    ) -> Result<(), String> {
        match Bind::read(text)? {
            Bind::Open(address) => wanted.push(Wanted {
                address,
                options: options(resolved),
                copies: 1,
            }),
            Bind::Descriptor(number) => {
                let socket = self.given.descriptor(number)?;
                let socket = given::copy(socket).map_err(|error| error.to_string())?;
                wanted.extend(self.admit(vec![socket]));
            }
            Bind::Given(name) => {
                let elsewhere = given::names_beside(resolved);
                if let Some((setting, _)) = elsewhere.iter().find(|(_, other)| *other == name) {
                    return Err(format!(
                        "the socket \"{name}\" is wanted by bind and by {setting}; have a .socket unit for each"
                    ));
                }
                let sockets = self
                    .given
                    .named(&name)
                    .map_err(|why| format!("{why} (--bind {text})"))?;
                let copies: Result<Vec<_>, _> = sockets.into_iter().map(given::copy).collect();
                wanted.extend(self.admit(copies.map_err(|error| error.to_string())?));
            }
        }
        Ok(())
    }

    /// Sockets that are open already, and are to be listened on.
    fn admit(&mut self, sockets: Vec<Socket>) -> Vec<Wanted> {
        let wanted = sockets
            .iter()
            .map(|socket| Wanted::new(socket.address().clone()))
            .collect();
        let (_, fresh): (Vec<_>, Vec<_>) = sockets
            .into_iter()
            .partition(|socket| self.listeners.find(socket.address()).is_some());
        fresh
            .into_iter()
            .for_each(|socket| self.listeners.add(socket));
        wanted
    }

    /// Sockets of a service manager that nothing listens on: names and addresses.
    pub fn unused(&self, resolved: &Resolved) -> Vec<String> {
        let elsewhere = given::names_beside(resolved);
        let unused = self.given.all().filter(|(name, socket)| {
            self.listeners.find(socket.address()).is_none()
                && elsewhere.iter().all(|(_, other)| other != name)
        });
        unused
            .map(|(name, socket)| format!("\"{name}\" ({})", socket.address()))
            .collect()
    }

    /// Closes what is not wanted any more.
    pub fn commit(&mut self, staged: Staged) {
        self.listeners.commit(staged);
    }

    /// Copies of the sockets that workers get, by their names: what stays, then what was opened.
    pub fn sockets(
        &self,
        tls: bool,
        staged: Option<&Staged>,
    ) -> std::io::Result<Vec<(String, OwnedFd)>> {
        let stays = |wanted: &Address| staged.is_none_or(|staged| staged.wants(wanted));
        let kept = self
            .listeners
            .iter()
            .filter(|listener| stays(&listener.wanted().address));
        let opened = staged.into_iter().flat_map(Staged::opened);
        kept.chain(opened)
            .flat_map(|listener| {
                let name = Listening(listener.address(), tls).to_string();
                listener.fds().map(move |fd| (name.clone(), fd))
            })
            .map(|(name, fd)| Ok((name, fd.try_clone_to_owned()?)))
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
    pub fn hand_over(&self, successor: Successor) -> Result<Successor, String> {
        let mut successor = self.given.hand_over(successor)?;
        let own = self
            .listeners
            .iter()
            .filter(|listener| !self.given.has(listener.address()));
        for fd in own.flat_map(|listener| listener.fds()) {
            successor = successor
                .socket(OWN, fd)
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
        let given = &self.given;
        self.listeners.adopt_files(|address| !given.has(address));
    }

    /// Closes everything.
    pub fn close(&mut self) {
        self.listeners = Listeners::new();
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
