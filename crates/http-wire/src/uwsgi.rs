//! Packets of the uwsgi protocol: a request as gateways such as nginx (`uwsgi_pass`) hand it on.
//!
//! Four bytes (modifier 1, size in little-endian order, modifier 2), then variables as CGI has them, each a key and a value with their
//! sizes in front; then the content, as long as `CONTENT_LENGTH` says. [`parse`] makes a [`RequestHead`] of it.

use std::borrow::Cow;

use http::{Method, StatusCode};

use crate::Version;
use crate::fields::Fields;
use crate::head::{RequestHead, Target, TargetRule};
use crate::path::decode;

/// Most variables of a packet.
pub const VARIABLES_MAX: usize = 1000;
/// Bytes in front of the variables.
pub const FIXED_BYTES: usize = 4;
/// The longest packet.
pub const BYTES_MAX: usize = FIXED_BYTES + u16::MAX as usize;

/// A request that came in a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UwsgiRequest {
    /// Method, target and fields; the version is always 1.1.
    pub head: RequestHead,
    /// `HTTPS` (or `wsgi.url_scheme`) says that the client's connection is encrypted.
    pub https: bool,
    /// Bytes of content that follow the packet; 0 where `CONTENT_LENGTH` is absent, empty, or no number.
    pub content_length: u64,
}

/// A packet that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UwsgiError {
    /// The packet is no request of WSGI; the answer is 501.
    #[error("the uwsgi packet has modifier {0}; only requests of WSGI (modifier 0) are known")]
    Modifier(u8),
    /// A size leads out of the packet.
    #[error("the uwsgi packet has a variable that does not end within it")]
    Truncated,
    /// More than [`VARIABLES_MAX`] variables.
    #[error("the uwsgi packet has more than {VARIABLES_MAX} variables")]
    TooMany,
    /// `REQUEST_METHOD` is no method.
    #[error("REQUEST_METHOD in the uwsgi packet is no method")]
    Method,
    /// `PATH_INFO` and `QUERY_STRING` make no request target.
    #[error("PATH_INFO and QUERY_STRING in the uwsgi packet make no request target")]
    Target,
    /// The name or value of a variable cannot be that of a field.
    #[error("the uwsgi packet has a variable that cannot be a field")]
    Field,
}

impl UwsgiError {
    /// The status that answers it: 400 or 501.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Modifier(_) => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// The size of the packet that begins with these bytes.
///
/// ```
/// assert_eq!(http_wire::uwsgi::size([0, 0x34, 0x12, 0]), Ok(0x1238));
/// assert!(http_wire::uwsgi::size(*b"GET ").is_err());
/// ```
///
/// # Errors
/// [`UwsgiError::Modifier`].
pub fn size(fixed: [u8; FIXED_BYTES]) -> Result<usize, UwsgiError> {
    let [modifier, low, high, _] = fixed;
    match modifier {
        0 => Ok(FIXED_BYTES + usize::from(u16::from_le_bytes([low, high]))),
        other => Err(UwsgiError::Modifier(other)),
    }
}

/// Reads a packet that is complete: [`size`] bytes of it.
///
/// `HTTP_` variables, `CONTENT_TYPE` and `CONTENT_LENGTH` become fields; of a key that is there twice the last value counts. Other
/// variables are left out, as gunicorn does. The target is `REQUEST_URI` where that means the same as `PATH_INFO` and `QUERY_STRING`, and
/// is made of those otherwise.
///
/// # Errors
/// [`UwsgiError`].
pub fn parse(packet: &[u8]) -> Result<UwsgiRequest, UwsgiError> {
    let (fixed, rest) = packet
        .split_first_chunk::<FIXED_BYTES>()
        .ok_or(UwsgiError::Truncated)?;
    let wanted = size(*fixed)? - FIXED_BYTES;
    let variables = read(rest.get(..wanted).ok_or(UwsgiError::Truncated)?)?;
    let value = |key: &str| {
        let last = variables.iter().rev().find(|(k, _)| *k == key.as_bytes());
        last.map(|(_, value)| *value)
    };
    let method = Method::from_bytes(value("REQUEST_METHOD").unwrap_or(b"GET"))
        .map_err(|_| UwsgiError::Method)?;
    let target = target(
        &method,
        value("PATH_INFO").unwrap_or(b"/"),
        value("QUERY_STRING").unwrap_or_default(),
        value("REQUEST_URI"),
    )?;
    let on = |value: &[u8]| {
        [&b"on"[..], b"1", b"true"]
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word))
    };
    let https = value("HTTPS").is_some_and(on) || value("wsgi.url_scheme") == Some(b"https");
    let content_length = value("CONTENT_LENGTH").and_then(number).unwrap_or(0);
    Ok(UwsgiRequest {
        head: RequestHead {
            method,
            target,
            version: Version::Http11,
            fields: fields(&variables)?,
        },
        https,
        content_length,
    })
}

