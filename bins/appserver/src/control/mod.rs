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
use supervisor::socket_activation::Address;

use crate::address::Bind;
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
    socket: Option<(PathBuf, UnixListener)>,
    metrics: Option<Metrics>,
    connections: Vec<(u64, Connection)>,
    last: u64,
}

#[derive(Debug)]
enum Metrics {
    Tcp(TcpListener),
    Unix(PathBuf, UnixListener),
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
    /// Opens what the settings want. A control socket that cannot be had is a note, metrics that cannot be had are an error.
    ///
    /// # Errors
    /// Why there are no metrics, with the setting.
    pub fn open(resolved: &Resolved) -> Result<(Self, Vec<String>), String> {
        let mut control = Self::default();
        let mut notes = Vec::new();
        match open_control(resolved) {
            Ok(socket) => control.socket = socket,
            Err(note) => notes.push(note),
        }
        if let Some(text) = resolved.text("metrics_bind") {
            let metrics = open_metrics(text)
                .map_err(|why| format!("{why} (metrics_bind, --metrics-bind {text})"))?;
            control.metrics = Some(metrics);
        }
        Ok((control, notes))
    }

    /// Where metrics are to be had.
    pub fn metrics_address(&self) -> Option<String> {
        match self.metrics.as_ref()? {
            Metrics::Tcp(listener) => {
                Some(format!("http://{}/metrics", listener.local_addr().ok()?))
            }
            Metrics::Unix(path, _) => Some(format!("unix:{}", path.display())),
        }
    }

    /// Descriptors to wait for.
    pub fn sources(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        let control = self
            .socket
            .iter()
            .map(|(_, socket)| (SOURCES, socket.as_fd()));
        let metrics = self.metrics.iter().map(|metrics| {
            let fd = match metrics {
                Metrics::Tcp(listener) => listener.as_fd(),
                Metrics::Unix(_, listener) => listener.as_fd(),
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
                (0, Some((_, listener)), _) => Stream::Unix(listener.accept()?.0),
                (1, _, Some(Metrics::Tcp(listener))) => Stream::Tcp(listener.accept()?.0),
                (1, _, Some(Metrics::Unix(_, listener))) => Stream::Unix(listener.accept()?.0),
                _ => return Ok(()),
            };
            self.admit(stream, number == SOURCES);
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let control = self.socket.iter().map(|(path, _)| path);
        let metrics = self.metrics.iter().filter_map(|metrics| match metrics {
            Metrics::Unix(path, _) => Some(path),
            Metrics::Tcp(_) => None,
        });
        for path in control.chain(metrics) {
            // Somebody may have removed it already.
            let _ = std::fs::remove_file(path);
        }
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

fn open_control(resolved: &Resolved) -> Result<Option<(PathBuf, UnixListener)>, String> {
    if resolved.is_on("control_socket_disable") {
        return Ok(None);
    }
    let named = resolved
        .text("control_socket")
        .filter(|path| !path.is_empty());
    let path = match (named, default_path()) {
        (Some(path), _) => std::path::absolute(path).map_err(|error| error.to_string())?,
        (None, Some(path)) => path,
        (None, None) => return Ok(None),
    };
    let fault = |error: &dyn std::fmt::Display| {
        format!(
            "there is no control socket: \"{}\": {error} (control_socket, --control-socket)",
            path.display()
        )
    };
    if let (None, Some(folder)) = (named, path.parent()) {
        std::fs::create_dir_all(folder).map_err(|error| fault(&error))?;
    }
    let listener = open_unix(&path).map_err(|error| fault(&error))?;
    let mode = resolved.number("control_socket_mode") as u32;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| fault(&error))?;
    Ok(Some((path, listener)))
}

fn open_metrics(text: &str) -> Result<Metrics, String> {
    match Bind::read(text)? {
        Bind::Open(Address::Inet(address)) => {
            let listener = TcpListener::bind(address).map_err(|error| error.to_string())?;
            listener
                .set_nonblocking(true)
                .map_err(|error| error.to_string())?;
            Ok(Metrics::Tcp(listener))
        }
        Bind::Open(Address::Path(path)) => {
            let path = std::path::absolute(path).map_err(|error| error.to_string())?;
            let listener = open_unix(&path).map_err(|error| error.to_string())?;
            Ok(Metrics::Unix(path, listener))
        }
        _ => Err("metrics are told at HOST:PORT or unix:PATH".to_owned()),
    }
}

/// A socket at a path; what a process that is gone has left there is replaced.
fn open_unix(path: &Path) -> io::Result<UnixListener> {
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
    Ok(listener)
}
