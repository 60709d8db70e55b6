//! The content of a request, read when somebody asks for it.
//!
//! A request with content lends the connection's read half to [`Content`], which gives it back at the end of the content
//! or when it is dropped. Nobody else reads from the socket meanwhile.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;
use http_wire::chunked::{self, Event};
use http_wire::head::SectionError;

use super::connection::Connection;
use crate::alarm::Alarm;
use crate::body::BoxStream;
use crate::buffers;
use crate::socket::Socket;

/// The content of a request. Nothing is read from the client before it is asked for; the first read sends
/// `100 Continue` where the client waits for it.
///
/// It owns the connection's read half while the content lasts and gives it back at the end or on drop.
pub struct Content {
    length: Option<u64>,
    received_bytes: u64,
    limit_bytes: Option<u64>,
    pause: Duration,
    failed: bool,
    reading: Option<Reading>,
    /// Content that comes by another way than a connection of HTTP/1.
    given: Option<Given>,
}

/// Where content comes from that no read half is lent for.
enum Given {
    /// From elsewhere than a connection of ours.
    Stream(BoxStream),
    /// From a stream of HTTP/2.
    #[cfg(feature = "http2")]
    Http2(Box<super::http2::Incoming>),
}

struct Reading {
    connection: Arc<Connection>,
    ordinal: u64,
    lent: Box<Lent>,
}

/// The read half of a connection, and how far its request's content has been read.
pub(super) struct Lent {
    pub(super) socket: Arc<Socket>,
    /// Read from the socket, not yet looked at.
    pub(super) buffered: Bytes,
    pub(super) coding: Coding,
    /// The client waits for `100 Continue`.
    pub(super) expects: bool,
    /// Bytes of content with its framing that were taken.
    pub(super) wire_bytes: u64,
    pub(super) state: State,
    alarm: Alarm,
}

/// How the end of the content is found.
pub(super) enum Coding {
    /// By counting: so many bytes are still to come.
    Length(u64),
    /// By the chunked coding.
    Chunked(Box<chunked::Decoder>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// More is to come.
    Open,
    /// All of it was read.
    Ended,
    /// The rest can't be told from what follows: the connection must close.
    Broken,
}

/// `client_body_timeout`'s default.
const PAUSE: Duration = Duration::from_secs(60);

impl Content {
    /// No content.
    pub fn empty() -> Self {
        Self {
            length: Some(0),
            received_bytes: 0,
            limit_bytes: None,
            pause: PAUSE,
            failed: false,
            reading: None,
            given: None,
        }
    }

    /// Content that somebody else reads: for services that are called without a connection of ours.
    pub fn given(stream: BoxStream) -> Self {
        let mut content = Self::empty();
        content.length = stream.size_hint().exact();
        content.given = Some(Given::Stream(stream));
        content
    }

    /// Content of a request that came by HTTP/2.
    #[cfg(feature = "http2")]
    pub(super) fn http2(incoming: super::http2::Incoming, length: Option<u64>) -> Self {
        let mut content = Self::empty();
        content.length = length;
        content.given = Some(Given::Http2(Box::new(incoming)));
        content
    }

    pub(super) fn reading(connection: Arc<Connection>, ordinal: u64, lent: Box<Lent>) -> Self {
        let length = match lent.coding {
            Coding::Length(length) => Some(length),
            Coding::Chunked(_) => None,
        };
        let mut content = Self::empty();
        content.length = length;
        content.reading = Some(Reading {
            connection,
            ordinal,
            lent,
        });
        content
    }

    /// The exact length, where the request states it: 0 for none, `None` for chunked.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// True when there is nothing (more) to read.
    pub fn is_end(&self) -> bool {
        self.reading.is_none() && self.given.is_none() && !self.failed
    }

    /// The largest content accepted (nginx's `client_max_body_size`); `None` for any.
    ///
    /// # Errors
    /// [`ContentError::TooLarge`] at once, when the request states a larger length or more came already.
    pub fn limit(&mut self, bytes_max: Option<u64>) -> Result<(), ContentError> {
        self.limit_bytes = bytes_max;
        match bytes_max {
            Some(limit_bytes) if self.length.unwrap_or(self.received_bytes) > limit_bytes => {
                Err(ContentError::TooLarge { limit_bytes })
            }
            _ => Ok(()),
        }
    }

