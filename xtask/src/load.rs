//! A small load client that counts every lost, short or wrong response. (wrk counts them too coarsely for that.)
//!
//! Each thread has one connection and one request in flight at a time, and checks what comes back to the last byte.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testkit::{Address, Deadline, StopFlag};

/// A response that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long all threads may take to finish a request or two.
const SETTLE: Duration = Duration::from_secs(90);

/// What is asked for, and what must come back.
#[derive(Clone, Debug)]
pub struct Want {
    pub target: String,
    pub content: Content,
    /// Requests on one connection before it is closed; 1 asks for `Connection: close`.
    pub requests_per_connection: u32,
}

/// What the content of a 200 must be.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Same(Arc<Vec<u8>>),
    /// Something that ends with these bytes.
    Ends(&'static str),
}

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection.
    Refused,
    /// The connection ended before the first byte of a response.
    Lost,
    /// It ended within the response.
    Short,
    /// Nothing more came for [`PATIENCE`].
    Late,
    /// Another status than 200.
    Status(u16),
    /// Other content, or no HTTP at all.
    Wrong,
}

/// One request that was not answered as it must be.
#[derive(Clone, Debug)]
pub struct Failure {
    pub kind: Kind,
    pub target: String,
    /// When its connection was opened; for [`Kind::Refused`], when that was tried.
    pub opened: Instant,
    pub asked: Instant,
    pub failed: Instant,
    /// How many responses had come on the connection before.
    pub served: u32,
    detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "GET {} (request {} of its connection, {} ms after it was sent): {:?}: {}",
            self.target,
            self.served + 1,
            self.failed.duration_since(self.asked).as_millis(),
            self.kind,
            self.detail
        )
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    failures: Mutex<Vec<Failure>>,
}

/// Threads that ask until told to stop.
pub struct Load {
    shared: Arc<Shared>,
    done: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts a thread for each want.
    pub fn start(address: impl Into<Address>, wants: Vec<Want>) -> Self {
        let address = address.into();
        let shared = Arc::new(Shared::default());
        let mut load = Load {
            shared: shared.clone(),
            done: Vec::new(),
            threads: Vec::new(),
        };
        for want in wants {
            let done = Arc::new(AtomicU64::new(0));
            load.done.push(done.clone());
            let (shared, address) = (shared.clone(), address.clone());
            load.threads.push(std::thread::spawn(move || {
                ask_on(&address, &want, &shared, &done);
            }));
        }
        load
    }

    /// Requests that are finished, well or not.
    pub fn finished(&self) -> u64 {
        self.done
            .iter()
            .map(|done| done.load(Ordering::SeqCst))
            .sum()
    }

    /// Waits until every thread has finished a request that it began after this call.
    pub fn settle(&self) -> Result<(), String> {
        let goals: Vec<u64> = self
            .done
            .iter()
            .map(|done| done.load(Ordering::SeqCst) + 2)
            .collect();
        let reached = || {
            let mut pairs = self.done.iter().zip(&goals);
            pairs.all(|(done, goal)| done.load(Ordering::SeqCst) >= *goal)
        };
        Deadline::after(SETTLE)
            .poll(&StopFlag::default(), || reached().then_some(()))
            .ok_or_else(|| format!("the load stood still for {} s", SETTLE.as_secs()))
    }

