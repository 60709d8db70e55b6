//! How much content follows a head (RFC 9112 §6).
//!
//! Where the RFC lets a recipient choose between repairing a message and refusing it, it is refused: two readers that repair
//! differently are how one request smuggles another.

use http::{Method, StatusCode};

use crate::fields::Fields;
use crate::head::{RequestHead, ResponseHead};
use crate::known::Known;
use crate::version::Version;
use crate::{list, scan};

/// How the end of a message's content is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no content: the message ends with its head.
    Empty,
    /// So many bytes. Never zero: that is [`Framing::Empty`].
    Length(u64),
    /// Chunks; see [`crate::chunked`].
    Chunked,
    /// Everything until the peer closes the connection. Responses only.
    UntilClose,
}

/// Fields that leave open where the content ends, or contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// A `Content-Length` that is anything but decimal digits; also a list, even of equal numbers.
    #[error("the value of \"Content-Length\" is not a number")]
    Length,
    /// A `Content-Length` above 18,446,744,073,709,551,615.
    #[error("the value of \"Content-Length\" is too large")]
    LengthTooLarge,
    /// More than one `Content-Length` line, equal or not.
    #[error("\"Content-Length\" is there more than once")]
    LengthRepeated,
    /// `Content-Length` beside `Transfer-Encoding`.
    #[error("\"Content-Length\" and \"Transfer-Encoding\" are both there")]
    LengthAndCoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    #[error("\"Transfer-Encoding\" in an HTTP/1.0 message")]
    CodingInHttp10,
    /// A `Transfer-Encoding` that is no list of codings: empty, with empty elements, with parameters to `chunked`, quoted.
    #[error("the value of \"Transfer-Encoding\" is malformed")]
    CodingMalformed,
    /// A transfer coding other than `chunked`; the answer is 501.
    #[error("a transfer coding other than \"chunked\" is not supported")]
    CodingUnknown,
    /// `chunked` is not the last coding, or is there twice.
    #[error("\"chunked\" is not the last transfer coding, or is there twice")]
    ChunkedNotLast,
}

