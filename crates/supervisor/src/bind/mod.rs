//! Opening listeners: TCP as nginx opens it, unix sockets with file, mode and owner, abstract names.

mod file;
mod listeners;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, chmod, chown};
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_ipv6_v6only, set_socket_keepalive, set_socket_recv_buffer_size, set_socket_reuseaddr,
    set_socket_reuseport, set_socket_send_buffer_size, set_tcp_keepcnt, set_tcp_keepidle,
    set_tcp_keepintvl,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::{Gid, Uid};
use socket_activation::{Address, AddressError};

pub use file::SocketFile;
pub use listeners::{Change, Listener, Listeners, Patience, Staged, Wanted};

/// Length of the queue of connections that wait to be accepted; nginx' default on Linux.
pub const BACKLOG: i32 = 511;

/// How a listener is opened. Fields that do not apply to the kind of address are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindOptions {
    /// Connections that may wait to be accepted. Default 511.
    pub backlog: i32,
    /// IPv6: refuse IPv4 clients on a wildcard address (`ipv6only=on`). Default true.
    pub v6_only: bool,
    /// Let other sockets be bound to the same address (`SO_REUSEPORT`). Default false.
    pub reuse_port: bool,
    /// Wake up only when a client has sent something (`TCP_DEFER_ACCEPT`). Default `None`.
    pub defer_accept: Option<Duration>,
    /// Length of the queue for TCP Fast Open. Default `None`.
    pub fast_open: Option<i32>,
    /// `SO_RCVBUF` in bytes. Default `None`: the kernel's.
    pub receive_buffer: Option<usize>,
    /// `SO_SNDBUF` in bytes. Default `None`: the kernel's.
    pub send_buffer: Option<usize>,
    /// `SO_KEEPALIVE`. Default `None`: the kernel's.
    pub keepalive: Option<Keepalive>,
    /// Mode of the socket's file. Default `None`: what the umask leaves.
    pub mode: Option<u32>,
    /// User and group of the socket's file; each `None` stays as it is.
    pub owner: (Option<u32>, Option<u32>),
}

/// Keep-alive probes of the connections of a listener (`so_keepalive`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// On or off.
    pub on: bool,
    /// Quiet time before the first probe; `None` is the kernel's.
    pub idle: Option<Duration>,
    /// Time between probes; `None` is the kernel's.
    pub interval: Option<Duration>,
    /// Number of probes; `None` is the kernel's.
    pub count: Option<u32>,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self {
            backlog: BACKLOG,
            v6_only: true,
            reuse_port: false,
            defer_accept: None,
            fast_open: None,
            receive_buffer: None,
            send_buffer: None,
            keepalive: None,
            mode: None,
            owner: (None, None),
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub address: Address,
    /// The kernel's answer, or what is wrong with the address.
    pub source: io::Error,
    /// What was being done.
    step: &'static str,
    /// What stands in the way, when that is known.
    obstacle: Option<Obstacle>,
}

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Obstacle {
    /// Somebody answers there.
    Listening,
    /// A file that is no socket.
    NoSocket,
    /// A listener of this very server, which overlaps.
    Ours(Address),
}

impl BindError {
    fn new(address: &Address, step: &'static str, source: impl Into<io::Error>) -> Self {
        Self {
            address: address.clone(),
            source: source.into(),
            step,
            obstacle: None,
        }
    }

    /// Is it that another process listens there? Trying again a little later may help.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.source.raw_os_error() == Some(Errno::ADDRINUSE.raw_os_error())
            && matches!(self.obstacle, None | Some(Obstacle::Listening))
    }

    /// May trying again a little later help: another process listens there, or the machine does not have the address yet (a network
    /// that is still coming up)?
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.in_use() || self.source.raw_os_error() == Some(Errno::ADDRNOTAVAIL.raw_os_error())
    }

    fn because_of(mut self, ours: &Address) -> Self {
        self.obstacle = Some(Obstacle::Ours(ours.clone()));
        self
    }

    /// The system call that failed, as people write it: `bind()`.
    #[must_use]
    pub fn step(&self) -> &'static str {
        self.step
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        if let Some(obstacle) = &self.obstacle {
            return Some(match obstacle {
                Obstacle::Listening => {
                    "another process answers on this socket; stop it first".into()
                }
                Obstacle::Ours(address) => format!(
                    "this server itself listens on {address}, which overlaps; restart it instead of reloading"
                ),
                Obstacle::NoSocket => {
                    "a file that is no socket is in the way; move it or use another path".into()
                }
            });
        }
        let errno = Errno::from_io_error(&self.source)?;
        match (&self.address, errno) {
            (Address::Inet(inet), Errno::ADDRINUSE) => Some(format!(
                "another process listens there; find it with: ss -ltnp 'sport = :{}'",
                inet.port()
            )),
            (Address::Abstract(_), Errno::ADDRINUSE) => {
                Some("another process listens there; find it with: ss -lxp".into())
            }
            (Address::Inet(inet), Errno::ACCESS) if inet.port() < 1024 => Some(format!(
                "ports below 1024 need root or CAP_NET_BIND_SERVICE (port {})",
                inet.port()
            )),
            (Address::Inet(inet), Errno::ADDRNOTAVAIL) => Some(format!(
                "no interface of this machine has the address {}",
                inet.ip()
            )),
            (Address::Inet(SocketAddr::V6(_)), Errno::AFNOSUPPORT) => {
                Some("this machine has no IPv6; leave the address out".into())
            }
            (Address::Path(path), Errno::NOENT) => {
                Some(format!("the folder {:?} is not there", parent(path)))
            }
            (Address::Path(path), Errno::ACCESS | Errno::PERM | Errno::ROFS) => Some(format!(
                "this user may not make files in {:?}",
                parent(path)
            )),
            _ => None,
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot listen on {}: {} failed: {}",
            self.address, self.step, self.source
        )?;
        self.advice()
            .map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Opens one listener. The file of a unix socket comes with it and goes with it.
