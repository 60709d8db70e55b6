//! The access log: gunicorn's `access_log_format`, compiled once; lines gathered and written when the thread has nothing else to do.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http_wire::Known;
use http_wire::fields::Fields;
use proxy_core::server::Address;
use wsgi_bridge::Finished;

use crate::clock;
use crate::logs::Sink;

/// So much is gathered at most.
const GATHERED: usize = 64 << 10;

/// An access log.
pub(crate) struct AccessLog {
    sink: Sink,
    format: Format,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: String,
    /// A second, and its text.
    clock: (i64, String),
    /// A peer, and its text.
    peer: Option<(IpAddr, String)>,
}

/// A compiled format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Format {
    parts: Vec<Part>,
    /// The environ values that it needs, in the order in which they are numbered.
    pub environ: Vec<String>,
    /// It needs the response's fields.
    pub fields: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Atom {
        what: Atom,
        width: usize,
        left: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Atom {
    Host,
    Dash,
    User,
    Time,
    RequestLine,
    Status,
    Method,
    Path,
    Query,
    Protocol,
    Bytes,
    Referer,
    UserAgent,
    Seconds,
    Microseconds,
    Milliseconds,
    DecimalSeconds,
    Process,
    RequestField(String),
    ResponseField(String),
    Environ(usize),
}

impl Format {
    /// Reads a format: Python's `%(name)s`, with names of one letter, `{name}i`, `{name}o` and `{name}e`.
    ///
    /// # Errors
    /// In words, with the place.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut format = Self {
            parts: Vec::new(),
            environ: Vec::new(),
            fields: false,
        };
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            format.text(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('%') {
                format.text("%");
                rest = after;
                continue;
            }
            let place = text.len() - rest.len() + at + 1;
            let fault =
                |what: &str| format!("access_log_format: {what} at character {place} of {text:?}");
            let (name, after) = after
                .strip_prefix('(')
                .and_then(|inner| inner.split_once(')'))
                .ok_or_else(|| fault("\"%\" without \"(name)\" (\"%%\" is a percent sign)"))?;
            let digits = after
                .find(|c: char| !matches!(c, '-' | '+' | ' ' | '#' | '0'..='9' | '.'))
                .unwrap_or(after.len());
            let (flags, after) = after.split_at(digits);
            if !after.starts_with(['s', 'd', 'i', 'u', 'r', 'a']) {
                return Err(fault(&format!(
                    "\"%({name})\" is not followed by \"s\" or \"d\""
                )));
            }
            let width = flags.trim_start_matches(['-', '+', ' ', '#', '0']);
            let width = width
                .split('.')
                .next()
                .unwrap_or_default()
                .parse()
                .unwrap_or(0);
            let what = format.atom(name);
            format.parts.push(Part::Atom {
                what,
                width,
                left: flags.contains('-'),
            });
            rest = &after[1..];
        }
        format.text(rest);
        Ok(format)
    }

    fn text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(before)) => before.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// The atom of a name; a name that does not exist is a dash, as with gunicorn.
    fn atom(&mut self, name: &str) -> Atom {
        let inner = |letter: &str| {
            let name = name.strip_prefix('{')?;
            let (name, kind) = name.split_at_checked(name.len().checked_sub(2)?)?;
            (kind.strip_prefix('}')?.eq_ignore_ascii_case(letter)).then(|| name.to_owned())
        };
        if let Some(field) = inner("i") {
            return Atom::RequestField(field);
        }
        if let Some(field) = inner("o") {
            self.fields = true;
            return Atom::ResponseField(field);
        }
        if let Some(key) = inner("e") {
            self.environ.push(key);
            return Atom::Environ(self.environ.len() - 1);
        }
        match name {
            "h" => Atom::Host,
            "u" => Atom::User,
            "t" => Atom::Time,
            "r" => Atom::RequestLine,
            "s" => Atom::Status,
            "m" => Atom::Method,
            "U" => Atom::Path,
            "q" => Atom::Query,
            "H" => Atom::Protocol,
            "b" | "B" => Atom::Bytes,
            "f" => Atom::Referer,
            "a" => Atom::UserAgent,
            "T" => Atom::Seconds,
            "D" => Atom::Microseconds,
            "M" => Atom::Milliseconds,
            "L" => Atom::DecimalSeconds,
            "p" => Atom::Process,
            _ => Atom::Dash,
        }
    }
}

impl AccessLog {
    /// A log at this path; `-` is standard output.
    ///
    /// # Errors
    /// The system's; the message names the file.
    pub fn open(path: &str, format: Format) -> std::io::Result<Self> {
        let sink = Sink::new(1);
        sink.open(path)?;
        Ok(Self {
            sink,
            format,
            state: Mutex::default(),
        })
    }

    /// The format.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Adds a line.
    pub fn line(&self, finished: &Finished<'_>) {
        let mut state = self.state();
        let State { lines, clock, peer } = &mut *state;
        for part in &self.format.parts {
            match part {
                Part::Text(text) => lines.push_str(text),
                Part::Atom { what, width, left } => {
                    let start = lines.len();
                    match what {
                        Atom::Host => write_peer(&finished.facts.connection.peer, peer, lines),
                        Atom::Time => write_time(clock, lines),
                        _ => write_atom(what, finished, lines),
                    }
                    if *width > 0 {
                        pad(lines, start, *width, *left);
                    }
                }
            }
        }
        lines.push('\n');
        if lines.len() >= GATHERED {
            self.write_out(state);
        }
    }

