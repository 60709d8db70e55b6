//! A connection to a side socket: frames of the control protocol (four bytes of length, then JSON), or a request for the metrics.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// A question is short.
const QUESTION_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Whoever asks.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    is_control: bool,
    read: Vec<u8>,
    ended: bool,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing that is complete.
    Nothing,
    /// The other side is gone, or says what makes no sense.
    End,
    /// A frame.
    Request(Vec<u8>),
    /// Somebody wants the metrics.
    Scrape,
}

impl Connection {
    pub fn new(stream: Stream, is_control: bool) -> io::Result<Self> {
        match &stream {
            Stream::Unix(stream) => stream.set_nonblocking(true)?,
            Stream::Tcp(stream) => stream.set_nonblocking(true)?,
        }
        Ok(Self {
            stream,
            is_control,
            read: Vec::new(),
            ended: false,
        })
    }

    /// The next complete thing.
    pub fn hear(&mut self) -> Heard {
        let mut bytes = [0; 4096];
        while !self.ended && self.read.len() <= QUESTION_MAX {
            let read = match &mut self.stream {
                Stream::Unix(stream) => stream.read(&mut bytes),
                Stream::Tcp(stream) => stream.read(&mut bytes),
            };
            match read {
                Ok(0) => self.ended = true,
                Ok(length) => self.read.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Heard::End,
            }
        }
        let heard = match self.is_control {
            true => frame(&mut self.read),
            false => head(&mut self.read),
        };
        match heard {
            Heard::Nothing if self.ended || self.read.len() > QUESTION_MAX => Heard::End,
            heard => heard,
        }
    }

    /// Answers; `false` when the connection is over.
    pub fn say(&mut self, answer: &[u8]) -> bool {
        // A reader that has no room for so little is too slow for us.
        let said = match &mut self.stream {
            Stream::Unix(stream) => stream.write_all(answer),
            Stream::Tcp(stream) => stream.write_all(answer),
        };
        said.is_ok() && self.is_control
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// Takes a frame from the front.
fn frame(bytes: &mut Vec<u8>) -> Heard {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Heard::Nothing;
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > QUESTION_MAX {
        return Heard::End;
    }
    if rest.len() < length {
        return Heard::Nothing;
    }
    let text = rest[..length].to_vec();
    bytes.drain(..4 + length);
    Heard::Request(text)
}

/// Takes a request head: whatever it asks for, the metrics are all there is.
fn head(bytes: &mut Vec<u8>) -> Heard {
    let end = bytes.windows(4).any(|four| four == b"\r\n\r\n");
    match end {
        false => Heard::Nothing,
        true if !bytes.starts_with(b"GET ") => Heard::End,
        true => {
            bytes.clear();
            Heard::Scrape
        }
    }
}

/// A frame.
pub(super) fn framed(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], text].concat()
}

/// The metrics as a response, after which the connection ends.
pub(super) fn page(text: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_one_by_one_and_only_when_they_are_whole() {
        let mut bytes = [framed(b"one"), framed(b"two")].concat();
        let last = bytes.pop().unwrap();
        assert_eq!(frame(&mut bytes), Heard::Request(b"one".to_vec()));
        assert_eq!(frame(&mut bytes), Heard::Nothing);
        bytes.push(last);
        assert_eq!(frame(&mut bytes), Heard::Request(b"two".to_vec()));
        assert!(bytes.is_empty());
        assert_eq!(frame(&mut b"\xff\xff\xff\xff".to_vec()), Heard::End);
    }

    #[test]
    fn only_get_reads_the_metrics() {
        assert_eq!(
            head(&mut b"GET /metrics HTTP/1.1\r\n".to_vec()),
            Heard::Nothing
        );
        assert_eq!(head(&mut b"GET / HTTP/1.1\r\n\r\n".to_vec()), Heard::Scrape);
        assert_eq!(head(&mut b"POST / HTTP/1.1\r\n\r\n".to_vec()), Heard::End);
    }
}
