//! Metrics for StatsD, with gunicorn's names and forms. Several go into one packet (a line each); packets leave when they are full,
//! or when whoever counts has nothing else to do.

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::address::host_and_port;
use crate::syslog::udp;

const PORT: u16 = 8125;
/// What fits into a packet on any network, by StatsD's own advice.
const PACKET: usize = 1432;

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Udp(String, u16),
    Unix(String),
}

/// A way to a StatsD server.
#[derive(Debug)]
pub struct Statsd {
    target: Target,
    prefix: String,
    tags: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    packet: String,
    socket: Option<Socket>,
}

impl Statsd {
    /// To `HOST:PORT` or `unix://PATH`. The prefix gets a dot behind it; tags (`name:value,name:value`) go behind each metric, which
    /// DataDog understands.
    ///
    /// # Errors
    /// An address of another form.
    pub fn new(address: &str, prefix: &str, tags: &str) -> Result<Self, String> {
        let target = match address.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => {
                let path = path.strip_prefix("//").unwrap_or(path);
                Target::Unix(path.to_owned())
            }
            _ => {
                let (host, port) = host_and_port(address, PORT).map_err(|why| {
                    format!("{why} Value must be one of ('host:port', 'unix://PATH')")
                })?;
                Target::Udp(host, port)
            }
        };
        let prefix = match prefix.trim_end_matches('.') {
            "" => String::new(),
            prefix => format!("{prefix}."),
        };
        let tags = match tags {
            "" => String::new(),
            tags => format!("|#{tags}"),
        };
        Ok(Self {
            target,
            prefix,
            tags,
            state: Mutex::default(),
        })
    }

    /// Adds to a counter.
    pub fn increment(&self, name: &str, by: i64) {
        self.counter(name, by);
    }

    /// Adds to a counter, by any number.
    pub fn counter(&self, name: &str, by: impl std::fmt::Display) {
        self.add(format_args!("{name}:{by}|c|@1.0"));
    }

    /// Sets a gauge.
    pub fn gauge(&self, name: &str, value: impl std::fmt::Display) {
        self.add(format_args!("{name}:{value}|g"));
    }

    /// Tells how long something took.
    pub fn timer(&self, name: &str, milliseconds: impl std::fmt::Display) {
        self.add(format_args!("{name}:{milliseconds}|ms"));
    }

    /// Adds to a histogram.
    pub fn histogram(&self, name: &str, value: impl std::fmt::Display) {
        self.add(format_args!("{name}:{value}|h"));
    }

    /// The three metrics of a request.
    pub fn request(&self, status: u16, took: std::time::Duration) {
        self.timer("gunicorn.request.duration", took.as_secs_f64() * 1000.0);
        self.increment("gunicorn.requests", 1);
        self.add(format_args!("gunicorn.request.status.{status}:1|c|@1.0"));
    }

    /// Forgets what was gathered and the socket: for a process that was forked.
    pub fn disconnect(&self) {
        *self.state() = State::default();
    }

    /// Sends what has been gathered.
    pub fn flush(&self) {
        let mut state = self.state();
        if !state.packet.is_empty() {
            state.send(&self.target);
        }
    }

    fn add(&self, metric: std::fmt::Arguments<'_>) {
        let mut state = self.state();
        let before = state.packet.len();
        if before > 0 {
            state.packet.push('\n');
        }
        let written = write!(state.packet, "{}{metric}{}", self.prefix, self.tags);
        debug_assert!(written.is_ok(), "writing to a string");
        if state.packet.len() > PACKET && before > 0 {
            let over = state.packet.split_off(before);
            state.send(&self.target);
            state.packet = over[1..].to_owned();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send(&mut self, target: &Target) {
        if self.socket.is_none() {
            self.socket = target.connect();
        }
        let bytes = self.packet.as_bytes();
        let sent = match &self.socket {
            None => Ok(0),
            // A refusal is the answer to an earlier packet; this one was not sent then.
            Some(Socket::Udp(socket)) => socket.send(bytes).or_else(|_| socket.send(bytes)),
            Some(Socket::Unix(socket)) => socket.send(bytes),
        };
        if sent.is_err() {
            self.socket = None;
        }
        self.packet.clear();
    }
}

impl Target {
    fn connect(&self) -> Option<Socket> {
        match self {
            Self::Udp(host, port) => udp(host, *port).map(Socket::Udp),
            Self::Unix(path) => {
                let socket = UnixDatagram::unbound().ok()?;
                socket.connect(path).ok()?;
                socket.set_nonblocking(true).ok()?;
                Some(Socket::Unix(socket))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn server() -> (UdpSocket, String) {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let address = server.local_addr().unwrap().to_string();
        (server, address)
    }

    fn packet(server: &UdpSocket) -> String {
        let mut bytes = [0; 4096];
        let length = server.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn metrics_have_gunicorns_forms() {
        let (server, address) = server();
        let statsd = Statsd::new(&address, "shop.", "env:prod").unwrap();
        statsd.request(404, Duration::from_micros(1500));
        statsd.gauge("gunicorn.workers", 4);
        statsd.flush();
        assert_eq!(
            packet(&server),
            "shop.gunicorn.request.duration:1.5|ms|#env:prod\n\
             shop.gunicorn.requests:1|c|@1.0|#env:prod\n\
             shop.gunicorn.request.status.404:1|c|@1.0|#env:prod\n\
             shop.gunicorn.workers:4|g|#env:prod"
        );
    }

    #[test]
    fn a_full_packet_leaves_by_itself_and_no_metric_is_cut() {
        let (server, address) = server();
        let statsd = Statsd::new(&address, "", "").unwrap();
        for _ in 0..200 {
            statsd.increment("gunicorn.requests", 1);
        }
        statsd.flush();
        let mut lines = 0;
        while lines < 200 {
            let packet = packet(&server);
            assert!(packet.len() <= PACKET, "{}", packet.len());
            for line in packet.lines() {
                assert_eq!(line, "gunicorn.requests:1|c|@1.0");
                lines += 1;
            }
        }
    }

    #[test]
    fn addresses() {
        let target = |text| Statsd::new(text, "", "").map(|statsd| statsd.target);
        assert_eq!(target("unix:///run/s"), Ok(Target::Unix("/run/s".into())));
        assert_eq!(target("unix:8125"), Ok(Target::Udp("unix".into(), 8125)));
        assert_eq!(target("host"), Ok(Target::Udp("host".into(), 8125)));
        assert!(target("host:port").is_err());
    }
}
