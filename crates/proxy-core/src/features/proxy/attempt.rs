//! One peer after the other, until one answers or none is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use http_wire::Fields;
use http_wire::head::RequestHead;
use nginx_conf::{Args, Fault};

use super::target::Aim;
use super::variables::ComputedHost;
use super::{Settled, is_repeatable, request, response, words};
use crate::body::Body;
use crate::client::{Answer, Blame, Cause, ClientError, Outgoing, Phase, Upload};
use crate::engine::exchange::{Asked, Attempt, Exchange, Meter};
use crate::engine::logs::Level;
use crate::feature::{Flow, Waiting};
use crate::server::{Address, Content, ContentError};
use crate::spool::Spooled;
use crate::upstream::{Group, Verdict};

/// `proxy_next_upstream`: when a request is passed to the next peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextUpstream {
    error: bool,
    timeout: bool,
    invalid_head: bool,
    statuses: Vec<u16>,
    non_idempotent: bool,
}

impl Default for NextUpstream {
    fn default() -> Self {
        Self {
            error: true,
            timeout: true,
            invalid_head: false,
            statuses: Vec::new(),
            non_idempotent: false,
        }
    }
}

const CONDITIONS: &[&str] = &[
    "error",
    "timeout",
    "invalid_header",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "http_403",
    "http_404",
    "http_429",
    "non_idempotent",
    "updating",
    "off",
];

impl NextUpstream {
    pub(super) fn read(args: &mut Args<'_>) -> Result<Self, Fault> {
        let mut next = Self {
            error: false,
            timeout: false,
            ..Self::default()
        };
        for arg in args.rest() {
            match arg.text() {
                "off" => {
                    return Ok(Self {
                        error: false,
                        timeout: false,
                        ..Self::default()
                    });
                }
                "error" => next.error = true,
                "timeout" => next.timeout = true,
                "invalid_header" => next.invalid_head = true,
                "non_idempotent" => next.non_idempotent = true,
                "updating" => {}
                text if CONDITIONS.contains(&text) => next.statuses.extend(
                    text.strip_prefix("http_")
                        .and_then(|code| code.parse::<u16>().ok()),
                ),
                _ => return Err(arg.unknown_parameter(CONDITIONS)),
            }
        }
        Ok(next)
    }

    /// Whether a status counts as a failure of its peer; that somebody may not or nothing is there is none.
    fn counts(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status.as_u16())
            && !matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
    }

    fn wants(&self, error: &ClientError) -> bool {
        match error.phase {
            _ if error.is_timeout() => self.timeout,
            Phase::Head => {
                self.invalid_head
                    || (self.error && matches!(error.cause, Cause::Io(_) | Cause::Closed))
            }
            _ => self.error,
        }
    }
}

/// The handler.
pub(super) fn pass<'a>(settled: &'a Settled, exchange: &'a mut Exchange) -> Waiting<'a, Flow> {
    Box::pin(Pass::run(settled, exchange))
}

/// A request on its way from peer to peer.
struct Pass<'a> {
    settled: &'a Settled,
    group: Arc<Group>,
    head: RequestHead,
    content: Kept,
    tried: Vec<Address>,
    begun: Instant,
}

/// Content that was read for one location and is there for the next one that an internal redirect leads to.
struct Sendable(Spooled);

/// The content, as it can be sent to one peer after the other.
enum Kept {
    /// Complete.
    Whole(Spooled),
    /// Passed on as it comes: gone after the first peer that got any of it.
    Streaming(Option<Content>),
}

impl<'a> Pass<'a> {
    async fn run(settled: &'a Settled, exchange: &'a mut Exchange) -> Flow {
        let Some(target) = &settled.target else {
            return Flow::Next;
        };
        let aim = match target.aim(exchange) {
            Ok(aim) => aim,
            Err(what) => {
                exchange.log_error(format_args!(
                    "{what}; proxy_pass needs http://host[:port][/uri]"
                ));
                return Flow::status(StatusCode::INTERNAL_SERVER_ERROR);
            }
        };
        if target.fixed().is_none() {
            exchange.notes.put(ComputedHost(aim.host.clone()));
        }
        let head = match request::head(settled, exchange, &aim) {
            Ok(head) => head,
            Err(what) => {
                exchange.log_error(format_args!("{what}"));
                return Flow::status(StatusCode::INTERNAL_SERVER_ERROR);
            }
        };
        exchange
            .request
            .connection
            .ignore_client_abort(settled.ignore_client_abort);
        let content = match Self::content(settled, exchange).await {
            Ok(content) => content,
            Err(error) => return refuse_content(exchange, &error),
        };
        let Aim { group, .. } = aim;
        if let Err(why) = group.ready().await {
            exchange.log_error(format_args!("upstream \"{}\": {why}; is the name right, and does this machine's name server know it?", group.name()));
            return Flow::status(StatusCode::BAD_GATEWAY);
        }
        Self {
            settled,
            group,
            head,
            content,
            tried: Vec::new(),
            begun: Instant::now(),
        }
        .try_peers(exchange)
        .await
    }

