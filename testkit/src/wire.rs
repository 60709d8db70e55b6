//! One end of a connection for tests: blocking, with a deadline on every wait and a transcript of every byte.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::{Deadline, PATIENCE, StopFlag, Transcript, show};

/// Where a peer listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `HOST:PORT` (numbers) or `unix:PATH`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some(path) => Some(Address::Unix(PathBuf::from(path))),
            None => text.parse().ok().map(Address::Tcp),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Tcp(address)
    }
}

/// How the other side ended its half of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// An orderly end of what it sends.
    Closed,
    /// A reset: what was on its way is lost.
    Reset,
}

/// What went wrong on a connection.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Nothing (more) came before the deadline.
    #[error("nothing more came within {0:?} while waiting for {1}")]
    Timeout(Duration, String),
    /// The other side ended the connection too early.
    #[error("the connection was {0} while waiting for {1}")]
    Ended(&'static str, String),
    /// Another failure was noticed first.
    #[error("gave up, because another part of the conversation failed")]
    Stopped,
    /// What came is no HTTP.
    #[error("{0}")]
    Malformed(String),
    /// The socket's own error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One end of a connection. Every wait ends after [`PATIENCE`] unless [`Wire::set_patience`] says otherwise.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    ending: Option<Ending>,
    name: String,
    transcript: Transcript,
    stop: StopFlag,
    patience: Duration,
}

