//! What gateways in front say of connections, and instead of HTTP: the PROXY protocol and the uwsgi protocol.
//!
//! Both stand between accepting a connection and serving it. A header of the PROXY protocol is taken off the socket byte by byte of its
//! own, so that whatever follows, TLS or HTTP, finds the socket as if nothing had been there.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_wire::proxy_protocol::{self, Header, Parsed, V2_BYTES_MAX, Versions};
use http_wire::uwsgi;
use tokio::time::Instant;

use super::connection::{Address, Connection, Proxied, Uwsgi};
use super::drain::Drain;
use super::http1::{Elsewhere, NEWCOMER_GRACE, refuse_connection, serve_one};
use super::service::{GatewayError, Limits, Refusal, Service, Trouble};
use crate::socket::Socket;

/// Decides which peers may speak a protocol.
pub type Allowed = Arc<dyn Fn(&Address) -> bool + Send + Sync>;

/// Reads the PROXY protocol (versions 1 and 2) ahead of connections.
///
/// A connection that does not begin with a header is served as it is, as gunicorn does. A header from a peer that may not send one is
/// answered with 403, a broken one with 400; where TLS would follow, the connection is closed instead.
#[derive(Clone)]
pub struct ProxyProtocol {
    versions: Versions,
    allowed: Allowed,
}

/// Serves gateways that speak the uwsgi protocol (nginx's `uwsgi_pass`).
///
/// Each connection carries one request. Responses are HTTP/1.1, without the chunked coding: their end is that of the connection where
/// they have no length. A packet from a peer that may not send one is answered with 403, a broken one with 400 or 501.
#[derive(Clone)]
pub struct UwsgiProtocol {
    allowed: Allowed,
}

/// Why there is nothing to serve.
enum Fault {
    /// The peer left, or is silent.
    Gone,
    /// It is answered.
    Refused(Refusal),
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl ProxyProtocol {
    /// Reads these versions, from peers that are allowed.
    pub fn new(versions: Versions, allowed: Allowed) -> Self {
        Self { versions, allowed }
    }

    /// Reads the header, and goes on with `then`: [`serve_connection`](super::serve_connection), or a handshake before it.
    pub fn serve<S, F, T>(
        &self,
        socket: Socket,
        mut connection: Connection,
        service: Arc<S>,
        drain: &Drain,
        then: T,
    ) -> impl Future<Output = ()> + Send + use<S, F, T>
    where
        S: Service,
        F: Future<Output = ()> + Send,
        T: FnOnce(Socket, Arc<Connection>, Arc<S>) -> F + Send,
    {
        let (this, watch, drain) = (self.clone(), drain.watch(), drain.clone());
        async move {
            // It counts from the start.
            let _watch = watch;
            let introduced = this
                .introduce(socket, &mut connection, &service, &drain)
                .await;
            if let Some(socket) = introduced {
                then(socket, Arc::new(connection), service).await;
            }
        }
    }

    /// Notes what the header says; `None` when there is nothing to be served.
    async fn introduce<S: Service>(
        &self,
        socket: Socket,
        connection: &mut Connection,
        service: &Arc<S>,
        drain: &Drain,
    ) -> Option<Socket> {
        let limits = service.limits(connection);
        let refusal =
            match unless_ending(drain, &limits, self.header(&socket, connection, &limits)).await {
                Ok(header) => {
                    connection.proxied = header.map(|header| Box::new(Proxied::from(header)));
                    return Some(socket);
                }
                Err(Fault::Gone) => return None,
                Err(Fault::Refused(refusal)) => refusal,
            };
        if connection.tls {
            let words = refusal.to_string();
            let silent = false;
            service.trouble(connection, &Trouble { words, silent });
        } else {
            let connection =
                Connection::new(connection.peer.clone(), connection.local.clone(), false);
            refuse_connection(socket, Arc::new(connection), &**service, drain, &refusal).await;
        }
        None
    }

    /// Takes the header off the socket, if there is one.
    async fn header(
        &self,
        socket: &Socket,
        connection: &Connection,
        limits: &Limits,
    ) -> Result<Option<Header>, Fault> {
        let deadline = Instant::now() + limits.head_timeout;
        let mut buffer = vec![0; V2_BYTES_MAX];
        let mut seen = 0;
        loop {
            let there = poll_fn(|cx| socket.poll_peek(cx, &mut buffer, seen));
            let Ok(there) = tokio::time::timeout_at(deadline, there).await else {
                return Err(late(seen));
            };
            let there = there?;
            if there <= seen {
                return Err(Fault::Gone);
            }
            seen = there;
            let parsed = proxy_protocol::parse(&buffer[..seen], self.versions);
            let here = !matches!(parsed, Ok(Parsed::More | Parsed::Absent));
            if here && !(self.allowed)(&connection.peer) {
                return Err(refused(GatewayError::ProxyNotAllowed));
            }
            match parsed.map_err(|error| refused(error.into()))? {
                Parsed::More => {}
                Parsed::Absent => return Ok(None),
                Parsed::Header(header, used) => {
                    read_exact(socket, &mut buffer[..used]).await?;
                    return Ok(Some(header));
                }
            }
        }
    }
}

impl UwsgiProtocol {
    /// Serves peers that are allowed.
    pub fn new(allowed: Allowed) -> Self {
        Self { allowed }
    }

