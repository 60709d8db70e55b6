//! Reading the head of a request, and refusing one.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use http_wire::body::Framing;
use http_wire::head::{RequestHead, RequestParser};

use super::encode::{self, Asked};
use super::reader::Reader;
use super::send::Counted;
use super::{Busy, Failed, Line, Next, Unsent, finish};
use crate::server::service::{Refusal, Service};

/// The head that is being read.
pub(super) struct Heard {
    pub(super) parser: RequestParser,
    pub(super) head: RequestHead,
    pub(super) head_bytes: u64,
    pub(super) received: Instant,
}

impl Heard {
    pub(super) fn new(line: &Line) -> Self {
        let parser = RequestParser::new(line.limits.head.clone());
        Self {
            parser,
            head: RequestHead::default(),
            head_bytes: 0,
            received: line.now,
        }
    }
}

/// A head that came by another protocol than HTTP/1.
pub(in crate::server) struct Elsewhere {
    pub head: RequestHead,
    /// Bytes of what it was made of.
    pub head_bytes: u64,
    /// Bytes of content that follow.
    pub content_length: u64,
    /// When its first byte came.
    pub received: Instant,
}

enum Filled {
    Some,
    End,
    Late,
}

/// Why there is no head.
enum Stopped {
    Closed,
    Refused(Refusal),
}

impl<S: Service> Busy<S> {
    /// Reads a request, has it answered and sends the answer (which may stay in `output` when more requests wait).
    pub(super) async fn request(&mut self, service: &S, line: &mut Line) -> Next<S> {
        match self.hear(service, line).await {
            Ok(()) => self.exchange(service, line).await,
            Err(Stopped::Closed) => Next::Close,
            Err(Stopped::Refused(refusal)) => {
                let head = std::mem::take(&mut self.heard.head);
                self.refuse(service, line, &refusal, &head).await
            }
        }
    }

    /// Takes a head that came by another protocol.
    pub(super) fn hear_elsewhere(&mut self, heard: Elsewhere) -> (RequestHead, Framing) {
        self.heard.head_bytes = heard.head_bytes;
        self.heard.received = heard.received;
        (heard.head, Framing::Length(heard.content_length))
    }

    /// Reads a head.
    async fn hear(&mut self, service: &S, line: &mut Line) -> Result<(), Stopped> {
        self.heard.received = line.touch();
        loop {
            match self
                .heard
                .parser
                .parse(self.input.unused(), &mut self.heard.head)
            {
                Ok(Some(used)) => {
                    self.input.consume(used);
                    self.heard.head_bytes = used as u64;
                    line.alarm.clear();
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) => return Err(Stopped::Refused(Refusal::Head(error))),
            }
            if self.output.pending() > 0 || !self.unsent.is_empty() {
                self.flush(service, line)
                    .await
                    .map_err(|_: Failed| Stopped::Closed)?;
            }
            match self.fill(line).await {
                Filled::Some => {}
                Filled::End => return Err(Stopped::Closed),
                Filled::Late => return Err(Stopped::Refused(Refusal::Timeout)),
            }
        }
    }

    async fn fill(&mut self, line: &mut Line) -> Filled {
        poll_fn(|cx| {
            if let Poll::Ready(result) = self.input.poll_fill(cx, &line.socket) {
                return Poll::Ready(if result.is_ok_and(|read| read > 0) {
                    Filled::Some
                } else {
                    Filled::End
                });
            }
            self.input.settle();
            if !line.alarm.is_set() {
                line.alarm
                    .set_from(self.heard.received, line.limits.head_timeout);
            }
            line.alarm.poll(cx).map(|()| Filled::Late)
        })
        .await
    }

    /// Answers a head that was not accepted; the connection ends with that.
    pub(super) async fn refuse(
        &mut self,
        service: &S,
        line: &mut Line,
        refusal: &Refusal,
        head: &RequestHead,
    ) -> Next<S> {
        let request_bytes = match refusal {
            Refusal::Framing(_) => self.heard.head_bytes,
            Refusal::Head(_) | Refusal::Gateway(_) | Refusal::Timeout => {
                self.input.unused().len() as u64
            }
        };
        let start = self.output.queued_total();
        let Some((mut response, record)) = service.refuse(refusal, head, &line.connection) else {
            let _ = self.flush(service, line).await;
            return Next::Close;
        };
        let mut unsent = Unsent {
            record,
            start,
            head_end: start,
            end: start,
            request_bytes,
            outcome: None,
        };
        let answers = !response.ending.close_unanswered;
        if answers {
            let asked = Asked::nothing(head, line.now);
            let decided = encode::decide(asked, &response);
            self.output
                .write_with(|out| encode::head(asked, decided, &response, out));
            unsent.head_end = self.output.queued_total();
            let pause = response
                .ending
                .send_timeout
                .unwrap_or(line.limits.send_timeout);
            let mut counted = Counted::new(decided.framing);
            unsent.outcome = match self.send_now(&mut response.body, &mut counted) {
                Some(result) => result.err(),
                None => {
                    let mut reader = Reader::idle();
                    self.send(line, &mut reader, &mut response.body, &mut counted, pause)
                        .await
                        .err()
                }
            };
            unsent.end = self.output.queued_total();
        }
        self.unsent.push(unsent);
        if self.flush(service, line).await.is_ok() && answers {
            finish::linger(line).await;
        }
        Next::Close
    }
}
