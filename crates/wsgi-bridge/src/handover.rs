//! `gunicorn.socket`: the connection of a WebSocket handshake in the application's own hands. simple-websocket, and with it Flask-Sock
//! and Flask-SocketIO, speak to it on the thread that was called.
//!
//! What the application gets is one end of a pair of sockets, so that encryption and buffers stay here. It is offered with every
//! handshake; it is taken when the application writes to it, and what comes first has to be a response head. After a 101 bytes are carried
//! between both ends as they are.

use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_wire::head::{HeadLimits, ResponseHead, ResponseParser};
use http_wire::{Known, Version};
use proxy_core::body::Body;
use proxy_core::client::tunnel;
use proxy_core::server::{Response, Upgraded};
use proxy_core::socket::Socket;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustix::net::RecvFlags;
use tokio::io::AsyncReadExt;

use crate::hooks::Facts;

/// The key in the environ.
pub(crate) const KEY: &str = "gunicorn.socket";
/// Content of a response that is no 101, in bytes; the rest is cut off.
const REFUSAL_BYTES_MAX: u64 = 1 << 20;
/// Tunnels end when one side does; the application has pings of its own.
const IDLE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The application's end.
pub(crate) struct Offer {
    socket: UnixStream,
    slot: Arc<AtomicUsize>,
}

/// Our end.
pub(crate) struct Offered {
    socket: Arc<Socket>,
    slot: Arc<AtomicUsize>,
}

/// Whether a request asks for a WebSocket on a connection that can become one.
pub(crate) fn asks(facts: &Facts) -> bool {
    let (head, fields) = (&facts.head, &facts.head.fields);
    fields.known_names().contains(Known::Upgrade)
        && head.method == Method::GET
        && head.version == Version::Http11
        && facts.connection.uwsgi.is_none()
        && fields.contains_token(Known::Upgrade, "websocket")
        && fields.contains_token(Known::Connection, "upgrade")
}

/// Both ends.
///
/// # Errors
/// There are no more descriptors.
pub(crate) fn offer() -> io::Result<(Offered, Offer)> {
    let (ours, theirs) = UnixStream::pair()?;
    let slot = Arc::new(AtomicUsize::new(0));
    let offered = Offered {
        socket: Arc::new(Socket::new(ours.into())?),
        slot: slot.clone(),
    };
    let offer = Offer {
        socket: theirs,
        slot,
    };
    Ok((offered, offer))
}

impl Offer {
    /// Puts it into the environ of a request that thread `slot` serves.
    pub fn put(self, environ: &Bound<'_, PyDict>, slot: usize) -> PyResult<()> {
        self.slot.store(slot, Ordering::Relaxed);
        let py = environ.py();
        let named = PyDict::new(py);
        named.set_item("fileno", self.socket.as_raw_fd())?;
        let class = py.import("socket")?.getattr("socket")?;
        let socket = class.call((), Some(&named))?;
        // It is that object's now.
        let _ = self.socket.into_raw_fd();
        environ.set_item(KEY, socket)
    }
}

impl Offered {
    /// The thread that serves the request, once the application has written.
    pub fn slot(&self) -> usize {
        self.slot.load(Ordering::Relaxed)
    }

    /// Whether the application has written something that is not read yet.
    pub fn has_more(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        rustix::net::recv(self.socket.as_fd(), &mut [0], flags).is_ok_and(|(count, _)| count > 0)
    }

    /// Waits until the application has written a head; for ever where it closes without a word.
    ///
    /// # Errors
    /// What it wrote is none.
    pub async fn taken(&self) -> Result<(ResponseHead, Bytes), String> {
        let mut socket = self.upgraded(Bytes::new());
        let mut parser = ResponseParser::new(HeadLimits::default());
        let (mut head, mut read) = (ResponseHead::default(), Vec::new());
        loop {
            match socket.read_buf(&mut read).await {
                Ok(0) | Err(_) if read.is_empty() => std::future::pending().await,
                Ok(0) => return Err("it was closed within a response head".to_owned()),
                Err(error) => return Err(error.to_string()),
                Ok(_) => {}
            }
            match parser.parse(&read, &mut head) {
                Ok(Some(used)) => return Ok((head, Bytes::from(read).slice(used..))),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// The response that the application wrote, and for a 101 all that follows.
    pub async fn respond(&self, head: ResponseHead, ahead: Bytes) -> Response {
        let mut fields = head.fields;
        for name in [
            Known::Connection,
            Known::KeepAlive,
            Known::TransferEncoding,
            Known::Date,
            Known::Server,
        ] {
            fields.remove(name);
        }
        let mut response = Response {
            status: head.status,
            ..Response::default()
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let application = self.upgraded(ahead);
            response.upgrade = Some(Box::new(move |client| {
                Box::pin(tunnel(client, application, IDLE))
            }));
        } else {
            let mut content = ahead.to_vec();
            let rest = self.upgraded(Bytes::new());
            let _ = rest.take(REFUSAL_BYTES_MAX).read_to_end(&mut content).await;
            fields.remove(Known::ContentLength);
            response.body = Body::Bytes(content.into());
            response.ending.keep_alive = false;
        }
        response.fields = fields;
        response
    }

    fn upgraded(&self, ahead: Bytes) -> Upgraded {
        Upgraded::new(self.socket.clone(), ahead)
    }
}