    /// The longest pause between two reads (nginx's `client_body_timeout`). Default 60 s.
    pub fn pause(&mut self, longest: Duration) {
        self.pause = longest;
    }

    /// The next bytes, `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// See [`ContentError`]; nothing can be read after one.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ContentError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// As [`Content::chunk`].
    pub fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, ContentError>> {
        if self.given.is_some() {
            return self.poll_given(cx);
        }
        loop {
            if let Some(done) = self.step().transpose() {
                return Poll::Ready(
                    done.map(|bytes| Some(bytes).filter(|bytes| !bytes.is_empty())),
                );
            }
            if let Err(error) = ready!(self.poll_fill(cx)) {
                return Poll::Ready(Err(self.fail(error)));
            }
        }
    }

    /// What is in memory already, without waiting for the client; `None` when that is nothing.
    ///
    /// # Errors
    /// As [`Content::chunk`].
    pub fn buffered(&mut self) -> Result<Option<Bytes>, ContentError> {
        if self.given.is_some() {
            return Ok(None);
        }
        Ok(self.step()?.filter(|bytes| !bytes.is_empty()))
    }

    /// Bytes of content read so far, framing excluded.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Takes the next piece out of what is buffered: empty bytes for the end, `None` when more must be read first.
    fn step(&mut self) -> Result<Option<Bytes>, ContentError> {
        if self.failed {
            return Err(std::io::Error::other("reading it failed before").into());
        }
        let Some(reading) = &mut self.reading else {
            return Ok(Some(Bytes::new()));
        };
        let step = reading.lent.step();
        if reading.lent.state == State::Ended {
            self.give_back();
        }
        let piece = match step {
            Ok(piece) => piece,
            Err(error) => return Err(self.fail(error)),
        };
        self.count(piece.as_ref().map_or(0, Bytes::len))?;
        Ok(piece)
    }

    fn count(&mut self, bytes: usize) -> Result<(), ContentError> {
        self.received_bytes += bytes as u64;
        match self.limit_bytes {
            Some(limit_bytes) if self.received_bytes > limit_bytes => {
                Err(self.fail(ContentError::TooLarge { limit_bytes }))
            }
            _ => Ok(()),
        }
    }

    fn poll_given(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ContentError>> {
        #[cfg(feature = "http2")]
        if let Some(Given::Http2(incoming)) = &mut self.given {
            let piece = ready!(incoming.poll_chunk(cx, self.pause, self.received_bytes));
            if !matches!(piece, Ok(Some(_))) {
                self.given = None;
            }
            return Poll::Ready(match piece {
                Ok(Some(bytes)) => self.count(bytes.len()).map(|()| Some(bytes)),
                Ok(None) => Ok(None),
                Err(error) => Err(self.fail(error)),
            });
        }
        while let Some(Given::Stream(given)) = &mut self.given {
            match ready!(given.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers of requests go nowhere.
                    let Ok(bytes) = frame.into_data() else {
                        continue;
                    };
                    if given.is_end_stream() {
                        self.given = None;
                    }
                    self.count(bytes.len())?;
                    if !bytes.is_empty() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
                Some(Err(error)) => {
                    let error = std::io::Error::other(error);
                    return Poll::Ready(Err(self.fail(error.into())));
                }
                None => self.given = None,
            }
        }
        Poll::Ready(Ok(None))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ContentError>> {
        let Some(Reading {
            connection,
            ordinal,
            lent,
        }) = &mut self.reading
        else {
            return Poll::Ready(Ok(()));
        };
        if std::mem::take(&mut lent.expects) {
            connection.send_ahead(*ordinal, |out| {
                out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            });
        }
        if let Poll::Ready(result) = lent.poll_fill(cx) {
            lent.alarm.clear();
            return Poll::Ready(match result {
                Ok(0) => Err(ContentError::ClientGone {
                    received_bytes: self.received_bytes,
                }),
                Ok(_) => Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    Err(ContentError::ClientGone {
                        received_bytes: self.received_bytes,
                    })
                }
                Err(error) => Err(error.into()),
            });
        }
        if !lent.alarm.is_set() {
            lent.alarm.set_after(self.pause);
        }
        ready!(lent.alarm.poll(cx));
        let limit_ms = u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX);
        Poll::Ready(Err(ContentError::Timeout { limit_ms }))
    }

