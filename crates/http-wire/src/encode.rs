//! Writes heads. Everything is appended to a vector of the caller's, so that head and first content can leave in one write.
//!
//! Nothing that goes through here can break out of its line: [`Fields`] holds checked names and values, targets and reasons are
//! checked on the way.

use http::{Method, StatusCode};

use crate::fields::{self, FieldName, Fields};
use crate::head::{RequestHead, ResponseHead};
use crate::reason::reason;
use crate::scan;
use crate::version::Version;

/// Something that can't stand in a start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The request target is empty or has a space or control character.
    #[error("a request target must not be empty or have spaces or control characters")]
    Target,
    /// The reason has a control character other than tab.
    #[error("a reason phrase must not have control characters")]
    Reason,
}

/// Appends a whole request head, with the empty line at its end.
///
/// ```
/// use http_wire::{encode, head::RequestHead};
///
/// let mut head = RequestHead::default();
/// head.fields.append("Host", "a")?;
/// let mut out = Vec::new();
/// encode::request_head(&head, &mut out);
/// assert_eq!(out, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # Ok::<(), http_wire::FieldError>(())
/// ```
pub fn request_head(head: &RequestHead, out: &mut Vec<u8>) {
    // A `Target` has been checked when it was made.
    start_line(
        &[
            head.method.as_str().as_bytes(),
            head.target.as_bytes(),
            head.version.as_str().as_bytes(),
        ],
        out,
    );
    fields(&head.fields, out);
    end(out);
}

/// Appends a request line.
///
/// # Errors
/// [`EncodeError::Target`]; nothing has been appended then.
pub fn request_line(
    method: &Method,
    target: &[u8],
    version: Version,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if target.is_empty() || target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return Err(EncodeError::Target);
    }
    start_line(
        &[
            method.as_str().as_bytes(),
            target,
            version.as_str().as_bytes(),
        ],
        out,
    );
    Ok(())
}

/// Appends a whole response head, with the empty line at its end. A reason with control characters is replaced by the usual one.
///
/// ```
/// use http_wire::{encode, head::ResponseHead};
///
/// let mut out = Vec::new();
/// encode::response_head(&ResponseHead::default(), &mut out);
/// assert_eq!(out, b"HTTP/1.1 200 OK\r\n\r\n");
/// ```
pub fn response_head(head: &ResponseHead, out: &mut Vec<u8>) {
    if status_line_with(head.version, head.status, &head.reason, out).is_err() {
        status_line(head.version, head.status, out);
    }
    fields(&head.fields, out);
    end(out);
}

/// Appends a status line with the usual reason phrase.
pub fn status_line(version: Version, status: StatusCode, out: &mut Vec<u8>) {
    start_line(
        &[
            version.as_str().as_bytes(),
            status.as_str().as_bytes(),
            reason(status).as_bytes(),
        ],
        out,
    );
}

/// Appends a status line with a reason phrase of the caller's.
///
/// # Errors
/// [`EncodeError::Reason`]; nothing has been appended then.
pub fn status_line_with(
    version: Version,
    status: StatusCode,
    reason: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if scan::value_end(reason) < reason.len() {
        return Err(EncodeError::Reason);
    }
    start_line(
        &[
            version.as_str().as_bytes(),
            status.as_str().as_bytes(),
            reason,
        ],
        out,
    );
    Ok(())
}

/// Appends all fields, a line each.
#[inline]
pub fn fields(fields: &Fields, out: &mut Vec<u8>) {
    fields.write_where(|_, _| true, out);
}