impl Wire {
    /// Connects once.
    ///
    /// # Errors
    /// Whatever `connect` says, with the address.
    pub fn connect(address: &Address) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("can't connect to {address}: {error}"))
        };
        match address {
            Address::Tcp(to) => Ok(Wire::from_tcp(
                TcpStream::connect_timeout(to, PATIENCE).map_err(named)?,
            )),
            Address::Unix(path) => Ok(Wire::from_unix(UnixStream::connect(path).map_err(named)?)),
        }
    }

    /// Wraps a TCP connection. Small writes leave at once.
    pub fn from_tcp(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Wire::new(Stream::Tcp(stream))
    }

    /// Wraps a connection of a unix socket.
    pub fn from_unix(stream: UnixStream) -> Self {
        Wire::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> Self {
        Wire {
            stream,
            buffer: Vec::new(),
            ending: None,
            name: "peer".to_owned(),
            transcript: Transcript::new(),
            stop: StopFlag::default(),
            patience: PATIENCE,
        }
    }

    /// Notes what is sent and received under `name`, and gives up when `stop` is raised.
    #[must_use]
    pub fn observed(mut self, name: &str, transcript: &Transcript, stop: &StopFlag) -> Self {
        self.name = name.to_owned();
        self.transcript = transcript.clone();
        self.stop = stop.clone();
        self
    }

    /// How long a wait may take.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The local TCP address; `None` on a unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) => None,
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// When the peer doesn't read within the patience, or has gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.transcript
            .note(&self.name, &format!("> {}", show(bytes)));
        let patience = self.patience;
        match &mut self.stream {
            Stream::Tcp(stream) => stream
                .set_write_timeout(Some(patience))
                .and_then(|()| stream.write_all(bytes)),
            Stream::Unix(stream) => stream
                .set_write_timeout(Some(patience))
                .and_then(|()| stream.write_all(bytes)),
        }
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                WireError::Timeout(patience, format!("the peer to read {} bytes", bytes.len()))
            }
            _ => WireError::Io(error),
        })
    }

    /// Sends every byte in a write of its own.
    ///
    /// # Errors
    /// As [`Wire::send`].
    pub fn drip(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        bytes
            .iter()
            .try_for_each(|byte| self.send(std::slice::from_ref(byte)))
    }

    /// What was received and not yet taken.
    pub fn pending(&self) -> &[u8] {
        &self.buffer
    }

    /// How the other side ended, as far as it was noticed.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Takes the first `count` bytes, waiting until they are there.
    ///
    /// # Errors
    /// On the deadline or when the connection ends before.
    pub fn take(&mut self, count: usize, what: &str) -> Result<Vec<u8>, WireError> {
        while self.buffer.len() < count {
            let have = self.buffer.len();
            self.need(|| format!("{what} ({count} bytes, {have} came)"))?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Takes everything up to and including `end`, waiting until it is there.
    ///
    /// # Errors
    /// On the deadline or when the connection ends before.
    pub fn take_until(&mut self, end: &[u8], what: &str) -> Result<Vec<u8>, WireError> {
        let mut scanned = 0;
        loop {
            let found = self.buffer[scanned..]
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                return Ok(self.buffer.drain(..scanned + at + end.len()).collect());
            }
            scanned = self.buffer.len().saturating_sub(end.len() - 1);
            self.need(|| what.to_owned())?;
        }
    }

    /// Takes whatever comes next: at least one byte, or nothing when the connection has ended.
    ///
    /// # Errors
    /// On the deadline.
    pub fn take_some(&mut self, what: &str) -> Result<Vec<u8>, WireError> {
        if self.buffer.is_empty() {
            self.fill(|| what.to_owned())?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Puts bytes that were taken back to the front.
    pub fn give_back(&mut self, bytes: &[u8]) {
        self.buffer.splice(..0, bytes.iter().copied());
    }

    /// Adds a remark to the transcript.
    pub fn note(&self, what: &str) {
        self.transcript.note(&self.name, what);
    }

    /// Receives what is there already, without waiting for more.
    pub fn poll(&mut self) {
        let mut chunk = [0; 16 * 1024];
        let now = Deadline::after(Duration::ZERO);
        while self.ending.is_none() {
            match self.read_slice(&mut chunk, now) {
                Ok(count) if count > 0 => {
                    self.note(&format!("< {}", show(&chunk[..count])));
                    self.buffer.extend_from_slice(&chunk[..count]);
                }
                _ => return,
            }
        }
    }

    /// Takes everything until the other side ends, and how it did.
    ///
    /// # Errors
    /// On the deadline.
    pub fn take_rest(&mut self) -> Result<(Vec<u8>, Ending), WireError> {
        loop {
            if let Some(ending) = self.ending {
                return Ok((std::mem::take(&mut self.buffer), ending));
            }
            let have = self.buffer.len();
            self.fill(|| format!("the end of the connection ({have} bytes came)"))?;
        }
    }

    /// Ends what this side sends; it still receives.
    ///
    /// # Errors
    /// When the connection has gone.
    pub fn half_close(&mut self) -> Result<(), WireError> {
        self.transcript.note(&self.name, "> (end)");
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write)?,
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write)?,
        }
        Ok(())
    }

    /// Closes with a reset instead of an orderly end (TCP).
    ///
    /// # Errors
    /// Whatever the socket says.
    pub fn reset(self) -> Result<(), WireError> {
        self.transcript.note(&self.name, "> (reset)");
        match &self.stream {
            Stream::Tcp(stream) => {
                set_socket_linger(stream, Some(Duration::ZERO)).map_err(io::Error::from)?;
            }
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both)?,
        }
        Ok(())
    }

    /// Closes in order. Dropping does the same, without a note in the transcript.
    pub fn close(self) {
        self.transcript.note(&self.name, "> (close)");
    }

    /// One more read into the buffer, which must bring something.
    fn need(&mut self, what: impl Fn() -> String) -> Result<(), WireError> {
        match self.ending {
            Some(Ending::Closed) => return Err(WireError::Ended("closed", what())),
            Some(Ending::Reset) => return Err(WireError::Ended("reset", what())),
            None => {}
        }
        match self.fill(&what)? {
            0 => self.need(what),
            _ => Ok(()),
        }
    }

    /// One more read into the buffer: 0 when the connection ended.
    fn fill(&mut self, what: impl Fn() -> String) -> Result<usize, WireError> {
        if self.ending.is_some() {
            return Ok(0);
        }
        let deadline = Deadline::after(self.patience);
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.read_slice(&mut chunk, deadline) {
                Ok(0) => return self.note_ending(Ending::Closed),
                Ok(count) => {
                    self.transcript
                        .note(&self.name, &format!("< {}", show(&chunk[..count])));
                    self.buffer.extend_from_slice(&chunk[..count]);
                    return Ok(count);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                        return self.note_ending(Ending::Reset);
                    }
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted => {
                        if self.stop.raised() {
                            return Err(WireError::Stopped);
                        }
                        if deadline.passed() {
                            return Err(WireError::Timeout(self.patience, what()));
                        }
                    }
                    _ => return Err(error.into()),
                },
            }
        }
    }

    fn read_slice(&mut self, chunk: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream
                .set_read_timeout(Some(deadline.slice()))
                .and_then(|()| stream.read(chunk)),
            Stream::Unix(stream) => stream
                .set_read_timeout(Some(deadline.slice()))
                .and_then(|()| stream.read(chunk)),
        }
    }

    fn note_ending(&mut self, ending: Ending) -> Result<usize, WireError> {
        let word = if ending == Ending::Closed {
            "< (end)"
        } else {
            "< (reset)"
        };
        self.transcript.note(&self.name, word);
        self.ending = Some(ending);
        Ok(0)
    }
}

