//! The client side of the engine: a connection reads requests, hands each to a [`Service`] and writes its response.
//!
//! `edge` and `appserver` both stand on this. One task serves one connection; requests of one connection are served in
//! order (RFC 9112 §9.3.2). The head and the first content bytes of a response leave in one `writev`.
//!
//! A request without content leaves the connection's read half with the connection. A request with content lends it to
//! [`Content`], which gives it back when dropped; what was not read is then drained (within limits) or the connection closes.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_wire::fields::Fields;
use http_wire::head::RequestHead;

use crate::body::Body;

/// What answers requests. Shared by all connections of a listener.
pub trait Service: Send + Sync + 'static {
    /// What is kept beside a response until it is sent, for the access log.
    type Record: Send;

    /// The limits and timeouts of a new connection.
    fn limits(&self, connection: &Connection) -> Arc<Limits>;

    /// Answers one request.
    fn serve(&self, request: Request) -> impl Future<Output = (Response, Self::Record)> + Send;

    /// Makes the answer to a request whose head could not be accepted; `head` holds what was understood of it.
    /// The connection closes after it. `None` closes without an answer (nginx's 444).
    fn refuse(&self, refusal: &Refusal, head: &RequestHead, connection: &Arc<Connection>) -> Option<(Response, Self::Record)>;

    /// Called once for each record, when its response has been sent or could not be.
    fn sent(&self, record: Self::Record, sent: &Sent);
}

/// What is known of a connection for all of its requests.
pub struct Connection {
    /// Where the connection comes from.
    pub peer: Address,
    /// Where it was accepted.
    pub local: Address,
    /// A number that no other connection of this process has (nginx's `$connection`).
    pub serial: u64,
    /// True when the connection is encrypted.
    pub tls: bool,
}

/// An end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Inet(SocketAddr),
    /// A unix socket; the path when it has one.
    Unix(Option<Arc<std::path::Path>>),
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

/// The content of a request. Nothing is read from the client before it is asked for; the first read sends
/// `100 Continue` where the client waits for it.
///
/// It owns the connection's read half while the content lasts and gives it back on drop.
pub struct Content {
    // the author of server/ fills this in: framing (Empty | Length | Chunked), the lent read half, limits, counters
}

impl Content {
    /// No content.
    pub fn empty() -> Self {
        todo!("server/content.rs")
    }
    /// The exact length, where the request states it: 0 for none, `None` for chunked.
    pub fn length(&self) -> Option<u64> {
        todo!("server/content.rs")
    }
    /// True when there is nothing (more) to read.
    pub fn is_end(&self) -> bool {
        todo!("server/content.rs")
    }
    /// The largest content accepted (nginx's `client_max_body_size`); `None` for any. Checked against a stated length at once.
    pub fn limit(&mut self, _bytes_max: Option<u64>) -> Result<(), ContentError> {
        todo!("server/content.rs")
    }
    /// The longest pause between two reads (nginx's `client_body_timeout`).
    pub fn pause(&mut self, _longest: Duration) {}
    /// The next bytes, `None` at the end. Cancel safe.
    pub async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, ContentError> {
        todo!("server/content.rs")
    }
    /// What is in memory already, without waiting for the client; `None` when that is nothing.
    pub fn buffered(&mut self) -> Result<Option<bytes::Bytes>, ContentError> {
        todo!("server/content.rs")
    }
    /// Bytes of content read so far, framing excluded.
    pub fn received_bytes(&self) -> u64 {
        todo!("server/content.rs")
    }
}

/// Why the content of a request could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// Larger than allowed: 413.
    #[error("client sends more content than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Nothing came for too long: 408.
    #[error("client sent no content for {limit_ms} ms")]
    Timeout {
        /// The limit, in milliseconds.
        limit_ms: u64,
    },
    /// The client closed before the end: no answer possible.
    #[error("client closed the connection after {received_bytes} bytes of content")]
    ClientGone {
        /// Bytes of content that had come.
        received_bytes: u64,
    },
    /// The chunked coding is broken: 400.
    #[error("client sends broken chunked coding: {0}")]
    Framing(String),
    /// The socket failed.
    #[error("content could not be read: {0}")]
    Io(#[from] std::io::Error),
}

impl ContentError {
    /// The status that answers it; `None` when the client is gone.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::TooLarge { .. } => Some(StatusCode::PAYLOAD_TOO_LARGE),
            Self::Timeout { .. } => Some(StatusCode::REQUEST_TIMEOUT),
            Self::Framing(_) => Some(StatusCode::BAD_REQUEST),
            Self::ClientGone { .. } | Self::Io(_) => None,
        }
    }
}

/// An answer, as a [`Service`] gives it. The connection adds `Server`, `Date`, `Connection` and the framing fields
/// (`Content-Length` from the body's exact length when absent, else `Transfer-Encoding: chunked`, else close), and leaves the body out
/// for HEAD, 204 and 304.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// A reason phrase other than the usual one.
    pub reason: Option<bytes::Bytes>,
    /// The fields, in the order in which they are sent.
    pub fields: Fields,
    /// The content.
    pub body: Body,
    /// How the connection goes on; decided by the location that answered.
    pub ending: Ending,
    /// Set with status 101 (or 2xx to CONNECT): what takes the connection over.
    pub upgrade: Option<Box<dyn FnOnce(Upgraded) -> std::pin::Pin<Box<dyn Future<Output = TunnelEnd> + Send>> + Send>>,
}

/// What follows a response on its connection.
#[derive(Clone, Debug)]
pub struct Ending {
    /// False closes after this response (`keepalive_timeout 0`, `--keep-alive 0`, a drain).
    pub keep_alive: bool,
    /// How long the connection may then be idle; `None` leaves the connection's own limit.
    pub keep_alive_timeout: Option<Duration>,
    /// Longest pause between two writes; `None` leaves the connection's own limit (`send_timeout`).
    pub send_timeout: Option<Duration>,
    /// The value of the `Server` field; `None` sends none.
    pub server: Option<&'static str>,
    /// True resets the connection instead of answering (nginx's 444 closes without an answer).
    pub close_unanswered: bool,
}

/// Both halves of a connection whose protocol changes, with what the client sent already.
pub struct Upgraded {
    // author of server/ fills this in: read half, write half, buffered bytes; implements tokio AsyncRead + AsyncWrite
}

/// How a tunnel ended, for the log.
#[derive(Clone, Copy, Debug, Default)]
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
    /// From the first byte of a request (or the connection's start) to the end of its head: nginx's `client_header_timeout`.
    pub head_timeout: Duration,
    /// How long a connection may be idle between requests; zero closes after each response.
    pub keep_alive_timeout: Duration,
    /// Requests on one connection before it closes: nginx's `keepalive_requests`. Default 1000.
    pub keep_alive_requests: u64,
    /// The longest pause between two writes: nginx's `send_timeout`.
    pub send_timeout: Duration,
    /// Unread request content that is read and thrown away after a response to keep the connection, in bytes.
    pub drain_bytes: u64,
    /// The longest time spent on it, and on `lingering_close`.
    pub drain_timeout: Duration,
}

/// A request head that was not accepted.
#[derive(Debug)]
pub enum Refusal {
    /// It broke a rule of the protocol or a limit.
    Head(http_wire::head::RequestError),
    /// It did not come in time (408; closed without an answer when not one byte had come).
    Timeout,
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
    /// The content failed in the middle; the connection was cut so that the client notices.
    BodyFailed(crate::body::BodyError),
}
