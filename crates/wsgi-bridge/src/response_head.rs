//! The head of a response, read from what an application gave to `start_response`, and checked.

use bytes::Bytes;
use http::StatusCode;
use http_wire::Known;
use http_wire::fields::Fields;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use crate::text;

/// The head of a response, checked.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub status: StatusCode,
    /// Where the application's phrase is not the usual one.
    pub reason: Option<Bytes>,
    pub fields: Fields,
    /// What the application promises in `Content-Length`, which is not among the fields.
    pub content_length: Option<u64>,
}

impl Head {
    /// The fields, with the promised length.
    pub fn fields_with_length(&self) -> Fields {
        let mut fields = self.fields.clone();
        if let Some(length) = self.content_length {
            append_length(length, &mut fields);
        }
        fields
    }
}

/// Adds `Content-Length`.
pub(crate) fn append_length(length: u64, fields: &mut Fields) {
    let appended = fields.append(Known::ContentLength, itoa::Buffer::new().format(length));
    debug_assert!(appended.is_ok(), "a number and a known name");
}

/// Reads and checks what was given to `start_response`.
pub(crate) fn read_head(status: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<Head> {
    let Ok(text) = status.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!(
            "status must be a str, got {}",
            repr(status)
        )));
    };
    let (status, reason) = read_status(text::borrow(text)?)
        .ok_or_else(|| PyValueError::new_err(format!("Invalid status {}", repr(status))))?;
    if status.is_informational() {
        let fault = format!(
            "status {} is interim; a response needs a final one (200 and up)",
            status.as_u16()
        );
        return Err(PyValueError::new_err(fault));
    }
    let mut head = Head {
        status,
        reason,
        ..Head::default()
    };
    let mut scratch = Vec::new();
    if let Ok(list) = headers.cast_exact::<PyList>() {
        head.fields = Fields::with_capacity(list.len(), list.len() * 40);
        for item in list {
            read_field(&item, &mut head, &mut scratch)?;
        }
    } else {
        for item in headers.try_iter()? {
            read_field(&item?, &mut head, &mut scratch)?;
        }
    }
    if status == StatusCode::NO_CONTENT {
        head.content_length = None;
    }
    Ok(head)
}

/// `200 OK`: three digits, and a phrase behind one space (PEP 3333; RFC 9112 §4).
fn read_status(text: &str) -> Option<(StatusCode, Option<Bytes>)> {
    let (digits, phrase) = text.split_at_checked(3)?;
    let status = StatusCode::from_bytes(digits.as_bytes()).ok()?;
    let Some(phrase) = phrase.strip_prefix(' ') else {
        return phrase.is_empty().then_some((status, None));
    };
    if Some(phrase) == status.canonical_reason() {
        return Some((status, None));
    }
    let mut bytes = Vec::new();
    text::append_latin1(phrase, &mut bytes).ok()?;
    is_field_text(&bytes).then(|| (status, Some(bytes.into())))
}

pub(crate) fn read_field(
    item: &Bound<'_, PyAny>,
    head: &mut Head,
    scratch: &mut Vec<u8>,
) -> PyResult<()> {
    match item.cast_exact::<PyTuple>() {
        Ok(pair) if pair.len() == 2 => {
            let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
            read_pair(&name, &value, head, scratch)
        }
        _ => {
            let (name, value) = pair_of(item)?;
            read_pair(&name, &value, head, scratch)
        }
    }
}

/// A name and a value from whatever Python would unpack to two: PEP 3333 wants tuples, applications also give lists.
pub(crate) fn pair_of<'py>(
    item: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let no_pair = || {
        PyTypeError::new_err(format!(
            "a header must be a pair of name and value, got {}",
            repr(item)
        ))
    };
    let mut members = item.try_iter().map_err(|_| no_pair())?;
    match (members.next(), members.next(), members.next()) {
        (Some(name), Some(value), None) => Ok((name?, value?)),
        _ => Err(no_pair()),
    }
}

fn read_pair(
    name: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
    head: &mut Head,
    scratch: &mut Vec<u8>,
) -> PyResult<()> {
    let Ok(name) = name.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!(
            "header name must be a str, got {}",
            repr(name)
        )));
    };
    let Ok(value) = value.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!(
            "value of header {} must be a str, got {}",
            repr(name),
            repr(value)
        )));
    };
    let (name_text, value_text) = (text::borrow(name)?, text::borrow(value)?);
    // Only the name is told: the value may be a secret.
    let refuse = || {
        PyValueError::new_err(format!(
            "value of header {} has characters that cannot be sent",
            repr(name)
        ))
    };
    let value_bytes = if value_text.is_ascii() {
        value_text.as_bytes()
    } else {
        scratch.clear();
        text::append_latin1(value_text, scratch).map_err(|_| refuse())?;
        &scratch[..]
    };
    if !is_field_text(value_bytes) {
        return Err(refuse());
    }
    let known = Known::find(name_text.as_bytes());
    match known {
        Some(Known::ContentLength) => return read_length(value_text, head),
        Some(known) if belongs_to_the_connection(known) && !is_websocket(known, value_bytes) => {
            return Ok(());
        }
        None if name_text.eq_ignore_ascii_case("trailers") => return Ok(()),
        Some(known) if known.as_str() == name_text => head.fields.append(known, value_bytes),
        _ => head.fields.append(name_text, value_bytes),
    }
    .map_err(|error| PyValueError::new_err(format!("Invalid HTTP header {}: {error}", repr(name))))
}