impl FramingError {
    /// The status that answers a request with this fault: 501 for an unknown coding, else 400. A gateway that finds it in a response answers 502.
    pub fn status(&self) -> StatusCode {
        match self {
            FramingError::CodingUnknown => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// The framing of a request (RFC 9112 §6.3).
///
/// ```
/// use http_wire::{Fields, body::{Framing, FramingError, request_framing}, head::RequestHead};
///
/// let mut head = RequestHead::default();
/// assert_eq!(request_framing(&head), Ok(Framing::Empty));
/// head.fields.append("Content-Length", "5")?;
/// assert_eq!(request_framing(&head), Ok(Framing::Length(5)));
/// head.fields.append("Transfer-Encoding", "chunked")?;
/// assert_eq!(request_framing(&head), Err(FramingError::LengthAndCoding));
/// # Ok::<(), http_wire::FieldError>(())
/// ```
///
/// # Errors
/// [`FramingError`] when the end of the content is not beyond doubt. The connection must then be closed after the answer.
#[inline]
pub fn request_framing(head: &RequestHead) -> Result<Framing, FramingError> {
    fields_framing(head.version, &head.fields, Framing::Empty)
}

/// The framing of a response to a request with this method (RFC 9112 §6.3).
///
/// A response to HEAD and one with status 1xx, 204 or 304 has no content, whatever its fields say. Neither has a 2xx response to CONNECT or a 101: what
/// follows is the tunnel.
///
/// # Errors
/// [`FramingError`] when the end of the content is not beyond doubt.
pub fn response_framing(
    head: &ResponseHead,
    request_method: &Method,
) -> Result<Framing, FramingError> {
    let status = head.status;
    if never_has_content(status)
        || *request_method == Method::HEAD
        || (*request_method == Method::CONNECT && status.is_success())
    {
        return Ok(Framing::Empty);
    }
    fields_framing(head.version, &head.fields, Framing::UntilClose)
}

/// Whether responses with this status never have content: 1xx, 204, 304 (RFC 9110 §6.4.1).
pub fn never_has_content(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// The one `Content-Length` of a message, if it has one.
///
/// # Errors
/// [`FramingError`] when it is no number, or there are several.
pub fn content_length(fields: &Fields) -> Result<Option<u64>, FramingError> {
    let mut values = fields.get_all(Known::ContentLength);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(FramingError::LengthRepeated);
    }
    let all_digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    match scan::decimal(value) {
        Some(length) => Ok(Some(length)),
        None if all_digits => Err(FramingError::LengthTooLarge),
        None => Err(FramingError::Length),
    }
}

fn fields_framing(
    version: Version,
    fields: &Fields,
    otherwise: Framing,
) -> Result<Framing, FramingError> {
    if fields.contains(Known::TransferEncoding) {
        if version == Version::Http10 {
            return Err(FramingError::CodingInHttp10);
        }
        if fields.contains(Known::ContentLength) {
            return Err(FramingError::LengthAndCoding);
        }
        return only_chunked(fields);
    }
    match content_length(fields)? {
        Some(0) => Ok(Framing::Empty),
        Some(length) => Ok(Framing::Length(length)),
        None => Ok(otherwise),
    }
}

/// `chunked`, once, last, and nothing before it that we would have to decode.
fn only_chunked(fields: &Fields) -> Result<Framing, FramingError> {
    let mut chunked_seen = false;
    let mut unknown = false;
    for value in fields.get_all(Known::TransferEncoding) {
        // No empty elements: a reader that skips them and one that doesn't see different messages.
        for coding in value.split(|&byte| byte == b',').map(scan::trim) {
            if chunked_seen {
                return Err(FramingError::ChunkedNotLast);
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                chunked_seen = true;
            } else if is_coding(coding) {
                unknown = true;
            } else {
                return Err(FramingError::CodingMalformed);
            }
        }
    }
    if unknown {
        Err(FramingError::CodingUnknown)
    } else {
        Ok(Framing::Chunked)
    }
}

/// A token, perhaps with parameters, but not `chunked`, which has none.
fn is_coding(text: &[u8]) -> bool {
    let name = list::before(text, b';');
    scan::is_token(name) && !name.eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append(*name, value).unwrap();
        }
        fields
    }

    fn request(version: Version, lines: &[(&str, &str)]) -> Result<Framing, FramingError> {
        request_framing(&RequestHead {
            version,
            fields: fields(lines),
            ..RequestHead::default()
        })
    }

    fn response(
        status: u16,
        method: Method,
        lines: &[(&str, &str)],
    ) -> Result<Framing, FramingError> {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        head.fields = fields(lines);
        response_framing(&head, &method)
    }

    #[test]
    fn content_length_is_digits_and_there_once() {
        use FramingError::*;
        let with = |value: &str| request(Version::Http11, &[("Content-Length", value)]);
        assert_eq!(with("0"), Ok(Framing::Empty));
        assert_eq!(with("007"), Ok(Framing::Length(7)));
        assert_eq!(with("18446744073709551615"), Ok(Framing::Length(u64::MAX)));
        assert_eq!(with("18446744073709551616"), Err(LengthTooLarge));
        for value in [
            "", "+5", "-5", "5 5", "5, 5", "5,", "0x5", "5.0", "5;a", "\"5\"", "٣", "five",
        ] {
            assert_eq!(with(value), Err(Length), "{value:?}");
        }
        for second in ["5", "6"] {
            assert_eq!(
                request(
                    Version::Http11,
                    &[("Content-Length", "5"), ("content-length", second)]
                ),
                Err(LengthRepeated)
            );
        }
    }

    #[test]
    fn transfer_encoding_is_chunked_alone() {
        use FramingError::*;
        let with = |value: &str| request(Version::Http11, &[("Transfer-Encoding", value)]);
        assert_eq!(with("chunked"), Ok(Framing::Chunked));
        assert_eq!(with("CHUNKED"), Ok(Framing::Chunked));
        for (value, error) in [
            ("gzip, chunked", CodingUnknown),
            ("gzip", CodingUnknown),
            ("identity", CodingUnknown),
            ("xchunked", CodingUnknown),
            ("gzip;level=9, chunked", CodingUnknown),
            ("chunked, gzip", ChunkedNotLast),
            ("chunked, chunked", ChunkedNotLast),
            ("chunked, identity", ChunkedNotLast),
            ("chunked,", ChunkedNotLast),
            (",chunked", CodingMalformed),
            ("", CodingMalformed),
            ("chunked;q=1", CodingMalformed),
            ("\"chunked\"", CodingMalformed),
            ("chunked gzip", CodingMalformed),
            ("chunked\u{b}", CodingMalformed),
            ("x\u{e9}", CodingMalformed),
        ] {
            assert_eq!(with(value), Err(error), "{value:?}");
        }
        let twice = |first, second| {
            request(
                Version::Http11,
                &[("Transfer-Encoding", first), ("transfer-encoding", second)],
            )
        };
        assert_eq!(twice("chunked", "chunked"), Err(ChunkedNotLast));
        assert_eq!(twice("chunked", "identity"), Err(ChunkedNotLast));
        assert_eq!(twice("gzip", "chunked"), Err(CodingUnknown));
        assert_eq!(
            request(Version::Http10, &[("Transfer-Encoding", "chunked")]),
            Err(CodingInHttp10)
        );
        assert_eq!(
            request(
                Version::Http11,
                &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
            ),
            Err(LengthAndCoding)
        );
        assert_eq!(
            request(
                Version::Http11,
                &[("Transfer-Encoding", "chunked"), ("Content-Length", "x")]
            ),
            Err(LengthAndCoding)
        );
    }

    #[test]
    fn responses_without_content_have_none_whatever_the_fields_say() {
        let lines = [("Content-Length", "5"), ("Transfer-Encoding", "chunked")];
        for status in [100, 101, 103, 199, 204, 304] {
            assert_eq!(
                response(status, Method::GET, &lines),
                Ok(Framing::Empty),
                "{status}"
            );
        }
        assert_eq!(response(200, Method::HEAD, &lines), Ok(Framing::Empty));
        assert_eq!(response(200, Method::CONNECT, &lines), Ok(Framing::Empty));
        assert_eq!(
            response(404, Method::CONNECT, &lines[..1]),
            Ok(Framing::Length(5))
        );
    }

    #[test]
    fn other_responses_follow_their_fields_or_last_until_close() {
        assert_eq!(response(200, Method::GET, &[]), Ok(Framing::UntilClose));
        assert_eq!(
            response(205, Method::GET, &[("Content-Length", "0")]),
            Ok(Framing::Empty)
        );
        assert_eq!(
            response(200, Method::GET, &[("Transfer-Encoding", "chunked")]),
            Ok(Framing::Chunked)
        );
        assert_eq!(
            response(200, Method::GET, &[("Transfer-Encoding", "gzip")]),
            Err(FramingError::CodingUnknown)
        );
        assert_eq!(
            response(
                200,
                Method::GET,
                &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
            ),
            Err(FramingError::LengthAndCoding)
        );
        assert_eq!(
            response(200, Method::GET, &[("Content-Length", "5, 5")]),
            Err(FramingError::Length)
        );
    }

    #[test]
    fn only_an_unknown_coding_is_answered_with_501() {
        assert_eq!(FramingError::CodingUnknown.status(), 501);
        assert_eq!(FramingError::ChunkedNotLast.status(), 400);
        assert_eq!(FramingError::LengthAndCoding.status(), 400);
    }
}
