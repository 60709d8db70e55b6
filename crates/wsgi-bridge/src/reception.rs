//! What becomes of a request before its application is asked, and what the log hears of those that never get so far; the same for every
//! interface of applications.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Method;
use http_body::{Frame, SizeHint};
use http_wire::Version;
use http_wire::head::RequestHead;
use proxy_core::body::{Body, BodyError};
use proxy_core::server::{Connection, Refusal, Response, Trouble};

use crate::hooks::{Facts, Hooks, Level};
use crate::page;
use crate::policy::{Objection, Policy, Verdict};
use crate::settings::Settings;

/// The methods that have texts of their own in Python, made once.
pub const METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::HEAD,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
    Method::OPTIONS,
];

/// What is known of a request, and what speaks against it.
pub fn receive(
    policy: &Policy,
    settings: &Settings,
    mut head: RequestHead,
    (connection, ordinal): (Arc<Connection>, u64),
    received: Instant,
) -> (Arc<Facts>, Option<Objection>) {
    if settings.casefold_http_method {
        casefold(&mut head.method);
    }
    let nothing = Verdict {
        trusted: false,
        secure: connection.tls,
        script_told: false,
    };
    let (verdict, objection) = match policy.judge(&head, &connection) {
        Ok(verdict) => (verdict, None),
        Err(objection) => (nothing, Some(objection)),
    };
    let facts = Facts {
        trailers: (head.version == Version::Http2).then(Default::default),
        head,
        connection,
        ordinal,
        received,
        secure: verdict.secure,
        trusted: verdict.trusted,
        script_told: verdict.script_told,
        // Until the application takes over.
        queued_us: AtomicU64::new(0),
        ends_connection: AtomicBool::new(false),
    };
    (Arc::new(facts), objection)
}

fn casefold(method: &mut Method) {
    let upper = method.as_str().to_ascii_uppercase();
    if upper != method.as_str()
        && let Ok(folded) = Method::from_bytes(upper.as_bytes())
    {
        *method = folded;
    }
}

/// A line about a request that no application will see.
pub fn log_invalid(
    hooks: &dyn Hooks,
    level: Level,
    connection: &Connection,
    why: &dyn std::fmt::Display,
) {
    let peer = page::peer_text(connection);
    hooks.log(level, &format!("Invalid request from ip={peer}: {why}"));
}

/// Answers a request whose head was not accepted.
pub fn refuse(
    hooks: &dyn Hooks,
    refusal: &Refusal,
    head: &RequestHead,
    connection: &Connection,
) -> Response {
    let (status, text) = page::refusal(refusal, head);
    log_invalid(hooks, Level::Warning, connection, &text);
    page::error(status, &text).0
}

/// A line about a connection that came to a bad end.
pub fn log_trouble(hooks: &dyn Hooks, connection: &Connection, trouble: &Trouble) {
    let level = if trouble.silent {
        Level::Debug
    } else {
        Level::Info
    };
    let peer = page::peer_text(connection);
    let words = format!("Connection from ip={peer}: {}", trouble.words);
    hooks.log(level, &words);
}

/// No content, of a length that nobody states: none is sent (HEAD), and what GET would give is not known.
pub fn unstated() -> Body {
    Body::Stream(Box::pin(Unstated))
}

struct Unstated;

impl http_body::Body for Unstated {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
