//! What is asked of a running server from outside: the control socket (gunicorn's protocol, so that gunicornc works too) and the
//! metrics. Both are answered by the master between two of its other duties: short questions, answers that fit into the socket.

mod client;
mod commands;
mod connection;
mod metrics;
mod process;
mod tally;

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use supervisor::Master;
use supervisor::socket_activation::{Address, Kind};

use crate::address::Bind;
use crate::given::{self, Given};
use crate::server::Server;
use crate::settings::Resolved;
pub(crate) use client::main as client;
use connection::{Connection, Heard, Stream};
pub(crate) use process::backlog;
pub(crate) use tally::{Reason, Tally};

/// The numbers of sources from here on belong to this module.
pub(crate) const SOURCES: u64 = 1 << 32;
/// Connections that may be open; the oldest has to go then.
const CONNECTIONS_MAX: usize = 16;
/// The file of the control socket, where no other is named.
const DEFAULT_NAME: &str = "gunicorn.ctl";

/// The side sockets, and who is connected.
#[derive(Debug, Default)]
pub(crate) struct Control {
    wanted: Wanted,
    socket: Option<Socket>,
    metrics: Option<Metrics>,
    connections: Vec<(u64, Connection)>,
    last: u64,
}

/// A listening socket with a path, which goes with it unless the socket was given.
#[derive(Debug)]
struct Socket {
    place: Place,
    listener: UnixListener,
}

/// Where a side socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Address(Address),
    /// A service manager has opened it, under this name.
    Given(String),
}

#[derive(Debug)]
enum Metrics {
    Tcp(TcpListener),
    Unix(Socket),
}

/// What settings want of the side sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    control: Option<(Place, u32)>,
    metrics: Option<Place>,
}

/// What is to take the place of the present sockets: only those that the settings want changed.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    wanted: Wanted,
    socket: Option<Option<Socket>>,
    metrics: Option<Option<Metrics>>,
    /// Why there is no control socket.
    pub note: Option<String>,
}

/// Where the control socket is by default, as in gunicorn.
pub(crate) fn default_path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let Some(runtime) = folder("XDG_RUNTIME_DIR").filter(|path| path.is_dir()) {
        return Some(runtime.join(DEFAULT_NAME));
    }
    Some(folder("HOME")?.join(".gunicorn").join(DEFAULT_NAME))
}

impl Control {
    /// Opens what the settings want and is not there yet. A control socket that cannot be had is a note, metrics that cannot be had
    /// are an error.
    ///
    /// # Errors
    /// Why there are no metrics, with the setting.
    pub fn stage(&self, resolved: &Resolved, given: &Given) -> Result<Staged, String> {
        let wanted = Wanted::read(resolved)?;
        let mut staged = Staged::default();
        if wanted.control != self.wanted.control || self.socket.is_none() {
            let there = self.socket.as_ref().map(|socket| &socket.place);
            match &wanted.control {
                // Only its mode is another.
                Some((place, mode)) if there == Some(place) => {
                    staged.note = chmod(place, *mode).err();
                }
                Some((place, mode)) => match open_control(resolved, place, *mode, given) {
                    Ok(socket) => staged.socket = Some(Some(socket)),
                    Err(note) => {
                        staged.socket = Some(None);
                        staged.note = Some(note);
                    }
                },
                None => staged.socket = Some(None),
            }
        }
        if wanted.metrics != self.wanted.metrics {
            let metrics = wanted.metrics.as_ref();
            let metrics = metrics.map(|place| open_metrics(place, given)).transpose();
            staged.metrics = Some(metrics.map_err(|why| metrics_fault(resolved, why))?);
        }
        staged.wanted = wanted;
        Ok(staged)
    }

    /// Looks whether the settings make sense, and opens nothing.
    ///
    /// # Errors
    /// Why there can be no metrics, with the setting.
    pub fn check(resolved: &Resolved, given: &Given) -> Result<(), String> {
        match Wanted::read(resolved)?.metrics {
            Some(Place::Given(name)) => given
                .named(&name)
                .map(drop)
                .map_err(|why| metrics_fault(resolved, why)),
            _ => Ok(()),
        }
    }

