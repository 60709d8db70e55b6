//! Thousands of clients that send a byte a second: all are answered, and nobody waits for them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::process;
use crate::shop::Shop;

/// How long the answer may take once a request is complete: two thousand become so in the same second.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lets `clients` of them send the last `bytes` bytes of their requests one a second: half of them end a head, half content.
pub fn run(shop: &mut Shop, clients: usize, bytes: usize) -> Result<String, String> {
    more_connections(shop, 2 * clients + 1024)?;
    let load = Load::start(shop.address, super::wants(shop)?);
    let mut slow = Vec::new();
    for number in 0..clients {
        let (with_content, statuses) = match number % 2 {
            0 => (false, &["200"][..]),
            // Django refuses it, by its own rules: it was asked.
            _ => (true, &["403", "405"][..]),
        };
        slow.push(Slow::open(shop.address, with_content, bytes, statuses)?);
    }
    let complete = AtomicBool::new(false);
    let (dripped, others) = std::thread::scope(|scope| {
        let dripping = scope.spawn(|| {
            let result = drip(&mut slow, bytes);
            complete.store(true, Ordering::SeqCst);
            result
        });
        // Others are answered before the slow ones are through.
        let others = load.settle().and_then(|()| {
            if complete.load(Ordering::SeqCst) && bytes > 1 {
                Err("others were answered only when the slow clients were through".to_owned())
            } else {
                Ok(())
            }
        });
        (dripping.join(), others)
    });
    dripped.map_err(|_| "the slow clients panicked")??;
    others?;
    for client in &mut slow {
        client.answered()?;
    }
    load.settle()?;
    super::none_lost(&load.take_failures())?;
    Ok(format!(
        "{clients} clients, {bytes} bytes each one a second; {} responses to others",
        load.finished()
    ))
}

/// The demonstration's configuration, made for a browser or two, allows 1024 connections a worker.
fn more_connections(shop: &Shop, connections: usize) -> Result<(), String> {
    let path = shop.state.join("conf/nginx.conf");
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let wanted = format!("worker_connections {connections};");
    if text.contains(&wanted) {
        return Ok(());
    }
    let (before, rest) = text
        .split_once("worker_connections")
        .ok_or("nginx.conf has no worker_connections")?;
    let (_, after) = rest
        .split_once(';')
        .ok_or("worker_connections has no end")?;
    let upstreams = shop.state.join("conf/upstreams.conf");
    let mut groups = std::fs::read_to_string(&upstreams).map_err(|error| error.to_string())?;
    groups.push_str("add_header X-Soak-Connections more;\n");
    std::fs::write(&path, format!("{before}{wanted}{after}"))
        .and_then(|()| std::fs::write(&upstreams, groups))
        .map_err(|error| error.to_string())?;
    process::output(&mut shop.front_signal("reload"))?;
    testkit::Deadline::after(PATIENCE)
        .poll(&testkit::StopFlag::default(), || {
            let response = shop.get("/healthz").ok()?;
            response.field("X-Soak-Connections").map(drop)
        })
        .ok_or_else(|| "the front did not take the configuration with more connections".to_owned())
}

/// A client that sends the end of its request slowly.
pub(super) struct Slow {
    stream: TcpStream,
    /// What it sends a byte a second.
    tail: Vec<u8>,
    statuses: &'static [&'static str],
}

impl Slow {
    /// Connects and sends the beginning of a head, or a head whose content is to come.
    pub fn open(
        address: SocketAddr,
        with_content: bool,
        bytes: usize,
        statuses: &'static [&'static str],
    ) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("a slow client can't connect: {error}");
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
        let (head, tail) = if with_content {
            let head = format!(
                "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n"
            );
            (head, vec![b'x'; bytes])
        } else {
            let mut tail = vec![b'x'; bytes.saturating_sub(4)];
            tail.extend_from_slice(b"\r\n\r\n");
            let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned();
            (head, tail)
        };
        stream.write_all(head.as_bytes()).map_err(told)?;
        Ok(Slow {
            stream,
            tail,
            statuses,
        })
    }

    /// Sends these of its last bytes.
    pub fn send(&mut self, range: Range<usize>) -> Result<(), String> {
        let at = range.start;
        self.stream
            .write_all(&self.tail[range])
            .map_err(|error| format!("a slow client was cut off at byte {at}: {error}"))
    }

    /// Waits for the answer.
    pub fn answered(&mut self) -> Result<(), String> {
        let mut answer = Vec::new();
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            let mut piece = [0; 1024];
            match testkit::uninterrupted(|| self.stream.read(&mut piece)) {
                Ok(count) if count > 0 => answer.extend_from_slice(&piece[..count]),
                Ok(_) => {
                    return Err(
                        "a slow client was not answered: the connection was closed".to_owned()
                    );
                }
                Err(error) => return Err(format!("a slow client was not answered: {error}")),
            }
        }
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if self.statuses.contains(&status) {
            Ok(())
        } else {
            Err(format!(
                "a slow client was answered with status {status}, not {}",
                self.statuses.join(" or ")
            ))
        }
    }
}

/// A byte of each in every second. The pause is what is tested; nothing is waited for by it.
fn drip(slow: &mut [Slow], bytes: usize) -> Result<(), String> {
    for at in 0..bytes {
        let start = Instant::now();
        for client in slow.iter_mut() {
            client.send(at..at + 1)?;
        }
        if at + 1 < bytes {
            std::thread::sleep(Duration::from_secs(1).saturating_sub(start.elapsed()));
        }
        process::check_interrupted()?;
    }
    Ok(())
}
