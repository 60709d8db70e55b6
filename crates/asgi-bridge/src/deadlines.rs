//! When a loop has to be woken next. Asks nobody for the time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// tokio's timers are due at the end of their millisecond; and the loop's own clock may be behind ours by as much.
const LATE_MS: u64 = 2;
/// Deadlines are rounded up, so that many are one; the far ones, of which there are more, by more.
const NEAR: Duration = Duration::from_secs(10);
const NEAR_STEP_MS: u64 = 10;
const FAR_STEP_MS: u64 = 100;

/// Deadlines that the runtime's timers have, and the time for which the loop's alarm is set.
#[derive(Debug)]
pub(crate) struct Deadlines {
    epoch: Instant,
    /// Milliseconds from the epoch.
    waiting: BTreeSet<u64>,
    armed: Option<u64>,
}

impl Deadlines {
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            waiting: BTreeSet::new(),
            armed: None,
        }
    }

    /// One more. Timers that were moved or dropped stay: the loop is woken for them once, for nothing.
    pub fn add(&mut self, now: Instant, deadline: Instant) {
        let near = deadline.saturating_duration_since(now) <= NEAR;
        let step = if near { NEAR_STEP_MS } else { FAR_STEP_MS };
        let due = (self.millis(deadline) + LATE_MS).next_multiple_of(step);
        self.waiting.insert(due);
    }

    /// After how long an alarm is due that is not set yet; counts as set from now on. An alarm that was set for later stays set, and is
    /// for nothing then.
    pub fn wait(&mut self, now: Instant) -> Option<Duration> {
        let next = *self.waiting.first()?;
        if self.armed.is_some_and(|armed| armed <= next) {
            return None;
        }
        self.armed = Some(next);
        Some(Duration::from_millis(next.saturating_sub(self.millis(now))))
    }

    /// An alarm went off: what is due is looked at.
    pub fn woken(&mut self, now: Instant) {
        let now = self.millis(now);
        self.waiting = self.waiting.split_off(&(now + 1));
        self.armed = self.armed.filter(|armed| *armed > now);
    }

    fn millis(&self, time: Instant) -> u64 {
        time.saturating_duration_since(self.epoch).as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(7);

    #[test]
    fn the_nearest_deadline_sets_the_alarm_once() {
        let epoch = Instant::now();
        let after = |millis| epoch + START + Duration::from_millis(millis);
        let wait = |millis| Some(Duration::from_millis(millis));
        let mut deadlines = Deadlines::new(epoch);
        assert_eq!(deadlines.wait(after(0)), None);
        deadlines.add(after(0), after(5_000));
        assert_eq!(deadlines.wait(after(0)), wait(5_010));
        assert_eq!(deadlines.wait(after(0)), None);
        // Later: the alarm is in time. Earlier: another alarm.
        deadlines.add(after(0), after(8_000));
        assert_eq!(deadlines.wait(after(0)), None);
        deadlines.add(after(0), after(1_000));
        assert_eq!(deadlines.wait(after(500)), wait(510));
        // It goes off, and the next one in line is armed, for all that is known.
        deadlines.woken(after(1_010));
        assert_eq!(deadlines.wait(after(1_010)), wait(4_000));
        // One that comes too early changes nothing.
        deadlines.woken(after(4_000));
        assert_eq!(deadlines.wait(after(4_000)), None);
        deadlines.woken(after(5_010));
        assert_eq!(deadlines.wait(after(5_010)), wait(3_000));
        deadlines.woken(after(8_010));
        assert_eq!(deadlines.wait(after(8_010)), None);
        // What is past is due at once.
        deadlines.add(after(9_000), after(8_500));
        assert_eq!(deadlines.wait(after(9_000)), wait(0));
    }

    #[test]
    fn many_deadlines_are_few() {
        let epoch = Instant::now();
        let mut deadlines = Deadlines::new(epoch);
        for micros in 0..100_000 {
            let now = epoch + Duration::from_micros(micros);
            deadlines.add(now, now + Duration::from_secs(60));
            deadlines.add(now, now + Duration::from_secs(2));
        }
        assert!(deadlines.waiting.len() < 20, "{}", deadlines.waiting.len());
    }
}
