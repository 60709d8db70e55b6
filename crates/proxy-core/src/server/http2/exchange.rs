//! One request of a connection and its response: what HTTP/1's exchange does, on a stream.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Method, StatusCode};
use http_wire::Known;
use http_wire::head::HeadLimits;

use super::Line;
use super::duplex::Duplex;
use super::head::{self, Heard, Kind, Refused};
use super::incoming::Incoming;
use super::pace;
use super::response::{self, Asked};
use super::send;
use super::upgrade::{self, First};
use crate::body::Body;
use crate::server::connection::Connection;
use crate::server::content::Content;
use crate::server::service::{Outcome, Request, Response, Sent, Service};
use crate::server::upgraded::{Upgraded, Wire};

/// A stream that was opened.
pub(super) struct Stream {
    pub request: http::Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
    /// The number of the request on its connection.
    pub ordinal: u64,
    /// The request itself, where it came by HTTP/1; the stream has nothing of it then.
    pub first: Option<Box<First>>,
}

/// Answers a request.
pub(super) async fn exchange<S: Service>(line: Arc<Line<S>>, stream: Stream) {
    let Stream {
        request,
        mut respond,
        ordinal,
        first,
    } = stream;
    let received = (first.as_ref()).map_or_else(Instant::now, |first| first.received);
    if poll_fn(|cx| Poll::Ready(respond.poll_reset(cx).is_ready())).await {
        // Given up before its turn came.
        return;
    }
    let (parts, content) = request.into_parts();
    let asked = match first {
        Some(first) => Ok(Understood::before(*first)),
        None => Understood::now(&parts, &line.limits.head),
    };
    let Understood {
        heard: Heard {
            head,
            kind,
            bytes: head_bytes,
        },
        claims_https,
        came,
    } = match asked {
        Ok(asked) => asked,
        Err(refused) => {
            let bytes = head::size(&parts);
            return refuse(&line, respond, *refused, (content, bytes)).await;
        }
    };
    let connection = Arc::new(line.connection.of_stream(claims_https));
    connection.begin(ordinal, true);
    let content_bytes = Arc::new(AtomicU64::new(0));
    let mut pipe = None;
    let content = if let Some(came) = came {
        content_bytes.store(came.len() as u64, Ordering::Relaxed);
        upgrade::content(came)
    } else if kind == Kind::WebSocket {
        pipe = Some(content);
        Content::empty()
    } else if content.is_end_stream() {
        Content::empty()
    } else {
        let length = (head.fields.get_single(Known::ContentLength))
            .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        let expecting = (head.expects_continue()).then(|| (connection.clone(), ordinal));
        Content::http2(
            Incoming::new(content, expecting, content_bytes.clone()),
            length,
        )
    };
    let method = head.method.clone();
    let request = Request {
        head,
        content,
        connection: connection.clone(),
        ordinal,
        received,
        head_bytes,
    };
    let Some((mut response, record)) =
        ask(&*line.service, request, &connection, &mut respond).await
    else {
        return;
    };
    connection.responding();
    forward_interim(&connection, &mut respond);
    let asks_for_the_end = asks_for_the_end(&response);
    let asked = Asked {
        method: &method,
        websocket: kind == Kind::WebSocket,
        now: Instant::now(),
    };
    let request_bytes = || head_bytes + content_bytes.load(Ordering::Relaxed);
    let sent = match (response.upgrade.take(), pipe) {
        (Some(taker), Some(pipe)) if response::accepts(&response) => {
            let (head, bytes) = response::head(asked, &response, None);
            match respond.send_response(head, false) {
                Ok(out) => {
                    let duplex = Duplex::new(pipe, out);
                    let end = taker(Upgraded::new(Wire::from(duplex), Bytes::new())).await;
                    Sent {
                        bytes: bytes + end.sent_bytes,
                        body_bytes: end.sent_bytes,
                        request_bytes: request_bytes() + end.received_bytes,
                        outcome: Outcome::Complete,
                    }
                }
                Err(_) => gone(request_bytes()),
            }
        }
        _ => deliver(&line, respond, asked, &mut response, request_bytes()).await,
    };
    let sent = Sent {
        request_bytes: sent.request_bytes.max(request_bytes()),
        ..sent
    };
    line.service.sent(record, &sent);
    // What closes a connection of HTTP/1 lets this one come to its end, but not while others are answered: for some clients GOAWAY is
    // the end of everything (Python's h2). For their sake the response goes first, too, as far as it can.
    let ends = ordinal >= line.limits.keep_alive_requests || (asks_for_the_end && line.is_last());
    if ends && method != Method::CONNECT {
        pace::step_aside().await;
        line.close();
    }
}

