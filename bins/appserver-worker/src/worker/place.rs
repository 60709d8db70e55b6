//! Where connections run, and what runs there: a service that knows how to come to its end.

use std::sync::Arc;
use std::time::Duration;

use asgi_bridge::Reactor;
use proxy_core::server::{Address, Service};
use wsgi_bridge::WsgiService;

/// A service of connections that can be told to come to its end.
pub(crate) trait Application: Service {
    /// Whether requests show the address that is listened at, not the one that their connection came to, where the two differ.
    const SHOWS_LISTENER: bool = true;

    /// Waits, at most so long, until a new connection would not have to wait.
    fn ready(&self, at_most: Duration) -> impl Future<Output = ()> + Send;

    /// The worker comes to its end: tells those that would otherwise stay.
    fn part(&self);

    /// Waits until nothing of the application is under way any more.
    fn over(&self) -> impl Future<Output = ()> + Send;

    /// Whether a peer is believed what it says of clients behind it (`forwarded_allow_ips`).
    fn trusts(&self, peer: &Address) -> bool;

    /// The worker's heart beats: what has a heart of its own beats too.
    fn beat(&self) {}
}

impl Application for WsgiService {
    async fn ready(&self, at_most: Duration) {
        Self::ready(self, at_most).await;
    }

    fn trusts(&self, peer: &Address) -> bool {
        Self::trusts(self, peer)
    }

    fn part(&self) {}

    async fn over(&self) {}
}

/// Where connections run.
#[derive(Clone)]
pub(crate) enum Place {
    /// In the runtime of this thread.
    Runtime,
    /// On an event loop.
    Loop(Arc<Reactor>),
}

impl Place {
    /// Serves a connection.
    pub(super) fn serve(&self, future: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Runtime => drop(tokio::spawn(future)),
            Self::Loop(reactor) => reactor.spawn(future),
        }
    }

    /// Runs something else.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Runtime => drop(tokio::spawn(future)),
            Self::Loop(reactor) => reactor.spawn(future),
        }
    }

    /// Sees to it that a pause is not longer than it was meant: a loop keeps time only roughly.
    pub(super) fn pause(&self, span: Option<Duration>) -> Option<Duration> {
        if let (Self::Loop(reactor), Some(span)) = (self, span) {
            reactor.look_after(span);
        }
        span
    }

    /// Lets others run.
    pub(super) async fn step_aside(&self) {
        match self {
            Self::Runtime => tokio::task::yield_now().await,
            Self::Loop(_) => asgi_bridge::step_aside().await,
        }
    }
}
