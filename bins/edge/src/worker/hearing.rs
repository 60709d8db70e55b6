//! Signals and descriptors, awaited in the runtime of the first thread.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use supervisor::{Signal, Signals};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Hears signals in a runtime.
pub struct Hearing {
    signals: Signals,
    sources: Vec<AsyncFd<OwnedFd>>,
    came: Vec<Signal>,
}

impl Hearing {
    /// Takes over from a [`Signals`] that has listened since the process began. To be called in a runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(signals: Signals) -> io::Result<Self> {
        let sources: io::Result<Vec<_>> = signals
            .fds()
            .map(|fd| readable(fd.try_clone_to_owned()?))
            .collect();
        Ok(Self {
            sources: sources?,
            signals,
            came: Vec::new(),
        })
    }

    /// The next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        loop {
            if !self.came.is_empty() {
                return Poll::Ready(self.came.remove(0));
            }
            let mut woken = false;
            for source in &self.sources {
                while let Poll::Ready(Ok(mut guard)) = source.poll_read_ready(cx) {
                    woken = true;
                    guard.clear_ready();
                }
            }
            loop {
                let more = self.signals.take();
                if more.is_empty() {
                    break;
                }
                self.came.extend(more);
            }
            if self.came.is_empty() && !woken {
                return Poll::Pending;
            }
        }
    }
}

/// A descriptor to be awaited until it is readable.
#[expect(
    deprecated,
    reason = "its successor is unsafe because a foreign type may close its descriptor early; an OwnedFd that nobody else has can't"
)]
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
