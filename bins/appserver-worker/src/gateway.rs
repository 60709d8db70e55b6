//! What gateways in front may say, from gunicorn's settings: the PROXY protocol, and the uwsgi protocol instead of HTTP.

use std::sync::{Arc, Mutex, PoisonError};

use appserver_protocol::WorkerSettings;
use http_wire::proxy_protocol::Versions;
use proxy_core::server::{
    Allowed, Connection, Drain, Protocols, ProxyProtocol, Service, Socket, UwsgiProtocol,
    serve_connection,
};
use wsgi_bridge::Trusted;

static SETTLED: Mutex<Option<Arc<Gateway>>> = Mutex::new(None);

/// What connections begin with.
#[derive(Debug, Default)]
pub(crate) enum Gateway {
    /// What the listener's protocols say.
    #[default]
    Plain,
    /// Perhaps a PROXY protocol header.
    Proxy(ProxyProtocol),
    /// The packet of the one request that they carry.
    Uwsgi(UwsgiProtocol),
}

impl Gateway {
    /// Keeps what the settings say, for [`Gateway::settled`].
    ///
    /// # Errors
    /// In words: which setting, and why.
    pub fn settle(settings: &WorkerSettings) -> Result<(), String> {
        let read = Arc::new(Self::read(settings)?);
        *SETTLED.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(())
    }

    /// What was settled last.
    pub fn settled() -> Arc<Self> {
        let settled = SETTLED.lock().unwrap_or_else(PoisonError::into_inner);
        settled.clone().unwrap_or_default()
    }

    fn read(settings: &WorkerSettings) -> Result<Self, String> {
        match settings.protocol.to_ascii_lowercase().as_str() {
            "http" => {}
            "uwsgi" => {
                let allowed = allowed("uwsgi_allow_ips", &settings.uwsgi_allow_ips)?;
                return Ok(Self::Uwsgi(UwsgiProtocol::new(allowed)));
            }
            other => {
                return Err(format!(
                    "Invalid value for protocol: {other:?}: must be http or uwsgi"
                ));
            }
        }
        let versions = match settings.proxy_protocol.to_ascii_lowercase().as_str() {
            "off" => return Ok(Self::Plain),
            "v1" => Versions::V1,
            "v2" => Versions::V2,
            "auto" => Versions::Any,
            other => {
                return Err(format!(
                    "Invalid value for proxy_protocol: {other:?}: must be off, v1, v2 or auto"
                ));
            }
        };
        let allowed = allowed("proxy_allow_ips", &settings.proxy_allow_ips)?;
        Ok(Self::Proxy(ProxyProtocol::new(versions, allowed)))
    }
}

fn allowed(name: &str, words: &[String]) -> Result<Allowed, String> {
    let trusted = Trusted::read(words.iter().map(String::as_str))
        .map_err(|error| format!("Invalid value for {name}: {words:?}: {error}"))?;
    Ok(Arc::new(move |peer| trusted.includes(peer)))
}

/// Serves a connection that may begin with a PROXY protocol header.
pub(crate) fn serve_proxied<S: Service>(
    proxy: &ProxyProtocol,
    protocols: Protocols,
    socket: Socket,
    connection: Connection,
    service: Arc<S>,
    drain: &Drain,
) -> impl Future<Output = ()> + Send + use<S> {
    let ending = drain.clone();
    let then = move |socket, connection, service| async move {
        if protocols.is_plain() {
            serve_connection(socket, connection, service, &ending).await;
        } else {
            protocols.serve(socket, connection, service, &ending).await;
        }
    };
    proxy.serve(socket, connection, service, drain, then)
}