    /// Writes what has been gathered.
    pub fn flush(&self) {
        let state = self.state();
        if !state.lines.is_empty() {
            self.write_out(state);
        }
    }

    /// Writes what has been gathered, and opens the file again.
    ///
    /// # Errors
    /// As [`AccessLog::open`].
    pub fn reopen(&self) -> std::io::Result<()> {
        self.flush();
        self.sink.reopen()
    }

    fn write_out(&self, mut state: MutexGuard<'_, State>) {
        self.sink.write(state.lines.as_bytes());
        state.lines.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The peer's address; the next request often has the same.
fn write_peer(peer: &Address, last: &mut Option<(IpAddr, String)>, out: &mut String) {
    if let Address::Inet(peer) = peer {
        let text = match last {
            Some((ip, text)) if *ip == peer.ip() => text,
            other => &mut other.insert((peer.ip(), peer.ip().to_string())).1,
        };
        out.push_str(text);
    }
}

fn write_time(clock: &mut (i64, String), out: &mut String) {
    let now = clock::now();
    if clock.0 != now {
        *clock = (now, clock::access_form(now));
    }
    out.push_str(&clock.1);
}

fn write_atom(atom: &Atom, finished: &Finished<'_>, out: &mut String) {
    let head = &finished.facts.head;
    let written = match atom {
        // Those that remember are written elsewhere.
        Atom::Host | Atom::Time => Ok(()),
        Atom::Dash => out.write_str("-"),
        Atom::User => out.write_str(user(&head.fields).as_deref().unwrap_or("-")),
        Atom::RequestLine => {
            out.push_str(head.method.as_str());
            out.push(' ');
            escaped(head.target.as_bytes(), out);
            out.push(' ');
            out.write_str(head.version.as_str())
        }
        Atom::Status => out.write_str(itoa::Buffer::new().format(finished.status.as_u16())),
        Atom::Method => out.write_str(head.method.as_str()),
        Atom::Path => {
            escaped(&wsgi_bridge::percent_decoded(head.target.path()), out);
            Ok(())
        }
        Atom::Query => {
            escaped(head.target.query().unwrap_or_default(), out);
            Ok(())
        }
        Atom::Protocol => out.write_str(head.version.as_str()),
        Atom::Bytes => out.write_str(itoa::Buffer::new().format(finished.content_bytes)),
        Atom::Referer => field(&head.fields, Known::Referer, out),
        Atom::UserAgent => field(&head.fields, Known::UserAgent, out),
        Atom::Seconds => write!(out, "{}", finished.took().as_secs()),
        Atom::Microseconds => write!(out, "{}", finished.took().as_micros()),
        Atom::Milliseconds => write!(out, "{}", finished.took().as_millis()),
        Atom::DecimalSeconds => write!(
            out,
            "{}.{:06}",
            finished.took().as_secs(),
            finished.took().subsec_micros()
        ),
        Atom::Process => write!(out, "<{}>", std::process::id()),
        Atom::RequestField(name) => field(&head.fields, name.as_str(), out),
        Atom::ResponseField(name) => match finished.fields {
            Some(fields) => field(fields, name.as_str(), out),
            None => out.write_str("-"),
        },
        Atom::Environ(number) => match finished.environ.get(*number) {
            Some(Some(value)) => {
                escaped_text(value.chars(), out);
                Ok(())
            }
            _ => out.write_str("-"),
        },
    };
    debug_assert!(written.is_ok(), "writing to a string");
}

/// A field's value, the last one where there are several; a dash where there is none.
fn field(
    fields: &Fields,
    name: impl http_wire::fields::Name,
    out: &mut String,
) -> std::fmt::Result {
    match fields.get_all(name).last() {
        Some(value) => {
            escaped(value, out);
            Ok(())
        }
        None => out.write_str("-"),
    }
}

/// Latin-1 bytes as text that can stand between quotes.
fn escaped(bytes: &[u8], out: &mut String) {
    let plain = |&byte: &u8| matches!(byte, b' '..=b'~') && byte != b'"';
    if bytes.iter().all(plain)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return out.push_str(text);
    }
    escaped_text(bytes.iter().map(|&byte| char::from(byte)), out);
}

fn escaped_text(text: impl Iterator<Item = char>, out: &mut String) {
    for character in text {
        match character {
            '"' => out.push_str("\\\""),
            control if control.is_control() => drop(write!(out, "\\x{:02x}", u32::from(control))),
            other => out.push(other),
        }
    }
}

fn pad(lines: &mut String, start: usize, width: usize, left: bool) {
    let length = lines[start..].chars().count();
    if length < width {
        let spaces = " ".repeat(width - length);
        lines.insert_str(if left { lines.len() } else { start }, &spaces);
    }
}

/// The user of `Authorization: Basic`.
fn user(fields: &Fields) -> Option<String> {
    let value = fields.get(Known::Authorization)?;
    let (scheme, credentials) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = base64(credentials.trim_ascii())?;
    let end = decoded
        .iter()
        .position(|&byte| byte == b':')
        .unwrap_or(decoded.len());
    let mut name = String::new();
    escaped_text(
        std::str::from_utf8(&decoded[..end]).ok()?.chars(),
        &mut name,
    );
    Some(name).filter(|name| !name.is_empty())
}

/// Base64 (RFC 4648 §4), with or without its padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for &letter in text.iter().filter(|&&letter| letter != b'=') {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            decoded.push((bits >> held & 0xff) as u8);
        }
    }
    Some(decoded)
}
