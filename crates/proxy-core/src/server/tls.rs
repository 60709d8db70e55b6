//! TLS with the clients: certificates, and the beginning of a connection.
//!
//! [`Tls`] is what a listener's connections are encrypted with. It is made from files ([`Identity`]) or from a configuration of rustls.
//! What is inside of a connection is another module's business.

mod identity;

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::socket::{Socket, TlsError};
use crate::timers;

pub use identity::{ClientAuth, File, Identity, IdentityFault};

/// What connections of a listener are encrypted with. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<rustls::ServerConfig>,
}

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The client took too long.
    #[error("no TLS handshake within {limit_ms} ms")]
    Timeout {
        /// The limit, in milliseconds.
        limit_ms: u64,
    },
    /// The client speaks HTTP without TLS; it was answered with 400.
    #[error("a plain HTTP request was sent to an address that speaks TLS")]
    PlainHttp,
    /// The handshake failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl HandshakeError {
    /// Whether the client simply went away, as those do who only look whether somebody listens.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Tls(TlsError::Closed | TlsError::Io(_)))
    }
}

/// The first byte of a TLS connection: a record of the handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// What is told to those who send a request that is not encrypted.
const PLAIN_HTTP: &str = "The plain HTTP request was sent to an address that speaks HTTPS";
/// How long the client may take to read that, and most bytes of its request that are thrown away meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

impl Tls {
    /// Encrypts with this configuration.
    pub fn new(config: Arc<rustls::ServerConfig>) -> Self {
        Self { config }
    }

    /// Makes a new connection an encrypted one, within `limit`.
    ///
    /// # Errors
    /// [`HandshakeError`]; the client was told where that is possible.
    pub async fn accept(&self, socket: Socket, limit: Duration) -> Result<Socket, HandshakeError> {
        let accepting = pin!(self.begin(socket));
        timers::timeout(limit, accepting).await.unwrap_or_else(|_| {
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            Err(HandshakeError::Timeout { limit_ms })
        })
    }

    async fn begin(&self, socket: Socket) -> Result<Socket, HandshakeError> {
        let mut first = [0];
        let there = poll_fn(|cx| socket.poll_peek(cx, &mut first, 0)).await;
        match there.map_err(TlsError::Io)? {
            0 => Err(TlsError::Closed.into()),
            _ if first[0] == HANDSHAKE || !first[0].is_ascii_uppercase() => {
                Ok(socket.accept_tls(self.config.clone()).await?)
            }
            _ => {
                answer_plain(socket, PLAIN_HTTP).await;
                Err(HandshakeError::PlainHttp)
            }
        }
    }
}

/// Answers 400, and reads what the client still sends: a close at once would destroy the answer.
pub(super) async fn answer_plain(socket: Socket, words: &str) {
    let answer = bad_request(words);
    let answering = async {
        let mut left = answer.as_bytes();
        while !left.is_empty() {
            match poll_fn(|cx| socket.poll_write(cx, &[IoSlice::new(left)])).await {
                Ok(written) => left = &left[written..],
                Err(_) => return,
            }
        }
        socket.shutdown(std::net::Shutdown::Write);
        let mut buffer = [0; 4096];
        let mut thrown = 0;
        while let Ok(read @ 1..) = poll_fn(|cx| socket.poll_read_slice(cx, &mut buffer)).await {
            thrown += read;
            if thrown > LINGER_BYTES {
                return;
            }
        }
    };
    let _ = timers::timeout(LINGER, answering).await;
}

/// A response to a client that does not speak what is spoken here.
fn bad_request(words: &str) -> String {
    let page = format!(
        "<html>\n  <head>\n    <title>Bad Request</title>\n  </head>\n  <body>\n    <h1><p>Bad Request</p></h1>\n    {words}\n  </body>\n</html>\n"
    );
    format!(
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
        page.len()
    )
}
