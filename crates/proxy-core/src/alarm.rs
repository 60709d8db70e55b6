//! One deadline that moves often and is reached seldom.
//!
//! A connection changes its deadline several times per request, yet touches the runtime's timer only when the timer
//! fires (about once a minute) or when the deadline moves before the time that the timer is set to.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::timers::tell;

/// See the module.
#[derive(Default)]
pub(crate) struct Alarm {
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Sets the deadline so long from now; a span too long to express is no deadline.
    pub(crate) fn set_after(&mut self, span: Duration) {
        self.deadline = Instant::now().checked_add(span);
    }

    /// Sets the deadline so long after `start`; a span too long to express is no deadline.
    pub(crate) fn set_from(&mut self, start: std::time::Instant, span: Duration) {
        self.deadline = start.checked_add(span).map(Instant::from_std);
    }

    /// Removes the deadline.
    pub(crate) fn clear(&mut self) {
        self.deadline = None;
    }

    /// Whether a deadline is set.
    pub(crate) fn is_set(&self) -> bool {
        self.deadline.is_some()
    }

    /// Ready when the deadline has passed; that removes it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| {
            tell(deadline);
            Box::pin(tokio::time::sleep_until(deadline))
        });
        if deadline < sleep.deadline() {
            tell(deadline);
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                self.deadline = None;
                return Poll::Ready(());
            }
            tell(deadline);
            sleep.as_mut().reset(deadline);
        }
    }
}