/// Key and value.
type Variable<'a> = (&'a [u8], &'a [u8]);

/// Takes the variables apart.
fn read(mut rest: &[u8]) -> Result<Vec<Variable<'_>>, UwsgiError> {
    let mut text = || {
        if rest.is_empty() {
            return Ok(None);
        }
        let (size, after) = rest.split_first_chunk().ok_or(UwsgiError::Truncated)?;
        let size = usize::from(u16::from_le_bytes(*size));
        let (text, after) = after.split_at_checked(size).ok_or(UwsgiError::Truncated)?;
        rest = after;
        Ok(Some(text))
    };
    let mut variables = Vec::new();
    while let Some(key) = text()? {
        if variables.len() == VARIABLES_MAX {
            return Err(UwsgiError::TooMany);
        }
        variables.push((key, text()?.ok_or(UwsgiError::Truncated)?));
    }
    Ok(variables)
}

/// A number without sign and white space.
fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    text.parse().ok()
}

fn target(
    method: &Method,
    path: &[u8],
    query: &[u8],
    uri: Option<&[u8]>,
) -> Result<Target, UwsgiError> {
    let rule = TargetRule {
        fragment: true,
        ..TargetRule::default()
    };
    let parse = |wire: &[u8]| Target::parse(wire, method, &rule).map_err(|_| UwsgiError::Target);
    if let Some(target) = uri.and_then(|uri| parse(uri).ok())
        && decode(target.path()) == path
        && target.query().unwrap_or_default() == query
    {
        return Ok(target);
    }
    let mut wire = encoded(path);
    if !query.is_empty() {
        wire.push(b'?');
        wire.extend_from_slice(query);
    }
    parse(&wire)
}

/// The path with everything escaped that must not stand in a target as it is.
fn encoded(path: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(path.len() + 16);
    for &byte in path {
        if byte.is_ascii_graphic() && !matches!(byte, b'%' | b'?' | b'#') {
            wire.push(byte);
            continue;
        }
        let digit = |four: u8| b"0123456789ABCDEF"[usize::from(four)];
        wire.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
    }
    wire
}

