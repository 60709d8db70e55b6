//! Addresses to listen at and to connect to, as text: names are not resolved here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Longest path of a unix socket, without the closing NUL (Linux).
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `80`, `*:80`, `127.0.0.1`, `[::]:8000-8010`, `localhost:80`.
    Inet {
        /// The address; `None` for all of IPv4 (`*`, or a port alone).
        host: Option<Host>,
        /// The ports, usually one; `None` where none was written.
        ports: Option<RangeInclusive<u16>>,
    },
    /// `unix:/run/edge.sock`.
    Unix(PathBuf),
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// `app:8000`, `127.0.0.1`, `[::1]:8000`.
    Inet {
        /// The address or name.
        host: Host,
        /// The port; `None` where none was written.
        port: Option<u16>,
    },
    /// `unix:/run/app.sock`.
    Unix(PathBuf),
}

/// An address or a name that stands for addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// Written as an address.
    Ip(IpAddr),
    /// Written as a name.
    Name(String),
}

/// What is wrong with an address; [`AddressError::words`] are nginx's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing in front of the colon.
    NoHost,
    /// A name that can't be one, or a bracket without its partner.
    InvalidHost,
    /// No address between the brackets.
    InvalidIpv6,
    /// Not a number from 1 to 65535.
    InvalidPort,
    /// The range ends before it starts.
    InvalidPortRange,
    /// `unix:` and nothing.
    NoUnixPath,
    /// More than [`UNIX_PATH_BYTES_MAX`].
    LongUnixPath,
}

impl AddressError {
    /// What is wrong.
    pub fn words(self) -> &'static str {
        match self {
            AddressError::NoHost => "no host",
            AddressError::InvalidHost => "invalid host",
            AddressError::InvalidIpv6 => "invalid IPv6 address",
            AddressError::InvalidPort => "invalid port",
            AddressError::InvalidPortRange => "invalid port range",
            AddressError::NoUnixPath => "no path in the unix domain socket",
            AddressError::LongUnixPath => "too long path in the unix domain socket",
        }
    }

    /// What to write instead.
    pub fn remedy(self) -> &'static str {
        match self {
            AddressError::NoHost => "write HOST:PORT",
            AddressError::InvalidHost => {
                "write NAME:PORT, 127.0.0.1:PORT, [::1]:PORT or unix:/PATH"
            }
            AddressError::InvalidIpv6 => "write the address in brackets, as in [::1]:8000",
            AddressError::InvalidPort => "a port is a number from 1 to 65535",
            AddressError::InvalidPortRange => "write the smaller port first, as in 8000-8010",
            AddressError::NoUnixPath => "write unix:/run/NAME.sock",
            AddressError::LongUnixPath => "the system takes 107 bytes; choose a shorter path",
        }
    }
}

impl ListenAddress {
    /// Reads an address to listen at.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<ListenAddress, AddressError> {
        if let Some(path) = unix(text)? {
            return Ok(ListenAddress::Unix(path));
        }
        if text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
            && text.starts_with(|first: char| first.is_ascii_digit())
        {
            return Ok(ListenAddress::Inet {
                host: None,
                ports: Some(ports(text)?),
            });
        }
        let (host, port) = split(text)?;
        let host = if host == "*" {
            None
        } else {
            Some(Host::parse(host)?)
        };
        Ok(ListenAddress::Inet {
            host,
            ports: port.map(ports).transpose()?,
        })
    }
}

impl PeerAddress {
    /// Reads an address to connect to.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<PeerAddress, AddressError> {
        if let Some(path) = unix(text)? {
            return Ok(PeerAddress::Unix(path));
        }
        let (host, port) = split(text)?;
        Ok(PeerAddress::Inet {
            host: Host::parse(host)?,
            port: port.map(single_port).transpose()?,
        })
    }
}

impl Host {
    /// Reads a name or address; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Host, AddressError> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').ok_or(AddressError::InvalidHost)?;
            let address: Ipv6Addr = address.parse().map_err(|_| AddressError::InvalidIpv6)?;
            return Ok(Host::Ip(address.into()));
        }
        if text.is_empty() {
            return Err(AddressError::NoHost);
        }
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || "/:[]?#@*".contains(c)) {
            return Err(AddressError::InvalidHost);
        }
        Ok(text.parse().map_or_else(
            |_| Host::Name(text.to_owned()),
            |address: std::net::Ipv4Addr| Host::Ip(address.into()),
        ))
    }
}

/// The host, brackets included, and what follows the colon.
fn split(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    let host_end = if text.starts_with('[') {
        text.find(']').ok_or(AddressError::InvalidHost)? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at(host_end);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(AddressError::InvalidHost),
    }
}

