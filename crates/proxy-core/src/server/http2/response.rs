//! The head of a response: what the service said, and what the connection adds.

use std::time::Instant;

use http::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, SERVER};
use http::{Method, StatusCode};
use http_wire::fields::Fields;
use http_wire::{Known, Version};

use crate::server::http1::{date, encode};
use crate::server::service::Response;

/// What the request says about how a response can be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub method: &'a Method,
    pub websocket: bool,
    pub now: Instant,
}

/// How long the content of a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// There is none; what it would have had for GET.
    Nothing(Option<u64>),
    /// So many bytes.
    Exactly(u64),
    /// Nobody knows.
    Unknown,
}

impl Length {
    /// What `Content-Length` says.
    pub fn stated(self) -> Option<u64> {
        match self {
            Self::Nothing(length) => length,
            Self::Exactly(length) => Some(length),
            Self::Unknown => None,
        }
    }

    pub fn promised(self) -> Option<u64> {
        match self {
            Self::Exactly(length) => Some(length),
            _ => None,
        }
    }

    /// Whether the head is all of the response.
    pub fn is_nothing(self) -> bool {
        matches!(self, Self::Nothing(_) | Self::Exactly(0))
    }
}

/// Finds the length of the content: the same rules as HTTP/1's.
pub(super) fn length(asked: Asked<'_>, response: &Response) -> Length {
    let as_http1 = encode::Asked {
        method: asked.method,
        version: Version::Http11,
        keep_alive: true,
        now: asked.now,
    };
    match encode::decide(as_http1, response).framing {
        encode::Framing::Length(length) => Length::Exactly(length),
        encode::Framing::Chunked | encode::Framing::UntilClose => Length::Unknown,
        encode::Framing::Nothing | encode::Framing::Upgrade => {
            Length::Nothing(encode::length_without_content(as_http1, response))
        }
    }
}

/// Whether a response takes a WebSocket on: 101 in the words of HTTP/1, which bridges speak, or any 2xx.
pub(super) fn accepts(response: &Response) -> bool {
    response.status == StatusCode::SWITCHING_PROTOCOLS || response.status.is_success()
}

/// The head, and about how many bytes it has.
pub(super) fn head(
    asked: Asked<'_>,
    response: &Response,
    length: Option<u64>,
) -> (http::Response<()>, u64) {
    let mut head = http::Response::new(());
    *head.status_mut() = response.status;
    let fields = head.headers_mut();
    fields.reserve(response.fields.len() + 3);
    let known = response.fields.known_names();
    if let Some(server) = (response.ending.server).filter(|_| !known.contains(Known::Server)) {
        fields.insert(SERVER, HeaderValue::from_static(server));
    }
    if !known.contains(Known::Date) {
        fields.insert(DATE, date::value(asked.now));
    }
    take(&response.fields, fields, |name| {
        name != Some(Known::ContentLength)
            && !(asked.websocket && name == Some(Known::SecWebSocketAccept))
    });
    if let Some(length) = length {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let bytes: usize = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if asked.websocket && response.status == StatusCode::SWITCHING_PROTOCOLS {
        // RFC 8441 §5: success, and nothing of the handshake.
        *head.status_mut() = StatusCode::OK;
    }
    (head, bytes as u64)
}

/// An interim response.
pub(super) fn interim(status: StatusCode, fields: &Fields) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    take(fields, head.headers_mut(), |name| {
        name != Some(Known::ContentLength)
    });
    head
}

/// Takes over the fields that HTTP/2 has: none that belong to a connection (RFC 9113 §8.2.2).
fn take(from: &Fields, into: &mut HeaderMap, passes: impl Fn(Option<Known>) -> bool) {
    for (name, value) in from {
        let known = name.known();
        if is_connections(known) || !passes(known) {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            into.append(name, value);
        }
    }
}

fn is_connections(name: Option<Known>) -> bool {
    matches!(
        name,
        Some(
            Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::Te
                | Known::TransferEncoding
                | Known::Upgrade
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;

    fn asked(method: &Method) -> Asked<'_> {
        Asked {
            method,
            websocket: false,
            now: Instant::now(),
        }
    }

    fn response(status: u16, fields: &[(&str, &str)], body: Body) -> Response {
        let mut response = Response::new(StatusCode::from_u16(status).expect("a status"));
        for (name, value) in fields {
            response.fields.append(*name, *value).expect("a field");
        }
        response.body = body;
        response.ending.server = Some("test");
        response
    }

    #[test]
    fn fields_of_the_connection_are_left_out_and_names_are_small() {
        let fields = [
            ("Connection", "close"),
            ("Keep-Alive", "timeout=3"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("X-Own", "a"),
            ("Set-Cookie", "a"),
            ("Set-Cookie", "b"),
            ("Content-Length", "7"),
        ];
        let response = response(200, &fields, Body::from("1234567"));
        let length = length(asked(&Method::GET), &response);
        let (head, _) = head(asked(&Method::GET), &response, length.stated());
        let names: Vec<&str> = head
            .headers()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "server",
                "date",
                "x-own",
                "set-cookie",
                "set-cookie",
                "content-length"
            ]
        );
        assert_eq!(head.headers()["content-length"], "7");
    }

    #[test]
    fn lengths_are_found_as_http_1_finds_them() {
        let of = |method: &Method, response: Response| length(asked(method), &response);
        let body = || Body::from("12345");
        assert_eq!(
            of(&Method::GET, response(200, &[], body())),
            Length::Exactly(5)
        );
        assert_eq!(
            of(&Method::HEAD, response(200, &[], body())),
            Length::Nothing(Some(5))
        );
        assert_eq!(
            of(&Method::GET, response(204, &[], body())),
            Length::Nothing(None)
        );
        assert_eq!(
            of(
                &Method::GET,
                response(304, &[("Content-Length", "9")], Body::Empty)
            ),
            Length::Nothing(Some(9))
        );
        assert!(of(&Method::GET, response(200, &[], Body::Empty)).is_nothing());
    }

    #[test]
    fn a_websocket_is_taken_on_with_200() {
        let method = Method::CONNECT;
        let asked = Asked {
            websocket: true,
            ..asked(&method)
        };
        let fields = [
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Accept", "x"),
            ("Sec-WebSocket-Protocol", "chat"),
        ];
        let response = response(101, &fields, Body::Empty);
        assert!(accepts(&response));
        let (head, _) = head(asked, &response, None);
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(head.headers().len(), 3, "{:?}", head.headers());
        assert_eq!(head.headers()["sec-websocket-protocol"], "chat");
    }
}
