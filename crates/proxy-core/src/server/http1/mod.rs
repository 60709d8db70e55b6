//! One HTTP/1.0 or HTTP/1.1 connection, from its first byte to its last.
//!
//! ```text
//!          ┌────────────── rest: no buffer, no box ◄───────────────┐
//!          ▼                                                       │
//!   hear a head ──► exchange: ask the service ──► send ──► settle ─┤ keep-alive
//!      │   ▲              watch the client        body    unread   │
//!      │   └──────────────── pipelined ◄───────────────── content ─┘
//!      ▼                                                     │
//!    refuse ─────────────────────────────────────────────► close, lingering where it must
//! ```
//!
//! While a connection rests, its task holds a few hundred bytes. The rest of the state lives in a box between the first byte
//! of a request and the last of its response, and for a moment longer (`warm`).

pub(super) mod date;
pub(super) mod encode;
mod exchange;
mod finish;
mod hear;
mod input;
mod reader;
mod send;
mod warm;

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_wire::head::RequestHead;
use smallvec::SmallVec;

pub(super) use encode::encode_interim;
pub(super) use hear::Elsewhere;
use input::Input;

use super::connection::Connection;
use super::drain::{Drain, Watch};
use super::service::{Ending, Limits, Outcome, Refusal, Sent, Service};
use crate::alarm::Alarm;
use crate::output::Output;
use crate::socket::Socket;
use crate::turn;

/// How long at least a connection that has not sent its first byte may go on to wait after a drain has started: its request may be on
/// the way, and unlike that of a reused connection nobody would repeat it.
pub(super) const NEWCOMER_GRACE: Duration = Duration::from_millis(500);

/// From this on an idle time is kept to the second only, at less cost.
const LONG_IDLE: Duration = Duration::from_secs(10);

/// Serves a connection until it ends. Spawn it: one task per connection.
///
/// The future is small; it needs a tokio runtime with I/O and time. After `drain` has started it ends as soon as the request in
/// hand is answered. Dropping it cuts the connection.
pub fn serve_connection<S: Service>(
    socket: Socket,
    connection: Arc<Connection>,
    service: Arc<S>,
    drain: &Drain,
) -> impl Future<Output = ()> + Send + use<S> {
    let mut line = Line::new(socket, connection, &*service, drain);
    // What an async block captures it holds once; what an async function is given, twice.
    async move {
        while line.rest().await {
            match Box::pin(busy(&*service, &mut line)).await {
                Next::Stay => {}
                Next::Close => return,
                Next::Tunnel(mut tunnel) => {
                    let end = poll_fn(|cx| tunnel.poll(cx)).await;
                    let (record, sent) = tunnel.finish(end);
                    return service.sent(record, &sent);
                }
            }
        }
    }
}

/// Answers a connection with nothing but a refusal.
pub(super) async fn refuse_connection<S: Service>(
    socket: Socket,
    connection: Arc<Connection>,
    service: &S,
    drain: &Drain,
    refusal: &Refusal,
) {
    let mut line = Line::new(socket, connection, service, drain);
    let mut busy = Box::new(Busy::<S>::new(&line));
    let head = RequestHead::default();
    Box::pin(busy.refuse(service, &mut line, refusal, &head)).await;
    busy.report(service);
}

/// Serves the one request of a connection, whose head came by another protocol; content of this length follows.
pub(super) async fn serve_one<S: Service>(
    socket: Socket,
    connection: Arc<Connection>,
    service: &S,
    drain: &Drain,
    heard: hear::Elsewhere,
) {
    let mut line = Line::new(socket, connection, service, drain);
    let mut busy = Box::new(Busy::<S>::new(&line));
    let (head, framing) = busy.hear_elsewhere(heard);
    let _ = Box::pin(busy.answer(service, &mut line, head, framing)).await;
    busy.report(service);
}

/// What a connection holds for all of its life.
struct Line {
    socket: Arc<Socket>,
    connection: Arc<Connection>,
    limits: Arc<Limits>,
    drain: Watch,
    alarm: Alarm,
    /// Requests so far.
    ordinal: u64,
    /// When the service last answered or a write last had to wait: not long ago.
    now: Instant,
    /// How long it may be idle after the last response, in milliseconds; [`OWN_LIMIT`] where that response did not say.
    idle_ms: u32,
    /// How long a drain then leaves it open, in milliseconds.
    idle_min_ms: u32,
}

/// The connection's own limit holds. (Numbers of this width, because each idle connection keeps them.)
const OWN_LIMIT: u32 = u32::MAX;

