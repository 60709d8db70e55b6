//! What is answered when the application is not asked, or failed.

use http::StatusCode;
use http_wire::Known;
use http_wire::body::FramingError;
use http_wire::head::{RequestError, RequestHead, SectionError};
use http_wire::list;
use proxy_core::body::Body;
use proxy_core::server::{Address, Connection, Ending, Refusal, Response};

use crate::settings::LINE_END_BYTES;

/// An error page, after which the connection closes, and its length. `text` tells the client more than the status; it is escaped.
pub fn error(status: StatusCode, text: &str) -> (Response, u64) {
    let reason = status.canonical_reason().unwrap_or("Error");
    let more = if text.is_empty() {
        String::new()
    } else {
        format!("    <p>{}</p>\n", escaped(text))
    };
    let html = format!(
        "<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n  <body>\n    <h1>{reason}</h1>\n{more}  </body>\n</html>\n"
    );
    let mut response = Response::new(status);
    let appended = response.fields.append(Known::ContentType, "text/html");
    debug_assert!(appended.is_ok(), "a constant field");
    response.ending = Ending {
        keep_alive: false,
        ..Ending::default()
    };
    let length = html.len() as u64;
    response.body = Body::Bytes(html.into());
    (response, length)
}

/// Status and words for a request whose head was not accepted; the statuses are gunicorn's.
pub fn refusal(refusal: &Refusal, head: &RequestHead) -> (StatusCode, String) {
    let status = match refusal {
        Refusal::Head(
            RequestError::MethodTooLong { .. } | RequestError::UnsupportedVersion { .. },
        ) => StatusCode::BAD_REQUEST,
        // A coding that nobody knows is 501, but content without an end in sight is malformed (RFC 9112 §6.3), whatever its coding.
        Refusal::Framing(FramingError::CodingUnknown) if !ends_chunked(head) => {
            StatusCode::BAD_REQUEST
        }
        other => other.status(),
    };
    (
        status,
        limit_told(refusal).unwrap_or_else(|| refusal.to_string()),
    )
}

/// Which setting to raise, where one of a head's limits was passed.
fn limit_told(refusal: &Refusal) -> Option<String> {
    let Refusal::Head(error) = refusal else {
        return None;
    };
    match *error {
        RequestError::LineTooLong { .. } => Some(format!("{error} (limit_request_line)")),
        RequestError::Section(SectionError::TooManyFields { .. }) => {
            Some(format!("{error} (limit_request_fields)"))
        }
        RequestError::Section(SectionError::FieldTooLong { limit }) => Some(format!(
            "a field line is longer than {} bytes with its end (limit_request_field_size)",
            limit + LINE_END_BYTES
        )),
        _ => None,
    }
}

fn ends_chunked(head: &RequestHead) -> bool {
    let last = head.fields.get_all(Known::TransferEncoding).last();
    last.and_then(|value| list::elements(value).last())
        .is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"))
}

/// The peer as gunicorn's log names it: its address, nothing for a unix socket.
pub fn peer_text(connection: &Connection) -> String {
    match connection.client() {
        Address::Inet(address) => address.ip().to_string(),
        Address::Unix(_) => String::new(),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#x27;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_escape_what_a_client_sent() {
        let (response, length) = error(StatusCode::BAD_REQUEST, "<script>'&\"");
        let Body::Bytes(html) = response.body else {
            panic!("has bytes")
        };
        assert_eq!(html.len() as u64, length);
        let html = String::from_utf8(html.to_vec()).expect("is text");
        assert!(
            html.contains("&lt;script&gt;&#x27;&amp;&quot;") && !html.contains("<script>"),
            "{html}"
        );
        assert!(!response.ending.keep_alive);
    }

    #[test]
    fn a_limit_is_told_with_its_setting() {
        let told = |error| refusal(&Refusal::Head(error), &RequestHead::default()).1;
        let line = told(RequestError::LineTooLong { limit: 4094 });
        assert!(line.ends_with("4094 bytes (limit_request_line)"), "{line}");
        let field = told(SectionError::FieldTooLong { limit: 8188 }.into());
        assert_eq!(
            field,
            "a field line is longer than 8190 bytes with its end (limit_request_field_size)"
        );
        let fields = told(SectionError::TooManyFields { limit: 100 }.into());
        assert!(
            fields.ends_with("100 fields (limit_request_fields)"),
            "{fields}"
        );
    }

    #[test]
    fn statuses_are_gunicorns() {
        let status = |error| {
            refusal(&Refusal::Head(error), &RequestHead::default())
                .0
                .as_u16()
        };
        assert_eq!(status(RequestError::MethodTooLong { limit: 20 }), 400);
        assert_eq!(
            status(RequestError::UnsupportedVersion { major: 2, minor: 0 }),
            400
        );
        assert_eq!(status(RequestError::LineTooLong { limit: 4094 }), 414);
        assert_eq!(
            refusal(&Refusal::Timeout, &RequestHead::default())
                .0
                .as_u16(),
            408
        );
    }
}