    fn fail(&mut self, error: ContentError) -> ContentError {
        self.failed = true;
        self.given = None;
        // Content that is too large is still framed well; anything else leaves the end unknown.
        if let Some(reading) = &mut self.reading
            && !matches!(error, ContentError::TooLarge { .. })
        {
            reading.lent.state = State::Broken;
        }
        self.give_back();
        error
    }

    fn give_back(&mut self) {
        if let Some(Reading {
            connection, lent, ..
        }) = self.reading.take()
        {
            connection.give_back(lent);
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Lent {
    pub(super) fn new(
        socket: Arc<Socket>,
        buffered: Bytes,
        coding: Coding,
        expects: bool,
    ) -> Box<Self> {
        let state = State::Open;
        Box::new(Self {
            socket,
            buffered,
            coding,
            expects,
            wire_bytes: 0,
            state,
            alarm: Alarm::default(),
        })
    }

    /// What is still to come at the least, as far as the request says.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self.coding {
            Coding::Length(remaining) => Some(remaining),
            Coding::Chunked(_) => None,
        }
    }

    /// See [`Content::step`].
    pub(super) fn step(&mut self) -> Result<Option<Bytes>, ContentError> {
        let before = self.buffered.len();
        let piece = match &mut self.coding {
            Coding::Length(remaining) => {
                let piece = self.buffered.split_to(
                    usize::try_from(*remaining)
                        .unwrap_or(usize::MAX)
                        .min(before),
                );
                *remaining -= piece.len() as u64;
                if *remaining == 0 {
                    self.state = State::Ended;
                }
                Some(piece).filter(|piece| !piece.is_empty() || self.state == State::Ended)
            }
            Coding::Chunked(decoder) => decode(decoder, &mut self.buffered, &mut self.state)?,
        };
        self.wire_bytes += (before - self.buffered.len()) as u64;
        Ok(piece)
    }

    /// Reads from the socket; 0 is its end. Only called when nothing is buffered.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let mut buffer = match self.coding {
            Coding::Length(remaining) if remaining < buffers::SMALL as u64 => {
                Vec::with_capacity(remaining as usize)
            }
            Coding::Length(remaining) if remaining >= buffers::LARGE as u64 => buffers::large(),
            _ => buffers::small(),
        };
        match self.socket.poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(read)) if read > 0 => {
                self.buffered = buffers::into_bytes(buffer);
                Poll::Ready(Ok(read))
            }
            other => {
                buffers::give_back(buffer);
                other
            }
        }
    }
}

fn decode(
    decoder: &mut chunked::Decoder,
    buffered: &mut Bytes,
    state: &mut State,
) -> Result<Option<Bytes>, ContentError> {
    let step = decoder.decode(buffered).map_err(|error| {
        *state = State::Broken;
        ContentError::Framing(error)
    })?;
    let mut used = buffered.split_to(step.used);
    Ok(match step.event {
        Event::Data(range) => {
            used.advance(range.start);
            Some(used)
        }
        Event::NeedMore => None,
        Event::End => {
            *state = State::Ended;
            Some(Bytes::new())
        }
    })
}

/// Why the content of a request could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// Larger than allowed: 413.
    #[error("client sends more content than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Nothing came for too long: 408.
    #[error("client sent no content for {limit_ms} ms")]
    Timeout {
        /// The limit, in milliseconds.
        limit_ms: u64,
    },
    /// The client closed before the end: no answer possible.
    #[error("client closed the connection after {received_bytes} bytes of content")]
    ClientGone {
        /// Bytes of content that had come.
        received_bytes: u64,
    },
    /// The chunked coding is broken: 400, or 431 when its trailers pass a limit.
    #[error("client sends broken chunked coding: {0}")]
    Framing(#[source] chunked::ChunkError),
    /// The trailer section of a request by HTTP/2 is at fault: 400, or 431 when it passes a limit.
    #[error("client sends malformed trailers: {0}")]
    Trailers(#[source] SectionError),
    /// The socket failed.
    #[error("content could not be read: {0}")]
    Io(#[from] std::io::Error),
}

impl ContentError {
    /// The status that answers it; `None` when the client is gone.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::TooLarge { .. } => Some(StatusCode::PAYLOAD_TOO_LARGE),
            Self::Timeout { .. } => Some(StatusCode::REQUEST_TIMEOUT),
            Self::Framing(error) => Some(error.status()),
            Self::Trailers(error) => Some(error.status()),
            Self::ClientGone { .. } | Self::Io(_) => None,
        }
    }
}
