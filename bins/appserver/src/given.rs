//! The sockets of a service manager, and their names (`FileDescriptorName=` of a `.socket` unit).
//!
//! They stay open until the end, whatever the settings want with them: who listens gets a copy, so a reload may change its mind, and
//! a new binary (USR2) gets all of them.

use std::io;
use std::os::fd::AsFd;

use supervisor::socket_activation::{Address, Socket, Sockets, Successor};

use crate::settings::Resolved;

/// What an address begins with that is the name of such a socket.
const SCHEME: &str = "systemd:";
/// The name under which they go to a new binary, with their own behind it.
const HANDED: &str = "managed";
/// Between the two.
const SLASH: char = '/';
/// The name under which `fd://` goes to a new binary, with the number behind it.
const DESCRIPTOR: &str = "fd";
/// What sockets without a name are called (sd_listen_fds_with_names(3)).
const UNNAMED: &str = "unknown";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Given {
    sockets: Vec<(String, Socket)>,
    /// Those that somebody left open, with their numbers (`fd://5`).
    open: Vec<(i32, Socket)>,
    /// Why there are none.
    absence: Option<String>,
}

/// The settings beside `bind` that name such sockets, and the names.
pub(crate) fn names_beside(resolved: &Resolved) -> Vec<(&'static str, &str)> {
    let named = |setting| Some((setting, name_in(resolved.text(setting)?)?));
    ["metrics_bind", "control_socket"]
        .into_iter()
        .filter_map(named)
        .collect()
}

/// The name in `systemd:NAME`.
pub(crate) fn name_in(text: &str) -> Option<&str> {
    text.strip_prefix(SCHEME)
}

impl Given {
    /// Takes what was handed to this process: everything from a service manager; from a predecessor, what that had not opened itself.
    pub fn take(inherited: &mut Sockets, has_predecessor: bool) -> Self {
        let mut given = Self {
            absence: inherited.absence().map(ToString::to_string),
            ..Self::default()
        };
        let indexes: Vec<_> = inherited.iter().map(Socket::index).collect();
        for index in indexes {
            let found = inherited.iter().find(|socket| socket.index() == index);
            let name = found.map_or("", Socket::name).to_owned();
            let handed = match has_predecessor {
                true => handed(&name),
                false => Some(Handed::Named(&name)),
            };
            // Its own sockets are found by their addresses.
            let Some(handed) = handed else { continue };
            let Some(socket) = inherited.take_index(index) else {
                continue;
            };
            match handed {
                Handed::Named(name) => given.sockets.push((name.to_owned(), socket)),
                Handed::Open(number) => given.open.push((number, socket)),
            }
        }
        given
    }

    /// A descriptor that whoever started us left open.
    ///
    /// # Errors
    /// In words: it is none, or no listening socket.
    pub fn descriptor(&mut self, number: i32) -> Result<&Socket, String> {
        let fault = |words: String| format!("{words} (--bind fd://{number})");
        let place = self.open.iter().position(|(own, _)| *own == number);
        let place = match place {
            Some(place) => place,
            None => {
                let socket = Socket::inherited(number).map_err(|error| fault(error.to_string()))?;
                if !socket.is_listener() {
                    let kind = socket.kind();
                    return Err(fault(format!(
                        "descriptor {number} is {kind}, not a listening socket"
                    )));
                }
                self.open.push((number, socket));
                self.open.len() - 1
            }
        };
        Ok(&self.open[place].1)
    }

    /// Is one of them bound to this address?
    pub fn has(&self, address: &Address) -> bool {
        let open = self.open.iter().map(|(_, socket)| socket);
        let mut all = self.all().map(|(_, socket)| socket).chain(open);
        all.any(|socket| socket.address() == address)
    }