fn read_length(value: &str, head: &mut Head) -> PyResult<()> {
    let value = value.trim_matches([' ', '\t']);
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let length = value.parse::<u64>().ok().filter(|_| digits);
    let Some(length) = length else {
        return Err(PyValueError::new_err(format!(
            "Content-Length {value:?} is not a number of bytes"
        )));
    };
    if head.content_length.is_some_and(|before| before != length) {
        return Err(PyValueError::new_err(
            "two different values of Content-Length",
        ));
    }
    head.content_length = Some(length);
    Ok(())
}

/// Fields that are the server's to send, so that an application's are left out (PEP 3333 forbids it to send them).
fn belongs_to_the_connection(name: Known) -> bool {
    use Known::{
        Connection, Date, KeepAlive, ProxyAuthenticate, ProxyAuthorization, ProxyConnection,
        Server, Te, TransferEncoding, Upgrade,
    };
    matches!(
        name,
        Connection
            | Date
            | KeepAlive
            | ProxyAuthenticate
            | ProxyAuthorization
            | ProxyConnection
            | Server
            | Te
            | TransferEncoding
            | Upgrade
    )
}

fn is_websocket(name: Known, value: &[u8]) -> bool {
    name == Known::Upgrade && value.trim_ascii().eq_ignore_ascii_case(b"websocket")
}

/// RFC 9110 §5.5: visible characters, spaces, tabs, and bytes from 0x80 up.
pub fn is_field_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

fn repr(object: &Bound<'_, PyAny>) -> String {
    object.repr().map_or_else(
        |_| "?".to_owned(),
        |text| text.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::with_python;

    /// Calls `start_response` with Python's `(status, headers)` and gives the head or the exception's text.
    fn start(arguments: &std::ffi::CStr) -> Result<Head, String> {
        with_python(|py| {
            let pair = py.eval(arguments, None, None).expect("evaluates");
            read_head(
                &pair.get_item(0).expect("has a status"),
                &pair.get_item(1).expect("has headers"),
            )
            .map_err(|error| error.to_string())
        })
    }

    fn lines(head: &Head) -> Vec<String> {
        let line = |(name, value): (http_wire::fields::FieldName<'_>, &[u8])| {
            format!("{}: {}", name.as_str(), String::from_utf8_lossy(value))
        };
        head.fields.iter().map(line).collect()
    }

    #[test]
    fn fields_keep_order_spelling_and_repetition_and_the_servers_own_are_left_out() {
        let head = start(
            cr"('200 OK', [('x-Odd', ' a\t'), ('Date', 'never'), ('Server', 'x'), ('Set-Cookie', 'a=1'), ('Connection', 'close'),
              ('Set-Cookie', 'b=2'), ('Transfer-Encoding', 'chunked'), ('Content-Length', '12'), ('Keep-Alive', '5')])",
        )
        .expect("is accepted");
        assert_eq!(
            lines(&head),
            ["x-Odd: a", "Set-Cookie: a=1", "Set-Cookie: b=2"]
        );
        assert_eq!(
            (head.status.as_u16(), head.reason, head.content_length),
            (200, None, Some(12))
        );
    }

    #[test]
    fn a_phrase_of_ones_own_is_kept_and_latin1_is_sent_as_latin1() {
        let head =
            start(cr"('404 Rien trouv\xe9', iter([('X-Name', 'caf\xe9')]))").expect("is accepted");
        assert_eq!(head.reason.as_deref(), Some(&b"Rien trouv\xe9"[..]));
        assert_eq!(head.fields.get("x-name"), Some(&b"caf\xe9"[..]));
        assert_eq!(
            start(cr"('404 Not Found', ())")
                .expect("is accepted")
                .reason,
            None
        );
    }

    #[test]
    fn nothing_that_could_split_a_response_is_accepted() {
        for bad in [
            cr"('200 OK\r\nX: y', [])",
            cr"('200 O\0K', [])",
            cr"('20', [])",
            cr"('200OK', [])",
            cr"('099 Low', [])",
            cr"('100 Continue', [])",
            cr"('200 \u20ac', [])",
            cr"(b'200 OK', [])",
            cr"('200 OK', [('X', 'a\r\nSet-Cookie: b')])",
            cr"('200 OK', [('X', 'a\nb')])",
            cr"('200 OK', [('X', 'a\x7fb')])",
            cr"('200 OK', [('X', 'a\0')])",
            cr"('200 OK', [('X', '\u20ac')])",
            cr"('200 OK', [('X', '\ud800')])",
            cr"('200 OK', [('X Y', 'a')])",
            cr"('200 OK', [('X:', 'a')])",
            cr"('200 OK', [('', 'a')])",
            cr"('200 OK', [('X\r\n', 'a')])",
            cr"('200 OK', [(b'X', 'a')])",
            cr"('200 OK', [('X', b'a')])",
            cr"('200 OK', [('X', 'a', 'b')])",
            cr"('200 OK', None)",
            cr"('200 OK', [('Content-Length', '1'), ('Content-Length', '2')])",
            cr"('200 OK', [('Content-Length', '-1')])",
            cr"('200 OK', [('Content-Length', '1_0')])",
            cr"('200 OK', [('Content-Length', '')])",
        ] {
            assert!(start(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_value_of_a_refused_field_is_not_told() {
        let fault = start(cr"('200 OK', [('X-Token', 'secret\n')])").expect_err("is refused");
        assert!(
            fault.contains("X-Token") && !fault.contains("secret"),
            "{fault}"
        );
    }

    #[test]
    fn a_204_has_no_length() {
        let head = start(cr"('204 No Content', [('Content-Length', '0')])").expect("is accepted");
        assert_eq!((lines(&head), head.content_length), (vec![], None));
    }
}