/// Whether a response that tells of no fault asks for the end of the connection.
fn asks_for_the_end(response: &Response) -> bool {
    let Response { status, fields, .. } = response;
    let closes = !response.ending.keep_alive || fields.contains_token(Known::Connection, "close");
    closes && !status.is_client_error() && !status.is_server_error()
}

/// A request whose head was understood.
struct Understood {
    heard: Heard,
    claims_https: Option<bool>,
    /// All of its content, where that came with it by HTTP/1.
    came: Option<Bytes>,
}

impl Understood {
    fn now(parts: &http::request::Parts, limits: &HeadLimits) -> Result<Self, Box<Refused>> {
        let scheme = parts.uri.scheme();
        Ok(Self {
            heard: head::read(parts, limits)?,
            claims_https: scheme.map(|scheme| *scheme == http::uri::Scheme::HTTPS),
            came: None,
        })
    }

    fn before(first: First) -> Self {
        Self {
            heard: Heard {
                head: first.head,
                kind: Kind::Plain,
                bytes: first.head_bytes,
            },
            claims_https: None,
            came: Some(first.content),
        }
    }
}

/// Asks the service; `None` when the client has given the request up meanwhile.
async fn ask<S: Service>(
    service: &S,
    request: Request,
    connection: &Arc<Connection>,
    respond: &mut SendResponse<Bytes>,
) -> Option<(Response, S::Record)> {
    let mut serving = pin!(service.serve(request));
    let mut gone = false;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = serving.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        connection.await_letters(cx);
        forward_interim(connection, respond);
        gone = gone || respond.poll_reset(cx).is_ready();
        match gone && !connection.ignores_client_abort() {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    })
    .await
}

/// Sends what is to go ahead of the response.
fn forward_interim(connection: &Connection, respond: &mut SendResponse<Bytes>) {
    for (status, fields) in connection.take_heads() {
        // A stream that can't take it will not take the response either.
        let _ = respond.send_informational(response::interim(status, &fields));
    }
}

/// Answers a head that was not accepted.
async fn refuse<S: Service>(
    line: &Line<S>,
    mut respond: SendResponse<Bytes>,
    Refused { refusal, head }: Refused,
    (content, request_bytes): (RecvStream, u64),
) {
    let Some((mut response, record)) = line.service.refuse(&refusal, &head, &line.connection)
    else {
        return respond.send_reset(Reason::REFUSED_STREAM);
    };
    let asked = Asked {
        method: if head.method == Method::HEAD {
            &Method::HEAD
        } else {
            &Method::GET
        },
        websocket: false,
        now: Instant::now(),
    };
    let sent = deliver(line, respond, asked, &mut response, request_bytes).await;
    drop(content);
    line.service.sent(record, &sent);
}

/// Sends a response.
async fn deliver<S: Service>(
    line: &Line<S>,
    mut respond: SendResponse<Bytes>,
    asked: Asked<'_>,
    response: &mut Response,
    request_bytes: u64,
) -> Sent {
    if response.ending.close_unanswered {
        respond.send_reset(Reason::CANCEL);
        return gone(request_bytes);
    }
    if response.status.is_informational() {
        // What a service means by such a final response can't be known.
        response.status = StatusCode::INTERNAL_SERVER_ERROR;
        response.body = Body::Empty;
    }
    let length = response::length(asked, response);
    let (head, head_bytes) = response::head(asked, response, length.stated());
    let bodiless = length.is_nothing();
    let mut sent = Sent {
        bytes: head_bytes,
        body_bytes: 0,
        request_bytes,
        outcome: Outcome::ClientGone,
    };
    let Ok(mut out) = respond.send_response(head, bodiless) else {
        return gone(request_bytes);
    };
    if bodiless {
        sent.outcome = Outcome::Complete;
        return sent;
    }
    let pause = response
        .ending
        .send_timeout
        .unwrap_or(line.limits.send_timeout);
    let mut counted = send::Counted::new(length.promised());
    sent.outcome = match send::body(&mut out, &mut response.body, &mut counted, pause).await {
        Ok(()) => Outcome::Complete,
        Err(outcome) => {
            // A reset overtakes what waits to be written: that goes first, as far as it can.
            pace::step_aside().await;
            // So that nobody takes what came for the whole.
            out.send_reset(match outcome {
                Outcome::BodyFailed(_) => Reason::INTERNAL_ERROR,
                _ => Reason::CANCEL,
            });
            outcome
        }
    };
    sent.body_bytes = counted.sent();
    sent.bytes += sent.body_bytes;
    sent
}

fn gone(request_bytes: u64) -> Sent {
    Sent {
        bytes: 0,
        body_bytes: 0,
        request_bytes,
        outcome: Outcome::ClientGone,
    }
}
