//! The content of a request that came by HTTP/2. What is read makes room for as much again; what nobody reads stays with the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::StatusCode;
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
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
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