    /// Those of this name, of which there is one at least, and all listen.
    ///
    /// # Errors
    /// In words: there is none, and which there are; or one of them does not listen.
    pub fn named(&self, name: &str) -> Result<Vec<&Socket>, String> {
        let found: Vec<_> = self.all().filter(|(own, _)| *own == name).collect();
        let fault = match found.iter().find(|(_, socket)| !socket.is_listener()) {
            Some((_, socket)) => format!(
                "the socket \"{name}\" is {}; use ListenStream= and Accept=no in the .socket unit",
                socket.kind()
            ),
            None if found.is_empty() => self.lacking(name),
            None => return Ok(found.into_iter().map(|(_, socket)| socket).collect()),
        };
        Err(fault)
    }

    /// All of them, with their names.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Socket)> {
        self.sockets
            .iter()
            .map(|(name, socket)| (name.as_str(), socket))
    }

    fn lacking(&self, name: &str) -> String {
        if self.sockets.is_empty() {
            let why = self.absence.as_deref().unwrap_or("it passed none");
            return format!(
                "there is no socket \"{name}\" of a service manager: {why}; have a .socket unit with FileDescriptorName={name} start the \
                 service"
            );
        }
        let given: Vec<_> = self
            .all()
            .map(|(name, socket)| format!("\"{name}\" ({})", socket.address()))
            .collect();
        format!(
            "the service manager gave no socket \"{name}\", but {}; set FileDescriptorName={name} in the .socket unit",
            given.join(", ")
        )
    }

    /// Hands all of them to a new binary.
    ///
    /// # Errors
    /// In words.
    pub fn hand_over(&self, mut successor: Successor) -> Result<Successor, String> {
        let named = self
            .all()
            .map(|(name, socket)| (format!("{HANDED}{SLASH}{name}"), socket));
        let open = self
            .open
            .iter()
            .map(|(number, socket)| (format!("{DESCRIPTOR}{SLASH}{number}"), socket));
        for (name, socket) in named.chain(open) {
            successor = successor
                .socket(&name, socket)
                .map_err(|error| error.to_string())?;
        }
        Ok(successor)
    }
}

/// A socket for whoever listens on it.
///
/// # Errors
/// The kernel's.
pub(crate) fn copy(socket: &Socket) -> io::Result<Socket> {
    let fd = socket.as_fd().try_clone_to_owned()?;
    Socket::examine(socket.index(), socket.name(), fd)
}

/// What a predecessor says of a socket that it had not opened itself.
enum Handed<'a> {
    Named(&'a str),
    Open(i32),
}

fn handed(name: &str) -> Option<Handed<'_>> {
    match name.split_once(SLASH) {
        Some((HANDED, own)) => Some(Handed::Named(own)),
        Some((DESCRIPTOR, number)) => number.parse().ok().map(Handed::Open),
        // From a version that did not keep the names.
        _ => (name == HANDED).then_some(Handed::Named(UNNAMED)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::OwnedFd;

    use super::*;

    fn sockets(prefix: &str) -> Sockets {
        let web = || TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        Sockets::from_fds([
            (format!("{prefix}web"), OwnedFd::from(web())),
            (format!("{prefix}web"), OwnedFd::from(web())),
            (format!("{prefix}datagrams"), OwnedFd::from(udp)),
            ("own".to_owned(), OwnedFd::from(web())),
        ])
        .unwrap()
    }

    #[test]
    fn a_name_stands_for_all_sockets_that_have_it() {
        for (prefix, has_predecessor, taken) in [("", false, 4), ("managed/", true, 3)] {
            let mut inherited = sockets(prefix);
            let given = Given::take(&mut inherited, has_predecessor);
            assert_eq!((given.all().count(), inherited.len()), (taken, 4 - taken));
            assert_eq!(given.named("web").unwrap().len(), 2);
        }
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let given = Given::take(&mut sockets(""), false);
        let words = given.named("http").unwrap_err();
        assert!(
            words.contains("no socket \"http\", but \"web\" (127.0.0.1:"),
            "{words}"
        );
        let words = given.named("datagrams").unwrap_err();
        assert!(
            words.contains("is a UDP socket; use ListenStream="),
            "{words}"
        );
        let words = Given::default().named("http").unwrap_err();
        assert!(words.contains("FileDescriptorName=http"), "{words}");
    }
}
