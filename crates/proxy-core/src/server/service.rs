//! What answers requests, and what it is told and asked: the contract between a connection and the rest.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_wire::fields::Fields;
use http_wire::head::RequestHead;

use super::connection::{Connection, Interim};
use super::content::Content;
use super::upgraded::Upgraded;
use crate::body::{Body, BodyError};

/// What answers requests. Shared by all connections of a listener.
pub trait Service: Send + Sync + 'static {
    /// What is kept beside a response until it is sent, for the access log.
    type Record: Send;

    /// The limits and timeouts of a new connection.
    fn limits(&self, connection: &Connection) -> Arc<Limits>;

    /// Answers one request. The future is dropped when the client leaves before the answer (see
    /// [`Connection::ignore_client_abort`]); [`Service::sent`] is then not called: whoever logs such requests (nginx's 499)
    /// does it when the future's state is dropped.
    fn serve(&self, request: Request) -> impl Future<Output = (Response, Self::Record)> + Send;

    /// Makes the answer to a request whose head could not be accepted; `head` holds what was understood of it.
    /// The connection closes after it. `None` closes without an answer (nginx's 444).
    fn refuse(
        &self,
        refusal: &Refusal,
        head: &RequestHead,
        connection: &Arc<Connection>,
    ) -> Option<(Response, Self::Record)>;

    /// Called once for each record, when its response has been sent or could not be.
    fn sent(&self, record: Self::Record, sent: &Sent);

    /// Called when a connection came to a bad end that no request tells of: a handshake that failed, a protocol that was broken,
    /// a limit that was passed. For the log; by default nobody is told.
    fn trouble(&self, _connection: &Connection, _trouble: &Trouble) {}
}

/// See [`Service::trouble`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened.
    pub words: String,
    /// Whether it is nothing but a client that went away.
    pub silent: bool,
}

/// A request as it is handed to a [`Service`].
pub struct Request {
    /// Method, target, version and fields.
    pub head: RequestHead,
    /// The content, read on demand.
    pub content: Content,
    /// The connection that it came by.
    pub connection: Arc<Connection>,
    /// How many requests this connection has carried, this one included (nginx's `$connection_requests`).
    pub ordinal: u64,
    /// When the first byte of the request was read.
    pub received: std::time::Instant,
    /// Bytes of the head as sent (part of nginx's `$request_length`).
    pub head_bytes: u64,
}

impl Request {
    /// Sends responses of status 1xx (103 Early Hints) ahead of the response; does nothing for clients that speak HTTP/1.0.
    pub fn interim(&self) -> Interim {
        Interim::new(&self.connection, self.ordinal, self.head.version)
    }
}

/// What takes a connection over after its protocol has changed.
pub type UpgradeFn =
    Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = TunnelEnd> + Send>> + Send>;

/// An answer, as a [`Service`] gives it.
///
/// The connection adds `Server` and `Date` (unless they are among the fields), `Connection` and the framing fields:
/// `Content-Length` from the body's exact length when absent, else `Transfer-Encoding: chunked`, else the end of the
/// connection. It leaves the body out for HEAD, 204 and 304. A `Content-Length` among the fields is a promise: a body that
/// is shorter or longer cuts the connection.
///
/// Of the fields that belong to a connection (RFC 9110 §7.6.1) it takes from the service: the option `close` of
/// `Connection`, which closes; `Keep-Alive`, while the connection stays; `Upgrade`; `Trailer`, with the chunked coding. It
/// drops `Connection`, `Transfer-Encoding`, `Proxy-Connection` and `TE` otherwise.
#[derive(Default)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// A reason phrase other than the usual one.
    pub reason: Option<Bytes>,
    /// The fields, in the order in which they are sent.
    pub fields: Fields,
    /// The content.
    pub body: Body,
    /// How the connection goes on; decided by the location that answered.
    pub ending: Ending,
    /// Set with status 101 (or 2xx to CONNECT): what takes the connection over.
    pub upgrade: Option<UpgradeFn>,
}

impl Response {
    /// A response of this status, without fields and content.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

/// What follows a response on its connection.
#[derive(Clone, Debug)]
pub struct Ending {
    /// False closes after this response (`keepalive_timeout 0`, `--keep-alive 0`, a drain). Default true.
    pub keep_alive: bool,
    /// How long the connection may then be idle; `None` (default) leaves the connection's own limit.
    pub keep_alive_timeout: Option<Duration>,
    /// How long after this response a drain leaves the idle connection open: nginx's `keepalive_min_timeout`. Default zero.
    pub keep_alive_min_timeout: Duration,
    /// Longest pause between two writes; `None` (default) leaves the connection's own limit (`send_timeout`).
    pub send_timeout: Option<Duration>,
    /// The value of the `Server` field; `None` (default) sends none.
    pub server: Option<&'static str>,
    /// True closes the connection instead of answering (nginx's 444). Default false.
    pub close_unanswered: bool,
}

impl Default for Ending {
    fn default() -> Self {
        Self {
            keep_alive: true,
            keep_alive_timeout: None,
            keep_alive_min_timeout: Duration::ZERO,
            send_timeout: None,
            server: None,
            close_unanswered: false,
        }
    }
}

/// How a tunnel ended, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelEnd {
    /// Bytes to the client.
    pub sent_bytes: u64,
    /// Bytes from the client.
    pub received_bytes: u64,
}

