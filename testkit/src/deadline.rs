//! Deadlines of waits, on the monotonic clock, and the flag that ends all waits of a failed test early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a wait may take unless a caller says otherwise: generous, for a loaded machine is not a failure.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long one look at a socket or a file lasts before the stop flag is read again.
const SLICE: Duration = Duration::from_millis(50);

/// The moment a wait is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline `patience` from now.
    pub fn after(patience: Duration) -> Self {
        Deadline(Instant::now() + patience)
    }

    /// What is left; zero once it has passed.
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }

    /// What is left, but at most one slice, and never zero: the argument for a socket timeout.
    pub fn slice(&self) -> Duration {
        self.left().clamp(Duration::from_millis(1), SLICE)
    }

    /// Asks `probe` again and again until it gives something, the deadline passes or `stop` is raised (`None`).
    ///
    /// For what another process does to files and processes, which cannot be waited for.
    pub fn poll<T>(&self, stop: &StopFlag, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = probe() {
                return Some(found);
            }
            if self.passed() || stop.raised() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5).min(self.slice()));
        }
    }
}

/// Raised once when a test has failed, so that everything that still waits gives up. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Ends the waits of everyone who holds this flag.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was raised.
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_until_there_is_an_answer() {
        let mut left = 3;
        let found = Deadline::after(PATIENCE).poll(&StopFlag::default(), || {
            left -= 1;
            (left == 0).then_some("here")
        });
        assert_eq!(found, Some("here"));
    }

    #[test]
    fn gives_up_when_stopped() {
        let stop = StopFlag::default();
        stop.raise();
        assert_eq!(Deadline::after(PATIENCE).poll::<()>(&stop, || None), None);
    }

    #[test]
    fn gives_up_at_the_deadline() {
        let deadline = Deadline::after(Duration::ZERO);
        assert!(deadline.passed());
        assert_eq!(deadline.poll::<()>(&StopFlag::default(), || None), None);
    }
}
