//! What `--bind` takes, in gunicorn's forms.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use supervisor::socket_activation::Address;

use crate::given;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// An address to open.
    Open(Address),
    /// A descriptor that is open already.
    Descriptor(i32),
    /// Sockets of a service manager, by their name.
    Given(String),
}

/// The port when none is named.
const PORT: &str = "8000";

impl Bind {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, with the text itself.
    pub fn read(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("unix:") {
            return unix(text, rest.strip_prefix("//").unwrap_or(rest));
        }
        if let Some(number) = text.strip_prefix("fd://") {
            return number
                .parse()
                .map(Self::Descriptor)
                .map_err(|_| format!("'{number}' is not a valid file descriptor; a socket of systemd is called by its name with systemd:{number} (--bind {text})"));
        }
        if let Some(name) = given::name_in(text) {
            return match name {
                "" => Err(format!(
                    "{text} lacks the name of a socket (FileDescriptorName= of its unit) (--bind {text})"
                )),
                name => Ok(Self::Given(name.to_owned())),
            };
        }
        let rest = text.strip_prefix("tcp://").unwrap_or(text);
        let (host, port) = split(rest);
        let port = port
            .parse::<u16>()
            .map_err(|_| format!("'{port}' is not a valid port number (--bind {text})"))?;
        resolve(&host.to_ascii_lowercase(), port)
            .map(|address| Self::Open(Address::Inet(address)))
            .map_err(|why| format!("\"{host}\" cannot be listened on (--bind {text}): {why}"))
    }
}

fn unix(text: &str, path: &str) -> Result<Bind, String> {
    let address = match path.strip_prefix('\0') {
        Some(name) => Ok(Address::Abstract(name.as_bytes().to_vec())),
        None => format!("unix:{path}").parse::<Address>(),
    };
    address
        .map(Bind::Open)
        .map_err(|error| format!("{error} (--bind {text})"))
}

/// Host and port; `[::1]:80`, `host`, `:80`, a bare IPv6 address is no host.
fn split(text: &str) -> (&str, &str) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').unwrap_or(PORT));
    }
    text.split_once(':').unwrap_or((text, PORT))
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    if host.is_empty() {
        return Ok(([0, 0, 0, 0], port).into());
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok((ip, port).into());
    }
    let found: Vec<_> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("the name does not resolve: {error}"))?
        .collect();
    found
        .iter()
        .find(|address| address.is_ipv4())
        .or(found.first())
        .copied()
        .ok_or_else(|| "the name has no address".to_owned())
}

/// An address as `Listening at:` names it, with whether TLS is spoken there.
pub(crate) struct Listening<'a>(pub &'a Address, pub bool);

impl fmt::Display for Listening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Address::Inet(address) if self.1 => write!(f, "https://{address}"),
            Address::Inet(address) => write!(f, "http://{address}"),
            other => write!(f, "{other}"),
        }
    }
}

/// An address as Python shows it: `('127.0.0.1', 8000)`, `/run/app.sock`.
pub(crate) struct Tuple<'a>(pub &'a Address);

impl fmt::Display for Tuple<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Address::Inet(address) => write!(f, "('{}', {})", address.ip(), address.port()),
            Address::Path(path) => write!(f, "{}", path.display()),
            other => write!(f, "{other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(text: &str) -> String {
        match Bind::read(text).unwrap() {
            Bind::Open(address) => address.to_string(),
            Bind::Descriptor(fd) => format!("descriptor {fd}"),
            Bind::Given(name) => format!("given {name}"),
        }
    }

    #[test]
    fn every_form_of_gunicorns() {
        for (text, address) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.1", "127.0.0.1:8000"),
            ("tcp://127.0.0.1:81", "127.0.0.1:81"),
            (":82", "0.0.0.0:82"),
            ("", "0.0.0.0:8000"),
            ("[::1]:83", "[::1]:83"),
            ("[::]", "[::]:8000"),
            ("LOCALHOST:84", "127.0.0.1:84"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("unix:a.sock", "unix:a.sock"),
            ("unix:\0name", "unix:@name"),
            ("fd://5", "descriptor 5"),
            ("systemd:web.socket", "given web.socket"),
        ] {
            assert_eq!(opened(text), address, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_the_text() {
        for (text, words) in [
            ("127.0.0.1:http", "'http' is not a valid port number"),
            ("127.0.0.1:70000", "'70000' is not a valid port number"),
            ("fd://x", "'x' is not a valid file descriptor"),
            ("unix:", "cannot be the path of a unix socket"),
            ("systemd:", "lacks the name of a socket"),
        ] {
            let fault = Bind::read(text).unwrap_err();
            assert!(fault.contains(words) && fault.contains(text), "{fault}");
        }
    }
}
