//! Where a socket is bound: an internet address and port, a path, an abstract name, or nowhere.

use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, getsockname};

/// Longest path of a unix socket in bytes: `sun_path` holds 108 with the final NUL.
const PATH_MAX: usize = 107;
/// Longest abstract name in bytes: `sun_path` without its leading NUL.
const ABSTRACT_MAX: usize = 107;

/// The local address of a socket.
///
/// Written and read (`FromStr`) as `127.0.0.1:80`, `[::1]:80`, `unix:/run/app.sock` and `unix:@name` for Linux'
/// abstract names; a bare `/run/app.sock` or `@name` is understood too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IPv4 or IPv6 with a port.
    Inet(SocketAddr),
    /// A unix socket with a file.
    Path(PathBuf),
    /// A unix socket in Linux' abstract namespace (without the leading NUL).
    Abstract(Vec<u8>),
    /// A unix socket that was never bound, a socket of another family, or no socket at all.
    Unnamed,
}

/// Why a text or a path is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither an address with a port nor a unix socket.
    #[error(
        "{0:?} is no socket address; write \"127.0.0.1:8000\", \"[::1]:8000\", \"unix:/path\" or \"unix:@name\""
    )]
    Unreadable(String),
    /// More than the kernel's 107 bytes.
    #[error(
        "the path of the unix socket {0:?} has {1} bytes, the kernel takes at most 107; use a shorter path"
    )]
    TooLong(String, usize),
    /// A NUL byte or an empty path.
    #[error("{0:?} cannot be the path of a unix socket: it is empty or has a NUL byte in it")]
    BadPath(String),
}

impl Address {
    /// The address that `socket` is bound to. What is no socket, or belongs to another family, is [`Address::Unnamed`].
    ///
    /// # Errors
    /// The error of `getsockname(2)`.
    pub fn of(socket: impl AsFd) -> std::io::Result<Self> {
        match getsockname(socket) {
            Ok(any) => Ok(Self::from_any(any)),
            Err(Errno::NOTSOCK) => Ok(Self::Unnamed),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(crate) fn from_any(any: SocketAddrAny) -> Self {
        match any.address_family() {
            AddressFamily::INET | AddressFamily::INET6 => {
                SocketAddr::try_from(any).map_or(Self::Unnamed, Self::Inet)
            }
            AddressFamily::UNIX => {
                SocketAddrUnix::try_from(any).map_or(Self::Unnamed, |unix| Self::from_unix(&unix))
            }
            _ => Self::Unnamed,
        }
    }

    fn from_unix(unix: &SocketAddrUnix) -> Self {
        if let Some(name) = unix.abstract_name().filter(|name| !name.is_empty()) {
            return Self::Abstract(name.to_vec());
        }
        match unix.path_bytes() {
            Some(path) if !path.is_empty() => {
                Self::Path(PathBuf::from(std::ffi::OsString::from_vec(path.to_vec())))
            }
            _ => Self::Unnamed,
        }
    }

    /// The kernel's form of a unix address; `None` for internet addresses and unnamed sockets.
    ///
    /// # Errors
    /// [`AddressError`] when the path or name does not fit.
    pub fn to_unix(&self) -> Result<Option<SocketAddrUnix>, AddressError> {
        match self {
            Self::Path(path) => unix_path(path).map(Some),
            Self::Abstract(name) if name.len() > ABSTRACT_MAX => {
                Err(AddressError::TooLong(self.to_string(), name.len()))
            }
            Self::Abstract(name) => SocketAddrUnix::new_abstract_name(name)
                .map(Some)
                .map_err(|_| AddressError::BadPath(self.to_string())),
            Self::Inet(_) | Self::Unnamed => Ok(None),
        }
    }

    /// The file of a unix socket.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The internet address and port.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            _ => None,
        }
    }

    /// Is this a unix socket's address?
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Path(_) | Self::Abstract(_))
    }
}

fn unix_path(path: &Path) -> Result<SocketAddrUnix, AddressError> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > PATH_MAX {
        return Err(AddressError::TooLong(
            path.display().to_string(),
            bytes.len(),
        ));
    }
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(AddressError::BadPath(path.display().to_string()));
    }
    SocketAddrUnix::new(path).map_err(|_| AddressError::BadPath(path.display().to_string()))
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (unix, rest) = match text.strip_prefix("unix:") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if let Some(name) = rest.strip_prefix('@') {
            return Ok(Self::Abstract(name.as_bytes().to_vec()));
        }
        if unix || rest.starts_with('/') {
            let path = Path::new(OsStr::new(rest));
            return unix_path(path).map(|_| Self::Path(path.to_path_buf()));
        }
        rest.parse()
            .map(Self::Inet)
            .map_err(|_| AddressError::Unreadable(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => write!(f, "{address}"),
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
            Self::Unnamed => write!(f, "no address"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in [
            "127.0.0.1:80",
            "[::1]:8080",
            "unix:/run/app.sock",
            "unix:@name",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(
            "/a/b".parse::<Address>().unwrap(),
            Address::Path("/a/b".into())
        );
        assert_eq!(
            "unix:b".parse::<Address>().unwrap(),
            Address::Path("b".into())
        );
        assert_eq!(
            "@x".parse::<Address>().unwrap(),
            Address::Abstract(b"x".to_vec())
        );
    }

    #[test]
    fn refuses_what_is_no_address_and_says_how_to_write_one() {
        for text in ["localhost", "127.0.0.1", "300.0.0.1:80", "unix:", ""] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        let long = format!("unix:/{}", "x".repeat(PATH_MAX));
        let words = long.parse::<Address>().unwrap_err().to_string();
        assert!(
            words.contains("108 bytes") && words.contains("at most 107"),
            "{words}"
        );
        assert!(
            format!("unix:/{}", "x".repeat(PATH_MAX - 1))
                .parse::<Address>()
                .is_ok()
        );
    }

    #[test]
    fn tells_where_a_socket_is_bound() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(
            Address::of(&listener).unwrap().inet(),
            Some(listener.local_addr().unwrap())
        );

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(Address::of(&unix).unwrap(), Address::Path(path));

        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(Address::of(&one).unwrap(), Address::Unnamed);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(Address::of(file).unwrap(), Address::Unnamed);
    }
}
