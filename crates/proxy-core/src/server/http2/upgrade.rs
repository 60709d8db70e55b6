//! From HTTP/1.1 in the clear to HTTP/2, where a request asks for it: `Upgrade: h2c` (RFC 7540 §3.2). RFC 9113 has given it up, but
//! clients and gateways know it.
//!
//! Who asks has to name `upgrade` and `http2-settings` in `Connection`, and to send one `HTTP2-Settings` that can be used. Everything
//! else is answered in HTTP/1.1, as RFC 7540 allows.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use http_wire::head::RequestHead;
use http_wire::{Known, Version};

use super::{Settings, serve_upgraded};
use crate::body::BodyError;
use crate::server::connection::Connection;
use crate::server::content::{Content, ContentError};
use crate::server::drain::Drain;
use crate::server::service::{
    Limits, Refusal, Request, Response, Sent, Service, Trouble, TunnelEnd,
};

/// The longest content of a request that becomes a stream: it has to be read first, into memory.
const CONTENT_MAX: u64 = 64 << 10;
/// The most settings, in bytes: there are not a tenth as many.
const SETTINGS_MAX: usize = 1024;

/// A service of HTTP/1 whose connections may go on with HTTP/2.
pub(in crate::server) struct Upgrading<S> {
    pub service: Arc<S>,
    pub settings: Arc<Settings>,
    pub drain: Drain,
}

/// The request that became stream 1.
pub(super) struct First {
    pub head: RequestHead,
    pub content: Bytes,
    pub ordinal: u64,
    pub received: Instant,
    pub head_bytes: u64,
}

impl<S: Service> Service for Upgrading<S> {
    type Record = Option<S::Record>;

    fn limits(&self, connection: &Connection) -> Arc<Limits> {
        self.service.limits(connection)
    }

    async fn serve(&self, request: Request) -> (Response, Self::Record) {
        match wish(&request).filter(|_| !self.drain.started()) {
            Some(settings) => self.upgrade(request, settings).await,
            None => {
                let (response, record) = self.service.serve(request).await;
                (response, Some(record))
            }
        }
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        head: &RequestHead,
        connection: &Arc<Connection>,
    ) -> Option<(Response, Self::Record)> {
        let (response, record) = self.service.refuse(refusal, head, connection)?;
        Some((response, Some(record)))
    }

    fn sent(&self, record: Self::Record, sent: &Sent) {
        if let Some(record) = record {
            self.service.sent(record, sent);
        }
    }

    fn trouble(&self, connection: &Connection, trouble: &Trouble) {
        self.service.trouble(connection, trouble);
    }
}

impl<S: Service> Upgrading<S> {
    /// Has the connection go on with HTTP/2, and the request be answered there.
    async fn upgrade(&self, mut request: Request, wish: Bytes) -> (Response, Option<S::Record>) {
        let connection = request.connection.clone();
        let content = match all_of(&mut request.content).await {
            Ok(content) => content,
            Err(ContentError::Timeout { .. }) => {
                let refused = self.refuse(&Refusal::Timeout, &request.head, &connection);
                return refused.unwrap_or_else(unanswered);
            }
            Err(_) => return unanswered(),
        };
        let mut head = request.head;
        head.version = Version::Http2;
        for name in [Known::Connection, Known::Upgrade, Known::Http2Settings] {
            head.fields.remove(name);
        }
        let first = Box::new(First {
            head,
            content,
            ordinal: request.ordinal,
            received: request.received,
            head_bytes: request.head_bytes,
        });
        let (service, settings, drain) = (
            self.service.clone(),
            self.settings.clone(),
            self.drain.clone(),
        );
        let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
        let _ = response.fields.append(Known::Upgrade, "h2c");
        response.upgrade = Some(Box::new(move |upgraded| {
            Box::pin(async move {
                let (wire, ahead) = upgraded.into_parts();
                if let Some(socket) = wire.into_socket() {
                    let opening = (ahead, wish, first);
                    serve_upgraded(socket, opening, connection, service, &drain, &settings).await;
                }
                TunnelEnd::default()
            })
        }));
        (response, None)
    }
}

fn unanswered<R>() -> (Response, Option<R>) {
    let mut response = Response::default();
    response.ending.close_unanswered = true;
    (response, None)
}

/// The settings of a request that asks for HTTP/2 and can have it.
fn wish(request: &Request) -> Option<Bytes> {
    let RequestHead {
        version, fields, ..
    } = &request.head;
    let asks = *version == Version::Http11
        && fields
            .get_single(Known::Upgrade)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"h2c"))
        && fields.contains_token(Known::Connection, "upgrade")
        && fields.contains_token(Known::Connection, "http2-settings");
    let short = (request.content.length()).is_some_and(|length| length <= CONTENT_MAX);
    match asks && short {
        true => settings(fields.get_single(Known::Http2Settings)?),
        false => None,
    }
}

/// The settings in `HTTP2-Settings`, where all of them can be used.
fn settings(value: &[u8]) -> Option<Bytes> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::URL_SAFE,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let settings = LENIENT.decode(value).ok()?;
    let usable = |setting: &[u8]| {
        let number = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
        match u16::from_be_bytes([setting[0], setting[1]]) {
            ENABLE_PUSH => number <= 1,
            INITIAL_WINDOW_SIZE => number < 1 << 31,
            MAX_FRAME_SIZE => (16_384..1 << 24).contains(&number),
            _ => true,
        }
    };
    let good = settings.len() <= SETTINGS_MAX
        && settings.len().is_multiple_of(6)
        && settings.chunks_exact(6).all(usable);
    good.then(|| settings.into())
}

const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

async fn all_of(content: &mut Content) -> Result<Bytes, ContentError> {
    let mut all = Vec::new();
    while let Some(piece) = content.chunk().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}

/// Content that came with its request.
pub(super) fn content(bytes: Bytes) -> Content {
    match bytes.is_empty() {
        true => Content::empty(),
        false => Content::given(Box::pin(Whole(bytes))),
    }
}

struct Whole(Bytes);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let all = std::mem::take(&mut self.0);
        Poll::Ready((!all.is_empty()).then(|| Ok(Frame::data(all))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_taken_only_where_all_can_be_used() {
        // As curl sends them: MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, ENABLE_PUSH.
        let curl = settings(b"AAMAAABkAAQCAAAAAAIAAAAA").expect("are good");
        assert_eq!(curl.len(), 18);
        assert_eq!(curl[..6], [0, 3, 0, 0, 0, 100]);
        assert_eq!(settings(b"").as_deref(), Some(&b""[..]));
        for bad in [
            &b"AAMAAAB"[..],
            b"AAMAAA",
            b"AAM AABk",
            b"AAM+AABk",
            // ENABLE_PUSH 2, INITIAL_WINDOW_SIZE 2^31, MAX_FRAME_SIZE 1.
            b"AAIAAAAC",
            b"AASAAAAA",
            b"AAUAAAAB",
        ] {
            assert_eq!(settings(bad), None, "{}", String::from_utf8_lossy(bad));
        }
        assert!(settings("AAMAAABk".repeat(SETTINGS_MAX / 6).as_bytes()).is_some());
        assert!(settings("AAMAAABk".repeat(SETTINGS_MAX / 6 + 1).as_bytes()).is_none());
    }
}
