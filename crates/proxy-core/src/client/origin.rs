//! A connection to an origin server, between and during its exchanges.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use crate::alarm::Alarm;
use crate::server::Address;
use crate::socket::Socket;

/// A connection to an origin server. Holds no buffer.
pub(super) struct Origin {
    pub(super) socket: Arc<Socket>,
    pub(super) address: Address,
    /// Requests that it has carried, the one in hand included.
    pub(super) requests: u64,
    pub(super) alarm: Alarm,
    since: Instant,
}

impl Origin {
    pub(super) fn new(socket: Socket, address: Address) -> Box<Self> {
        Box::new(Self {
            socket: Arc::new(socket),
            address,
            requests: 0,
            alarm: Alarm::default(),
            since: Instant::now(),
        })
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Whether it carried a request before the one in hand.
    pub(super) fn reused(&self) -> bool {
        self.requests > 1
    }

    /// Goes idle.
    pub(super) fn rest(&mut self) {
        self.alarm.clear();
    }

    /// Whether, as far as the runtime was told, the origin server has not closed it.
    pub(super) fn is_alive(&self) -> bool {
        self.socket
            .poll_disturbed(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    }
}
