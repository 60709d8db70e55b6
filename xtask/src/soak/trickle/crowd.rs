//! The slow clients: they send or read a byte in each second that the worker works.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};

use super::super::slow::Slow;
use super::{Crowd, PATIENCE};
use crate::{process, tree};

/// What a slow reader asks for: more than the sockets on both sides hold.
pub const READER_BYTES: usize = 256 << 10;
/// What a slow reader's socket holds.
const READER_BUFFER: usize = 4096;
/// What a slow sender has left to send: enough for as many seconds.
const SENDER_BYTES: usize = 600;
/// A second in so many parts: the clients don't all come in the same moment.
const PARTS: usize = 20;
/// Descriptors that are not the crowd's, here and in the server.
const OTHERS: usize = 500;

/// As many as may have a descriptor each.
pub fn fitting(crowd: &Crowd) -> Crowd {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(OTHERS)
    });
    let wanted = crowd.senders + crowd.readers;
    let part = |of: usize| of.min((of as u128 * room as u128 / wanted as u128) as usize);
    Crowd {
        senders: part(crowd.senders),
        readers: part(crowd.readers),
        ..crowd.clone()
    }
}

/// Lets them trickle, or not.
#[derive(Default)]
pub struct Valve {
    open: AtomicBool,
    over: AtomicBool,
}

impl Valve {
    pub fn set(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
    }

    /// For good.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst) || process::interrupted()
    }
}

/// All of them, connected.
pub struct Clients {
    senders: Vec<Slow>,
    readers: Vec<Reader>,
    /// Parts of seconds that have passed.
    passed: usize,
}

impl Clients {
    /// Half of the senders are within a head, half within content; the readers have asked.
    pub fn connect(address: SocketAddr, crowd: &Crowd) -> Result<Self, String> {
        let senders = (0..crowd.senders)
            .map(|number| Slow::open(address, (number / PARTS) % 2 == 1, SENDER_BYTES, &["200"]));
        let readers = (0..crowd.readers).map(|_| Reader::open(address).map_err(told));
        Ok(Self {
            senders: senders.collect::<Result<_, _>>()?,
            readers: readers.collect::<Result<_, _>>()?,
            passed: 0,
        })
    }

    /// A byte of each in every second that the worker works while the valve is open.
    pub fn trickle(&mut self, worker: u32, valve: &Valve) -> Result<(), String> {
        let mut due = None;
        while !valve.is_over() && self.passed < PARTS * SENDER_BYTES {
            let now = tree::worked_ns(worker);
            if !valve.is_open() {
                due = None;
            } else if *due.get_or_insert(now) <= now {
                self.pass_a_part()?;
                due = due.map(|due| due + 1_000_000_000 / PARTS as u64);
                continue;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn pass_a_part(&mut self) -> Result<(), String> {
        let (part, at) = (self.passed % PARTS, self.passed / PARTS);
        for sender in self.senders.iter_mut().skip(part).step_by(PARTS) {
            sender.send(at..at + 1)?;
        }
        for reader in self.readers.iter_mut().skip(part).step_by(PARTS) {
            reader.read_one().map_err(told)?;
        }
        self.passed += 1;
        Ok(())
    }

    /// Sends and reads what is left, as fast as it goes.
    pub fn finish(mut self) -> Result<(), String> {
        for (number, sender) in self.senders.iter_mut().enumerate() {
            let had_a_turn = number % PARTS < self.passed % PARTS;
            let at = self.passed / PARTS + usize::from(had_a_turn);
            sender.send(at..SENDER_BYTES)?;
        }
        self.senders.iter_mut().try_for_each(Slow::answered)?;
        self.readers.into_iter().try_for_each(Reader::finish)
    }
}

fn told(error: std::io::Error) -> String {
    format!("a slow reader: {error}")
}

/// A client that has asked for much and reads little.
struct Reader {
    stream: TcpStream,
    read: usize,
}

impl Reader {
    fn open(address: SocketAddr) -> std::io::Result<Self> {
        let socket: OwnedFd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        // Before it connects: the window that it announces follows from it.
        sockopt::set_socket_recv_buffer_size(socket.as_fd(), READER_BUFFER)?;
        rustix::net::connect(&socket, &address)?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        Ok(Reader { stream, read: 0 })
    }

    fn read_one(&mut self) -> std::io::Result<()> {
        let mut byte = [0];
        self.read += testkit::uninterrupted(|| self.stream.read(&mut byte))?;
        Ok(())
    }

    /// The rest, as fast as it comes.
    fn finish(mut self) -> Result<(), String> {
        let mut rest = Vec::new();
        let count = testkit::uninterrupted(|| self.stream.read_to_end(&mut rest)).map_err(told)?;
        // The head comes on top.
        match self.read + count > READER_BYTES {
            true => Ok(()),
            false => Err(format!(
                "a slow reader was given {} bytes of {READER_BYTES}",
                self.read + count
            )),
        }
    }
}