    /// Puts new sockets in the place of the old ones.
    pub fn commit(&mut self, staged: Staged) {
        self.wanted = staged.wanted;
        if let Some(socket) = staged.socket {
            self.socket = socket;
        }
        if let Some(metrics) = staged.metrics {
            self.metrics = metrics;
        }
    }

    /// Where metrics are to be had.
    pub fn metrics_address(&self) -> Option<String> {
        match self.metrics.as_ref()? {
            Metrics::Tcp(listener) => {
                Some(format!("http://{}/metrics", listener.local_addr().ok()?))
            }
            Metrics::Unix(socket) => Address::of(&socket.listener)
                .ok()
                .map(|address| address.to_string()),
        }
    }

    /// Descriptors to wait for.
    pub fn sources(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        let control = self
            .socket
            .iter()
            .map(|socket| (SOURCES, socket.listener.as_fd()));
        let metrics = self.metrics.iter().map(|metrics| {
            let fd = match metrics {
                Metrics::Tcp(listener) => listener.as_fd(),
                Metrics::Unix(socket) => socket.listener.as_fd(),
            };
            (SOURCES + 1, fd)
        });
        let open = self.connections.iter();
        let open = open.map(|(number, connection)| (*number, connection.as_fd()));
        control.chain(metrics).chain(open)
    }

    fn admit(&mut self, stream: Stream, is_control: bool) {
        let Ok(connection) = Connection::new(stream, is_control) else {
            return;
        };
        if self.connections.len() >= CONNECTIONS_MAX {
            self.connections.remove(0);
        }
        self.last += 1;
        self.connections.push((SOURCES + 1 + self.last, connection));
    }

