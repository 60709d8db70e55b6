//! Heads of requests: from HTTP/2's to the form that everything behind a connection knows.
//!
//! A head is written as HTTP/1.1 would have it and read by the very parser that reads those of HTTP/1 connections, under the same
//! limits. So what a request may be (methods, targets, names, sizes, `Host`) cannot differ by the protocol it came by, and what this
//! makes can be passed on as it is.

use http::Method;
use http::header::{COOKIE, HOST};
use http::request::Parts;
use http_wire::Version;
use http_wire::head::{HeadLimits, RequestError, RequestHead, RequestParser, SectionError};

use crate::server::heads;
use crate::server::service::Refusal;

/// What a request asks for besides an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// A WebSocket (RFC 8441): CONNECT with `:protocol`.
    WebSocket,
}

/// A head that was understood.
#[derive(Debug)]
pub(super) struct Heard {
    pub head: RequestHead,
    pub kind: Kind,
    /// How many bytes it would have had in HTTP/1.1.
    pub bytes: u64,
}

/// A head that is refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub refusal: Refusal,
    /// What was understood of it.
    pub head: RequestHead,
}

/// Reads a head.
pub(super) fn read(parts: &Parts, limits: &HeadLimits) -> Result<Heard, Box<Refused>> {
    let mut head = heads::spare();
    match translate(parts, limits, &mut head) {
        Ok((kind, bytes)) => Ok(Heard { head, kind, bytes }),
        Err(error) => {
            head.version = Version::Http2;
            Err(Box::new(Refused {
                refusal: Refusal::Head(error),
                head,
            }))
        }
    }
}

/// About how many bytes a head has.
pub(super) fn size(parts: &Parts) -> u64 {
    let fields = parts.headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    (parts.method.as_str().len() + target + fields.sum::<usize>()) as u64
}