/// What a connection holds between the first byte of a request and the last of its response.
struct Busy<S: Service> {
    heard: hear::Heard,
    input: Input,
    output: Output,
    /// Responses that are in `output`, in order.
    unsent: SmallVec<[Unsent<S::Record>; 1]>,
}

/// A response on its way, as places in the count of all bytes put out.
struct Unsent<R> {
    record: R,
    start: u64,
    head_end: u64,
    end: u64,
    request_bytes: u64,
    outcome: Option<Outcome>,
}

/// How a connection goes on.
enum Next<S: Service> {
    /// With another request.
    Stay,
    /// Not at all.
    Close,
    /// With another protocol.
    Tunnel(Box<finish::Tunnel<S::Record>>),
}

impl Line {
    fn new<S: Service>(
        socket: Socket,
        connection: Arc<Connection>,
        service: &S,
        drain: &Drain,
    ) -> Self {
        Self {
            socket: Arc::new(socket),
            limits: service.limits(&connection),
            connection,
            drain: drain.watch(),
            alarm: Alarm::default(),
            ordinal: 0,
            now: Instant::now(),
            idle_ms: OWN_LIMIT,
            idle_min_ms: 0,
        }
    }

    /// Waits a moment for another request with the box still there, which the next request then need not make anew; true
    /// when one comes. Only a bounded number of connections of a thread may do so.
    async fn stay_warm(&mut self) -> bool {
        let span = self.idle_limit();
        let Some(_place) = warm::Place::take().filter(|_| span > warm::SPAN) else {
            return false;
        };
        self.alarm.set_from(self.now, warm::SPAN);
        let comes = poll_fn(|cx| {
            if self.socket.poll_readable(cx).is_ready() {
                return Poll::Ready(true);
            }
            if self.drain.poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            self.alarm.poll(cx).map(|()| false)
        })
        .await;
        self.alarm.clear();
        comes
    }

    /// Looks at the clock.
    fn touch(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    /// Waits for the first byte of a request; false when the connection ends instead.
    ///
    /// What this keeps while it waits is what an idle connection costs: two flags.
    async fn rest(&mut self) -> bool {
        let mut timed = false;
        let mut draining = false;
        self.alarm.clear();
        if self.is_long_idle() {
            self.alarm = Alarm::default();
        }
        let comes = poll_fn(|cx| self.poll_rest(cx, &mut timed, &mut draining)).await;
        self.alarm.clear();
        comes
    }

    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        timed: &mut bool,
        draining: &mut bool,
    ) -> Poll<bool> {
        if self.socket.poll_readable(cx).is_ready() {
            return Poll::Ready(true);
        }
        if !*draining && self.drain.poll(cx).is_ready() {
            let grace = self.grace();
            if grace.is_zero() {
                return Poll::Ready(false);
            }
            *draining = true;
            self.alarm.set_after(grace);
        }
        if *draining || !self.is_long_idle() {
            if !self.alarm.is_set() {
                self.alarm.set_from(self.now, self.idle_span());
            }
            return self.alarm.poll(cx).map(|()| false);
        }
        // A long time is kept by the drain, for all connections together: none of them then needs a timer of its own.
        let Some(late) = tokio::time::Instant::from_std(self.now).checked_add(self.idle_span())
        else {
            return Poll::Pending;
        };
        if !std::mem::replace(timed, true) {
            self.drain.wake_after(late);
        } else if late <= tokio::time::Instant::now() {
            return Poll::Ready(false);
        }
        Poll::Pending
    }

    /// It has not sent its first request yet.
    fn is_newcomer(&self) -> bool {
        self.ordinal == 0
    }

    /// How long it may go on to wait after a drain has started.
    fn grace(&self) -> Duration {
        let grace = self.limits.idle_grace;
        if self.is_newcomer() {
            return grace.max(NEWCOMER_GRACE);
        }
        let min = Duration::from_millis(self.idle_min_ms.into());
        let asked_for = min.saturating_sub(self.now.elapsed());
        grace.max(asked_for).min(self.idle_span())
    }

    /// How long it may wait for its next request.
    fn idle_span(&self) -> Duration {
        if self.is_newcomer() {
            return self.limits.head_timeout;
        }
        self.idle_limit()
    }

    fn idle_limit(&self) -> Duration {
        match self.idle_ms {
            OWN_LIMIT => self.limits.keep_alive_timeout,
            idle_ms => Duration::from_millis(idle_ms.into()),
        }
    }

    /// Takes over what a response says.
    fn heed(&mut self, ending: &Ending) {
        let ms = |span: Duration| u32::try_from(span.as_millis()).unwrap_or(OWN_LIMIT - 1);
        self.idle_ms = ending.keep_alive_timeout.map_or(OWN_LIMIT, ms);
        self.idle_min_ms = ms(ending.keep_alive_min_timeout);
    }