    /// Serves a connection until it ends.
    pub fn serve<S: Service>(
        &self,
        socket: Socket,
        mut connection: Connection,
        service: Arc<S>,
        drain: &Drain,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let (this, watch, drain) = (self.clone(), drain.watch(), drain.clone());
        async move {
            let _watch = watch;
            let limits = service.limits(&connection);
            // Also for what is refused: a gateway takes a status, no chunks.
            connection.uwsgi = Some(Uwsgi { https: false });
            let packet = this.packet(&socket, &connection, &limits);
            match unless_ending(&drain, &limits, packet).await {
                Ok((https, heard)) => {
                    connection.uwsgi = Some(Uwsgi { https });
                    let connection = Arc::new(connection);
                    serve_one(socket, connection, &*service, &drain, heard).await;
                }
                Err(Fault::Gone) => {}
                Err(Fault::Refused(refusal)) => {
                    let connection = Arc::new(connection);
                    refuse_connection(socket, connection, &*service, &drain, &refusal).await;
                }
            }
        }
    }

    /// Reads the packet.
    async fn packet(
        &self,
        socket: &Socket,
        connection: &Connection,
        limits: &Limits,
    ) -> Result<(bool, Elsewhere), Fault> {
        let mut fixed = [0; uwsgi::FIXED_BYTES];
        let deadline = Instant::now() + limits.head_timeout;
        let mut wait = poll_fn(|cx| socket.poll_peek(cx, &mut fixed, 0));
        let there = tokio::time::timeout_at(deadline, &mut wait).await;
        if there.map_err(|_| Fault::Gone)?? == 0 {
            return Err(Fault::Gone);
        }
        let received = std::time::Instant::now();
        if !(self.allowed)(&connection.peer) {
            return Err(refused(GatewayError::UwsgiNotAllowed));
        }
        let packet = async {
            read_exact(socket, &mut fixed).await?;
            let size = uwsgi::size(fixed).map_err(|error| refused(error.into()))?;
            let mut packet = vec![0; size];
            packet[..fixed.len()].copy_from_slice(&fixed);
            read_exact(socket, &mut packet[fixed.len()..]).await?;
            uwsgi::parse(&packet)
                .map(|request| (request, size))
                .map_err(|error| refused(error.into()))
        };
        let (request, size) = tokio::time::timeout_at(deadline, packet)
            .await
            .unwrap_or_else(|_| Err(late(1)))?;
        let heard = Elsewhere {
            head: request.head,
            head_bytes: size as u64,
            content_length: request.content_length,
            received,
        };
        Ok((request.https, heard))
    }
}

/// Waits for a peer's first words; not much longer once a drain has started.
async fn unless_ending<T>(
    drain: &Drain,
    limits: &Limits,
    words: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let grace: Duration = NEWCOMER_GRACE.max(limits.idle_grace);
    let ending = async {
        drain.begun().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        biased;
        words = words => words,
        () = ending => Err(Fault::Gone),
    }
}

async fn read_exact(socket: &Socket, buffer: &mut [u8]) -> Result<(), Fault> {
    let mut filled = 0;
    while filled < buffer.len() {
        match poll_fn(|cx| socket.poll_read_slice(cx, &mut buffer[filled..])).await? {
            0 => return Err(Fault::Gone),
            read => filled += read,
        }
    }
    Ok(())
}

fn refused(error: GatewayError) -> Fault {
    Fault::Refused(Refusal::Gateway(error))
}

/// Nothing came in time, or not all of it.
fn late(seen: usize) -> Fault {
    match seen {
        0 => Fault::Gone,
        _ => Fault::Refused(Refusal::Timeout),
    }
}

impl std::fmt::Debug for ProxyProtocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyProtocol")
            .field("versions", &self.versions)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for UwsgiProtocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UwsgiProtocol").finish_non_exhaustive()
    }
}