fn unix(text: &str) -> Result<Option<PathBuf>, AddressError> {
    let Some((scheme, path)) = text
        .split_at_checked(5)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("unix:"))
    else {
        return Ok(None);
    };
    debug_assert_eq!(scheme.len(), 5);
    match path.len() {
        0 => Err(AddressError::NoUnixPath),
        len if len > UNIX_PATH_BYTES_MAX => Err(AddressError::LongUnixPath),
        _ => Ok(Some(PathBuf::from(path))),
    }
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, AddressError> {
    let Some((first, last)) = text.split_once('-') else {
        return single_port(text).map(|port| port..=port);
    };
    let (first, last) = (single_port(first)?, single_port(last)?);
    if first > last {
        Err(AddressError::InvalidPortRange)
    } else {
        Ok(first..=last)
    }
}

fn single_port(text: &str) -> Result<u16, AddressError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|&port| digits && port != 0);
    port.ok_or(AddressError::InvalidPort)
}

/// Writes a name, or an address with brackets where it needs them.
impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V6(address)) => write!(out, "[{address}]"),
            Host::Ip(address) => write!(out, "{address}"),
            Host::Name(name) => out.write_str(name),
        }
    }
}

/// Writes it as the configuration would.
impl fmt::Display for PeerAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Unix(path) => write!(out, "unix:{}", path.display()),
            PeerAddress::Inet {
                host,
                port: Some(port),
            } => write!(out, "{host}:{port}"),
            PeerAddress::Inet { host, port: None } => write!(out, "{host}"),
        }
    }
}

/// Writes it as the configuration would.
impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, ports) = match self {
            ListenAddress::Unix(path) => return write!(out, "unix:{}", path.display()),
            ListenAddress::Inet { host, ports } => (host, ports),
        };
        match host {
            Some(host) => write!(out, "{host}")?,
            None => out.write_str("*")?,
        }
        match ports {
            Some(ports) if ports.start() == ports.end() => write!(out, ":{}", ports.start()),
            Some(ports) => write!(out, ":{}-{}", ports.start(), ports.end()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_to_listen_at() {
        let cases = [
            ("80", Ok("*:80")),
            ("*:80", Ok("*:80")),
            ("*", Ok("*")),
            ("8000-8010", Ok("*:8000-8010")),
            ("127.0.0.1", Ok("127.0.0.1")),
            ("127.0.0.1:80", Ok("127.0.0.1:80")),
            ("[::]:80", Ok("[::]:80")),
            ("[::1]", Ok("[::1]")),
            ("localhost:8080-8081", Ok("localhost:8080-8081")),
            ("unix:/run/x.sock", Ok("unix:/run/x.sock")),
            ("UNIX:/run/x.sock", Ok("unix:/run/x.sock")),
            ("unix:", Err(AddressError::NoUnixPath)),
            ("0", Err(AddressError::InvalidPort)),
            ("65536", Err(AddressError::InvalidPort)),
            ("99999", Err(AddressError::InvalidPort)),
            ("8010-8000", Err(AddressError::InvalidPortRange)),
            ("foo:bar", Err(AddressError::InvalidPort)),
            ("foo:", Err(AddressError::InvalidPort)),
            (":80", Err(AddressError::NoHost)),
            ("[::1", Err(AddressError::InvalidHost)),
            ("[::1]80", Err(AddressError::InvalidHost)),
            ("[zz]:80", Err(AddressError::InvalidIpv6)),
            ("::1", Err(AddressError::NoHost)),
            ("a/b", Err(AddressError::InvalidHost)),
            ("", Err(AddressError::NoHost)),
        ];
        for (text, expected) in cases {
            let read = ListenAddress::parse(text).map(|address| address.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn reads_addresses_to_connect_to() {
        let cases = [
            ("app:8000", Ok("app:8000")),
            ("app", Ok("app")),
            ("8000", Ok("8000")),
            ("[::1]:8000", Ok("[::1]:8000")),
            ("unix:/run/x.sock", Ok("unix:/run/x.sock")),
            ("app:8000-8001", Err(AddressError::InvalidPort)),
            ("app:+80", Err(AddressError::InvalidPort)),
            (":80", Err(AddressError::NoHost)),
        ];
        for (text, expected) in cases {
            let read = PeerAddress::parse(text).map(|address| address.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn holds_unix_paths_to_what_the_system_takes() {
        let path = |bytes: usize| format!("unix:/{}", "x".repeat(bytes - 1));
        assert!(PeerAddress::parse(&path(UNIX_PATH_BYTES_MAX)).is_ok());
        assert_eq!(
            PeerAddress::parse(&path(UNIX_PATH_BYTES_MAX + 1)),
            Err(AddressError::LongUnixPath)
        );
    }
}
