//! What the connections of a listener speak: TLS or not, HTTP/1 or HTTP/2.

use std::sync::Arc;

use super::connection::Connection;
use super::drain::Drain;
use super::http1::serve_connection;
use super::service::{Service, Trouble};
use super::tls::{HandshakeError, Tls};
use crate::socket::Socket;

/// What the connections of a listener speak.
#[derive(Clone, Debug, Default)]
pub struct Protocols {
    /// They are encrypted with this.
    pub tls: Option<Tls>,
}

impl Protocols {
    /// Whether it is nothing but HTTP/1 in the clear: then [`serve_connection`] does, whose future is smaller.
    pub fn is_plain(&self) -> bool {
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
            let Some(socket) = this.encrypted(socket, &connection, &*service).await else {
                return;
            };
            serve_connection(socket, connection, service, &drain).await;
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

fn trouble(error: &HandshakeError) -> Trouble {
    Trouble {
        words: error.to_string(),
        silent: error.is_silent(),
    }
}
