//! Request heads: the parser that makes them of bytes.

use http::Method;

use super::error::{RequestError, SectionError};
use super::limits::{HeadLimits, MethodCharacters, MethodRule};
use super::line::{Find, LineError};
use super::section::Section;
use super::target::{self, Target};
use crate::fields::Fields;
use crate::host::Authority;
use crate::known::Known;
use crate::scan;
use crate::version::{self, Version, VersionText};

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RequestHead {
    /// The method. Default: GET.
    pub method: Method,
    /// The request target. Default: `/`.
    pub target: Target,
    /// The version. Default: 1.1.
    pub version: Version,
    /// The fields.
    pub fields: Fields,
}

impl RequestHead {
    /// Makes it the default again, and keeps its memory.
    pub fn clear(&mut self) {
        self.method = Method::GET;
        self.target.clear();
        self.version = Version::default();
        self.fields.clear();
    }

    /// Host and port that the request is meant for: those of the target where it has them, otherwise those of the `Host` field
    /// (RFC 9112 §3.2.2 and §3.3). `None` when neither is there.
    pub fn authority(&self) -> Option<&[u8]> {
        match self.target.authority() {
            Some(authority) => Some(authority.as_bytes()),
            None => self.fields.get(Known::Host),
        }
    }

    /// Whether the client waits for `100 Continue` before it sends the content (RFC 9110 §10.1.1). Not in HTTP/1.0.
    pub fn expects_continue(&self) -> bool {
        self.version != Version::Http10 && self.fields.contains_token(Known::Expect, "100-continue")
    }
}

/// Reads request heads, one after the other, from a buffer that the caller fills.
///
/// Show it everything that has arrived and is not yet used, again from the start each time more has come: it remembers how far it has read.
/// So a peer that sends byte by byte causes no more work than one that sends all at once, and the result does not depend on how the bytes
/// were split. Limits hold for incomplete heads too.
///
/// ```
/// use http_wire::head::{HeadLimits, RequestHead, RequestParser};
///
/// let mut parser = RequestParser::new(HeadLimits::default());
/// let mut head = RequestHead::default();
/// assert_eq!(parser.parse(b"GET /a HTTP/1.1\r\nHos", &mut head)?, None);
/// let wire = b"GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\nnext";
/// assert_eq!(parser.parse(wire, &mut head)?, Some(wire.len() - 4));
/// assert_eq!(head.target.path(), b"/a");
/// assert_eq!(head.fields.get("host"), Some(&b"shop.example"[..]));
/// # Ok::<(), http_wire::head::RequestError>(())
/// ```
#[derive(Debug)]
pub struct RequestParser {
    limits: HeadLimits,
    in_fields: bool,
    line_start: usize,
    scanned: usize,
    section: Section,
}

