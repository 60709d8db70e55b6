//! One connection of HTTP/2, from its preface to its last frame.
//!
//! ```text
//!   socket ── way (floods, stalls) ── h2 (frames, windows, HPACK) ─┬─ exchange: head ─► service ─► response, content
//!                                                                  ├─ exchange …        all in the connection's task
//!                                                                  └─ exchange ─► another protocol (RFC 8441)
//! ```
//!
//! A [`Service`] sees the requests as it sees those of HTTP/1: the same heads under the same limits, content that is read on demand,
//! responses with any content. Flow control makes both directions wait; a window is opened by what was read.
//!
//! The crate `h2` keeps the protocol and most of its limits (resets, CONTINUATION, small frames, header lists); `meter` counts the
//! frames that bring nothing, and the connection's task knows how long anything may take.

mod duplex;
mod exchange;
mod head;
mod incoming;
mod meter;
mod opening;
mod pace;
mod response;
mod send;
mod settings;
mod upgrade;
mod way;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::Reason;

use super::connection::Connection;
use super::drain::{self, Drain};
use super::http1::NEWCOMER_GRACE;
use super::service::{Limits, Service, Trouble};
use crate::alarm::Alarm;
use crate::buffers;
use crate::socket::Socket;
use crate::timers;
use exchange::Stream;
use opening::Opening;
use pace::Pace;
use upgrade::First;
use way::{Watch, Way, Wrong};

pub use duplex::Duplex;
pub(super) use incoming::Incoming;
pub use settings::Settings;
pub(super) use upgrade::Upgrading;

/// The preface of a connection (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Most bytes that are thrown away at the end.
const LINGER_BYTES: usize = 1 << 20;
/// How long a client that broke a rule may take to read that it did.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Serves a connection until it ends: [`serve_connection`](super::serve_connection) for HTTP/2.
pub fn serve_http2<S: Service>(
    socket: Socket,
    connection: Arc<Connection>,
    service: Arc<S>,
    drain: &Drain,
    settings: &Settings,
) -> impl Future<Output = ()> + Send + use<S> {
    let way = Way::new(Arc::new(socket));
    serve(way, None, connection, service, drain, settings)
}

/// Serves a connection of HTTP/1 that goes on with HTTP/2: what came of that already, what its first request said of settings, and
/// that request.
fn serve_upgraded<S: Service>(
    socket: Arc<Socket>,
    (ahead, wish, first): (Bytes, Bytes, Box<First>),
    connection: Arc<Connection>,
    service: Arc<S>,
    drain: &Drain,
    settings: &Settings,
) -> impl Future<Output = ()> + Send + use<S> {
    let way = Way::upgraded(socket, ahead, Opening::new(wish));
    serve(way, Some(first), connection, service, drain, settings)
}

fn serve<S: Service>(
    (way, watch): (Way, Arc<Watch>),
    first: Option<Box<First>>,
    connection: Arc<Connection>,
    service: Arc<S>,
    drain: &Drain,
    settings: &Settings,
) -> impl Future<Output = ()> + Send + use<S> {
    let limits = service.limits(&connection);
    let socket = way.socket();
    let handshake = settings.builder().handshake::<Way, Bytes>(way);
    let span = settings.preface_timeout.unwrap_or(limits.head_timeout);
    let line = Arc::new(Line {
        service,
        connection,
        limits,
        closing: AtomicBool::new(false),
        under_way: AtomicUsize::new(0),
        pace: Pace::new(),
    });
    let (begun, drain) = (drain.clone(), drain.watch());
    async move {
        let mut limited = pin!(timers::timeout(span, handshake));
        let shaken = tokio::select! {
            biased;
            shaken = &mut limited => shaken,
            () = begun.begun() => timers::timeout(NEWCOMER_GRACE, limited).await.unwrap_or_else(Err),
        };
        let mut driver = match shaken {
            Ok(Ok(h2)) => Driver::new(h2, first, line, watch, drain),
            Ok(Err(error)) => return line.trouble(&error),
            Err(_) => return line.tell("HTTP/2 did not begin in time".to_owned(), true),
        };
        poll_fn(|cx| driver.poll(cx)).await;
        if driver.lingers {
            linger(&socket, driver.line.limits.drain_timeout).await;
        }
    }
}