/// Calls again what a signal interrupted.
///
/// The kernel resumes a blocking call by itself, except where the socket has a timeout: a stopped and continued
/// process then reads [`Interrupted`](io::ErrorKind::Interrupted).
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Wire, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = Wire::connect(&listener.local_addr().unwrap().into()).unwrap();
        (near, Wire::from_tcp(listener.accept().unwrap().0))
    }

    #[test]
    fn takes_what_was_asked_for_and_keeps_the_rest() {
        let (mut near, mut far) = pair();
        far.send(b"one\r\ntwothree").unwrap();
        assert_eq!(near.take_until(b"\r\n", "a line").unwrap(), b"one\r\n");
        assert_eq!(near.take(3, "a word").unwrap(), b"two");
        far.close();
        assert_eq!(
            near.take_rest().unwrap(),
            (b"three".to_vec(), Ending::Closed)
        );
    }

    #[test]
    fn finds_an_end_that_arrives_in_pieces() {
        let (mut near, mut far) = pair();
        far.drip(b"line\r\n").unwrap();
        assert_eq!(near.take_until(b"\r\n", "a line").unwrap(), b"line\r\n");
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let (mut near, _far) = pair();
        near.set_patience(Duration::from_millis(1));
        assert!(matches!(
            near.take(1, "a byte"),
            Err(WireError::Timeout(..))
        ));
    }

    #[test]
    fn a_wait_ends_when_stopped() {
        let (near, _far) = pair();
        let stop = StopFlag::default();
        stop.raise();
        let mut near = near.observed("near", &Transcript::new(), &stop);
        assert!(matches!(near.take(1, "a byte"), Err(WireError::Stopped)));
    }

    #[test]
    fn a_reset_is_told_from_an_end() {
        let (mut near, far) = pair();
        far.reset().unwrap();
        assert_eq!(near.take_rest().unwrap().1, Ending::Reset);
        let (mut near, far) = pair();
        drop(far);
        let error = near.take(1, "an answer").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the connection was closed while waiting for an answer (1 bytes, 0 came)"
        );
    }

    #[test]
    fn addresses_are_read_from_text() {
        assert_eq!(
            Address::parse("127.0.0.1:80").unwrap().to_string(),
            "127.0.0.1:80"
        );
        assert_eq!(
            Address::parse("unix:/a/b").unwrap(),
            Address::Unix("/a/b".into())
        );
        assert_eq!(Address::parse("localhost"), None);
    }
}