impl RequestParser {
    /// A parser with these limits.
    pub fn new(limits: HeadLimits) -> RequestParser {
        RequestParser {
            limits,
            in_fields: false,
            line_start: 0,
            scanned: 0,
            section: Section::default(),
        }
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &HeadLimits {
        &self.limits
    }

    /// Other limits from the next head on; forgets a head that was begun.
    pub fn set_limits(&mut self, limits: HeadLimits) {
        self.limits = limits;
        self.reset();
    }

    /// Forgets what was read of a head that is not complete.
    pub fn reset(&mut self) {
        self.in_fields = false;
        self.line_start = 0;
        self.scanned = 0;
    }

    /// Whether the request line of the current head has been read: `head.method`, `head.target` and `head.version` are then right already.
    pub fn past_request_line(&self) -> bool {
        self.in_fields
    }

    /// The number of fields of the last head that the policy had left out.
    pub fn dropped_fields(&self) -> usize {
        self.section.dropped()
    }

    /// Reads the head that `buf` begins with. `Some` with the number of bytes it takes once it is complete, `None` when more is needed. Empty
    /// lines before the request line are skipped (RFC 9112 §2.2).
    ///
    /// `head` is overwritten, its memory used again. While the result is `None` its fields are those of the message before.
    ///
    /// # Errors
    /// [`RequestError`]; the connection is then of no more use, or [`RequestParser::reset`] is called. `head.method` is right where
    /// the line had a method before what is wrong.
    pub fn parse(
        &mut self,
        buf: &[u8],
        head: &mut RequestHead,
    ) -> Result<Option<usize>, RequestError> {
        if !self.in_fields {
            let Some(used) = self.request_line(buf, head)? else {
                return Ok(None);
            };
            self.section.begin(used);
            self.in_fields = true;
        }
        let Some(used) = self.section.advance(buf, &self.limits, &mut head.fields)? else {
            return Ok(None);
        };
        self.check_host(head)?;
        self.reset();
        Ok(Some(used))
    }

    fn request_line(
        &mut self,
        buf: &[u8],
        head: &mut RequestHead,
    ) -> Result<Option<usize>, RequestError> {
        self.skip_empty_lines(buf);
        let room = self
            .limits
            .head_bytes_honoured()
            .saturating_sub(self.line_start);
        let rest = &buf[self.line_start..];
        if room == 0 || (room == 1 && rest.starts_with(b"\r")) {
            return Err(line_error(LineError::TooLarge, &self.limits));
        }
        if rest == b"\r" {
            // Half an empty line, perhaps.
            return Ok(None);
        }
        let within = rest.len().min(self.limits.line_bytes).min(room);
        check_method_so_far(&rest[..within], &self.limits.policy.method)?;
        let find = Find {
            limit: self.limits.line_bytes,
            room,
            bare_lf: self.limits.policy.bare_lf,
        };
        let found = find
            .line(rest, self.scanned.saturating_sub(self.line_start))
            .map_err(|error| {
                read_method(rest, head);
                line_error(error, &self.limits)
            })?;
        let Some(line) = found else {
            self.scanned = buf.len();
            return Ok(None);
        };
        self.read_line(line.text, head)?;
        Ok(Some(self.line_start + line.len))
    }

    fn skip_empty_lines(&mut self, buf: &[u8]) {
        loop {
            match &buf[self.line_start..] {
                [b'\r', b'\n', ..] => self.line_start += 2,
                [b'\n', ..] if self.limits.policy.bare_lf => self.line_start += 1,
                _ => return,
            }
        }
    }

    fn read_line(&self, line: &[u8], head: &mut RequestHead) -> Result<(), RequestError> {
        let policy = &self.limits.policy;
        // `check_method_so_far` has seen to it that the method is good up to the first space.
        let (method, mut rest) = split_at_space(line).ok_or(RequestError::Line)?;
        head.method = Method::from_bytes(method).map_err(|_| RequestError::Method)?;
        if policy.extra_spaces {
            rest = without_outer_spaces(rest);
        }
        let target_len = target::target_run(rest, &policy.target);
        let (target, version) = match rest.split_at(target_len) {
            ([], _) => return Err(RequestError::Line),
            (target, [b' ', version @ ..]) if policy.extra_spaces => {
                (target, without_outer_spaces(version))
            }
            (target, [b' ', version @ ..]) => (target, version),
            (_, []) => return Err(RequestError::NoVersion),
            (_, [b'\r', ..]) => return Err(RequestError::LineEnd),
            _ => return Err(RequestError::Target),
        };
        head.version = match version::read(version, policy.minor_versions) {
            VersionText::Supported(version) => version,
            VersionText::Unsupported(major, minor) => {
                return Err(RequestError::UnsupportedVersion { major, minor });
            }
            VersionText::Malformed if version.is_empty() => return Err(RequestError::NoVersion),
            VersionText::Malformed if version.contains(&b' ') => return Err(RequestError::Line),
            VersionText::Malformed if version.contains(&b'\r') => {
                return Err(RequestError::LineEnd);
            }
            VersionText::Malformed => return Err(RequestError::Version),
        };
        head.target.assign(target, &head.method, &policy.target)
    }

    fn check_host(&self, head: &RequestHead) -> Result<(), RequestError> {
        let rule = &self.limits.policy.host;
        match head.fields.get_known(Known::Host) {
            None if rule.required && head.version == Version::Http11 => Err(RequestError::NoHost),
            None => Ok(()),
            Some(b"") if rule.empty => Ok(()),
            Some(b"") => Err(RequestError::Host),
            Some(value) if rule.checked && Authority::parse(value).is_none() => {
                Err(RequestError::Host)
            }
            Some(_) => Ok(()),
        }
    }
}

/// Refuses a method as soon as its first wrong byte is there: what is no HTTP at all (a TLS handshake, say) is answered at once.
fn check_method_so_far(seen: &[u8], rule: &MethodRule) -> Result<(), RequestError> {
    let class = match rule.characters {
        MethodCharacters::Token => scan::TOKEN,
        MethodCharacters::NoSmallLetters => scan::TOKEN_NOT_SMALL,
        MethodCharacters::Capitals => scan::CAPITAL,
    };
    let length = scan::run(seen, class);
    if length > rule.length_max {
        return Err(RequestError::MethodTooLong {
            limit: rule.length_max,
        });
    }
    match seen.get(length) {
        None => Ok(()),
        Some(b' ') if length > 0 && length >= rule.length_min => Ok(()),
        // No target: a fault of the line, found when it is complete.
        Some(b'\r' | b'\n') if length > 0 => Ok(()),
        Some(_) => Err(RequestError::Method),
    }
}

/// The method of a line that is no good otherwise: whoever answers has to know whether it is HEAD.
fn read_method(line: &[u8], head: &mut RequestHead) {
    if let Some((method, _)) = split_at_space(line)
        && let Ok(method) = Method::from_bytes(method)
    {
        head.method = method;
    }
}

fn split_at_space(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|&byte| byte == b' ')?;
    Some((&line[..at], &line[at + 1..]))
}

fn without_outer_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

fn line_error(error: LineError, limits: &HeadLimits) -> RequestError {
    match error {
        LineError::TooLong => RequestError::LineTooLong {
            limit: limits.line_bytes,
        },
        LineError::TooLarge => SectionError::TooLarge {
            limit: limits.head_bytes_honoured(),
        }
        .into(),
        LineError::BareLf => RequestError::LineEnd,
    }
}
