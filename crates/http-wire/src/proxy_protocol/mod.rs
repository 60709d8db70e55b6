//! The header of the PROXY protocol, versions 1 and 2: what a gateway says ahead of a connection about whom it is from.
//!
//! It is no part of HTTP, but stands in front of it. Show [`parse`] everything that has arrived, from the start, each time more has come.
//! Source: the specification of HAProxy, "The PROXY protocol, versions 1 & 2".

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[cfg(test)]
mod tests;

/// The longest header of version 1, its line end included.
pub const V1_BYTES_MAX: usize = 107;
/// The longest header of version 2 that is read: addresses, and what gateways add in type-length-value fields, which are skipped.
/// The protocol allows 65,551; nginx reads as many as we do.
pub const V2_BYTES_MAX: usize = 4096;

const V1_START: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_BYTES: usize = 16;

/// Which versions are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Versions {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
    /// Whichever comes.
    #[default]
    Any,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Both ends of the connection that the gateway took. Both are of one family.
    Tcp {
        /// The client.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
    },
    /// The gateway itself connects, to see whether anybody answers: `LOCAL` of version 2.
    Local,
    /// The gateway does not know: `UNKNOWN` of version 1.
    Unknown,
    /// The same in version 2: `AF_UNSPEC`.
    Unspecified,
}

impl Header {
    /// The word for what is told: `TCP4`, `TCP6`, `LOCAL`, `UNKNOWN` or `UNSPEC`.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Tcp { source, .. } if source.is_ipv4() => "TCP4",
            Self::Tcp { .. } => "TCP6",
            Self::Local => "LOCAL",
            Self::Unknown => "UNKNOWN",
            Self::Unspecified => "UNSPEC",
        }
    }
}

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Too few to tell, or the beginning of a header.
    More,
    /// No header: the connection begins at once.
    Absent,
    /// A header, and the number of its bytes.
    Header(Header, usize),
}

/// A header that is refused. The connection is of no use: nobody knows whom it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The header is longer than what is read.
    #[error("the PROXY protocol header is longer than {limit} bytes")]
    TooLong {
        /// [`V1_BYTES_MAX`] or [`V2_BYTES_MAX`].
        limit: usize,
    },
    /// The line of version 1 is not made of protocol, two addresses and two ports with one space between them, or does not end in CR LF.
    #[error(
        "the PROXY line is not made of a protocol, two addresses and two ports with one space between them"
    )]
    Line,
    /// The line of version 1 names another protocol than TCP4, TCP6 and UNKNOWN.
    #[error("the PROXY line names a protocol other than TCP4, TCP6 and UNKNOWN")]
    Protocol,
    /// An address of the line is none of the line's protocol.
    #[error("the PROXY line has an address that is none of its protocol")]
    Address,
    /// A port of the line is no number from 0 to 65535.
    #[error("the PROXY line has a port that is no number from 0 to 65535")]
    Port,
    /// A binary header of a version other than 2.
    #[error("the PROXY protocol header is of version {0}, not 2")]
    Version(u8),
    /// A command other than LOCAL and PROXY.
    #[error("the PROXY protocol header has the unknown command {0}")]
    Command(u8),
    /// Addresses of something else than TCP.
    #[error("the PROXY protocol header is of transport {0}; only TCP can be")]
    Transport(u8),
    /// A family of addresses other than IPv4 and IPv6.
    #[error("the PROXY protocol header has addresses of family {0}; only IPv4 and IPv6 are known")]
    Family(u8),
    /// The header is too short for its addresses.
    #[error("the PROXY protocol header is too short for its addresses")]
    Short,
}

/// Looks for a header at the start of `buf`.
///
/// The outcome does not depend on how the bytes were split: a fault is told as soon as it is certain.
///
/// ```
/// use http_wire::proxy_protocol::{Parsed, Versions, parse};
///
/// let wire = b"PROXY TCP4 192.0.2.1 198.51.100.9 4711 443\r\nGET / HTTP/1.1\r\n";
/// let Parsed::Header(header, used) = parse(wire, Versions::Any)? else {
///     panic!("there is a header")
/// };
/// assert_eq!((header.protocol(), used), ("TCP4", 44));
/// assert_eq!(parse(b"GET / HTTP/1.1\r\n", Versions::Any)?, Parsed::Absent);
/// # Ok::<(), http_wire::proxy_protocol::ProxyError>(())
/// ```
///
/// # Errors
/// [`ProxyError`].
pub fn parse(buf: &[u8], versions: Versions) -> Result<Parsed, ProxyError> {
    let may_begin = |start: &[u8]| start.starts_with(&buf[..buf.len().min(start.len())]);
    if versions != Versions::V1 && may_begin(V2_SIGNATURE) {
        return if buf.len() < V2_SIGNATURE.len() {
            Ok(Parsed::More)
        } else {
            binary(buf)
        };
    }
    if versions != Versions::V2 && may_begin(V1_START) {
        return if buf.len() < V1_START.len() {
            Ok(Parsed::More)
        } else {
            line(buf)
        };
    }
    Ok(Parsed::Absent)
}