fn fields(variables: &[Variable<'_>]) -> Result<Fields, UwsgiError> {
    let mut fields = Fields::new();
    for (key, value) in variables {
        if let Some(name) = field_name(key) {
            let name = std::str::from_utf8(&name).map_err(|_| UwsgiError::Field)?;
            // Gateways name what is absent too, with an empty value.
            let absent = match name {
                "CONTENT-TYPE" => value.is_empty(),
                "CONTENT-LENGTH" => number(value).is_none(),
                _ => false,
            };
            if absent {
                fields.remove(name);
                continue;
            }
            fields.set(name, value).map_err(|_| UwsgiError::Field)?;
        }
    }
    Ok(fields)
}

/// The field that a variable stands for.
fn field_name(key: &[u8]) -> Option<Cow<'static, [u8]>> {
    match key {
        b"CONTENT_TYPE" => Some(Cow::Borrowed(b"CONTENT-TYPE")),
        b"CONTENT_LENGTH" => Some(Cow::Borrowed(b"CONTENT-LENGTH")),
        _ => {
            let mut name = key.strip_prefix(b"HTTP_")?.to_vec();
            name.iter_mut()
                .filter(|byte| **byte == b'_')
                .for_each(|byte| *byte = b'-');
            Some(Cow::Owned(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(variables: &[(&str, &str)]) -> Vec<u8> {
        let text = |text: &str| {
            let size = u16::try_from(text.len()).expect("fits").to_le_bytes();
            [&size[..], text.as_bytes()].concat()
        };
        let variables: Vec<u8> = variables
            .iter()
            .flat_map(|(key, value)| [text(key), text(value)].concat())
            .collect();
        let size = u16::try_from(variables.len()).expect("fits").to_le_bytes();
        [&[0][..], &size, &[0], &variables].concat()
    }

    fn read(variables: &[(&str, &str)]) -> Result<UwsgiRequest, UwsgiError> {
        parse(&packet(variables))
    }

    #[test]
    fn what_nginx_sends_becomes_a_head() {
        let request = read(&[
            ("QUERY_STRING", "a=1&b=%20"),
            ("REQUEST_METHOD", "POST"),
            ("CONTENT_TYPE", "text/plain"),
            ("CONTENT_LENGTH", "12"),
            ("REQUEST_URI", "/caf%C3%A9/x?a=1&b=%20"),
            ("PATH_INFO", "/caf\u{e9}/x"),
            ("DOCUMENT_ROOT", "/usr/share/nginx/html"),
            ("SERVER_PROTOCOL", "HTTP/2.0"),
            ("HTTPS", "on"),
            ("HTTP_HOST", "shop.example"),
            ("HTTP_X_FORWARDED_FOR", "192.0.2.1"),
        ])
        .expect("is read");
        assert_eq!(request.head.method, Method::POST);
        assert_eq!(request.head.target.as_bytes(), b"/caf%C3%A9/x?a=1&b=%20");
        assert_eq!((request.https, request.content_length), (true, 12));
        let fields: Vec<_> = request
            .head
            .fields
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
            .collect();
        assert_eq!(
            fields,
            [
                "CONTENT-TYPE: text/plain",
                "CONTENT-LENGTH: 12",
                "HOST: shop.example",
                "X-FORWARDED-FOR: 192.0.2.1",
            ]
        );
    }

    #[test]
    fn the_target_is_made_of_the_path_where_the_gateway_changed_it() {
        for (uri, path, query, target) in [
            ("/a//b?c", "/a/b", "c", "/a/b?c"),
            ("/a%2525", "/a%25", "", "/a%2525"),
            ("/x", "/a b?c%", "", "/a%20b%3Fc%25"),
            ("", "/", "", "/"),
            ("/a?b", "/a", "", "/a"),
            ("http://h/a", "/a", "", "http://h/a"),
        ] {
            let request = read(&[
                ("REQUEST_URI", uri),
                ("PATH_INFO", path),
                ("QUERY_STRING", query),
            ]);
            let head = request.expect("is read").head;
            assert_eq!(head.target.as_bytes(), target.as_bytes(), "{uri}");
            assert_eq!(*decode(head.target.path()), *path.as_bytes());
        }
        let bare = parse(&packet(&[])).expect("is read");
        assert_eq!(bare.head, RequestHead::default());
    }

    #[test]
    fn a_length_that_is_no_number_is_none() {
        for (text, length) in [("", 0), ("-1", 0), ("1x", 0), (" 1", 0), ("7", 7)] {
            let request = read(&[("CONTENT_LENGTH", text), ("CONTENT_TYPE", "")]).expect("is read");
            assert_eq!(request.content_length, length, "{text:?}");
            assert_eq!(request.head.fields.len(), usize::from(length > 0));
        }
    }

    #[test]
    fn the_last_of_two_counts_and_https_has_several_spellings() {
        let https = |key, value| read(&[(key, value)]).expect("is read").https;
        assert!(https("HTTPS", "ON") && https("HTTPS", "1") && https("wsgi.url_scheme", "https"));
        assert!(!https("HTTPS", "off") && !https("HTTP_HTTPS", "on"));
        let twice = read(&[("HTTP_A", "1"), ("HTTP_A", "2")]).expect("is read");
        assert_eq!(twice.head.fields.get("a"), Some(&b"2"[..]));
    }

    #[test]
    fn broken_packets_are_refused() {
        let whole = packet(&[("PATH_INFO", "/"), ("HTTP_A", "b")]);
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Err(UwsgiError::Truncated), "{end}");
        }
        // Sizes that lead out of the packet, which is complete.
        for rest in [
            &b"\x01"[..],
            b"\x02\0a",
            b"\x01\0a",
            b"\x01\0a\x01",
            b"\x01\0a\x02\0b",
        ] {
            let wire = [&[0, rest.len() as u8, 0, 0], rest].concat();
            assert_eq!(parse(&wire), Err(UwsgiError::Truncated), "{rest:?}");
        }
        for (variables, error) in [
            (&[("REQUEST_METHOD", "G T")][..], UwsgiError::Method),
            (&[("PATH_INFO", "a")], UwsgiError::Target),
            (&[("QUERY_STRING", "a b")], UwsgiError::Target),
            (&[("HTTP_A", "b\r\nC: d")], UwsgiError::Field),
            (&[("HTTP_A B", "c")], UwsgiError::Field),
            (&[("HTTP_", "c")], UwsgiError::Field),
        ] {
            assert_eq!(read(variables), Err(error), "{variables:?}");
        }
        assert_eq!(parse(b"GET / HTTP/1.1"), Err(UwsgiError::Modifier(b'G')));
        assert_eq!(UwsgiError::Modifier(5).status().as_u16(), 501);
        assert_eq!(UwsgiError::Field.status().as_u16(), 400);
    }

    #[test]
    fn variables_are_counted() {
        let many = |count| packet(&vec![("A", ""); count]);
        assert!(parse(&many(VARIABLES_MAX)).is_ok());
        assert_eq!(parse(&many(VARIABLES_MAX + 1)), Err(UwsgiError::TooMany));
    }
}
