//! One request and its response: ask the service, watch the client meanwhile, send what the service says.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use http::{Method, StatusCode};
use http_wire::Version;
use http_wire::body::{self, Framing as ContentFraming};
use http_wire::chunked;
use http_wire::connection::persists;
use http_wire::head::RequestHead;

use super::encode::{self, Asked, Decided, Framing};
use super::finish::Tunnel;
use super::reader::Reader;
use super::send::Counted;
use super::{Busy, Line, Next, Unsent};
use crate::body::Body;
use crate::server::content::{Coding, Content, Lent};
use crate::server::heads;
use crate::server::service::{Refusal, Request, Response, Service};

/// Responses to pipelined requests are gathered up to this many bytes.
const GATHER_MAX: usize = 64 * 1024;

impl<S: Service> Busy<S> {
    /// Has the request answered and sends the answer (which may stay in `output` when more requests wait).
    pub(super) async fn exchange(&mut self, service: &S, line: &mut Line) -> Next<S> {
        let head = std::mem::replace(&mut self.heard.head, heads::spare());
        let framing = match body::request_framing(&head) {
            Ok(framing) => framing,
            Err(error) => {
                return self
                    .refuse(service, line, &Refusal::Framing(error), &head)
                    .await;
            }
        };
        self.answer(service, line, head, framing).await
    }

    /// Has a request answered whose head and framing are known.
    pub(super) async fn answer(
        &mut self,
        service: &S,
        line: &mut Line,
        head: RequestHead,
        framing: ContentFraming,
    ) -> Next<S> {
        line.ordinal += 1;
        let gateway = line.connection.uwsgi.is_some();
        let (method, version) = (head.method.clone(), head.version);
        let client_stays = !gateway && persists(head.version, &head.fields);
        let content = self.content(line, framing, &head);
        let mut reader = Reader::new(!content.is_end());
        line.connection.begin(line.ordinal, !content.is_end());
        let connection = line.connection.clone();
        let request = Request {
            head,
            content,
            connection,
            ordinal: line.ordinal,
            received: self.heard.received,
            head_bytes: self.heard.head_bytes,
        };

        let answer = {
            let mut serving = pin!(service.serve(request));
            poll_fn(|cx| match serving.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => reader
                    .poll_gone(cx, line, &mut self.input, &mut self.output)
                    .map(|_| None),
            })
            .await
        };
        line.connection.responding();
        let Some((mut response, record)) = answer else {
            return Next::Close;
        };
        if let Some(interim) = line.connection.take_interim() {
            self.output.push_slice(&interim);
        }
        reader.collect(&line.connection, &mut self.input);
        let idle = response
            .ending
            .keep_alive_timeout
            .unwrap_or(line.limits.keep_alive_timeout);
        let keep_alive = client_stays
            && line.ordinal < line.limits.keep_alive_requests
            && !idle.is_zero()
            && !line.drain.started()
            && reader.may_stay(&line.limits);
        let now = line.touch();
        let asked = Asked {
            method: &method,
            // A gateway of the uwsgi protocol takes content as it comes, to its end.
            version: if gateway { Version::Http10 } else { version },
            keep_alive,
            now,
        };
        let start = self.output.queued_total();
        let mut unsent = Unsent {
            record,
            start,
            head_end: start,
            end: start,
            request_bytes: self.heard.head_bytes,
            outcome: None,
        };
        if response.ending.close_unanswered {
            self.unsent.push(unsent);
            let _ = self.flush(service, line).await;
            return Next::Close;
        }
        let decided = self.begin_response(line, asked, &mut response);
        unsent.head_end = self.output.queued_total();
        if decided.framing == Framing::Upgrade {
            unsent.end = unsent.head_end;
            return self
                .upgrade(service, line, unsent, response.upgrade.take())
                .await;
        }
        let pause = response
            .ending
            .send_timeout
            .unwrap_or(line.limits.send_timeout);
        let mut counted = Counted::new(decided.framing);
        unsent.outcome = match self.send_now(&mut response.body, &mut counted) {
            Some(result) => result.err(),
            None => self
                .send(line, &mut reader, &mut response.body, &mut counted, pause)
                .await
                .err(),
        };
        unsent.end = self.output.queued_total();
        reader.collect(&line.connection, &mut self.input);
        unsent.request_bytes += reader.wire_bytes();
        let failed = unsent.outcome.is_some();
        self.unsent.push(unsent);
        if failed {
            return self.cut(service, line, decided.framing).await;
        }
        let settled = decided.keep_alive && reader.is_settled();
        if settled && !self.input.is_empty() && self.output.pending() < GATHER_MAX {
            return Next::Stay;
        }
        if self.flush(service, line).await.is_err() {
            return Next::Close;
        }
        if settled {
            Next::Stay
        } else {
            self.settle(line, &mut reader, decided.keep_alive).await
        }
    }

    /// Writes the head of a response.
    fn begin_response(
        &mut self,
        line: &mut Line,
        asked: Asked<'_>,
        response: &mut Response,
    ) -> Decided {
        repair(response);
        let decided = encode::decide(asked, response);
        self.output
            .write_with(|out| encode::head(asked, decided, response, out));
        line.heed(&response.ending);
        decided
    }

    /// The content of a request, with the read half if there is any.
    fn content(&mut self, line: &Line, framing: ContentFraming, head: &RequestHead) -> Content {
        let coding = match framing {
            ContentFraming::Length(length) if length > 0 => Coding::Length(length),
            ContentFraming::Chunked => Coding::Chunked(Box::new(chunked::Decoder::new(
                chunked::ChunkLimits::default(),
            ))),
            _ => return Content::empty(),
        };
        let buffered = self.input.take();
        let expects =
            buffered.is_empty() && line.connection.uwsgi.is_none() && head.expects_continue();
        let lent = Lent::new(line.socket.clone(), buffered, coding, expects);
        Content::reading(line.connection.clone(), line.ordinal, lent)
    }

    /// Hands the connection over to another protocol.
    async fn upgrade(
        &mut self,
        service: &S,
        line: &mut Line,
        unsent: Unsent<S::Record>,
        taker: Option<crate::server::UpgradeFn>,
    ) -> Next<S> {
        if let Some(taker) = taker
            && self.write_out(line, line.limits.send_timeout).await.is_ok()
        {
            self.report(service);
            let ahead = self.input.take();
            return Next::Tunnel(Box::new(Tunnel::new(&line.socket, ahead, taker, unsent)));
        }
        self.unsent.push(unsent);
        let _ = self.flush(service, line).await;
        Next::Close
    }
}

/// A final response can't have an interim status; what a service means by one can't be known.
fn repair(response: &mut Response) {
    if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
        response.status = StatusCode::INTERNAL_SERVER_ERROR;
        response.body = Body::Empty;
    }
}

impl Asked<'_> {
    /// What is asked when the request was not understood.
    pub(super) fn nothing(head: &RequestHead, now: Instant) -> Asked<'_> {
        Asked {
            method: if head.method == Method::HEAD {
                &Method::HEAD
            } else {
                &Method::GET
            },
            version: head.version,
            keep_alive: false,
            now,
        }
    }
}
