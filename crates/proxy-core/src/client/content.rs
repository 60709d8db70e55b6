//! The content of an origin server's response, read as somebody asks for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use http_wire::body::Framing;
use http_wire::chunked::{ChunkLimits, Decoder, Event};

use super::origin::Origin;
use super::pool::Pool;
use super::upload::Sending;
use crate::body::BodyError;
use crate::buffers;

/// See the module. Gives the connection back to its pool when the end was read; dropped before that, it closes it.
pub(super) struct OriginContent {
    /// `None` after the end.
    origin: Option<Box<Origin>>,
    /// Where the connection goes; `None` when it must close.
    pool: Option<Pool>,
    /// The rest of the request, when the response came before it was sent.
    sending: Option<Box<Sending>>,
    coding: Coding,
    buffered: Bytes,
    received_bytes: u64,
    /// The longest pause between two reads, and what it is called.
    read: (Duration, &'static str),
}

enum Coding {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Box<Decoder>),
    UntilClose,
}

impl OriginContent {
    pub(super) fn new(
        origin: Box<Origin>,
        pool: Option<Pool>,
        sending: Option<Box<Sending>>,
        framing: Framing,
        buffered: Bytes,
        read: (Duration, &'static str),
    ) -> Self {
        let coding = match framing {
            Framing::Empty => Coding::Length(0),
            Framing::Length(length) => Coding::Length(length),
            Framing::Chunked => Coding::Chunked(Box::new(Decoder::new(ChunkLimits::default()))),
            Framing::UntilClose => Coding::UntilClose,
        };
        Self {
            origin: Some(origin),
            pool,
            sending,
            coding,
            buffered,
            received_bytes: 0,
            read,
        }
    }

    /// Takes content out of what was read; `None` when more must be read first.
    fn decode(&mut self) -> Result<Option<Piece>, BodyError> {
        match &mut self.coding {
            Coding::Length(left) => {
                let now = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(self.buffered.len());
                let piece = self.buffered.split_to(now);
                *left -= now as u64;
                Ok(match (piece.is_empty(), *left) {
                    (true, 0) => Some(Piece::End),
                    (true, _) => None,
                    (false, 0) => Some(Piece::Last(piece)),
                    (false, _) => Some(Piece::Some(piece)),
                })
            }
            Coding::UntilClose => {
                let piece = std::mem::take(&mut self.buffered);
                Ok((!piece.is_empty()).then_some(Piece::Some(piece)))
            }
            Coding::Chunked(decoder) => {
                let step = decoder
                    .decode(&self.buffered)
                    .map_err(|error| BodyError::Framing(error.to_string()))?;
                let mut used = self.buffered.split_to(step.used);
                Ok(match step.event {
                    Event::Data(range) => {
                        used.advance(range.start);
                        Some(Piece::Some(used))
                    }
                    Event::NeedMore => None,
                    Event::End => Some(Piece::End),
                })
            }
        }
    }

    /// Sends on what is left of the request.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        let (Some(sending), Some(origin)) = (&mut self.sending, &self.origin) else {
            return;
        };
        match sending.poll(cx, &origin.socket) {
            Poll::Pending => return,
            Poll::Ready(Ok(())) => {}
            // The origin server did not want the rest; its response counts all the same.
            Poll::Ready(Err(_)) => self.pool = None,
        }
        self.sending = None;
    }

    /// Reads more; false at the end of the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, BodyError>> {
        let Some(origin) = &mut self.origin else {
            return Poll::Ready(Ok(false));
        };
        let mut buffer = match self.coding {
            Coding::Length(left) if left <= buffers::SMALL as u64 => buffers::small(),
            _ => buffers::large(),
        };
        let result = origin.socket.poll_read(cx, &mut buffer);
        if let Poll::Ready(Ok(1..)) = result {
            origin.alarm.clear();
            self.buffered = buffers::into_bytes(buffer);
            return Poll::Ready(Ok(true));
        }
        buffers::give_back(buffer);
        if let Poll::Ready(result) = result {
            return Poll::Ready(result.map(|_| false).map_err(BodyError::Io));
        }
        if !origin.alarm.is_set() {
            origin.alarm.set_after(self.read.0);
        }
        ready!(origin.alarm.poll(cx));
        let limit_ms = u64::try_from(self.read.0.as_millis()).unwrap_or(u64::MAX);
        Poll::Ready(Err(BodyError::Timeout {
            limit_ms,
            setting: self.read.1,
        }))
    }

    /// The end of the connection: the end of the content only if nothing else tells where that is.
    fn closed(&mut self) -> Option<BodyError> {
        self.origin = None;
        let missing = match &self.coding {
            Coding::UntilClose => return None,
            Coding::Length(left) => format!("{left} bytes missing"),
            Coding::Chunked(_) => "the last chunk missing".to_owned(),
        };
        Some(BodyError::Incomplete(format!(
            "the origin server closed the connection after {} bytes of content, {missing}",
            self.received_bytes
        )))
    }

    /// All content was read: the connection is free.
    fn finish(&mut self) {
        let Some(origin) = self.origin.take() else {
            return;
        };
        let free = self.sending.is_none() && self.buffered.is_empty();
        if let Some(pool) = self.pool.take().filter(|_| free) {
            pool.put(origin, std::time::Instant::now());
        }
    }
}

enum Piece {
    Some(Bytes),
    Last(Bytes),
    End,
}

impl http_body::Body for OriginContent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        while this.origin.is_some() {
            this.poll_send(cx);
            let piece = match this.decode() {
                Ok(piece) => piece,
                Err(error) => {
                    this.origin = None;
                    return Poll::Ready(Some(Err(error)));
                }
            };
            if let Some(Piece::Some(bytes) | Piece::Last(bytes)) = &piece {
                this.received_bytes += bytes.len() as u64;
            }
            match piece {
                Some(Piece::Some(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Piece::Last(bytes)) => {
                    this.finish();
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Piece::End) => this.finish(),
                None => match ready!(this.poll_fill(cx)) {
                    Ok(true) => {}
                    Ok(false) => return Poll::Ready(this.closed().map(Err)),
                    Err(error) => {
                        this.origin = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.origin.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.origin, &self.coding) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Coding::Length(left)) => SizeHint::with_exact(*left),
            _ => SizeHint::default(),
        }
    }
}
