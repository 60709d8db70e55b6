//! Any [`Service`] of this crate, a compiled site above all, as a [`tower_service::Service`] of `http` types: for a program whose
//! connections are somebody else's (hyper, axum), and for tests without sockets.
//!
//! What only a connection of our own can do is left out: protocol upgrades (`Upgrade` is taken off the request), interim
//! responses, `sendfile`, and closing without an answer (nginx's 444 arrives as a status without content).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue, SERVER};
use http::{Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_wire::head::{RequestError, RequestHead, SectionError, Target, TargetRule};
use http_wire::{Fields, Known, Version};

use crate::body::{Body, BodyError};
use crate::server::{
    Address, Connection, Content, Outcome, Refusal, Request, Response, Sent, Service,
};

/// A [`Service`] in tower's clothes. Clones are the same.
///
/// Requests that carry an `Arc<Connection>` among their extensions came by that one; the others came by the one that
/// [`Handler::new`] was told.
pub struct Handler<S> {
    service: Arc<S>,
    connection: Arc<Connection>,
}

impl<S: Service> Handler<S> {
    /// Hands requests that came from `peer` to `local` on to `service`.
    pub fn new(service: Arc<S>, peer: Address, local: Address) -> Self {
        Self {
            service,
            connection: Arc::new(Connection::new(peer, local, false)),
        }
    }
}

impl<S> Clone for Handler<S> {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            connection: Arc::clone(&self.connection),
        }
    }
}

impl<S, B> tower_service::Service<http::Request<B>> for Handler<S>
where
    S: Service,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let Self {
            service,
            connection,
        } = self.clone();
        Box::pin(async move { Ok(answer(service, connection, request).await) })
    }
}

async fn answer<S, B>(
    service: Arc<S>,
    connection: Arc<Connection>,
    request: http::Request<B>,
) -> http::Response<Body>
where
    S: Service,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, content) = request.into_parts();
    let connection = parts.extensions.get().cloned().unwrap_or(connection);
    let is_head = parts.method == Method::HEAD;
    let head = match head_of(parts) {
        Ok(head) => head,
        Err(error) => {
            let (refusal, head) = (Refusal::Head(error), RequestHead::default());
            let answer = service.refuse(&refusal, &head, &connection);
            let (response, record) = match answer {
                Some((response, record)) => (response, Some(record)),
                None => (Response::new(refusal.status()), None),
            };
            return translated(service, response, record, is_head, 0);
        }
    };
    let head_bytes = (head.fields.wire_len() + head.target.as_bytes().len()) as u64;
    let content = if content.is_end_stream() {
        Content::empty()
    } else {
        Content::given(Box::pin(Given(Box::pin(content))))
    };
    let request = Request {
        head,
        content,
        connection,
        ordinal: 1,
        received: Instant::now(),
        head_bytes,
    };
    let (response, record) = service.serve(request).await;
    translated(service, response, Some(record), is_head, head_bytes)
}

fn head_of(mut parts: http::request::Parts) -> Result<RequestHead, RequestError> {
    if let Some(authority) = parts.uri.authority()
        && !parts.headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
    let target = match parts.uri.path_and_query() {
        Some(target) => target.as_str(),
        None => parts
            .uri
            .authority()
            .map_or("/", |authority| authority.as_str()),
    };
    let target = Target::parse(target.as_bytes(), &parts.method, &TargetRule::default())?;
    // A name or value that `http` accepts and we don't is as malformed as one without colon.
    let malformed = |_| RequestError::Section(SectionError::NoColon);
    let mut fields = Fields::try_from(&parts.headers).map_err(malformed)?;
    fields.remove(Known::Upgrade);
    Ok(RequestHead {
        method: parts.method,
        target,
        version: match parts.version {
            http::Version::HTTP_09 | http::Version::HTTP_10 => Version::Http10,
            _ => Version::Http11,
        },
        fields,
    })
}

fn translated<S: Service>(
    service: Arc<S>,
    mut response: Response,
    record: Option<S::Record>,
    is_head: bool,
    request_bytes: u64,
) -> http::Response<Body> {
    let length = response.body.exact_length();
    let no_content = is_head
        || response.status == StatusCode::NO_CONTENT
        || response.status == StatusCode::NOT_MODIFIED;
    if no_content || response.ending.close_unanswered {
        response.body = Body::Empty;
    }
    let headers = HeaderMap::try_from(&response.fields);
    if headers.is_err() {
        response.status = StatusCode::INTERNAL_SERVER_ERROR;
        response.body = Body::Empty;
    }
    let mut headers = headers.unwrap_or_default();
    if let Some(server) = response.ending.server {
        headers
            .entry(SERVER)
            .or_insert(HeaderValue::from_static(server));
    }
    if !response.ending.keep_alive {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(length) = length.filter(|_| is_head || !no_content) {
        let name = http::header::CONTENT_LENGTH;
        headers.entry(name).or_insert_with(|| length.into());
    }
    let sent = Sent {
        bytes: 0,
        body_bytes: 0,
        request_bytes,
        outcome: Outcome::ClientGone,
    };
    let ended = HttpBody::is_end_stream(&response.body);
    let mut told = Told {
        service,
        record,
        body: response.body,
        sent,
    };
    let body = if ended {
        told.sent.outcome = Outcome::Complete;
        drop(told);
        Body::Empty
    } else {
        Body::stream(told)
    };
    let mut answer = http::Response::new(body);
    *answer.status_mut() = response.status;
    *answer.headers_mut() = headers;
    answer
}

/// Content that tells the service what became of it.
struct Told<S: Service> {
    service: Arc<S>,
    record: Option<S::Record>,
    body: Body,
    sent: Sent,
}

impl<S: Service> HttpBody for Told<S>
where
    Self: Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.sent.bytes += bytes;
                this.sent.body_bytes += bytes;
                if this.body.is_end_stream() {
                    this.sent.outcome = Outcome::Complete;
                }
            }
            Some(Err(error)) => {
                let why = BodyError::Incomplete(error.to_string());
                this.sent.outcome = Outcome::BodyFailed(why);
            }
            None => this.sent.outcome = Outcome::Complete,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S: Service> Drop for Told<S> {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.service.sent(record, &self.sent);
        }
    }
}

impl<S: Service> Unpin for Told<S> {}

/// A foreign body as content.
struct Given<B>(Pin<Box<B>>);

impl<B> HttpBody for Given<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.0.as_mut().poll_frame(cx));
        let io = |error: B::Error| BodyError::Io(std::io::Error::other(error));
        Poll::Ready(frame.map(|frame| frame.map_err(io)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
