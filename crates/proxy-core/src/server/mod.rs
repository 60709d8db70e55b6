//! The client side of the engine: a connection reads requests, hands each to a [`Service`] and writes its response.
//!
//! `edge` and `appserver` both stand on this. One task serves one connection; requests of one connection are served in
//! order (RFC 9112 §9.3.2). The head and the first content bytes of a response leave in one `writev`.
//!
//! - [`Listener`] accepts; [`serve_connection`] serves what it accepted; [`Drain`] ends all of it well.
//! - With the features `tls` and `http2`, `Protocols` serves connections that are encrypted or speak HTTP/2.
//! - [`ProxyProtocol`] reads what a gateway says ahead of a connection; [`UwsgiProtocol`] serves gateways that speak that.
//! - [`Service`] answers a [`Request`] with a [`Response`].
//!
//! A request without content leaves the connection's read half with the connection. A request with content lends it to
//! [`Content`], which gives it back at its end or when dropped; what was not read is then drained (within limits) or the
//! connection closes.

mod connection;
mod content;
mod drain;
mod gateway;
mod heads;
mod http1;
#[cfg(feature = "http2")]
pub mod http2;
mod listener;
#[cfg(feature = "tls")]
mod protocols;
mod service;
#[cfg(feature = "tls")]
pub mod tls;
mod upgraded;

pub use connection::{Address, Connection, Interim, Proxied, Uwsgi};
pub use content::{Content, ContentError};
pub use drain::{Drain, Watch};
pub use gateway::{Allowed, ProxyProtocol, UwsgiProtocol};
pub use heads::give_head_back;
pub use http1::serve_connection;
pub use listener::{Accepted, Listener};
#[cfg(all(feature = "tls", feature = "http2"))]
pub use protocols::PriorKnowledge;
#[cfg(feature = "tls")]
pub use protocols::Protocols;
pub use service::{
    Ending, GatewayError, Limits, Outcome, Refusal, Request, Response, Sent, Service, Trouble,
    TunnelEnd, UpgradeFn,
};
pub use upgraded::{Upgraded, Wire};

pub use crate::socket::Socket;