/// Version 1.
fn line(buf: &[u8]) -> Result<Parsed, ProxyError> {
    let within = &buf[..buf.len().min(V1_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if within.len() == V1_BYTES_MAX {
            Err(ProxyError::TooLong {
                limit: V1_BYTES_MAX,
            })
        } else {
            Ok(Parsed::More)
        };
    };
    let text = within[V1_START.len()..end]
        .strip_suffix(b"\r")
        .ok_or(ProxyError::Line)?;
    let text = std::str::from_utf8(text).map_err(|_| ProxyError::Line)?;
    Ok(Parsed::Header(told(text)?, end + 1))
}

/// What stands behind `PROXY ` in a line.
fn told(text: &str) -> Result<Header, ProxyError> {
    let mut words = text.split(' ');
    let protocol = words.next().unwrap_or_default();
    let family = match protocol {
        // Whatever else the line says.
        "UNKNOWN" => return Ok(Header::Unknown),
        "TCP4" | "TCP6" => protocol,
        _ => return Err(ProxyError::Protocol),
    };
    let mut word = || words.next().ok_or(ProxyError::Line);
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err(ProxyError::Line);
    }
    let address = |text: &str| {
        let address = if family == "TCP4" {
            text.parse().map(IpAddr::V4)
        } else {
            text.parse().map(IpAddr::V6)
        };
        address.map_err(|_| ProxyError::Address)
    };
    let (source, destination) = (address(source)?, address(destination)?);
    Ok(Header::Tcp {
        source: (source, port(source_port)?).into(),
        destination: (destination, port(destination_port)?).into(),
    })
}

fn port(text: &str) -> Result<u16, ProxyError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = text.len() == 1 || !text.starts_with('0');
    if !plain || !shortest {
        return Err(ProxyError::Port);
    }
    text.parse().map_err(|_| ProxyError::Port)
}

/// Version 2, whose signature is there.
fn binary(buf: &[u8]) -> Result<Parsed, ProxyError> {
    let Some(&meaning) = buf.get(12) else {
        return Ok(Parsed::More);
    };
    if meaning >> 4 != 2 {
        return Err(ProxyError::Version(meaning >> 4));
    }
    let local = match meaning & 0xf {
        0 => true,
        1 => false,
        other => return Err(ProxyError::Command(other)),
    };
    let Some(fixed) = buf.first_chunk::<V2_FIXED_BYTES>() else {
        return Ok(Parsed::More);
    };
    let [.., kind, high, low] = *fixed;
    let end = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    let header = if local {
        Some(Header::Local)
    } else {
        stream(kind, end)?
    };
    if end > V2_BYTES_MAX {
        return Err(ProxyError::TooLong {
            limit: V2_BYTES_MAX,
        });
    }
    let Some(addresses) = buf.get(V2_FIXED_BYTES..end) else {
        return Ok(Parsed::More);
    };
    let header = header.or_else(|| ends(addresses, kind >> 4 == 1));
    header
        .map(|header| Parsed::Header(header, end))
        .ok_or(ProxyError::Short)
}

/// Checks family and transport; a header that needs no addresses.
fn stream(kind: u8, end: usize) -> Result<Option<Header>, ProxyError> {
    let (family, transport) = (kind >> 4, kind & 0xf);
    let shortest = match family {
        0 => return Ok(Some(Header::Unspecified)),
        1 => 12,
        2 => 36,
        other => return Err(ProxyError::Family(other)),
    };
    if transport != 1 {
        return Err(ProxyError::Transport(transport));
    }
    if end - V2_FIXED_BYTES < shortest {
        return Err(ProxyError::Short);
    }
    Ok(None)
}

/// Two addresses and two ports; what follows them is skipped.
fn ends(bytes: &[u8], v4: bool) -> Option<Header> {
    let (source, destination, ports): (IpAddr, IpAddr, _) = if v4 {
        let (source, rest) = bytes.split_first_chunk::<4>()?;
        let (destination, rest) = rest.split_first_chunk::<4>()?;
        let address = |octets: &[u8; 4]| Ipv4Addr::from(*octets).into();
        (address(source), address(destination), rest)
    } else {
        let (source, rest) = bytes.split_first_chunk::<16>()?;
        let (destination, rest) = rest.split_first_chunk::<16>()?;
        let address = |octets: &[u8; 16]| Ipv6Addr::from(*octets).into();
        (address(source), address(destination), rest)
    };
    let [a, b, c, d] = *ports.first_chunk()?;
    Some(Header::Tcp {
        source: (source, u16::from_be_bytes([a, b])).into(),
        destination: (destination, u16::from_be_bytes([c, d])).into(),
    })
}
