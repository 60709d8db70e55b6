//! The content of a request on its way to the application: at hand, or read by a job once the application waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use proxy_core::server::{Content, ContentError};

use crate::exchange::Exchange;

/// Content of a request that waits for the application; from this on the client waits.
const INCOMING_BYTES: usize = 64 << 10;

/// The content of a request.
pub(crate) enum Incoming {
    /// Nobody had to wait for it yet.
    Here(Content),
    /// A job reads it.
    Pumped(Pumped),
    /// The application has all of it.
    Taken,
}

/// What a job has read.
#[derive(Default)]
pub(crate) struct Pumped {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    ended: bool,
    pump: Option<Waker>,
}

/// What `receive()` finds.
pub(crate) enum Next {
    /// A piece, and whether more follow.
    Bytes(Bytes, bool),
    /// Nothing yet, or nothing any more.
    Nothing,
    /// Nothing yet: somebody has to [`pump`] this.
    Pump(Content),
    Failed(ContentError),
}

impl Incoming {
    /// The next piece.
    pub fn next(&mut self) -> Next {
        let end = || Next::Bytes(Bytes::new(), false);
        match std::mem::replace(self, Self::Taken) {
            Self::Taken => Next::Nothing,
            Self::Here(content) if content.is_end() => end(),
            Self::Here(mut content) => match content.buffered() {
                Ok(Some(bytes)) if content.is_end() => Next::Bytes(bytes, false),
                Ok(Some(bytes)) => {
                    *self = Self::Here(content);
                    Next::Bytes(bytes, true)
                }
                Ok(None) if content.is_end() => end(),
                Ok(None) => {
                    *self = Self::Pumped(Pumped::default());
                    Next::Pump(content)
                }
                Err(error) => Next::Failed(error),
            },
            Self::Pumped(mut pumped) => {
                let next = pumped.next();
                if !matches!(next, Next::Bytes(_, false)) {
                    *self = Self::Pumped(pumped);
                }
                next
            }
        }
    }

    /// Nobody wants the rest.
    pub fn stop(&mut self) {
        if let Self::Pumped(Pumped {
            pump: Some(pump), ..
        }) = std::mem::replace(self, Self::Taken)
        {
            pump.wake();
        }
    }

    /// True when there is room for more; false when nobody wants more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self {
            Self::Pumped(pumped) if pumped.bytes >= INCOMING_BYTES => {
                pumped.pump = Some(cx.waker().clone());
                Poll::Pending
            }
            Self::Pumped(_) => Poll::Ready(true),
            _ => Poll::Ready(false),
        }
    }

    /// Whether more is wanted; who asks is woken when that ends.
    fn is_wanted(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Pumped(pumped) => {
                pumped.pump = Some(cx.waker().clone());
                true
            }
            _ => false,
        }
    }

    /// Adds what was read.
    pub fn add(&mut self, piece: Option<Bytes>, ended: bool) {
        if let Self::Pumped(pumped) = self {
            pumped.ended = ended;
            pumped.bytes += piece.as_ref().map_or(0, Bytes::len);
            pumped.pieces.extend(piece);
        }
    }
}

impl Pumped {
    fn next(&mut self) -> Next {
        let Some(piece) = self.pieces.pop_front() else {
            return if self.ended {
                Next::Bytes(Bytes::new(), false)
            } else {
                Next::Nothing
            };
        };
        self.bytes -= piece.len();
        let more = !(self.ended && self.pieces.is_empty());
        if more && let Some(pump) = self.pump.take() {
            pump.wake();
        }
        Next::Bytes(piece, more)
    }
}

/// Reads the content of a request for an application that waits for it.
pub(crate) async fn pump(exchange: Arc<Exchange>, mut content: Content) {
    let limit = exchange.core.settings.http.content_bytes_max;
    if let Err(error) = content.limit(limit) {
        return exchange.fail(&error);
    }
    loop {
        let room = std::future::poll_fn(|cx| exchange.incoming(|incoming| incoming.poll_room(cx)));
        if !room.await {
            return;
        }
        // Who stops reading meanwhile is heard too.
        let next = std::future::poll_fn(|cx| {
            if !exchange.incoming(|incoming| incoming.is_wanted(cx)) {
                return Poll::Ready(None);
            }
            content.poll_chunk(cx).map(Some)
        });
        match next.await {
            None => return,
            Some(Ok(piece)) => {
                let ended = piece.is_none() || content.is_end();
                exchange.pumped(piece, ended);
                if ended {
                    return;
                }
            }
            Some(Err(error)) => return exchange.fail(&error),
        }
    }
}
