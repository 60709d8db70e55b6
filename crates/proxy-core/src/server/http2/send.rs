//! Sending the content of a response: as much as the client allows, and no more in memory than the stream's buffer.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http_body::Body as _;

use crate::alarm::Alarm;
use crate::body::{Body, BodyError};
use crate::server::service::Outcome;

/// Content, counted against what the head promised.
pub(super) struct Counted {
    promised: Option<u64>,
    sent: u64,
}

impl Counted {
    pub fn new(promised: Option<u64>) -> Self {
        Self { promised, sent: 0 }
    }

    /// Bytes that were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How much of a piece fits the promise.
    fn admits(&self, piece: usize) -> usize {
        let left = self
            .promised
            .map_or(u64::MAX, |promised| promised - self.sent);
        usize::try_from(left).unwrap_or(usize::MAX).min(piece)
    }

    /// Checks the end of the content, of which `left` bytes are in hand.
    fn finish(&self, left: usize) -> Result<(), Outcome> {
        let all = self.sent + left as u64;
        match self.promised {
            Some(promised) if all < promised => Err(Outcome::BodyFailed(BodyError::Incomplete(
                format!("{all} of the {promised} bytes that Content-Length promised"),
            ))),
            _ => Ok(()),
        }
    }
}

/// Sends content to its end.
pub(super) async fn body(
    out: &mut SendStream<Bytes>,
    body: &mut Body,
    counted: &mut Counted,
    pause: Duration,
) -> Result<(), Outcome> {
    let mut alarm = Alarm::default();
    let mut source = Source {
        body,
        small: Vec::new(),
        waited: false,
        held: None,
    };
    loop {
        let (mut rest, after) = poll_fn(|cx| source.poll_gather(cx, out)).await?;
        let admitted = counted.admits(rest.len());
        let excess = admitted < rest.len();
        rest.truncate(admitted);
        // What is too short is sent as it is, and then broken off.
        let short = match after {
            After::End => counted.finish(rest.len()).err(),
            _ => None,
        };
        let ends = matches!(after, After::End) && !excess && short.is_none();
        while !rest.is_empty() {
            let room = |cx: &mut Context<'_>| {
                poll_room(cx, out, rest.len(), &mut alarm, pause, source.body)
            };
            let room = poll_fn(room).await?;
            let piece = rest.split_to(room.min(rest.len()));
            counted.sent += piece.len() as u64;
            let last = ends && rest.is_empty();
            out.send_data(piece, last)
                .map_err(|_| Outcome::ClientGone)?;
            if last {
                return Ok(());
            }
        }
        if excess {
            return Err(Outcome::BodyFailed(BodyError::TooLong {
                promised_bytes: counted.promised.unwrap_or_default(),
            }));
        }
        if let Some(short) = short {
            return Err(short);
        }
        match after {
            After::More => {}
            After::End => return end(out),
            After::Failed(error) => return Err(Outcome::BodyFailed(error)),
            After::Trailers(trailers) => {
                counted.finish(0)?;
                return out.send_trailers(trailers).map_err(|_| Outcome::ClientGone);
            }
        }
    }
}

fn end(out: &mut SendStream<Bytes>) -> Result<(), Outcome> {
    out.send_data(Bytes::new(), true)
        .map_err(|_| Outcome::ClientGone)
}

/// Small pieces are gathered up to so many bytes: a frame for each would be a burden for both sides.
const GATHER: usize = 16 << 10;
/// A piece from so many bytes on goes by itself, without being copied.
const LARGE: usize = 4 << 10;

/// Content, piece by piece.
struct Source<'a> {
    body: &'a mut Body,
    /// Small pieces that were gathered.
    small: Vec<u8>,
    /// Others had their turn since the last of them came.
    waited: bool,
    /// A large piece that came behind small ones.
    held: Option<Bytes>,
}

/// What follows a piece of content.
enum After {
    More,
    End,
    Trailers(http::HeaderMap),
    Failed(BodyError),
}

impl Source<'_> {
    /// What there is of the content now, small pieces together. Those who make them one by one, a turn for each, are given another
    /// turn as long as they use it.
    fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut SendStream<Bytes>,
    ) -> Poll<Result<(Bytes, After), Outcome>> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(Ok((held, After::More)));
        }
        let after = loop {
            if self.small.len() >= GATHER {
                break After::More;
            }
            match Pin::new(&mut *self.body).poll_frame(cx) {
                Poll::Pending if self.small.is_empty() => {
                    return out.poll_reset(cx).map(|_| Err(Outcome::ClientGone));
                }
                Poll::Pending if !std::mem::replace(&mut self.waited, true) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => break After::More,
                Poll::Ready(None) => break After::End,
                Poll::Ready(Some(Err(error))) => break After::Failed(error),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.len() < LARGE => {
                        self.waited = false;
                        self.small.extend_from_slice(&data);
                    }
                    Ok(data) if self.small.is_empty() => {
                        let after = if self.body.is_end_stream() {
                            After::End
                        } else {
                            After::More
                        };
                        return Poll::Ready(Ok((data, after)));
                    }
                    Ok(data) => {
                        self.held = Some(data);
                        break After::More;
                    }
                    Err(frame) => {
                        break After::Trailers(frame.into_trailers().unwrap_or_default());
                    }
                },
            }
        };
        self.waited = false;
        Poll::Ready(Ok((std::mem::take(&mut self.small).into(), after)))
    }
}

/// Room for some of `wanted` bytes, within `pause`.
fn poll_room(
    cx: &mut Context<'_>,
    out: &mut SendStream<Bytes>,
    wanted: usize,
    alarm: &mut Alarm,
    pause: Duration,
    body: &mut Body,
) -> Poll<Result<usize, Outcome>> {
    out.reserve_capacity(wanted);
    loop {
        let room = out.capacity();
        if room > 0 {
            alarm.clear();
            return Poll::Ready(Ok(room));
        }
        match out.poll_capacity(cx) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(_) => return Poll::Ready(Err(Outcome::ClientGone)),
            Poll::Pending => break,
        }
    }
    if let Body::Ahead(ahead) = body {
        ahead.poll_ahead(cx);
    }
    if !alarm.is_set() {
        alarm.set_after(pause);
    }
    alarm.poll(cx).map(|()| Err(Outcome::SendTimeout))
}