///
/// # Errors
/// [`BindError`].
pub fn bind_one(
    address: &Address,
    options: &BindOptions,
) -> Result<(OwnedFd, Option<SocketFile>), BindError> {
    match address {
        Address::Inet(inet) => tcp(address, *inet, options).map(|fd| (fd, None)),
        Address::Path(path) => unix(address, Some(path), options),
        Address::Abstract(_) => unix(address, None, options),
        Address::Unnamed => Err(BindError::new(address, "reading the address", Errno::INVAL)),
    }
}

fn tcp(address: &Address, inet: SocketAddr, options: &BindOptions) -> Result<OwnedFd, BindError> {
    let fault = |step| move |errno: Errno| BindError::new(address, step, errno);
    let family = if inet.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(fault("socket()"))?;
    set_socket_reuseaddr(&socket, true).map_err(fault("setting SO_REUSEADDR"))?;
    if options.reuse_port {
        set_socket_reuseport(&socket, true).map_err(fault("setting SO_REUSEPORT"))?;
    }
    if inet.is_ipv6() {
        set_ipv6_v6only(&socket, options.v6_only).map_err(fault("setting IPV6_V6ONLY"))?;
    }
    bind(&socket, &inet).map_err(fault("bind()"))?;
    tune(&socket, address, options)?;
    listen(&socket, options.backlog).map_err(fault("listen()"))?;
    Ok(socket)
}

/// What can be set on a listener at any time.
fn tune(socket: &OwnedFd, address: &Address, options: &BindOptions) -> Result<(), BindError> {
    let fault = |step| move |errno: Errno| BindError::new(address, step, errno);
    if let Some(bytes) = options.receive_buffer {
        set_socket_recv_buffer_size(socket, bytes).map_err(fault("setting SO_RCVBUF"))?;
    }
    if let Some(bytes) = options.send_buffer {
        set_socket_send_buffer_size(socket, bytes).map_err(fault("setting SO_SNDBUF"))?;
    }
    if address.inet().is_none() {
        return Ok(());
    }
    if let Some(keepalive) = options.keepalive {
        keep_alive(socket, keepalive).map_err(fault("setting SO_KEEPALIVE"))?;
    }
    if let Some(wait) = options.defer_accept {
        let seconds = i32::try_from(wait.as_secs().max(1)).unwrap_or(i32::MAX);
        set_tcp_option(socket, libc::TCP_DEFER_ACCEPT, seconds)
            .map_err(fault("setting TCP_DEFER_ACCEPT"))?;
    }
    if let Some(length) = options.fast_open {
        set_tcp_option(socket, libc::TCP_FASTOPEN, length)
            .map_err(fault("setting TCP_FASTOPEN"))?;
    }
    Ok(())
}

fn keep_alive(socket: &OwnedFd, keepalive: Keepalive) -> Result<(), Errno> {
    set_socket_keepalive(socket, keepalive.on)?;
    if let Some(idle) = keepalive.idle {
        set_tcp_keepidle(socket, idle)?;
    }
    if let Some(interval) = keepalive.interval {
        set_tcp_keepintvl(socket, interval)?;
    }
    keepalive
        .count
        .map_or(Ok(()), |count| set_tcp_keepcnt(socket, count))
}

/// Options that rustix does not offer.
fn set_tcp_option(socket: &OwnedFd, option: i32, value: i32) -> Result<(), Errno> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointer leads to one i32 and the length says so.
    let done = unsafe {
        let value = std::ptr::from_ref(&value).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, value, length)
    };
    if done == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

fn unix(
    address: &Address,
    path: Option<&Path>,
    options: &BindOptions,
) -> Result<(OwnedFd, Option<SocketFile>), BindError> {
    let fault = |step| move |errno: Errno| BindError::new(address, step, errno);
    let target = address
        .to_unix()
        .map_err(|error| bad_address(address, &error))?;
    let target =
        target.ok_or_else(|| BindError::new(address, "reading the address", Errno::INVAL))?;
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(fault("socket()"))?;
    match (bind(&socket, &target), path) {
        (Err(Errno::ADDRINUSE), Some(path)) => {
            if let Some(obstacle) = file::clear_stale(path, &target).map_err(fault("bind()"))? {
                let error = BindError::new(address, "bind()", Errno::ADDRINUSE);
                return Err(BindError {
                    obstacle: Some(obstacle),
                    ..error
                });
            }
            bind(&socket, &target).map_err(fault("bind()"))?;
        }
        (done, _) => done.map_err(fault("bind()"))?,
    }
    let made = path.map(SocketFile::made_now).transpose();
    let made = made.map_err(|source| BindError::new(address, "stat()", source))?;
    tune(&socket, address, options)?;
    if let Some(path) = path {
        // Before listen(), so that nobody connects who may not.
        let (user, group) = options.owner;
        if user.is_some() || group.is_some() {
            chown(path, user.map(Uid::from_raw), group.map(Gid::from_raw))
                .map_err(fault("chown()"))?;
        }
        if let Some(mode) = options.mode {
            chmod(path, Mode::from_raw_mode(mode)).map_err(fault("chmod()"))?;
        }
    }
    listen(socket.as_fd(), options.backlog).map_err(fault("listen()"))?;
    Ok((socket, made))
}

fn bad_address(address: &Address, error: &AddressError) -> BindError {
    let source = io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
    BindError::new(address, "reading the address", source)
}
