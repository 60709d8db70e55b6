//! HTTP/1.1 as tests need it: read a message from a [`Wire`], look at it, and a small client.
//!
//! A parser of its own on purpose: what `http-wire` reads or writes wrongly must not look right here.

use std::collections::VecDeque;
use std::io;

use crate::{Address, Wire, WireError, show};

/// The first line and the field lines of a message, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Request line or status line, without its end.
    pub line: Vec<u8>,
    /// Names as spelled and values without the white space around them, in order.
    pub fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// Reads a head up to and including its empty line.
    ///
    /// # Errors
    /// When the connection ends or stalls before the empty line, or a line is no field.
    pub fn receive(wire: &mut Wire, what: &str) -> Result<Self, WireError> {
        let bytes = wire.take_until(b"\r\n\r\n", what)?;
        Head::parse(&bytes)
    }

    /// Parses a complete head.
    ///
    /// # Errors
    /// [`WireError::Malformed`] names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut lines = split_lines(bytes);
        let line = lines.next().unwrap_or_default().to_vec();
        let mut head = Head {
            line,
            fields: Vec::new(),
        };
        for line in lines {
            head.fields.push(parse_field(line)?);
        }
        Ok(head)
    }

    /// All values of a field, in order; the name in any case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.fields
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| &value[..])
    }

    /// The first value of a field as text.
    pub fn field(&self, name: &str) -> Option<String> {
        self.all(name)
            .next()
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Whether a field whose value is a list of tokens has this one, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).any(|value| {
            String::from_utf8_lossy(value)
                .split(',')
                .any(|t| t.trim().eq_ignore_ascii_case(token))
        })
    }
}

fn split_lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        match current.windows(2).position(|pair| pair == b"\r\n") {
            Some(at) => {
                rest = Some(&current[at + 2..]);
                Some(&current[..at])
            }
            None => {
                rest = None;
                Some(current)
            }
        }
    })
}

fn parse_field(line: &[u8]) -> Result<(String, Vec<u8>), WireError> {
    let wrong = || WireError::Malformed(format!("this is no field line: \"{}\"", show(line)));
    let colon = line.iter().position(|&b| b == b':').ok_or_else(wrong)?;
    let name = std::str::from_utf8(&line[..colon]).map_err(|_| wrong())?;
    if name.is_empty()
        || name.contains([' ', '\t'])
        || line.contains(&b'\n')
        || line.contains(&b'\r')
    {
        return Err(wrong());
    }
    Ok((name.to_owned(), line[colon + 1..].trim_ascii().to_vec()))
}

/// Where the content of a message ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl Framing {
    /// Of a request.
    ///
    /// # Errors
    /// A Content-Length that is no number.
    pub fn of_request(head: &Head) -> Result<Self, WireError> {
        if head.has_token("Transfer-Encoding", "chunked") {
            return Ok(Framing::Chunked);
        }
        Ok(length(head)?.map_or(Framing::None, Framing::Length))
    }

    /// Of a response to a request with `method`.
    ///
    /// # Errors
    /// A Content-Length that is no number.
    pub fn of_response(head: &Head, status: u16, method: &str) -> Result<Self, WireError> {
        let tunnel = method == "CONNECT" && (200..300).contains(&status);
        if method == "HEAD" || status < 200 || status == 204 || status == 304 || tunnel {
            return Ok(Framing::None);
        }
        if head.has_token("Transfer-Encoding", "chunked") {
            return Ok(Framing::Chunked);
        }
        Ok(length(head)?.map_or(Framing::UntilClose, Framing::Length))
    }

    /// The word of scenario files for it.
    pub fn word(self) -> &'static str {
        match self {
            Framing::None => "none",
            Framing::Length(_) => "length",
            Framing::Chunked => "chunked",
            Framing::UntilClose => "close",
        }
    }
}

fn length(head: &Head) -> Result<Option<u64>, WireError> {
    let Some(value) = head.field("Content-Length") else {
        return Ok(None);
    };
    match value.parse() {
        Ok(length) => Ok(Some(length)),
        Err(_) => Err(WireError::Malformed(format!(
            "Content-Length is \"{value}\", which is no number"
        ))),
    }
}