/// Reads what the client still sends until it closes: a close at once would destroy what it has not read yet.
async fn linger(socket: &Socket, limit: Duration) {
    socket.shutdown(std::net::Shutdown::Write);
    let mut buffer = buffers::small();
    let reading = async {
        let mut thrown = 0;
        while thrown < LINGER_BYTES {
            buffer.clear();
            match poll_fn(|cx| socket.poll_read(cx, &mut buffer)).await {
                Ok(read @ 1..) => thrown += read,
                _ => return,
            }
        }
    };
    let _ = timers::timeout(limit, reading).await;
    buffers::give_back(buffer);
}

/// What all exchanges of a connection know.
struct Line<S> {
    service: Arc<S>,
    connection: Arc<Connection>,
    limits: Arc<Limits>,
    /// A response has asked for the end of the connection.
    closing: AtomicBool,
    /// Requests that are being answered.
    under_way: AtomicUsize,
    pace: Pace,
}

impl<S: Service> Line<S> {
    /// Whether no other request is being answered.
    fn is_last(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 1
    }

    /// The connection is to take no further requests.
    fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn trouble(&self, error: &h2::Error) {
        let silent = error.is_io() || error.is_remote();
        self.tell(format!("HTTP/2: {error}"), silent);
    }

    fn tell(&self, words: String, silent: bool) {
        self.service
            .trouble(&self.connection, &Trouble { words, silent });
    }
}

type Exchanges = FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// Keeps a connection and its exchanges going.
struct Driver<S: Service> {
    /// `None` when it has ended; exchanges may have to come to their end still.
    h2: Option<h2::server::Connection<Way, Bytes>>,
    exchanges: Exchanges,
    line: Arc<Line<S>>,
    watch: Arc<Watch>,
    drain: drain::Watch,
    /// The request that stream 1 was opened for, where it came by HTTP/1.
    first: Option<Box<First>>,
    /// Requests so far.
    ordinal: u64,
    /// Since when there has been no request.
    idle: Instant,
    /// Since when it has taken no new ones.
    closing: Option<Instant>,
    /// It ends at this time at the latest, whatever is under way.
    cut: Option<Instant>,
    rest: Alarm,
    stall: Alarm,
    /// The last word was said, and the client may still be reading.
    lingers: bool,
}