fn translate(
    parts: &Parts,
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<(Kind, u64), RequestError> {
    let kind = match parts.extensions.get::<h2::ext::Protocol>() {
        None if parts.method == Method::CONNECT => return Err(RequestError::TargetForm),
        None => Kind::Plain,
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => Kind::WebSocket,
        Some(_) => return Err(RequestError::TargetForm),
    };
    let text = as_text(parts, kind)?;
    let mut own = limits.clone();
    // The authority is no field here.
    own.fields += usize::from(parts.uri.authority().is_some());
    let parsed = RequestParser::new(own).parse(&text, head);
    let used = parsed.map_err(|error| match error {
        RequestError::Section(SectionError::TooManyFields { .. }) => {
            let limit = limits.fields;
            SectionError::TooManyFields { limit }.into()
        }
        other => other,
    })?;
    if used != Some(text.len()) {
        // Not all of it: something in it ended the head.
        return Err(RequestError::Line);
    }
    head.version = Version::Http2;
    if kind == Kind::WebSocket {
        head.method = Method::CONNECT;
    }
    Ok((kind, text.len() as u64))
}

fn as_text(parts: &Parts, kind: Kind) -> Result<Vec<u8>, RequestError> {
    let mut text = Vec::with_capacity(512);
    // CONNECT has another form of target there; what matters here is the path.
    let method = match kind {
        Kind::Plain => parts.method.as_str(),
        Kind::WebSocket => "GET",
    };
    let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    text.extend_from_slice(method.as_bytes());
    text.push(b' ');
    text.extend_from_slice(target.as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\n");
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    if let Some(authority) = authority {
        line(&mut text, "host", authority.as_bytes());
    }
    let mut cookies_done = false;
    for (name, value) in &parts.headers {
        if name == HOST
            && let Some(authority) = authority
        {
            // A second one, or one that says something else, is malformed (RFC 9113 §8.3.1).
            let same = value.as_bytes().eq_ignore_ascii_case(authority.as_bytes());
            if !same || parts.headers.get_all(HOST).iter().count() > 1 {
                return Err(RequestError::Host);
            }
        } else if name == COOKIE {
            if !std::mem::replace(&mut cookies_done, true) {
                let all: Vec<&[u8]> = (parts.headers.get_all(COOKIE).iter())
                    .map(http::HeaderValue::as_bytes)
                    .collect();
                // One line again (RFC 9113 §8.2.3).
                line(&mut text, "cookie", &all.join(&b"; "[..]));
            }
        } else {
            line(&mut text, name.as_str(), value.as_bytes());
        }
    }
    text.extend_from_slice(b"\r\n");
    Ok(text)
}

fn line(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_wire::Known;
    use http_wire::head::{HeadPolicy, MethodCharacters, MethodRule};

    use super::*;

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn heard(
        method: &str,
        uri: &str,
        fields: &[(&str, &str)],
    ) -> Result<RequestHead, RequestError> {
        match read(&parts(method, uri, fields), &HeadLimits::default()) {
            Ok(heard) => Ok(heard.head),
            Err(refused) => match refused.refusal {
                Refusal::Head(error) => Err(error),
                other => panic!("{other}"),
            },
        }
    }

    #[test]
    fn a_head_says_what_http_1_would_have_said() {
        let head = heard(
            "POST",
            "https://shop.test/a%20b?q=1",
            &[
                ("cookie", "a=1"),
                ("x-y", " v "),
                ("cookie", "b=2"),
                ("content-length", "3"),
            ],
        )
        .expect("is well formed");
        assert_eq!(head.version, Version::Http2);
        assert_eq!(head.target.as_bytes(), b"/a%20b?q=1");
        assert_eq!(head.fields.get(Known::Host), Some(&b"shop.test"[..]));
        assert_eq!(
            head.fields.get_single(Known::Cookie),
            Some(&b"a=1; b=2"[..])
        );
        assert_eq!(head.fields.get("X-Y"), Some(&b"v"[..]));
    }

    #[test]
    fn host_and_authority_must_agree_and_one_must_be_there() {
        assert!(heard("GET", "https://shop.test/", &[("host", "SHOP.test")]).is_ok());
        assert!(heard("GET", "/", &[("host", "shop.test")]).is_ok());
        assert_eq!(heard("GET", "/", &[]).err(), Some(RequestError::NoHost));
        for hosts in [
            &[("host", "other.test")][..],
            &[("host", "shop.test"), ("host", "shop.test")],
        ] {
            let told = heard("GET", "https://shop.test/", hosts).err();
            assert_eq!(told, Some(RequestError::Host), "{hosts:?}");
        }
        assert!(heard("GET", "/", &[("host", "a"), ("host", "a")]).is_err());
    }

    #[test]
    fn the_limits_are_those_of_http_1() {
        let long = format!("https://a.test/{}", "x".repeat(9000));
        assert!(matches!(
            heard("GET", &long, &[]),
            Err(RequestError::LineTooLong { .. })
        ));
        let many: Vec<(String, &str)> = (0..101).map(|at| (format!("f-{at}"), "v")).collect();
        let many: Vec<(&str, &str)> = many
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        assert!(heard("GET", "https://a.test/", &many[..100]).is_ok());
        let refused = heard("GET", "https://a.test/", &many).expect_err("too many");
        assert_eq!(
            refused.status(),
            http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        );
        let strict = HeadLimits {
            policy: HeadPolicy {
                method: MethodRule {
                    characters: MethodCharacters::NoSmallLetters,
                    ..MethodRule::default()
                },
                ..HeadPolicy::default()
            },
            ..HeadLimits::default()
        };
        assert!(read(&parts("get", "https://a.test/", &[]), &strict).is_err());
    }

    #[test]
    fn connect_is_for_websockets_only() {
        assert!(heard("CONNECT", "shop.test:443", &[]).is_err());
        let mut asked = parts(
            "CONNECT",
            "https://shop.test/chat?x",
            &[("sec-websocket-version", "13")],
        );
        asked
            .extensions
            .insert(h2::ext::Protocol::from_static("websocket"));
        let heard = read(&asked, &HeadLimits::default()).expect("is one");
        assert_eq!(
            (heard.kind, heard.head.method),
            (Kind::WebSocket, Method::CONNECT)
        );
        assert_eq!(heard.head.target.path(), b"/chat");
        asked
            .extensions
            .insert(h2::ext::Protocol::from_static("connect-udp"));
        assert!(read(&asked, &HeadLimits::default()).is_err());
    }
}
