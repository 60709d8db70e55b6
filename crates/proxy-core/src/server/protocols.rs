//! What the connections of a listener speak: TLS or not, HTTP/1 or HTTP/2.

use std::sync::Arc;

use super::connection::Connection;
use super::drain::Drain;
use super::http1::{NEWCOMER_GRACE, serve_connection};
#[cfg(feature = "http2")]
use super::http2::{self, Upgrading};
use super::service::{Service, Trouble};
#[cfg(feature = "http2")]
use super::tls::answer_plain;
use super::tls::{HandshakeError, Tls};
use crate::socket::Socket;
use crate::timers;

/// What the connections of a listener speak.
#[derive(Clone, Debug, Default)]
pub struct Protocols {
    /// They are encrypted with this.
    pub tls: Option<Tls>,
    /// They may speak HTTP/2: where that was agreed on by ALPN, which [`Protocols::tls`] has to offer.
    #[cfg(feature = "http2")]
    pub http2: Option<Arc<http2::Settings>>,
    /// They may begin with HTTP/2 in the clear.
    #[cfg(feature = "http2")]
    pub prior_knowledge: PriorKnowledge,
    /// Requests of HTTP/1.1 in the clear may ask for it: `Upgrade: h2c` (RFC 7540 §3.2).
    #[cfg(feature = "http2")]
    pub upgrade: bool,
}

/// Whether connections that are not encrypted may begin with the preface of HTTP/2 (RFC 9113 §3.3).
#[cfg(feature = "http2")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PriorKnowledge {
    /// They may not.
    #[default]
    Refused,
    /// They may; others speak HTTP/1.
    Taken,
    /// They have to; others are answered with 400.
    Demanded,
}

impl Protocols {
    /// Whether it is nothing but HTTP/1 in the clear: then [`serve_connection`] does, whose future is smaller.
    pub fn is_plain(&self) -> bool {
        #[cfg(feature = "http2")]
        if self.http2.is_some() && (self.prior_knowledge != PriorKnowledge::Refused || self.upgrade)
        {
            return false;
        }
        self.tls.is_none()
    }

    /// Serves a connection until it ends, as [`serve_connection`] does. `connection` says whether it is encrypted.
    pub fn serve<S: Service>(
        &self,
        socket: Socket,
        connection: Arc<Connection>,
        service: Arc<S>,
        drain: &Drain,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let (this, watch, drain) = (self.clone(), drain.watch(), drain.clone());
        async move {
            // It counts from its first byte on.
            let _watch = watch;
            // Boxed: a connection that rests should not be larger for how it began, or for what it does not speak.
            match Box::pin(this.begin(socket, &connection, &*service, &drain)).await {
                Begun::Nothing => {}
                Begun::Http1(socket) => serve_connection(socket, connection, service, &drain).await,
                #[cfg(feature = "http2")]
                Begun::Http2(socket, settings) => {
                    let served = http2::serve_http2(socket, connection, service, &drain, &settings);
                    Box::pin(served).await;
                }
                #[cfg(feature = "http2")]
                Begun::Upgradable(socket, settings) => {
                    let service = Arc::new(Upgrading {
                        service,
                        settings,
                        drain: drain.clone(),
                    });
                    Box::pin(serve_connection(socket, connection, service, &drain)).await;
                }
            }
        }
    }

    /// Finds out what is spoken.
    async fn begin<S: Service>(
        &self,
        socket: Socket,
        connection: &Connection,
        service: &S,
        drain: &Drain,
    ) -> Begun {
        let ended = async {
            drain.begun().await;
            timers::sleep(NEWCOMER_GRACE).await;
        };
        let encrypted = tokio::select! {
            biased;
            encrypted = self.encrypted(socket, connection, service) => encrypted,
            () = ended => None,
        };
        let Some(socket) = encrypted else {
            return Begun::Nothing;
        };
        #[cfg(feature = "http2")]
        if let Some(settings) = &self.http2 {
            match self.begins_with_http2(&socket).await {
                Some(true) => return Begun::Http2(socket, settings.clone()),
                Some(false) if self.upgrade && !socket.is_encrypted() => {
                    return Begun::Upgradable(socket, settings.clone());
                }
                Some(false) => {}
                None => {
                    service.trouble(connection, &no_preface());
                    answer_plain(socket, NO_PREFACE).await;
                    return Begun::Nothing;
                }
            }
        }
        Begun::Http1(socket)
    }

    /// Whether HTTP/2 is spoken; `None` where it should be.
    #[cfg(feature = "http2")]
    async fn begins_with_http2(&self, socket: &Socket) -> Option<bool> {
        if socket.is_encrypted() {
            return Some(socket.protocol().as_deref() == Some(b"h2"));
        }
        if self.prior_knowledge == PriorKnowledge::Refused {
            return Some(false);
        }
        let found = timers::timeout(PREFACE_TIMEOUT, preface(socket)).await;
        match found {
            Ok(true) => Some(true),
            _ if self.prior_knowledge == PriorKnowledge::Demanded => None,
            _ => Some(false),
        }
    }

    /// Makes the handshake, where there is to be one; `None` when it failed.
    async fn encrypted<S: Service>(
        &self,
        socket: Socket,
        connection: &Connection,
        service: &S,
    ) -> Option<Socket> {
        let Some(tls) = &self.tls else {
            return Some(socket);
        };
        let limit = service.limits(connection).head_timeout;
        match tls.accept(socket, limit).await {
            Ok(socket) => Some(socket),
            Err(error) => {
                service.trouble(connection, &trouble(&error));
                None
            }
        }
    }
}

/// How long a client may take to send the preface of HTTP/2 in the clear.
#[cfg(feature = "http2")]
const PREFACE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// What is told to those who don't.
#[cfg(feature = "http2")]
const NO_PREFACE: &str = "This address speaks HTTP/2 with prior knowledge only";

#[cfg(feature = "http2")]
fn no_preface() -> Trouble {
    Trouble {
        words: "the connection did not begin with the preface of HTTP/2".to_owned(),
        silent: false,
    }
}

/// Looks whether a connection begins with the preface, without taking it.
#[cfg(feature = "http2")]
async fn preface(socket: &Socket) -> bool {
    let mut seen = 0;
    loop {
        let mut bytes = [0; http2::PREFACE.len()];
        let there = std::future::poll_fn(|cx| socket.poll_peek(cx, &mut bytes, seen)).await;
        match there {
            Ok(there) if there > seen && http2::PREFACE.starts_with(&bytes[..there]) => {
                seen = there;
                if seen == http2::PREFACE.len() {
                    return true;
                }
            }
            _ => return false,
        }
    }
}

/// How a connection goes on.
enum Begun {
    /// Not at all.
    Nothing,
    Http1(Socket),
    #[cfg(feature = "http2")]
    Http2(Socket, Arc<http2::Settings>),
    /// With HTTP/1, whose requests may ask for HTTP/2.
    #[cfg(feature = "http2")]
    Upgradable(Socket, Arc<http2::Settings>),
}

fn trouble(error: &HandshakeError) -> Trouble {
    Trouble {
        words: error.to_string(),
        silent: error.is_silent(),
    }
}
