//! Lines for syslog, as Python's `SysLogHandler` sends them for gunicorn: `<PRI>gunicorn.PREFIX.error: [PID] message`, NUL.

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::Level;
use crate::address::host_and_port;

const PORT: u16 = 514;
/// A server that does not take a line for so long does not get it.
const PATIENCE: Duration = Duration::from_millis(200);

/// The names of `syslog_facility`, with their numbers.
const FACILITIES: [(&str, u8); 21] = [
    ("auth", 4),
    ("authpriv", 10),
    ("cron", 9),
    ("daemon", 3),
    ("ftp", 11),
    ("kern", 0),
    ("lpr", 6),
    ("mail", 2),
    ("news", 7),
    ("security", 4),
    ("syslog", 5),
    ("user", 1),
    ("uucp", 8),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// A facility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// By its name, in any case.
    ///
    /// # Errors
    /// gunicorn's words, and the names that exist.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = FACILITIES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, number)| Self(*number)).ok_or_else(|| {
            let names: Vec<_> = FACILITIES.iter().map(|(name, _)| *name).collect();
            format!(
                "unknown facility name \"{name}\"; there are {}",
                names.join(", ")
            )
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Udp(String, u16),
    Tcp(String, u16),
    /// A path, and whether only datagrams will do.
    Unix(String, bool),
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

/// A way to a syslog server.
#[derive(Debug)]
pub struct Syslog {
    target: Target,
    facility: Facility,
    prefix: String,
    socket: Mutex<Option<Socket>>,
}

impl Syslog {
    /// To `udp://HOST:PORT`, `tcp://HOST:PORT` or `unix://PATH` (`#dgram`, `#stream`). Lines begin with `gunicorn.` and the prefix.
    /// The server need not be there yet.
    ///
    /// # Errors
    /// An address of another form.
    pub fn new(address: &str, facility: Facility, prefix: &str) -> Result<Self, String> {
        Ok(Self {
            target: target(address)?,
            facility,
            prefix: prefix.replace(':', "."),
            socket: Mutex::new(None),
        })
    }

    /// The next line makes a new connection: for a process that was forked.
    pub fn disconnect(&self) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sends a line of the log of this name (`error`, `access`).
    pub fn send(&self, log: &str, level: Level, pid: u32, message: &str) {
        let priority = self.facility.0 << 3 | level.severity();
        let line = format!(
            "<{priority}>gunicorn.{}.{log}: [{pid}] {message}\0",
            self.prefix
        );
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        // A server that was started anew wants a new connection.
        for _ in 0..2 {
            if socket.is_none() {
                *socket = self.target.connect();
            }
            match socket.as_mut().map(|socket| socket.write(line.as_bytes())) {
                Some(Ok(())) | None => return,
                Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Some(Err(_)) => *socket = None,
            }
        }
    }
}

fn target(address: &str) -> Result<Target, String> {
    if let Some(path) = address.strip_prefix("unix://") {
        let (path, kind) = path.split_once('#').unwrap_or((path, ""));
        return Ok(Target::Unix(path.to_owned(), kind == "dgram"));
    }
    let (udp, rest) = if let Some(rest) = address.strip_prefix("udp://") {
        (true, rest)
    } else if let Some(rest) = address.strip_prefix("tcp://") {
        (false, rest)
    } else {
        return Err(format!(
            "invalid syslog address \"{address}\"; it takes udp://HOST:PORT, tcp://HOST:PORT or unix://PATH"
        ));
    };
    let (host, port) = host_and_port(rest, PORT)?;
    Ok(if udp {
        Target::Udp(host, port)
    } else {
        Target::Tcp(host, port)
    })
}

impl Target {
    fn connect(&self) -> Option<Socket> {
        match self {
            Self::Udp(host, port) => udp(host, *port).map(Socket::Udp),
            Self::Tcp(host, port) => {
                let addresses = (host.as_str(), *port).to_socket_addrs().ok()?;
                let stream = addresses
                    .into_iter()
                    .find_map(|address| TcpStream::connect_timeout(&address, PATIENCE).ok())?;
                stream.set_write_timeout(Some(PATIENCE)).ok()?;
                Some(Socket::Tcp(stream))
            }
            Self::Unix(path, datagrams_only) => {
                let datagram = UnixDatagram::unbound().ok()?;
                if datagram.connect(path).is_ok() {
                    datagram.set_nonblocking(true).ok()?;
                    return Some(Socket::Datagram(datagram));
                }
                if *datagrams_only {
                    return None;
                }
                let stream = UnixStream::connect(path).ok()?;
                stream.set_write_timeout(Some(PATIENCE)).ok()?;
                Some(Socket::Stream(stream))
            }
        }
    }
}

/// A socket that sends to the first address of a host, without ever waiting.
pub(crate) fn udp(host: &str, port: u16) -> Option<UdpSocket> {
    let address = (host, port).to_socket_addrs().ok()?.next()?;
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(address).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

impl Socket {
    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Udp(socket) => match socket.send(line) {
                // The answer to an earlier line; this one was not sent.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    socket.send(line).map(drop)
                }
                sent => sent.map(drop),
            },
            Self::Datagram(socket) => socket.send(line).map(drop),
            Self::Tcp(stream) => stream.write_all(line),
            Self::Stream(stream) => stream.write_all(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn facility(name: &str) -> Facility {
        Facility::named(name).unwrap()
    }

    #[test]
    fn a_line_goes_out_in_the_form_of_pythons_handler() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let address = format!("udp://{}", server.local_addr().unwrap());
        let syslog = Syslog::new(&address, facility("LOCAL0"), "my:shop").unwrap();
        syslog.send("error", Level::Warning, 7, "look out");
        let mut line = [0; 100];
        let length = server.recv(&mut line).unwrap();
        assert_eq!(
            &line[..length],
            b"<132>gunicorn.my.shop.error: [7] look out\0"
        );
    }

    #[test]
    fn a_connection_is_made_again_when_the_server_was_started_anew() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", server.local_addr().unwrap());
        let syslog = Syslog::new(&address, facility("user"), "p").unwrap();
        for round in 0..2 {
            syslog.send("access", Level::Info, 1, "GET /");
            let (mut accepted, _) = server.accept().unwrap();
            let mut line = [0; 33];
            accepted.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"<14>gunicorn.p.access: [1] GET /\0", "{round}");
            *syslog.socket.lock().unwrap() = None;
        }
    }

    #[test]
    fn a_server_that_is_not_there_costs_nothing() {
        let syslog = Syslog::new("unix:///no/such/socket", facility("user"), "p").unwrap();
        syslog.send("error", Level::Info, 1, "lost");
    }

    #[test]
    fn addresses_and_facilities_that_are_none_are_refused() {
        for address in ["localhost", "http://x", "udp://a:b"] {
            assert!(
                Syslog::new(address, facility("user"), "").is_err(),
                "{address}"
            );
        }
        let words = Facility::named("local9").unwrap_err();
        assert!(
            words.contains("local9") && words.contains("local7"),
            "{words}"
        );
        assert_eq!(
            target("unix:///dev/log#dgram"),
            Ok(Target::Unix("/dev/log".to_owned(), true))
        );
    }
}