    fn accept(&mut self, number: u64) -> io::Result<()> {
        loop {
            let stream = match (number - SOURCES, &self.socket, &self.metrics) {
                (0, Some(socket), _) => Stream::Unix(socket.listener.accept()?.0),
                (1, _, Some(Metrics::Tcp(listener))) => Stream::Tcp(listener.accept()?.0),
                (1, _, Some(Metrics::Unix(socket))) => Stream::Unix(socket.listener.accept()?.0),
                _ => return Ok(()),
            };
            self.admit(stream, number == SOURCES);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Place::Address(Address::Path(path)) = &self.place {
            // Somebody may have removed it already.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Wanted {
    fn read(resolved: &Resolved) -> Result<Self, String> {
        let named = named_path(resolved);
        let path = match named {
            _ if resolved.is_on("control_socket_disable") => None,
            Some(text) if given::name_in(text).is_some() => {
                given::name_in(text).map(|name| Place::Given(name.to_owned()))
            }
            Some(path) => Some(at_path(path.as_ref())?),
            None => default_path().map(|path| Place::Address(Address::Path(path))),
        };
        let mode = resolved.number("control_socket_mode") as u32;
        let metrics = resolved.text("metrics_bind").map(metrics_place).transpose();
        Ok(Self {
            control: path.map(|path| (path, mode)),
            metrics: metrics.map_err(|why| metrics_fault(resolved, why))?,
        })
    }
}

impl Server {
    /// One of the side sockets, or a connection to one, has something to say.
    pub(crate) fn on_control(&mut self, number: u64, master: &mut Master) {
        if number <= SOURCES + 1 {
            // There is nobody any more, or it goes wrong for whoever asks; neither is ours.
            let _ = self.control.accept(number);
            return;
        }
        let place =
            |control: &Control| control.connections.iter().position(|(it, _)| *it == number);
        loop {
            let Some(at) = place(&self.control) else {
                return;
            };
            let answer = match self.control.connections[at].1.hear() {
                Heard::Nothing => return,
                Heard::End => {
                    self.control.connections.remove(at);
                    return;
                }
                Heard::Scrape => connection::page(&self.metrics_text(master)),
                Heard::Request(text) => self.command(&text, master),
            };
            let connection = &mut self.control.connections[at].1;
            if !connection.say(&answer) {
                self.control.connections.remove(at);
            }
        }
    }
}

fn named_path(resolved: &Resolved) -> Option<&str> {
    resolved
        .text("control_socket")
        .filter(|path| !path.is_empty())
}

fn at_path(path: &Path) -> Result<Place, String> {
    std::path::absolute(path)
        .map(|path| Place::Address(Address::Path(path)))
        .map_err(|error| error.to_string())
}

fn open_control(
    resolved: &Resolved,
    place: &Place,
    mode: u32,
    given: &Given,
) -> Result<Socket, String> {
    match place {
        Place::Given(name) => match given_listener(name, given) {
            Ok(Metrics::Unix(socket)) => Ok(socket),
            Ok(Metrics::Tcp(_)) => Err(control_fault(name, "it is no unix socket")),
            Err(why) => Err(control_fault(name, why)),
        },
        Place::Address(Address::Path(path)) => {
            let fault = |error: io::Error| control_fault(path.display(), error);
            if let (None, Some(folder)) = (named_path(resolved), path.parent()) {
                std::fs::create_dir_all(folder).map_err(fault)?;
            }
            let socket = open_unix(path).map_err(fault)?;
            chmod(place, mode)?;
            Ok(socket)
        }
        Place::Address(other) => Err(control_fault(other, "it has no path")),
    }
}

/// One that was given has the mode that its unit says.
fn chmod(place: &Place, mode: u32) -> Result<(), String> {
    let Place::Address(Address::Path(path)) = place else {
        return Ok(());
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| control_fault(path.display(), error))
}

fn control_fault(place: impl std::fmt::Display, why: impl std::fmt::Display) -> String {
    format!("there is no control socket: \"{place}\": {why} (control_socket, --control-socket)")
}

fn metrics_place(text: &str) -> Result<Place, String> {
    match Bind::read(text)? {
        Bind::Open(address @ Address::Inet(_)) => Ok(Place::Address(address)),
        Bind::Open(Address::Path(path)) => at_path(&path),
        Bind::Given(name) => Ok(Place::Given(name)),
        _ => Err("metrics are told at HOST:PORT, unix:PATH or systemd:NAME".to_owned()),
    }
}

fn metrics_fault(resolved: &Resolved, why: impl std::fmt::Display) -> String {
    let text = resolved.text("metrics_bind").unwrap_or_default();
    format!("{why} (metrics_bind, --metrics-bind {text})")
}

fn open_metrics(place: &Place, given: &Given) -> Result<Metrics, String> {
    let address = match place {
        Place::Given(name) => return given_listener(name, given),
        Place::Address(address) => address,
    };
    let opened = match address {
        Address::Inet(address) => TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Metrics::Tcp(listener))
        }),
        Address::Path(path) => open_unix(path).map(Metrics::Unix),
        _ => Err(io::ErrorKind::Unsupported.into()),
    };
    opened.map_err(|error| error.to_string())
}

/// The first socket of a service manager that has this name.
fn given_listener(name: &str, given: &Given) -> Result<Metrics, String> {
    let found = given.named(name)?;
    let socket = given::copy(found[0]).map_err(|error| error.to_string())?;
    let listener = match socket.kind() {
        Kind::UnixListener => socket.into_unix_listener().map(|listener| {
            Metrics::Unix(Socket {
                place: Place::Given(name.to_owned()),
                listener,
            })
        }),
        _ => socket.into_tcp_listener().map(Metrics::Tcp),
    };
    let listener = listener.map_err(|error| error.to_string())?;
    let unblocked = match &listener {
        Metrics::Unix(socket) => socket.listener.set_nonblocking(true),
        Metrics::Tcp(listener) => listener.set_nonblocking(true),
    };
    unblocked
        .map(|()| listener)
        .map_err(|error| error.to_string())
}

/// A socket at a path; what a process that is gone has left there is replaced.
fn open_unix(path: &Path) -> io::Result<Socket> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another process listens there",
                ));
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    listener.set_nonblocking(true)?;
    Ok(Socket {
        place: Place::Address(Address::Path(path.to_owned())),
        listener,
    })
}