    fn is_long_idle(&self) -> bool {
        !self.is_newcomer() && self.idle_span() >= LONG_IDLE
    }
}

/// Serves requests until there is nothing more to read for a while.
async fn busy<S: Service>(service: &S, line: &mut Line) -> Next<S> {
    let mut busy = Busy::<S>::new(line);
    let next = loop {
        match poll_fn(|cx| Poll::Ready(busy.input.poll_fill(cx, &line.socket))).await {
            Poll::Pending => {}
            Poll::Ready(Ok(1..)) => match busy.requests(service, line).await {
                Next::Stay => {}
                end => break end,
            },
            Poll::Ready(_) => break Next::Close,
        }
        busy.input.release();
        busy.output.release();
        if !line.stay_warm().await {
            break Next::Stay;
        }
    };
    busy.report(service);
    next
}

impl<S: Service> Busy<S> {
    fn new(line: &Line) -> Self {
        Self {
            heard: hear::Heard::new(line),
            input: Input::default(),
            output: Output::default(),
            unsent: SmallVec::new(),
        }
    }

    /// Serves the request that has begun to come, and those behind it.
    async fn requests(&mut self, service: &S, line: &mut Line) -> Next<S> {
        loop {
            match self.request(service, line).await {
                Next::Stay if self.input.is_empty() => {
                    return if self.flush(service, line).await.is_ok() {
                        Next::Stay
                    } else {
                        Next::Close
                    };
                }
                Next::Stay => {}
                end => return end,
            }
        }
    }

    /// Tells the service what became of the responses, as far as that is known: those that are written, and, when the
    /// connection ends, the others.
    fn report(&mut self, service: &S) {
        let written = self.output.written_total();
        if self.unsent.len() == 1 {
            if let Some(unsent) = self.unsent.pop() {
                unsent.report(service, written);
            }
            return;
        }
        for unsent in self.unsent.drain(..) {
            unsent.report(service, written);
        }
    }

    /// Writes everything out and reports it.
    async fn flush(&mut self, service: &S, line: &mut Line) -> Result<(), Failed> {
        if line.limits.writes_together {
            // The others have more use for an empty buffer.
            self.input.release();
            turn::others_first().await;
        }
        let written = poll_fn(|cx| Poll::Ready(self.output.poll_flush(cx, &line.socket))).await;
        let result = match written {
            Poll::Ready(result) => result.map_err(|_| Failed::Gone),
            Poll::Pending => self.write_out(line, line.limits.send_timeout).await,
        };
        if let Err(failed) = &result {
            self.blame(*failed);
        }
        self.report(service);
        result
    }

    /// Notes why the responses that are not written yet never will be.
    fn blame(&mut self, failed: Failed) {
        let written = self.output.written_total();
        for unsent in self
            .unsent
            .iter_mut()
            .filter(|unsent| unsent.end > written && unsent.outcome.is_none())
        {
            unsent.outcome = Some(match failed {
                Failed::Gone => Outcome::ClientGone,
                Failed::Slow => Outcome::SendTimeout,
            });
        }
    }

    /// Writes everything out.
    async fn write_out(&mut self, line: &mut Line, pause: Duration) -> Result<(), Failed> {
        let mut seen = None;
        let result = poll_fn(|cx| {
            if let Poll::Ready(result) = self.output.poll_flush(cx, &line.socket) {
                return Poll::Ready(result.map_err(|_| Failed::Gone));
            }
            let written = self.output.written_total();
            if seen.replace(written) != Some(written) {
                line.alarm.set_after(pause);
            }
            line.alarm.poll(cx).map(|()| Err(Failed::Slow))
        })
        .await;
        if seen.is_some() {
            line.touch();
            line.alarm.clear();
        }
        result
    }
}

impl<R> Unsent<R> {
    /// Tells the service; `written` counts all bytes written by the connection.
    fn report<S: Service<Record = R>>(self, service: &S, written: u64) {
        let upto = written.min(self.end);
        let sent = Sent {
            bytes: upto.saturating_sub(self.start),
            body_bytes: upto.saturating_sub(self.head_end),
            request_bytes: self.request_bytes,
            outcome: match self.outcome {
                Some(outcome) => outcome,
                None if written >= self.end => Outcome::Complete,
                None => Outcome::ClientGone,
            },
        };
        service.sent(self.record, &sent);
    }
}

/// Why nothing more can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// The client closed or reset.
    Gone,
    /// The client took nothing for too long.
    Slow,
}