/// Content that is read as it comes.
#[derive(Clone, Debug)]
pub struct Content {
    framing: Framing,
    left: u64,
    finished: bool,
    /// Fields after the last chunk.
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl Content {
    /// The content that follows a head with this framing.
    pub fn new(framing: Framing) -> Self {
        let left = if let Framing::Length(length) = framing {
            length
        } else {
            0
        };
        let finished = matches!(framing, Framing::None | Framing::Length(0));
        Content {
            framing,
            left,
            finished,
            trailers: Vec::new(),
        }
    }

    /// The framing it was made with.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether all of it was read.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// The next piece; empty at the end.
    ///
    /// # Errors
    /// On the deadline, when the connection ends within the content, or on a malformed chunk.
    pub fn next(&mut self, wire: &mut Wire) -> Result<Vec<u8>, WireError> {
        if self.finished {
            return Ok(Vec::new());
        }
        match self.framing {
            Framing::None => Ok(Vec::new()),
            Framing::UntilClose => {
                let piece = wire.take_some("content until the connection closes")?;
                self.finished = piece.is_empty();
                Ok(piece)
            }
            Framing::Length(_) => {
                let piece = self.counted(wire)?;
                self.finished = self.left == 0;
                Ok(piece)
            }
            Framing::Chunked => self.chunk(wire),
        }
    }

    /// Everything that is left.
    ///
    /// # Errors
    /// As [`Content::next`].
    pub fn rest(&mut self, wire: &mut Wire) -> Result<Vec<u8>, WireError> {
        let mut all = Vec::new();
        while !self.finished {
            all.extend(self.next(wire)?);
        }
        Ok(all)
    }

    fn counted(&mut self, wire: &mut Wire) -> Result<Vec<u8>, WireError> {
        let what = "content";
        let have = if wire.pending().is_empty() {
            wire.take(1, &format!("{what} ({} bytes are missing)", self.left))?
        } else {
            Vec::new()
        };
        let mut piece = have;
        let more = (wire.pending().len() as u64).min(self.left - piece.len() as u64);
        piece.extend(wire.take(more as usize, what)?);
        self.left -= piece.len() as u64;
        Ok(piece)
    }

    fn chunk(&mut self, wire: &mut Wire) -> Result<Vec<u8>, WireError> {
        if self.left == 0 {
            let line = wire.take_until(b"\r\n", "a chunk's size")?;
            let digits = String::from_utf8_lossy(&line);
            let digits = digits
                .trim_end()
                .split(';')
                .next()
                .unwrap_or_default()
                .to_owned();
            self.left = u64::from_str_radix(&digits, 16).map_err(|_| {
                WireError::Malformed(format!("\"{}\" is no chunk size", show(&line)))
            })?;
            if self.left == 0 {
                return self.trailer_section(wire);
            }
        }
        let piece = self.counted(wire)?;
        if self.left == 0 && wire.take(2, "the end of a chunk")? != b"\r\n" {
            return Err(WireError::Malformed(
                "a chunk is longer than its size says".to_owned(),
            ));
        }
        Ok(piece)
    }

    fn trailer_section(&mut self, wire: &mut Wire) -> Result<Vec<u8>, WireError> {
        loop {
            let line = wire.take_until(b"\r\n", "the end of the trailer section")?;
            if line == b"\r\n" {
                self.finished = true;
                return Ok(Vec::new());
            }
            self.trailers.push(parse_field(&line[..line.len() - 2])?);
        }
    }
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Status line and fields.
    pub head: Head,
    /// How the content was framed.
    pub framing: Framing,
    /// The content.
    pub body: Vec<u8>,
}

impl Response {
    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<String> {
        self.head.field(name)
    }
}

/// The status code of a status line.
///
/// # Errors
/// [`WireError::Malformed`] when it is none of HTTP/1.
pub fn status_code(line: &[u8]) -> Result<u16, WireError> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let code = words.next().unwrap_or_default();
    match code.parse() {
        Ok(code) if version.starts_with("HTTP/1.") && (100..1000).contains(&code) => Ok(code),
        _ => Err(WireError::Malformed(format!(
            "this is no status line: \"{}\"",
            show(line)
        ))),
    }
}

/// A client connection that sends requests and reads the responses in turn.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    asked: VecDeque<String>,
}