    async fn content(settled: &Settled, exchange: &mut Exchange) -> Result<Kept, ContentError> {
        if let Some(content) = &settled.content {
            return Ok(Kept::Whole(Spooled::Memory(
                exchange.expand(content).into(),
            )));
        }
        if !settled.pass_request_content {
            return Ok(Kept::Whole(Spooled::Empty));
        }
        if let Some(Sendable(kept)) = exchange.notes.get() {
            return Ok(Kept::Whole(kept.clone()));
        }
        let asked = &mut exchange.request.content;
        if asked.is_end() {
            return Ok(Kept::Whole(Spooled::Empty));
        }
        // HTTP/1.0 knows no content of unknown length.
        let can_stream = asked.length().is_some() || !settled.http_10;
        if !settled.request_buffering && can_stream {
            return Ok(Kept::Streaming(Some(std::mem::replace(
                asked,
                Content::empty(),
            ))));
        }
        let memory = usize::try_from(exchange.core().client_body_buffer_size).unwrap_or(usize::MAX);
        let spooled = Spooled::read(
            &mut exchange.request.content,
            memory,
            &settled.ahead.directory,
        )
        .await?;
        exchange.notes.put(Sendable(spooled.clone()));
        Ok(Kept::Whole(spooled))
    }

    async fn try_peers(mut self, exchange: &mut Exchange) -> Flow {
        let mut new_group = !exchange.attempts.is_empty();
        loop {
            let Some(address) = self.group.next(&self.tried) else {
                return self.nobody_left(exchange);
            };
            let meter = Arc::new(Meter::default());
            let begun = if self.tried.is_empty() {
                self.begun
            } else {
                Instant::now()
            };
            exchange.attempts.push(Attempt {
                peer: Asked::Peer(address.clone()),
                begun,
                status: None,
                connected: None,
                head: None,
                head_bytes: 0,
                sent_bytes: 0,
                new_group: std::mem::take(&mut new_group),
                meter: Arc::clone(&meter),
            });
            let turn = TurnGuard {
                group: Arc::clone(&self.group),
                address: address.clone(),
                verdict: Verdict::Neutral,
            };
            match self.ask(&address, turn).await {
                Ok(answer) => {
                    note_answer(exchange, &answer);
                    if !self.passes_on(&answer, exchange, &address) {
                        return response::make(self.settled, exchange, answer, meter);
                    }
                    self.tried.push(address);
                }
                Err(error) => {
                    meter.end();
                    if let Some(flow) = self.failed(exchange, &error, &address) {
                        return flow;
                    }
                    self.tried.push(address);
                }
            }
        }
    }

    async fn ask(&mut self, address: &Address, mut turn: TurnGuard) -> Result<Answer, ClientError> {
        let mut upload = self.content.upload().map_err(|error| ClientError {
            phase: Phase::Send,
            cause: Cause::Content(error.into()),
            sent_bytes: 0,
            received_bytes: 0,
            reused: false,
        })?;
        let outgoing = Outgoing {
            head: &self.head,
            interim: None,
        };
        let answered = turn
            .group
            .pool()
            .exchange(address, outgoing, &mut upload, &self.settled.client)
            .await;
        if let (Err(_), Kept::Streaming(content), Upload::Content(whole)) =
            (&answered, &mut self.content, upload)
        {
            *content = Some(whole).filter(|content| content.received_bytes() == 0);
        }
        turn.verdict = match &answered {
            Ok(answer) if self.settled.next_upstream.counts(answer.head.status) => Verdict::Failed,
            Ok(_) => Verdict::Good,
            Err(error) if error.blame() == Blame::Origin => Verdict::Failed,
            Err(_) => Verdict::Neutral,
        };
        answered
    }

    /// Whether an answer of this status goes unused and the next peer is asked.
    fn passes_on(&self, answer: &Answer, exchange: &Exchange, address: &Address) -> bool {
        let status = answer.head.status;
        let wanted = self
            .settled
            .next_upstream
            .statuses
            .contains(&status.as_u16());
        let passes = wanted && self.may_go_on(true) && self.has_further_peer(address);
        if passes {
            exchange.log_error(format_args!(
                "upstream \"{}\", peer {address}: status {status}; trying the next peer",
                self.group.name()
            ));
        }
        passes
    }

