//! Load for WebSockets: connections that send a message, wait until it has come back, and send the next.
//!
//! One thread, bound to the core of the load. A message that comes back changed, or not at all, is an error.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::wrk::Counted;
use crate::process;

/// A message that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// The first byte of a frame that is a whole message of bytes.
const BINARY: u8 = 0x82;

/// Loads a server with messages of so many bytes, one under way on each connection.
pub fn run(
    core: usize,
    address: SocketAddr,
    target: &str,
    bytes: usize,
    seconds: u64,
    connections: usize,
) -> Result<Counted, String> {
    let work = || {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores).map_err(|error| format!("core {core}: {error}"))?;
        exchange(address, target, bytes, seconds, connections)
    };
    // A thread of its own: the binding ends with it.
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err("the load client failed".to_owned()))
}

fn exchange(
    address: SocketAddr,
    target: &str,
    bytes: usize,
    seconds: u64,
    connections: usize,
) -> Result<Counted, String> {
    let told = |error: std::io::Error| format!("ws://{address}{target}: {error}");
    let system = |error: rustix::io::Errno| told(error.into());
    let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    let (question, answer) = (frame(&content, true), frame(&content, false));
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system)?;
    let mut talks = Vec::new();
    for number in 0..connections {
        let stream = open(address, target).map_err(told)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&poll, stream.as_fd(), data, epoll::EventFlags::IN).map_err(system)?;
        talks.push(Talk::new(stream));
    }
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let mut counted = Tally::default();
    for talk in &mut talks {
        talk.ask(&question).map_err(told)?;
    }
    let mut waiting = talks.len();
    let mut piece = vec![0; 256 << 10];
    let mut events = Vec::with_capacity(connections.max(1));
    while waiting > 0 {
        process::check_interrupted()?;
        let patience = rustix::event::Timespec {
            tv_sec: PATIENCE.as_secs() as i64,
            tv_nsec: 0,
        };
        events.clear();
        match epoll::wait(
            &poll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&patience),
        ) {
            Ok(0) => {
                counted.errors += waiting as u64;
                break;
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(system(error)),
        }
        for event in &events {
            let talk = &mut talks[event.data.u64() as usize];
            let now = match talk.hear(&mut piece, &answer) {
                Ok(false) => continue,
                Ok(true) => Instant::now(),
                Err(problem) => {
                    eprintln!("  a WebSocket failed: {problem}");
                    counted.errors += 1;
                    waiting -= 1;
                    let _ = epoll::delete(&poll, talk.stream.as_fd());
                    continue;
                }
            };
            counted.add(now.duration_since(talk.asked));
            if now < until {
                talk.ask(&question).map_err(told)?;
            } else {
                waiting -= 1;
            }
        }
    }
    Ok(counted.end(begun.elapsed()))
}

/// A connection.
struct Talk {
    stream: TcpStream,
    asked: Instant,
    heard: Vec<u8>,
}

impl Talk {
    fn new(stream: TcpStream) -> Self {
        Talk {
            stream,
            asked: Instant::now(),
            heard: Vec::new(),
        }
    }

    /// Sends a message. The server reads what it is sent before it answers, so that waiting for it here is no dead end.
    fn ask(&mut self, question: &[u8]) -> std::io::Result<()> {
        self.asked = Instant::now();
        let mut rest = question;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads; true when the whole answer is there. Pings are left unanswered: no run takes so long.
    fn hear(&mut self, piece: &mut [u8], answer: &[u8]) -> Result<bool, String> {
        let count = match self.stream.read(piece) {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(count) => count,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error.to_string()),
        };
        self.heard.extend_from_slice(&piece[..count]);
        if self.heard.len() < answer.len() {
            return Ok(false);
        }
        if self.heard != answer {
            return Err("something else came back".to_owned());
        }
        self.heard.clear();
        Ok(true)
    }
}

/// How long answers took.
#[derive(Default)]
struct Tally {
    micros: Vec<u32>,
    errors: u64,
}

impl Tally {
    fn add(&mut self, span: Duration) {
        self.micros
            .push(u32::try_from(span.as_micros()).unwrap_or(u32::MAX));
    }

    fn end(mut self, span: Duration) -> Counted {
        self.micros.sort_unstable();
        let last = self.micros.len().saturating_sub(1);
        Counted {
            requests: self.micros.len() as u64,
            duration_us: span.as_micros() as u64,
            p99_us: self
                .micros
                .get(last * 99 / 100)
                .copied()
                .map_or(0, u64::from),
            errors: self.errors,
        }
    }
}

/// Opens a WebSocket without extensions.
fn open(address: SocketAddr, target: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if testkit::uninterrupted(|| stream.read(&mut byte))? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        let head = String::from_utf8_lossy(&head);
        return Err(std::io::Error::other(format!("no WebSocket: {head}")));
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// A message of one frame (RFC 6455 §5.2), masked as a client's is.
fn frame(content: &[u8], masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut frame = vec![BINARY];
    match content.len() {
        short @ ..=125 => frame.push(bit | short as u8),
        middle @ 126..=0xffff => {
            frame.push(bit | 126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(bit | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    if !masked {
        frame.extend_from_slice(content);
        return frame;
    }
    frame.extend_from_slice(&MASK);
    let mixed = content.iter().zip(MASK.iter().cycle());
    frame.extend(mixed.map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What the client counts with a server that answers each message of three bytes with `answer`.
    fn counted(answer: &'static [u8]) -> Result<Counted, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("has an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accepts");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("reads");
                head.push(byte[0]);
            }
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
                .expect("writes");
            let mut message = vec![0; frame(&[0; 3], true).len()];
            while stream.read_exact(&mut message).is_ok() && stream.write_all(answer).is_ok() {}
        });
        let counted = exchange(address, "/", 3, 0, 1);
        server.join().expect("the server ends");
        counted
    }

    #[test]
    fn what_comes_back_is_counted() {
        let counted = counted(&[BINARY, 3, 0, 1, 2]).expect("counts");
        assert_eq!((counted.requests, counted.errors), (1, 0));
    }

    #[test]
    fn what_comes_back_changed_is_an_error() {
        let counted = counted(&[BINARY, 3, 0, 1, 9]).expect("counts");
        assert_eq!((counted.requests, counted.errors), (0, 1));
    }

    #[test]
    fn frames_are_those_of_the_rfc() {
        assert_eq!(frame(b"hi", false), [BINARY, 2, b'h', b'i']);
        let long = frame(&[7; 16 << 10], true);
        assert_eq!(long[..4], [BINARY, 0x80 | 126, 0x40, 0]);
        assert_eq!(long.len(), 8 + (16 << 10));
        assert_eq!(long[8], 7 ^ MASK[0]);
    }
}
