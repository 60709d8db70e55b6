//! A clock that moves only when a test says so. Who uses it: simulated tests of code that is given instants.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A clock for tests: it starts at an arbitrary instant and advances only by [`VirtualClock::advance`].
///
/// Clones share the time, so one half of a simulation can hold the clock that the other half moves.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    start: Instant,
    elapsed: Arc<Mutex<Duration>>,
}

impl VirtualClock {
    /// A clock at its start: nothing has elapsed.
    pub fn new() -> Self {
        // The only look at the real clock: an `Instant` cannot be made from nothing.
        VirtualClock {
            start: Instant::now(),
            elapsed: Arc::new(Mutex::new(Duration::ZERO)),
        }
    }

    /// The present, as the code under test sees it.
    pub fn now(&self) -> Instant {
        self.start + self.elapsed()
    }

    /// How far the clock was moved since it was made.
    pub fn elapsed(&self) -> Duration {
        *self
            .elapsed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Lets `step` pass and gives the new present.
    pub fn advance(&self, step: Duration) -> Instant {
        *self
            .elapsed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) += step;
        self.now()
    }

    /// Moves to `instant`; an instant in the past leaves the clock where it is, for time never runs backwards.
    pub fn advance_to(&self, instant: Instant) -> Instant {
        self.advance(instant.saturating_duration_since(self.now()))
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_still_until_it_is_moved() {
        let clock = VirtualClock::new();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        assert_eq!(
            clock.advance(Duration::from_secs(3)),
            before + Duration::from_secs(3)
        );
        assert_eq!(clock.elapsed(), Duration::from_secs(3));
    }

    #[test]
    fn clones_share_the_time() {
        let clock = VirtualClock::new();
        let other = clock.clone();
        clock.advance(Duration::from_millis(5));
        assert_eq!(other.now(), clock.now());
    }

    #[test]
    fn never_runs_backwards() {
        let clock = VirtualClock::new();
        let start = clock.now();
        clock.advance(Duration::from_secs(10));
        assert_eq!(clock.advance_to(start), start + Duration::from_secs(10));
        assert_eq!(
            clock.advance_to(start + Duration::from_secs(12)),
            start + Duration::from_secs(12)
        );
    }
}