    /// What follows a failure: `None` for the next peer.
    fn failed(
        &mut self,
        exchange: &mut Exchange,
        error: &ClientError,
        address: &Address,
    ) -> Option<Flow> {
        if let Cause::Content(error) = &error.cause {
            return Some(refuse_content(exchange, error));
        }
        let status = response::status_of(error.is_timeout());
        if let Some(attempt) = exchange.attempts.last_mut() {
            attempt.status = Some(status);
            attempt.sent_bytes = error.sent_bytes;
        }
        let goes_on = self.settled.next_upstream.wants(error)
            && self.may_go_on(!error.nothing_sent())
            && self.has_further_peer(address);
        let then = if goes_on {
            "; trying the next peer"
        } else {
            ""
        };
        exchange.log_error(format_args!(
            "upstream \"{}\", peer {address}: {}{then}",
            self.group.name(),
            words::of(error)
        ));
        (!goes_on).then(|| Flow::Special(status, Fields::new()))
    }

    fn has_further_peer(&self, address: &Address) -> bool {
        let tried = self.tried.iter().filter(|tried| *tried != address).count() + 1;
        let limit = self.settled.next_upstream_tries;
        tried < self.group.peers() && (limit == 0 || tried < limit)
    }

    /// Whether the request may be sent once more, `sent` telling whether a peer may have seen it.
    fn may_go_on(&self, sent: bool) -> bool {
        let repeatable =
            !sent || is_repeatable(&self.head.method) || self.settled.next_upstream.non_idempotent;
        let in_time = self
            .settled
            .next_upstream_timeout
            .is_none_or(|limit: Duration| self.begun.elapsed() < limit);
        repeatable && in_time && self.content.is_whole()
    }

    fn nobody_left(&self, exchange: &mut Exchange) -> Flow {
        exchange.log_error(format_args!("upstream \"{}\": no live upstreams: all peers are down or rest after failures (max_fails, fail_timeout)", self.group.name()));
        if exchange.attempts.is_empty() {
            exchange.attempts.push(Attempt {
                peer: Asked::Nobody(Arc::clone(self.group.name())),
                begun: Instant::now(),
                status: Some(StatusCode::BAD_GATEWAY),
                connected: None,
                head: None,
                head_bytes: 0,
                sent_bytes: 0,
                new_group: false,
                meter: Arc::default(),
            });
        }
        Flow::status(StatusCode::BAD_GATEWAY)
    }
}

/// Tells the group how a request to a peer ended, also when the client leaves in the middle.
struct TurnGuard {
    group: Arc<Group>,
    address: Address,
    verdict: Verdict,
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        self.group.finish(&self.address, self.verdict);
    }
}

impl Kept {
    /// The content for one peer.
    ///
    /// # Errors
    /// When the process has no descriptor left for another look at the file.
    fn upload(&mut self) -> std::io::Result<Upload> {
        Ok(match self {
            Self::Whole(Spooled::Empty) => Upload::Empty,
            Self::Whole(Spooled::Memory(bytes)) => Upload::Bytes(bytes.clone()),
            Self::Whole(spooled @ Spooled::File(..)) => match spooled.file_body()? {
                Some(body) => Upload::Stream(Box::pin(Body::from(body))),
                None => Upload::Empty,
            },
            Self::Streaming(content) => content.take().map_or(Upload::Spent, Upload::Content),
        })
    }

    fn is_whole(&self) -> bool {
        !matches!(self, Self::Streaming(None))
    }
}

fn note_answer(exchange: &mut Exchange, answer: &Answer) {
    if let Some(attempt) = exchange.attempts.last_mut() {
        let times = answer.times;
        attempt.status = Some(answer.head.status);
        attempt.connected = Some(times.connected.saturating_duration_since(times.begun));
        attempt.head = Some(times.head.saturating_duration_since(times.begun));
        attempt.sent_bytes = answer.sent_bytes;
        attempt.head_bytes = answer.head_bytes;
    }
}

/// The answer to a client whose content failed.
fn refuse_content(exchange: &mut Exchange, error: &ContentError) -> Flow {
    let level = match error {
        ContentError::TooLarge { .. } => Level::Error,
        ContentError::Io(_) => Level::Crit,
        _ => Level::Info,
    };
    exchange.log(level, format_args!("{error}"));
    // The page for this status is made as if there was none.
    exchange.request.content = Content::empty();
    match error.status() {
        // The disk, or a descriptor, is what is missing.
        None if matches!(error, ContentError::Io(_)) => {
            Flow::status(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Some(status) => Flow::status(status),
        // Nobody is there to be answered; the log tells nginx's 400.
        None => Flow::Close(StatusCode::BAD_REQUEST),
    }
}
