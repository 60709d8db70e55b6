//! The access log: lines gathered and written when the thread has nothing else to do.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http_wire::Known;
use http_wire::fields::Fields;
use proxy_core::server::Address;
use wsgi_bridge::Finished;

pub(crate) use crate::access_format::Format;
use crate::access_format::{Atom, Part};
use crate::clock;
use crate::logs::Sink;
use crate::reports::reports;

/// So much is gathered at most.
const GATHERED: usize = 64 << 10;

/// An access log.
pub(crate) struct AccessLog {
    /// `None` where there is syslog only.
    sink: Option<Sink>,
    to_syslog: bool,
    /// The worker's age.
    worker: u64,
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

impl AccessLog {
    /// A log at this path (`-` is standard output, `None` no file), in syslog too where that is asked for.
    ///
    /// # Errors
    /// The system's; the message names the file.
    pub fn open(
        path: Option<&str>,
        to_syslog: bool,
        format: Format,
        worker: u64,
    ) -> std::io::Result<Self> {
        let sink = match path {
            Some(path) => {
                let sink = Sink::new(1);
                sink.open(path)?;
                Some(sink)
            }
            None => None,
        };
        Ok(Self {
            sink,
            to_syslog,
            worker,
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
        let begin = lines.len();
        let writer = Writer {
            finished,
            worker: self.worker,
            json: self.format.json,
        };
        for part in &self.format.parts {
            match part {
                Part::Text(text) => lines.push_str(text),
                Part::Atom { what, width, left } => {
                    let start = lines.len();
                    match what {
                        Atom::Host => write_peer(finished.facts.connection.client(), peer, lines),
                        Atom::Time => write_time(clock, lines),
                        _ => writer.atom(what, lines),
                    }
                    if *width > 0 {
                        pad(lines, start, *width, *left);
                    }
                }
            }
        }
        self.end_line(state, begin);
    }

    /// Adds a line that Python made.
    pub fn whole_line(&self, line: &str) {
        let mut state = self.state();
        let begin = state.lines.len();
        state.lines.push_str(line);
        self.end_line(state, begin);
    }

    fn end_line(&self, mut state: MutexGuard<'_, State>, begin: usize) {
        if let (true, Some(reports)) = (self.to_syslog, reports()) {
            reports.access_to_syslog(&state.lines[begin..]);
        }
        match self.sink {
            None => state.lines.truncate(begin),
            Some(_) => state.lines.push('\n'),
        }
        if state.lines.len() >= GATHERED {
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
        self.sink.as_ref().map_or(Ok(()), Sink::reopen)
    }

    fn write_out(&self, mut state: MutexGuard<'_, State>) {
        if let Some(sink) = &self.sink {
            sink.write(state.lines.as_bytes());
        }
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

/// What the atoms of a line are taken from.
struct Writer<'a> {
    finished: &'a Finished<'a>,
    worker: u64,
    json: bool,
}

impl Writer<'_> {
    fn atom(&self, atom: &Atom, out: &mut String) {
        let (finished, head) = (self.finished, &self.finished.facts.head);
        let took = || finished.took();
        let written = match atom {
            // Those that remember are written elsewhere.
            Atom::Host | Atom::Time => Ok(()),
            Atom::Dash => out.write_str("-"),
            Atom::User => {
                match user(&head.fields) {
                    Some(name) => self.escaped_text(name.chars(), out),
                    None => out.push('-'),
                }
                Ok(())
            }
            Atom::RequestLine => {
                out.push_str(head.method.as_str());
                out.push(' ');
                self.escaped(head.target.as_bytes(), out);
                out.push(' ');
                out.write_str(head.version.as_str())
            }
            Atom::Status => out.write_str(itoa::Buffer::new().format(finished.status.as_u16())),
            Atom::Method => out.write_str(head.method.as_str()),
            Atom::Path => {
                self.escaped(&wsgi_bridge::percent_decoded(head.target.path()), out);
                Ok(())
            }
            Atom::Query => {
                self.escaped(head.target.query().unwrap_or_default(), out);
                Ok(())
            }
            Atom::Protocol => out.write_str(head.version.as_str()),
            Atom::Bytes => out.write_str(itoa::Buffer::new().format(finished.content_bytes)),
            Atom::Referer => self.field(&head.fields, Known::Referer, out),
            Atom::UserAgent => self.field(&head.fields, Known::UserAgent, out),
            Atom::Seconds => write!(out, "{}", took().as_secs()),
            Atom::Microseconds => write!(out, "{}", took().as_micros()),
            Atom::Milliseconds => write!(out, "{}", took().as_millis()),
            Atom::DecimalSeconds => decimal_seconds(took().as_micros() as u64, out),
            Atom::QueueTime => decimal_seconds(finished.facts.queue_us(), out),
            Atom::WorkerId => write!(out, "{}", self.worker),
            Atom::RequestId => match head.fields.get("X-Request-Id") {
                Some(id) => {
                    self.escaped(id, out);
                    Ok(())
                }
                None => {
                    let _ = write!(out, "{:x}-", std::process::id());
                    write!(out, "{:x}", next_number())
                }
            },
            Atom::Process => write!(out, "<{}>", std::process::id()),
            Atom::RequestField(name) => self.field(&head.fields, name.as_str(), out),
            Atom::ResponseField(name) => match finished.fields {
                Some(fields) => self.field(fields, name.as_str(), out),
                None => out.write_str("-"),
            },
            Atom::Environ(number) => match finished.environ.get(*number) {
                Some(Some(value)) => {
                    self.escaped_text(value.chars(), out);
                    Ok(())
                }
                _ => out.write_str("-"),
            },
        };
        debug_assert!(written.is_ok(), "writing to a string");
    }

    /// A field's value, the last one where there are several; a dash where there is none.
    fn field(
        &self,
        fields: &Fields,
        name: impl http_wire::fields::Name,
        out: &mut String,
    ) -> std::fmt::Result {
        match fields.get_all(name).last() {
            Some(value) => {
                self.escaped(value, out);
                Ok(())
            }
            None => out.write_str("-"),
        }
    }

    /// Latin-1 bytes as text that can stand between quotes.
    fn escaped(&self, bytes: &[u8], out: &mut String) {
        let plain = |&byte: &u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if bytes.iter().all(plain)
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            return out.push_str(text);
        }
        self.escaped_text(bytes.iter().map(|&byte| char::from(byte)), out);
    }

    fn escaped_text(&self, text: impl Iterator<Item = char>, out: &mut String) {
        for character in text {
            match character {
                '"' => out.push_str("\\\""),
                '\\' if self.json => out.push_str("\\\\"),
                control if control.is_control() => {
                    let written = if self.json {
                        write!(out, "\\u{:04x}", u32::from(control))
                    } else {
                        write!(out, "\\x{:02x}", u32::from(control))
                    };
                    debug_assert!(written.is_ok(), "writing to a string");
                }
                other => out.push(other),
            }
        }
    }
}

fn decimal_seconds(microseconds: u64, out: &mut String) -> std::fmt::Result {
    write!(
        out,
        "{}.{:06}",
        microseconds / 1_000_000,
        microseconds % 1_000_000
    )
}

/// Numbers that no other request of this process has: they begin with the time.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    if number > 0 {
        return number;
    }
    let start = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_micros() as u64);
    NEXT.fetch_add(start, Ordering::Relaxed);
    start
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
    let name = std::str::from_utf8(&decoded[..end]).ok()?;
    Some(name.to_owned()).filter(|name| !name.is_empty())
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