/// Limits and timeouts of a connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Limits of the request head, and how strictly it is read.
    pub head: http_wire::head::HeadLimits,
    /// From the first byte of a request (or the connection's start) to the end of its head: nginx's
    /// `client_header_timeout`. Default 60 s.
    pub head_timeout: Duration,
    /// How long a connection may be idle between requests; zero closes after each response. Default 75 s.
    pub keep_alive_timeout: Duration,
    /// How long an idle connection that has served requests may go on to wait after a drain has started: its client may be about
    /// to send the next one, which is then answered with `Connection: close`. Default zero: it closes at once.
    pub idle_grace: Duration,
    /// Requests on one connection before it closes: nginx's `keepalive_requests`. Default 1000.
    pub keep_alive_requests: u64,
    /// The longest pause between two writes: nginx's `send_timeout`. Default 60 s.
    pub send_timeout: Duration,
    /// Whether the connections of a thread that are ready at the same time make their responses first and write them then. For
    /// services that never hold the thread. Default false: each response is written as soon as it is made.
    pub writes_together: bool,
    /// Whether files leave by `sendfile`, where the connection is plain; otherwise they are read and written. Default true.
    pub sendfile: bool,
    /// Unread request content that is read and thrown away after a response to keep the connection, in bytes. Default 64 KiB.
    pub drain_bytes: u64,
    /// The longest time spent on it, and on `lingering_close`. Default 5 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: http_wire::head::HeadLimits::default(),
            head_timeout: Duration::from_secs(60),
            keep_alive_timeout: Duration::from_secs(75),
            idle_grace: Duration::ZERO,
            keep_alive_requests: 1000,
            send_timeout: Duration::from_secs(60),
            writes_together: false,
            sendfile: true,
            drain_bytes: 64 * 1024,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// A request head that was not accepted.
#[derive(Debug)]
pub enum Refusal {
    /// It broke a rule of the protocol or a limit.
    Head(http_wire::head::RequestError),
    /// The end of its content can't be told for sure (RFC 9112 §6.3).
    Framing(http_wire::body::FramingError),
    /// The gateway in front broke the rules of the protocol that it speaks, or may not speak it.
    Gateway(GatewayError),
    /// It did not come in time (408; closed without an answer when not one byte had come).
    Timeout,
}

impl Refusal {
    /// The status that answers it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Head(error) => error.status(),
            Self::Framing(error) => error.status(),
            Self::Gateway(error) => error.status(),
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Head(error) => error.fmt(f),
            Self::Framing(error) => error.fmt(f),
            Self::Gateway(error) => error.fmt(f),
            Self::Timeout => f.write_str("the head did not come in time"),
        }
    }
}

/// What is wrong with what a gateway sent instead of a head or ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// Its PROXY protocol header.
    #[error(transparent)]
    Proxy(#[from] http_wire::proxy_protocol::ProxyError),
    /// It sent one, and must not.
    #[error("this peer must not send a PROXY protocol header")]
    ProxyNotAllowed,
    /// Its uwsgi packet.
    #[error(transparent)]
    Uwsgi(#[from] http_wire::uwsgi::UwsgiError),
    /// It speaks the uwsgi protocol, and must not.
    #[error("this peer must not speak the uwsgi protocol")]
    UwsgiNotAllowed,
}

impl GatewayError {
    /// The status that answers it: 400, 403 or 501.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Proxy(_) => StatusCode::BAD_REQUEST,
            Self::ProxyNotAllowed | Self::UwsgiNotAllowed => StatusCode::FORBIDDEN,
            Self::Uwsgi(error) => error.status(),
        }
    }
}

/// What became of a response.
#[derive(Debug)]
pub struct Sent {
    /// Bytes of head and content written, framing included (nginx's `$bytes_sent`).
    pub bytes: u64,
    /// Bytes of content written, chunk framing included as nginx counts (`$body_bytes_sent`).
    pub body_bytes: u64,
    /// Bytes of the request, head and content (nginx's `$request_length`).
    pub request_bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How sending a response ended.
#[derive(Debug)]
pub enum Outcome {
    /// All of it was written to the socket.
    Complete,
    /// The client closed or reset first.
    ClientGone,
    /// The client took nothing for `send_timeout`.
    SendTimeout,
    /// The content failed in the middle, or was not as long as its `Content-Length` said; the connection was cut so that
    /// the client notices.
    BodyFailed(BodyError),
}
