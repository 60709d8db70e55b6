//! Response heads: the parser that makes them of bytes.

use bytes::Bytes;
use http::StatusCode;

use super::error::{ResponseError, SectionError};
use super::limits::HeadLimits;
use super::line::{Find, LineError};
use super::section::Section;
use crate::fields::Fields;
use crate::reason::reason;
use crate::scan;
use crate::version::{self, Version, VersionText};

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The version. Default: 1.1.
    pub version: Version,
    /// The status. Default: 200.
    pub status: StatusCode,
    /// The reason phrase. May be empty; nothing depends on it.
    pub reason: Bytes,
    /// The fields.
    pub fields: Fields,
}

impl ResponseHead {
    /// An HTTP/1.1 head with the usual reason phrase and no fields.
    pub fn new(status: StatusCode) -> ResponseHead {
        ResponseHead {
            version: Version::Http11,
            status,
            reason: Bytes::from_static(reason(status).as_bytes()),
            fields: Fields::new(),
        }
    }
}

impl Default for ResponseHead {
    fn default() -> ResponseHead {
        ResponseHead::new(StatusCode::OK)
    }
}

/// Reads response heads. Used as the [`RequestParser`](super::RequestParser) is.
///
/// The policy's rules for methods, targets and `Host` mean nothing here. A status line that ends right behind the status, without
/// the space, is taken.
///
/// ```
/// use http_wire::head::{HeadLimits, ResponseHead, ResponseParser};
///
/// let mut parser = ResponseParser::new(HeadLimits::default());
/// let mut head = ResponseHead::default();
/// let wire = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
/// assert_eq!(parser.parse(wire, &mut head)?, Some(wire.len()));
/// assert_eq!(head.status, 404);
/// assert_eq!(head.reason, "Not Found");
/// # Ok::<(), http_wire::head::ResponseError>(())
/// ```
#[derive(Debug)]
pub struct ResponseParser {
    limits: HeadLimits,
    in_fields: bool,
    scanned: usize,
    section: Section,
}

impl ResponseParser {
    /// A parser with these limits.
    pub fn new(limits: HeadLimits) -> ResponseParser {
        ResponseParser {
            limits,
            in_fields: false,
            scanned: 0,
            section: Section::default(),
        }
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &HeadLimits {
        &self.limits
    }

    /// Forgets what was read of a head that is not complete.
    pub fn reset(&mut self) {
        self.in_fields = false;
        self.scanned = 0;
    }

    /// The number of fields of the last head that the policy had left out.
    pub fn dropped_fields(&self) -> usize {
        self.section.dropped()
    }

    /// Reads the head that `buf` begins with. `Some` with the number of bytes it takes once it is complete, `None` when more is needed.
    ///
    /// # Errors
    /// [`ResponseError`]; the connection is then of no more use.
    pub fn parse(
        &mut self,
        buf: &[u8],
        head: &mut ResponseHead,
    ) -> Result<Option<usize>, ResponseError> {
        if !self.in_fields {
            let Some(used) = self.status_line(buf, head)? else {
                return Ok(None);
            };
            self.section.begin(used);
            self.in_fields = true;
        }
        let Some(used) = self.section.advance(buf, &self.limits, &mut head.fields)? else {
            return Ok(None);
        };
        self.reset();
        Ok(Some(used))
    }

    fn status_line(
        &mut self,
        buf: &[u8],
        head: &mut ResponseHead,
    ) -> Result<Option<usize>, ResponseError> {
        check_version_so_far(buf)?;
        let find = Find {
            limit: self.limits.line_bytes,
            room: self.limits.head_bytes_honoured(),
            bare_lf: self.limits.policy.bare_lf,
        };
        let found = find
            .line(buf, self.scanned)
            .map_err(|error| line_error(error, &self.limits))?;
        let Some(line) = found else {
            self.scanned = buf.len();
            return Ok(None);
        };
        self.read_line(line.text, head)?;
        Ok(Some(line.len))
    }

    fn read_line(&self, line: &[u8], head: &mut ResponseHead) -> Result<(), ResponseError> {
        let (version, rest) = line
            .split_at_checked(VERSION_LEN)
            .ok_or(ResponseError::Line)?;
        head.version = match version::read(version, self.limits.policy.minor_versions) {
            VersionText::Supported(version) => version,
            VersionText::Unsupported(major, minor) => {
                return Err(ResponseError::UnsupportedVersion { major, minor });
            }
            VersionText::Malformed => return Err(ResponseError::Version),
        };
        let rest = rest.strip_prefix(b" ").ok_or(ResponseError::Line)?;
        let (status, text) = rest.split_at_checked(3).ok_or(ResponseError::Status)?;
        head.status = StatusCode::from_bytes(status).map_err(|_| ResponseError::Status)?;
        let text = match text {
            [] => text,
            [b' ', text @ ..] => text,
            [b'0'..=b'9', ..] => return Err(ResponseError::Status),
            _ => return Err(ResponseError::Line),
        };
        let end = scan::value_end(text);
        match text.get(end) {
            None => {}
            Some(b'\r') => return Err(ResponseError::LineEnd),
            Some(_) => return Err(ResponseError::Reason),
        }
        let usual = reason(head.status).as_bytes();
        head.reason = if text == usual {
            Bytes::from_static(usual)
        } else {
            Bytes::copy_from_slice(text)
        };
        Ok(())
    }
}

const VERSION_LEN: usize = "HTTP/1.1".len();

/// Refuses what does not begin with `HTTP/` at once, rather than wait for a line end that may never come.
fn check_version_so_far(buf: &[u8]) -> Result<(), ResponseError> {
    if buf.iter().zip(b"HTTP/").all(|(a, b)| a == b) {
        Ok(())
    } else {
        Err(ResponseError::Line)
    }
}

fn line_error(error: LineError, limits: &HeadLimits) -> ResponseError {
    match error {
        LineError::TooLong => ResponseError::LineTooLong {
            limit: limits.line_bytes,
        },
        LineError::TooLarge => SectionError::TooLarge {
            limit: limits.head_bytes_honoured(),
        }
        .into(),
        LineError::BareLf => ResponseError::LineEnd,
    }
}
