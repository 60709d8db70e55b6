//! The content of a request that came by HTTP/2. What is read makes room for as much again; what nobody reads stays with the client.
//!
//! Trailers go nowhere, but have to keep the rules that those of HTTP/1.1 keep. Pseudo-header fields among them would be malformed
//! (RFC 9113 §8.1); `h2` drops them before anybody can see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, StatusCode};
use http_wire::chunked::{ChunkError, ChunkLimits, Decoder};
use http_wire::fields::Fields;

use crate::alarm::Alarm;
use crate::server::connection::Connection;
use crate::server::content::ContentError;

/// See the module.
pub(in crate::server) struct Incoming {
    stream: RecvStream,
    /// Set while the client waits for `100 Continue`.
    expecting: Option<(Arc<Connection>, u64)>,
    /// Counts for whoever reports of the request.
    received: Arc<AtomicU64>,
    alarm: Alarm,
}

impl Incoming {
    pub fn new(
        stream: RecvStream,
        expecting: Option<(Arc<Connection>, u64)>,
        received: Arc<AtomicU64>,
    ) -> Self {
        Self {
            stream,
            expecting,
            received,
            alarm: Alarm::default(),
        }
    }

    /// The next bytes, `None` at the end. `pause` is how long the client may be silent.
    pub fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        pause: Duration,
        received_bytes: u64,
    ) -> Poll<Result<Option<Bytes>, ContentError>> {
        if let Some((connection, ordinal)) = self.expecting.take() {
            connection.send_head_ahead(ordinal, StatusCode::CONTINUE, &Fields::new());
        }
        loop {
            match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(bytes))) => {
                    self.alarm.clear();
                    self.received
                        .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    // Fails only where the stream is gone, which the next read tells.
                    let _ = self.stream.flow_control().release_capacity(bytes.len());
                    if !bytes.is_empty() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
                Poll::Ready(None) => match self.stream.poll_trailers(cx) {
                    Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
                    Poll::Ready(Ok(Some(trailers))) => {
                        return Poll::Ready(check(&trailers).map(|()| None));
                    }
                    Poll::Ready(Err(_)) => {
                        return Poll::Ready(Err(ContentError::ClientGone { received_bytes }));
                    }
                    Poll::Pending => break,
                },
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Err(ContentError::ClientGone { received_bytes }));
                }
                Poll::Pending => break,
            }
        }
        if !self.alarm.is_set() {
            self.alarm.set_after(pause);
        }
        self.alarm.poll(cx).map(|()| {
            let limit_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            Err(ContentError::Timeout { limit_ms })
        })
    }
}

/// Reads trailers as HTTP/1.1 would have them, so that no rule about them differs by protocol.
fn check(trailers: &HeaderMap) -> Result<(), ContentError> {
    let mut text = b"0\r\n".to_vec();
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    let mut decoder = Decoder::new(ChunkLimits::default());
    decoder
        .decode(&text)
        .map(drop)
        .map_err(|error| match error {
            ChunkError::Trailers(error) => ContentError::Trailers(error),
            other => ContentError::Framing(other),
        })
}