    /// The failures since the last call.
    pub fn take_failures(&self) -> Vec<Failure> {
        let mut failures = self
            .shared
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut failures)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn ask_on(address: &Address, want: &Want, shared: &Shared, done: &AtomicU64) {
    let mut connection: Option<Connection> = None;
    while !shared.stop.load(Ordering::SeqCst) {
        let outcome = turn(address, want, &mut connection);
        if let Err(failure) = outcome {
            connection = None;
            let mut failures = shared
                .failures
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            failures.push(failure);
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
}

/// One request, on the connection that is open or on a new one.
fn turn(
    address: &Address,
    want: &Want,
    connection: &mut Option<Connection>,
) -> Result<(), Failure> {
    if connection.as_mut().is_some_and(Connection::has_ended) {
        *connection = None; // ended by the server while nothing was asked: its right
    }
    let before = Instant::now();
    let opened = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(address).map_err(|error| Failure {
            kind: Kind::Refused,
            target: want.target.clone(),
            opened: before,
            asked: before,
            failed: Instant::now(),
            served: 0,
            detail: error.to_string(),
        })?),
    };
    let last = opened.served + 1 >= want.requests_per_connection;
    let asked = Instant::now();
    let answer = opened
        .ask(&want.target, last)
        .and_then(|response| check(&response, &want.content));
    match answer {
        Ok(closing) if closing || last => *connection = None,
        Ok(_) => opened.served += 1,
        Err((kind, detail)) => {
            return Err(Failure {
                kind,
                target: want.target.clone(),
                opened: opened.opened,
                asked,
                failed: Instant::now(),
                served: opened.served,
                detail,
            });
        }
    }
    Ok(())
}

/// Whether the server closes after it.
fn check(response: &Response, want: &Content) -> Result<bool, (Kind, String)> {
    if response.status != 200 {
        return Err((
            Kind::Status(response.status),
            "another status than 200".to_owned(),
        ));
    }
    let good = match want {
        Content::Same(bytes) => response.content == **bytes,
        Content::Ends(text) => response.content.trim_ascii_end().ends_with(text.as_bytes()),
    };
    if good {
        Ok(response.closing)
    } else {
        let size = response.content.len();
        Err((Kind::Wrong, format!("{size} bytes of other content")))
    }
}

struct Response {
    status: u16,
    closing: bool,
    content: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    opened: Instant,
    served: u32,
    buffer: Vec<u8>,
}

type Outcome<T> = Result<T, (Kind, String)>;

impl Connection {
    fn open(address: &Address) -> std::io::Result<Self> {
        let opened = Instant::now();
        let stream = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream
            }
            // What is called for below works for streams of both kinds.
            Address::Unix(path) => OwnedFd::from(UnixStream::connect(path)?).into(),
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection {
            stream,
            opened,
            served: 0,
            buffer: Vec::new(),
        })
    }

    /// Whether the other side has closed it since the last response.
    fn has_ended(&mut self) -> bool {
        let _ = self.stream.set_nonblocking(true);
        let ended = match testkit::uninterrupted(|| self.stream.peek(&mut [0])) {
            Err(error) => error.kind() != ErrorKind::WouldBlock,
            Ok(_) => true, // an end, or bytes that nobody asked for
        };
        let _ = self.stream.set_nonblocking(false);
        ended
    }

    fn ask(&mut self, target: &str, last: bool) -> Outcome<Response> {
        let close = if last { "Connection: close\r\n" } else { "" };
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{close}\r\n");
        self.stream
            .write_all(request.as_bytes())
            .map_err(|error| (Kind::Lost, error.to_string()))?;
        let (status, framing, closing) = self.head()?;
        let content = match framing {
            Framing::Length(length) => self.take(length)?,
            Framing::Chunked => self.chunks()?,
            Framing::UntilClose => {
                while self.more()? {}
                std::mem::take(&mut self.buffer)
            }
        };
        Ok(Response {
            status,
            closing: closing || matches!(framing, Framing::UntilClose),
            content,
        })
    }

    fn head(&mut self) -> Outcome<(u16, Framing, bool)> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            let empty = self.buffer.is_empty();
            match self.more() {
                Ok(true) => {}
                Ok(false) if empty => {
                    return Err((Kind::Lost, "the connection was closed".to_owned()));
                }
                Ok(false) => return Err(short("the head")),
                Err((Kind::Short, detail)) if empty => return Err((Kind::Lost, detail)),
                Err(other) => return Err(other),
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let field = |name: &str| {
            head.split("\r\n")
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let (true, Some(status)) = (head.starts_with("http/1."), status) else {
            return Err((Kind::Wrong, format!("no response head: {head:?}")));
        };
        let framing = match (field("transfer-encoding"), field("content-length")) {
            (Some(_), _) => Framing::Chunked,
            (None, Some(length)) => Framing::Length(
                length
                    .parse()
                    .map_err(|_| (Kind::Wrong, format!("content-length: {length}")))?,
            ),
            (None, None) => Framing::UntilClose,
        };
        Ok((status, framing, field("connection") == Some("close")))
    }

    fn take(&mut self, length: usize) -> Outcome<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.more()? {
                let missing = length - self.buffer.len();
                return Err(short(&format!("the content, {missing} bytes are missing")));
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn chunks(&mut self) -> Outcome<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let line = loop {
                if let Some(at) = find(&self.buffer, b"\r\n") {
                    break self.take(at + 2)?;
                }
                if !self.more()? {
                    return Err(short("a chunk's size"));
                }
            };
            let line = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(line.trim(), 16)
                .map_err(|_| (Kind::Wrong, format!("a chunk's size is {line:?}")))?;
            content.extend(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err((Kind::Wrong, "a chunk is longer than its size".to_owned()));
            }
            if size == 0 {
                return Ok(content);
            }
        }
    }

    /// Reads some more; `false` at the end.
    fn more(&mut self) -> Outcome<bool> {
        let mut piece = [0; 16 * 1024];
        match testkit::uninterrupted(|| self.stream.read(&mut piece)) {
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                Ok(count > 0)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err((Kind::Late, format!("nothing for {} s", PATIENCE.as_secs())))
            }
            Err(error) => Err((Kind::Short, error.to_string())),
        }
    }
}

enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

fn short(what: &str) -> (Kind, String) {
    (
        Kind::Short,
        format!("the connection was closed within {what}"),
    )
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What the client makes of these bytes as the answer to its first request, on a connection that then ends.
    fn outcome(answer: &'static [u8]) -> Result<(), Kind> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("has an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accepts");
            let mut head = Vec::new();
            while find(&head, b"\r\n\r\n").is_none() {
                let mut piece = [0; 512];
                let count = stream.read(&mut piece).expect("reads");
                head.extend_from_slice(&piece[..count]);
            }
            stream.write_all(answer).expect("writes");
        });
        let want = Want {
            target: "/".to_owned(),
            content: Content::Same(Arc::new(b"hello".to_vec())),
            requests_per_connection: 9,
        };
        let outcome = turn(&address.into(), &want, &mut None).map_err(|failure| failure.kind);
        server.join().expect("the server ends");
        outcome
    }

    #[test]
    fn whole_answers_are_good() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nhello",
        ] {
            assert_eq!(outcome(answer), Ok(()));
        }
    }

    #[test]
    fn everything_else_is_counted_as_what_it_is() {
        for (answer, kind) in [
            (&b""[..], Kind::Lost),
            (b"HTTP/1.1 200 OK\r\nContent-Le", Kind::Short),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
                Kind::Short,
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                Kind::Short,
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhallo",
                Kind::Wrong,
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!",
                Kind::Wrong,
            ),
            (b"garbage\r\n\r\n", Kind::Wrong),
            (
                b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
                Kind::Status(502),
            ),
        ] {
            assert_eq!(
                outcome(answer),
                Err(kind),
                "{}",
                String::from_utf8_lossy(answer)
            );
        }
    }

    #[test]
    fn a_refused_connection_is_counted() {
        let refusing = testkit::Refusing::reserve().expect("reserves");
        let want = Want {
            target: "/".to_owned(),
            content: Content::Ends(""),
            requests_per_connection: 1,
        };
        let failure = turn(&refusing.address().into(), &want, &mut None).expect_err("is refused");
        assert_eq!(failure.kind, Kind::Refused);
    }
}
