//! An HTTP client for tests; those of asgi-bridge use it too.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A client that sees every byte.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// The pieces of the chunked coding.
    pub chunks: Vec<Vec<u8>>,
    /// The connection ended before the content did.
    pub cut: bool,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }
}

impl Client {
    /// A connection; whoever waits longer than a minute for an answer has lost.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("sets");
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).expect("sends");
    }

    /// Reads one response.
    pub fn answer(&mut self, head_only: bool) -> Answer {
        let head = loop {
            let head = self.head();
            if !head.starts_with("HTTP/1.1 100") {
                break head;
            }
        };
        let status = head
            .get(9..12)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("{head:?}"));
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
            chunks: Vec::new(),
            cut: false,
        };
        if head_only || matches!(status, 204 | 304) {
            return answer;
        }
        if answer.field("transfer-encoding") == Some("chunked") {
            self.chunks(&mut answer);
        } else if let Some(length) = answer
            .field("content-length")
            .map(|length| length.parse::<usize>().unwrap())
        {
            answer.body = self.take(length);
            answer.cut = answer.body.len() < length;
        } else {
            while self.fill() {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        answer
    }

    pub fn head(&mut self) -> String {
        loop {
            if let Some(at) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                return head[..at].iter().map(|&byte| char::from(byte)).collect();
            }
            assert!(
                self.fill(),
                "the connection ended in a head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        }
    }

    /// The next chunk; empty for the last one, `None` when the connection ends instead.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                break self.buffer.drain(..at + 2).collect::<Vec<u8>>();
            }
            if !self.fill() {
                return None;
            }
        };
        let size = std::str::from_utf8(&line).expect("is text").trim();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("{size:?} is a size"));
        let mut chunk = self.take(size + 2);
        if chunk.len() < size + 2 {
            return None;
        }
        chunk.truncate(size);
        Some(chunk)
    }

    fn chunks(&mut self, answer: &mut Answer) {
        loop {
            match self.chunk() {
                None => return answer.cut = true,
                Some(chunk) if chunk.is_empty() => return,
                Some(chunk) => {
                    answer.body.extend_from_slice(&chunk);
                    answer.chunks.push(chunk);
                }
            }
        }
    }

    pub fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length && self.fill() {}
        self.buffer.drain(..length.min(self.buffer.len())).collect()
    }

    /// Whether the server has closed and nothing is left.
    pub fn at_end(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    /// Reads more; false at the end.
    pub fn fill(&mut self) -> bool {
        let mut bytes = vec![0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(read) => {
                self.buffer.extend_from_slice(&bytes[..read]);
                read > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => self.fill(),
            Err(error) => panic!(
                "{error}; so far {:?}",
                String::from_utf8_lossy(&self.buffer)
            ),
        }
    }
}
