//! The knobs of a [`Fleet`](super::Fleet), each with its default and what it costs.

use std::time::Duration;

/// How long things may take and how often they may fail.
///
/// Start from [`Policy::default`] and change what your program promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From the order to spawn until the worker says it is ready; after that it is killed and counts as failed.
    /// Default 60 s; `None` waits for ever.
    pub ready_timeout: Option<Duration>,
    /// A watched lane of a worker whose heartbeat stands still for this long makes the worker stuck.
    /// Default 30 s; `None` never looks.
    pub heartbeat_timeout: Option<Duration>,
    /// A request that runs for this long makes its worker stuck. Default `None`: requests may take as long as they like.
    pub request_timeout: Option<Duration>,
    /// A stuck worker is first sent SIGABRT, so that it can say what it was doing, and SIGKILL after this long.
    /// Default 1 s.
    pub abort_grace: Duration,
    /// When the whole fleet stops gracefully: from the order to SIGKILL. Default 30 s; `None` waits for ever.
    pub graceful_timeout: Option<Duration>,
    /// When a worker retires because of a reload, a replacement or a smaller fleet: from the order to SIGKILL.
    /// Default `None`: long downloads and tunnels go on until their clients end them.
    pub retire_timeout: Option<Duration>,
    /// When workers shall stop quickly: from the order to SIGKILL. Default 5 s.
    pub quick_timeout: Duration,
    /// A worker that was ready for this long was a good one: its death is not held against its seat. Default 1 s.
    pub stable_after: Duration,
    /// Pause before the third spawn in a row for a seat whose workers die early; doubles with each further death.
    /// The first death is always answered at once. Default 50 ms.
    pub backoff_first: Duration,
    /// Longest pause between spawns for one seat. Default 5 s.
    pub backoff_max: Duration,
    /// A generation that was never complete fails when one seat has lost this many workers in a row: a reload is given
    /// up (the old generation serves on), a start ends the fleet. Default 3; `None` tries for ever.
    pub boot_attempts: Option<u32>,
    /// Exit codes that say "trying again will not help"; they fail a generation that was never complete at the first
    /// death. Default none.
    pub fatal_codes: Vec<i32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ready_timeout: Some(Duration::from_secs(60)),
            heartbeat_timeout: Some(Duration::from_secs(30)),
            request_timeout: None,
            abort_grace: Duration::from_secs(1),
            graceful_timeout: Some(Duration::from_secs(30)),
            retire_timeout: None,
            quick_timeout: Duration::from_secs(5),
            stable_after: Duration::from_secs(1),
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            boot_attempts: Some(3),
            fatal_codes: Vec::new(),
        }
    }
}

impl Policy {
    /// How often workers should be looked at, when anything is to be watched: an eighth of the shorter timeout,
    /// between 20 ms and 1 s.
    #[must_use]
    pub fn tick(&self) -> Option<Duration> {
        let shorter = self
            .heartbeat_timeout
            .into_iter()
            .chain(self.request_timeout)
            .min()?;
        Some((shorter / 8).clamp(Duration::from_millis(20), Duration::from_secs(1)))
    }

    /// The pause before the next spawn for a seat after `strikes` early deaths in a row.
    #[must_use]
    pub fn pause(&self, strikes: u32) -> Duration {
        match strikes {
            0 | 1 => Duration::ZERO,
            more => {
                let factor = 2u32.saturating_pow(more - 2);
                self.backoff_first
                    .saturating_mul(factor)
                    .min(self.backoff_max)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_is_answered_at_once_then_pauses_double_up_to_a_limit() {
        let policy = Policy::default();
        let millis: Vec<_> = (0..=10)
            .map(|strikes| policy.pause(strikes).as_millis())
            .collect();
        assert_eq!(
            millis,
            [0, 0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]
        );
        assert_eq!(policy.pause(u32::MAX), policy.backoff_max);
    }

    #[test]
    fn looking_is_as_frequent_as_the_shorter_timeout_needs() {
        let mut policy = Policy {
            heartbeat_timeout: None,
            ..Policy::default()
        };
        assert_eq!(policy.tick(), None);
        policy.request_timeout = Some(Duration::from_secs(2));
        assert_eq!(policy.tick(), Some(Duration::from_millis(250)));
        policy.heartbeat_timeout = Some(Duration::from_millis(10));
        assert_eq!(policy.tick(), Some(Duration::from_millis(20)));
        policy.heartbeat_timeout = Some(Duration::from_secs(3600));
        policy.request_timeout = None;
        assert_eq!(policy.tick(), Some(Duration::from_secs(1)));
    }
}
