//! Reading the head of a request, and refusing one.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use http_wire::head::{RequestHead, RequestParser};

use super::encode::{self, Asked};
use super::reader::Reader;
use super::{Busy, Failed, Line, Next, Unsent, finish};
use crate::server::service::{Refusal, Service};

/// A head that was read.
pub(super) struct Heard {
    pub(super) head: RequestHead,
    pub(super) head_bytes: u64,
    pub(super) received: Instant,
}

enum Filled {
    Some,
    End,
    Late,
}

impl<S: Service> Busy<S> {
    /// Reads a request, has it answered and sends the answer (which may stay in `output` when more requests wait).
    pub(super) async fn request(&mut self, service: &S, line: &mut Line) -> Next<S> {
        match self.hear(service, line).await {
            Ok(Some(heard)) => self.exchange(service, line, heard).await,
            Ok(None) | Err(Stopped::Closed) => Next::Close,
            Err(Stopped::Refused(refused)) => {
                let (refusal, head) = *refused;
                self.refuse(service, line, &refusal, &head).await
            }
        }
    }

    /// Reads a head; `None` when the client closed before it.
    async fn hear(&mut self, service: &S, line: &mut Line) -> Result<Option<Heard>, Stopped> {
        let mut heard = Heard {
            head: RequestHead::default(),
            head_bytes: 0,
            received: line.touch(),
        };
        let mut parser = RequestParser::new(line.limits.head.clone());
        loop {
            match parser.parse(self.input.unused(), &mut heard.head) {
                Ok(Some(used)) => {
                    self.input.consume(used);
                    heard.head_bytes = used as u64;
                    line.alarm.clear();
                    return Ok(Some(heard));
                }
                Ok(None) => {}
                Err(error) => return Err(Stopped::refused(Refusal::Head(error), heard.head)),
            }
            if self.output.pending() > 0 || !self.unsent.is_empty() {
                self.flush(service, line)
                    .await
                    .map_err(|_: Failed| Stopped::Closed)?;
            }
            match self.fill(line, heard.received).await {
                Filled::Some => {}
                Filled::End => return Ok(None),
                Filled::Late => return Err(Stopped::refused(Refusal::Timeout, heard.head)),
            }
        }
    }

    async fn fill(&mut self, line: &mut Line, received: Instant) -> Filled {
        poll_fn(|cx| {
            if let Poll::Ready(result) = self.input.poll_fill(cx, &line.socket) {
                return Poll::Ready(if result.is_ok_and(|read| read > 0) {
                    Filled::Some
                } else {
                    Filled::End
                });
            }
            if !line.alarm.is_set() {
                match received.checked_add(line.limits.head_timeout) {
                    Some(deadline) => line.alarm.set(deadline.into()),
                    None => line.alarm.clear(),
                }
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
        let request_bytes = self.input.unused().len() as u64;
        let start = self.output.queued_total();
        let Some((response, record)) = service.refuse(refusal, head, &line.connection) else {
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
            unsent.outcome = self
                .send(
                    line,
                    &mut Reader::idle(),
                    response.body,
                    decided.framing,
                    pause,
                )
                .await
                .err();
            unsent.end = self.output.queued_total();
        }
        self.unsent.push(unsent);
        if self.flush(service, line).await.is_ok() && answers {
            finish::linger(line).await;
        }
        Next::Close
    }
}

enum Stopped {
    Closed,
    Refused(Box<(Refusal, RequestHead)>),
}

impl Stopped {
    fn refused(refusal: Refusal, head: RequestHead) -> Self {
        Self::Refused(Box::new((refusal, head)))
    }
}