impl<S: Service> Driver<S> {
    fn new(
        h2: h2::server::Connection<Way, Bytes>,
        first: Option<Box<First>>,
        line: Arc<Line<S>>,
        watch: Arc<Watch>,
        drain: drain::Watch,
    ) -> Self {
        Self {
            h2: Some(h2),
            exchanges: FuturesUnordered::new(),
            line,
            watch,
            drain,
            ordinal: first.as_ref().map_or(0, |first| first.ordinal - 1),
            first,
            idle: Instant::now(),
            closing: None,
            cut: None,
            rest: Alarm::default(),
            stall: Alarm::default(),
            lingers: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.line.pace.begin();
        let ended = self.advance(cx);
        self.line.pace.end();
        ended
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            while let Poll::Ready(Some(())) = self.exchanges.poll_next_unpin(cx) {
                self.idle = Instant::now();
            }
            let Some(h2) = &mut self.h2 else {
                return match self.exchanges.is_empty() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                };
            };
            let asked = self.line.closing.load(Ordering::Relaxed);
            if self.closing.is_none() && (self.drain.poll(cx).is_ready() || asked) {
                h2.graceful_shutdown();
                self.closing = Some(Instant::now());
            }
            match h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((_, respond)))) if self.is_overdue() => self.turn_away(respond),
                Poll::Ready(Some(Ok((request, respond)))) => self.take(request, respond),
                Poll::Ready(Some(Err(error))) => {
                    self.line.trouble(&error);
                    self.lingers = !error.is_io();
                    self.h2 = None;
                }
                Poll::Ready(None) => {
                    self.lingers = true;
                    self.h2 = None;
                }
                Poll::Pending if self.poll_wrong(cx) || self.poll_rest(cx) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn take(
        &mut self,
        request: http::Request<h2::RecvStream>,
        respond: h2::server::SendResponse<Bytes>,
    ) {
        self.ordinal += 1;
        let stream = Stream {
            request,
            respond,
            ordinal: self.ordinal,
            first: self.first.take(),
        };
        let line = self.line.clone();
        line.under_way.fetch_add(1, Ordering::Relaxed);
        self.exchanges.push(Box::pin(async move {
            let mut exchange = pin!(exchange::exchange(line.clone(), stream));
            poll_fn(|cx| line.pace.poll(exchange.as_mut(), cx)).await;
            line.under_way.fetch_sub(1, Ordering::Relaxed);
        }));
    }

    /// Whether the client still asks although it was told to stop, and has had the time to.
    fn is_overdue(&self) -> bool {
        let limit = self.line.limits.drain_timeout;
        self.closing
            .is_some_and(|closing| closing.elapsed() > limit)
    }

    /// Does not take a request; without others that is the end of the connection.
    fn turn_away(&mut self, mut respond: h2::server::SendResponse<Bytes>) {
        respond.send_reset(Reason::REFUSED_STREAM);
        if let Some(h2) = &mut self.h2
            && self.exchanges.is_empty()
            && self.cut.is_none()
        {
            self.cut = Instant::now().checked_add(LAST_WORD);
            h2.abrupt_shutdown(Reason::NO_ERROR);
        }
    }

    /// Looks for what is wrong with the connection; true when something has changed by it.
    fn poll_wrong(&mut self, cx: &mut Context<'_>) -> bool {
        let mut deadline = self
            .cut
            .map(|cut| (cut, "the client did not take its leave"));
        for wrong in self.watch.wrong() {
            let (since, span, words) = match wrong {
                Wrong::Flood if self.cut.is_none() => {
                    self.flood();
                    return true;
                }
                Wrong::Flood => continue,
                Wrong::Unfinished(since) => (
                    since,
                    self.line.limits.head_timeout,
                    "a frame or a head did not come to its end in time",
                ),
                Wrong::Blocked(since) => (
                    since,
                    self.line.limits.send_timeout,
                    "the client took nothing for too long",
                ),
            };
            if let Some(until) = since.checked_add(span)
                && deadline.is_none_or(|(other, _)| until < other)
            {
                deadline = Some((until, words));
            }
        }
        let Some((until, words)) = deadline else {
            self.stall.clear();
            return false;
        };
        self.stall.set_from(until, Duration::ZERO);
        let late = self.stall.poll(cx).is_ready();
        if late {
            self.line
                .tell(format!("HTTP/2: {words}"), self.cut.is_some());
            self.h2 = None;
        }
        late
    }

    fn flood(&mut self) {
        let words = "HTTP/2: too many frames that bring nothing (a flood)";
        self.line.tell(words.to_owned(), false);
        self.cut = Instant::now().checked_add(LAST_WORD);
        if let Some(h2) = &mut self.h2 {
            h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
    }

    /// Keeps the time of a connection without requests; true when something has changed by it.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.exchanges.is_empty() {
            self.rest.clear();
            return false;
        }
        let limits = &self.line.limits;
        let (since, span) = match self.closing {
            Some(closing) => (closing.max(self.idle), limits.drain_timeout),
            None if self.ordinal == 0 => (self.idle, limits.head_timeout),
            None => (self.idle, limits.keep_alive_timeout),
        };
        self.rest.set_from(since, span);
        if self.rest.poll(cx).is_pending() {
            return false;
        }
        if self.closing.is_some() {
            self.h2 = None;
        } else {
            self.line.close();
        }
        true
    }
}
