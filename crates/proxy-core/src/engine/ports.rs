//! Where servers listen: the `listen` directive, resolved to addresses that survive a reload.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use nginx_conf::{Args, Fault, Host, Spanned};

/// An address to listen at. Two `listen` lines with the same one share a socket.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum ListenAddress {
    /// TCP.
    Inet(SocketAddr),
    /// A unix socket by its path.
    Unix(PathBuf),
}

/// A socket that a configuration needs, with its options.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Listen {
    /// Where.
    pub address: ListenAddress,
    /// Connections that may wait to be accepted. Default 511.
    pub backlog: u32,
    /// IPv6 sockets: no IPv4 connections. Default true.
    pub ipv6_only: bool,
    /// Size of the receive buffer in bytes, where set.
    pub receive_buffer_bytes: Option<u64>,
    /// Size of the send buffer in bytes, where set.
    pub send_buffer_bytes: Option<u64>,
}

/// One `listen` line as written.
#[derive(Clone, Debug)]
pub(super) struct ListenLine {
    pub(super) address: Spanned<nginx_conf::ListenAddress>,
    pub(super) default_server: bool,
    backlog: Option<u32>,
    ipv6_only: Option<bool>,
    receive_buffer_bytes: Option<u64>,
    send_buffer_bytes: Option<u64>,
}

const PARAMETERS: &[&str] = &[
    "default_server",
    "backlog=",
    "rcvbuf=",
    "sndbuf=",
    "ipv6only=",
    "reuseport",
    "deferred",
    "bind",
    "so_keepalive=",
    "fastopen=",
];

pub(super) fn read_listen(args: &mut Args<'_>) -> Result<ListenLine, Fault> {
    let mut line = ListenLine {
        address: args.listen_address()?,
        default_server: false,
        backlog: None,
        ipv6_only: None,
        receive_buffer_bytes: None,
        send_buffer_bytes: None,
    };
    for arg in args.by_ref() {
        match arg.text() {
            "default_server" | "default" => line.default_server = true,
            // One process accepts; the kernel's own choices serve these.
            "reuseport" | "deferred" | "bind" => {}
            "ssl" | "http2" | "quic" | "proxy_protocol" => {
                let what = if arg.text() == "proxy_protocol" {
                    "the PROXY protocol"
                } else {
                    "TLS"
                };
                let fault = arg.fault(format!(
                    "\"{}\" of the \"listen\" directive is not supported yet",
                    arg.text()
                ));
                return Err(fault.help(format!(
                    "{what} has to end in front of edge for now; take the parameter out"
                )));
            }
            _ => {
                if let Some(value) = arg.keyed("backlog") {
                    line.backlog = Some(value.number(1..=u32::from(u16::MAX))?.value);
                } else if let Some(value) = arg.keyed("rcvbuf") {
                    line.receive_buffer_bytes = Some(value.size()?.value);
                } else if let Some(value) = arg.keyed("sndbuf") {
                    line.send_buffer_bytes = Some(value.size()?.value);
                } else if let Some(value) = arg.keyed("ipv6only") {
                    line.ipv6_only = Some(value.flag()?.value);
                } else if arg.keyed("so_keepalive").is_none()
                    && arg.keyed("fastopen").is_none()
                    && arg.keyed("setfib").is_none()
                {
                    return Err(arg.unknown_parameter(PARAMETERS));
                }
            }
        }
    }
    Ok(line)
}

impl ListenLine {
    /// The line that holds where a server has none: nginx listens at port 80.
    pub(super) fn default_at(span: nginx_conf::Span) -> Self {
        let address = nginx_conf::ListenAddress::Inet {
            host: None,
            ports: Some(80..=80),
        };
        Self {
            address: Spanned {
                value: address,
                span,
            },
            default_server: false,
            backlog: None,
            ipv6_only: None,
            receive_buffer_bytes: None,
            send_buffer_bytes: None,
        }
    }

    /// The sockets that it means. Names are looked up once, as nginx does; all of their addresses count.
    pub(super) fn resolve(&self) -> Result<Vec<Listen>, Fault> {
        let addresses = match &self.address.value {
            nginx_conf::ListenAddress::Unix(path) => vec![ListenAddress::Unix(path.clone())],
            nginx_conf::ListenAddress::Inet { host, ports } => {
                let ports = ports.clone().unwrap_or(80..=80);
                let hosts = match host {
                    None => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
                    Some(Host::Ip(ip)) => vec![*ip],
                    Some(Host::Name(name)) => self.look_up(name)?,
                };
                ports
                    .flat_map(|port| {
                        hosts
                            .iter()
                            .map(move |ip| ListenAddress::Inet(SocketAddr::new(*ip, port)))
                    })
                    .collect()
            }
        };
        let listen = |address| Listen {
            address,
            backlog: self.backlog.unwrap_or(511),
            ipv6_only: self.ipv6_only.unwrap_or(true),
            receive_buffer_bytes: self.receive_buffer_bytes,
            send_buffer_bytes: self.send_buffer_bytes,
        };
        Ok(addresses.into_iter().map(listen).collect())
    }

    fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Fault> {
        let found = (name, 0).to_socket_addrs().map_err(|error| {
            Fault::new(format!(
                "host not found in \"{name}\" of the \"listen\" directive ({error})"
            ))
            .at(self.address.span)
            .help("write an address of this machine, or * for all of them")
        })?;
        let mut ips: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        ips.sort();
        ips.dedup();
        Ok(ips)
    }
}

impl Listen {
    /// True when connections to `other` arrive here, too: the wildcard address of the same family and port.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (&self.address, &other.address) {
            (ListenAddress::Inet(mine), ListenAddress::Inet(theirs)) => {
                mine != theirs
                    && mine.ip().is_unspecified()
                    && mine.port() == theirs.port()
                    && mine.is_ipv4() == theirs.is_ipv4()
            }
            _ => false,
        }
    }
}

impl ListenAddress {
    /// The port, where there is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}