/// Appends the fields for which the function says so, a line each: how an intermediary leaves out what is meant for itself.
///
/// ```
/// use http_wire::{Fields, connection::HOP_BY_HOP, encode};
///
/// let mut fields = Fields::new();
/// fields.append("Connection", "close")?;
/// fields.append("Accept", "*/*")?;
/// let mut out = Vec::new();
/// encode::fields_where(&fields, |name, _| name.known().is_none_or(|known| !HOP_BY_HOP.contains(known)), &mut out);
/// assert_eq!(out, b"Accept: */*\r\n");
/// # Ok::<(), http_wire::FieldError>(())
/// ```
#[inline]
pub fn fields_where(
    fields: &Fields,
    mut keep: impl FnMut(FieldName<'_>, &[u8]) -> bool,
    out: &mut Vec<u8>,
) {
    let wanted = |fields: &Fields, entry: &fields::Entry| {
        let (name, value) = fields.view(entry);
        keep(name, value)
    };
    fields.write_where(wanted, out);
}

/// Appends one field line without making a [`Fields`] for it.
///
/// # Errors
/// [`FieldError`](crate::FieldError) as [`Fields::append`]; nothing has been appended then.
pub fn field(
    name: impl fields::Name,
    value: impl AsRef<[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), fields::FieldError> {
    if name.known().is_none() && !scan::is_token(name.bytes()) {
        return Err(fields::FieldError::Name);
    }
    let value = scan::trim(value.as_ref());
    if !scan::is_safe(value) {
        return Err(fields::FieldError::Value);
    }
    fields::write_line(name.bytes(), value, out);
    Ok(())
}

/// Appends `Content-Length` with this value.
pub fn content_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Length: ");
    scan::push_decimal(length, out);
    end(out);
}

/// Appends a number in decimal, as field values need it.
pub fn decimal(number: u64, out: &mut Vec<u8>) {
    scan::push_decimal(number, out);
}

/// Appends the empty line that ends a head or a trailer section.
#[inline]
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// The three parts of a start line and its end.
#[inline]
fn start_line(parts: &[&[u8]; 3], out: &mut Vec<u8>) {
    out.reserve(parts[0].len() + parts[1].len() + parts[2].len() + 4);
    out.extend_from_slice(parts[0]);
    out.push(b' ');
    out.extend_from_slice(parts[1]);
    out.push(b' ');
    out.extend_from_slice(parts[2]);
    end(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_response_without_reason_keeps_the_space() {
        let mut head = ResponseHead::new(StatusCode::from_u16(599).unwrap());
        head.version = Version::Http10;
        head.fields.append("A", "b").unwrap();
        let mut out = b"kept ".to_vec();
        response_head(&head, &mut out);
        assert_eq!(out, b"kept HTTP/1.0 599 \r\nA: b\r\n\r\n");
    }

    #[test]
    fn start_lines_cannot_be_broken_out_of() {
        let mut out = Vec::new();
        for target in ["", "/ HTTP/1.1", "/\r\nX: y", "/\n", "/\0", "/\t"] {
            let result = request_line(&Method::GET, target.as_bytes(), Version::Http11, &mut out);
            assert_eq!(result, Err(EncodeError::Target), "{target:?}");
        }
        for reason in ["a\r\nX: y", "a\n", "\0"] {
            let result =
                status_line_with(Version::Http11, StatusCode::OK, reason.as_bytes(), &mut out);
            assert_eq!(result, Err(EncodeError::Reason), "{reason:?}");
        }
        assert!(
            field("a", "b\r\nc: d", &mut out).is_err() && field("a\r\nb", "c", &mut out).is_err()
        );
        assert!(out.is_empty());
        let reason = Bytes::from_static(b"evil\r\nSet-Cookie: a=b");
        let head = ResponseHead {
            reason,
            ..ResponseHead::default()
        };
        response_head(&head, &mut out);
        assert_eq!(out, b"HTTP/1.1 200 OK\r\n\r\n");
    }

    #[test]
    fn single_lines() {
        let mut out = Vec::new();
        request_line(&Method::POST, b"/a?b", Version::Http10, &mut out).unwrap();
        field("X-A", " 1 ", &mut out).unwrap();
        content_length(1234, &mut out);
        end(&mut out);
        assert_eq!(
            out,
            b"POST /a?b HTTP/1.0\r\nX-A: 1\r\nContent-Length: 1234\r\n\r\n"
        );
    }
}