impl Client {
    /// Connects to a TCP address or a unix socket.
    ///
    /// # Errors
    /// Whatever `connect` says.
    pub fn connect(address: impl Into<Address>) -> io::Result<Self> {
        Ok(Client {
            wire: Wire::connect(&address.into())?,
            asked: VecDeque::new(),
        })
    }

    /// The connection itself, for bytes that are no request.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Sends the bytes of one or more whole requests; their methods are remembered, for they decide how responses are read.
    ///
    /// # Errors
    /// When the peer has gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), WireError> {
        self.asked.extend(methods(bytes.as_ref()));
        self.wire.send(bytes.as_ref())
    }

    /// Sends a request without content: `Host: localhost` and the given field lines.
    ///
    /// # Errors
    /// When the peer has gone.
    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Result<(), WireError> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.send(head + "\r\n")
    }

    /// Asks with GET and gives the response.
    ///
    /// # Errors
    /// On the deadline, or when the connection ends within the response.
    pub fn get(&mut self, target: &str) -> Result<Response, WireError> {
        self.ask("GET", target, &[])?;
        self.response()
    }

    /// Reads the next response; interim ones (1xx) are given as well.
    ///
    /// # Errors
    /// On the deadline, or when the connection ends within the response.
    pub fn response(&mut self) -> Result<Response, WireError> {
        let head = Head::receive(&mut self.wire, "a response head")?;
        let status = status_code(&head.line)?;
        let method = if status < 200 && status != 101 {
            self.asked.front().cloned()
        } else {
            self.asked.pop_front()
        };
        let framing = Framing::of_response(&head, status, method.as_deref().unwrap_or("GET"))?;
        let body = Content::new(framing).rest(&mut self.wire)?;
        Ok(Response {
            status,
            head,
            framing,
            body,
        })
    }
}

/// The methods of the request lines in `bytes`, in order.
pub fn methods(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.split("\r\n").filter_map(request_method).collect()
}

fn request_method(line: &str) -> Option<String> {
    let (method, rest) = line.split_once(' ')?;
    let named = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    (named && rest.contains(" HTTP/1.")).then(|| method.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn received(bytes: &[u8], asked: &str) -> Response {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::connect(listener.local_addr().unwrap()).unwrap();
        client.asked.push_back(asked.to_owned());
        let mut peer = Wire::from_tcp(listener.accept().unwrap().0);
        peer.send(bytes).unwrap();
        peer.close();
        client.response().unwrap()
    }

    #[test]
    fn reads_content_by_each_framing() {
        let length = received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello", "GET");
        assert_eq!(
            (length.status, length.framing, length.text()),
            (200, Framing::Length(2), "he".to_owned())
        );
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n";
        assert_eq!(received(chunked, "GET").text(), "abc0123456789");
        let close = received(b"HTTP/1.0 200 OK\r\n\r\nall of it", "GET");
        assert_eq!(
            (close.framing, close.text()),
            (Framing::UntilClose, "all of it".to_owned())
        );
    }

    #[test]
    fn head_204_and_304_have_no_content() {
        for (bytes, asked) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"[..], "HEAD"),
            (
                b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
                "GET",
            ),
            (
                b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
                "GET",
            ),
        ] {
            assert_eq!(received(bytes, asked).framing, Framing::None);
        }
    }

    #[test]
    fn fields_keep_order_and_spelling() {
        let head = Head::parse(b"GET / HTTP/1.1\r\nhOsT: a\r\nX: 1\r\nx:  2 \r\n\r\n").unwrap();
        assert_eq!(head.fields[0].0, "hOsT");
        assert_eq!(head.all("X").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(head.field("host").unwrap(), "a");
    }

    #[test]
    fn malformed_heads_are_refused() {
        for head in [
            "A\r\nno field\r\n\r\n",
            "A\r\nb : c\r\n\r\n",
            "A\r\nb: c\nd: e\r\n\r\n",
            "A\r\n: c\r\n\r\n",
        ] {
            assert!(
                matches!(Head::parse(head.as_bytes()), Err(WireError::Malformed(_))),
                "{head:?}"
            );
        }
        assert!(status_code(b"HTTP/2 200").is_err());
        assert!(status_code(b"200 OK").is_err());
    }

    #[test]
    fn methods_are_found_in_pipelined_requests() {
        assert_eq!(
            methods(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.0\r\n\r\n"),
            ["HEAD", "GET"]
        );
    }
}
