//! Is a worker stuck? Decided from samples of its lanes, by time that was *observed*, not by the clock alone: when the
//! whole machine or container was frozen, or the master was starved, the time nobody could use does not count.

use std::time::{Duration, Instant};

use super::Policy;

/// What one lane (a thread, an event loop) of a worker shows at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneSample {
    /// The heartbeat counter; `None` when the lane does not promise to beat.
    pub beat: Option<u64>,
    /// Identifies the oldest running request (its start in milliseconds); `None` when the lane is idle.
    pub busy_since: Option<u64>,
}

/// Why a worker counts as stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stuck {
    /// The heartbeat of a lane stood still.
    Quiet {
        /// Which lane.
        lane: usize,
        /// How long.
        waited: Duration,
    },
    /// A request ran too long.
    Busy {
        /// Which lane.
        lane: usize,
        /// How long.
        waited: Duration,
    },
}

/// What is remembered of a worker's lanes.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    seen: Option<Instant>,
    lanes: Vec<Lane>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    last: LaneSample,
    quiet: Duration,
    busy: Duration,
}

impl Watch {
    /// Takes one sample of every lane; tells when one of them has stood still for too long.
    pub(super) fn observe(
        &mut self,
        samples: impl IntoIterator<Item = LaneSample>,
        policy: &Policy,
        now: Instant,
    ) -> Option<Stuck> {
        // A gap between two looks that is much longer than agreed is not the worker's doing.
        let longest = policy.tick()? * 4;
        let step = self
            .seen
            .map_or(Duration::ZERO, |seen| now.duration_since(seen).min(longest));
        self.seen = Some(now);
        let mut stuck = None;
        for (number, sample) in samples.into_iter().enumerate() {
            if self.lanes.len() <= number {
                self.lanes.push(Lane {
                    last: sample,
                    ..Lane::default()
                });
            }
            let lane = &mut self.lanes[number];
            lane.advance(sample, step);
            stuck = stuck.or_else(|| lane.verdict(number, policy));
        }
        stuck
    }
}

impl Lane {
    fn advance(&mut self, sample: LaneSample, step: Duration) {
        let quiet = sample.beat.is_some() && sample.beat == self.last.beat;
        self.quiet = if quiet {
            self.quiet + step
        } else {
            Duration::ZERO
        };
        let busy = sample.busy_since.is_some() && sample.busy_since == self.last.busy_since;
        self.busy = if busy {
            self.busy + step
        } else {
            Duration::ZERO
        };
        self.last = sample;
    }

    fn verdict(&self, lane: usize, policy: &Policy) -> Option<Stuck> {
        let over =
            |waited: Duration, limit: Option<Duration>| limit.is_some_and(|limit| waited >= limit);
        if over(self.busy, policy.request_timeout) {
            Some(Stuck::Busy {
                lane,
                waited: self.busy,
            })
        } else if over(self.quiet, policy.heartbeat_timeout) {
            Some(Stuck::Quiet {
                lane,
                waited: self.quiet,
            })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            heartbeat_timeout: Some(Duration::from_secs(4)),
            request_timeout: Some(Duration::from_secs(8)),
            ..Policy::default()
        }
    }

    /// Looks every half second at lanes given by a function of the tick; tells at which tick the worker was stuck.
    fn stuck_at(lanes: impl Fn(u64) -> Vec<LaneSample>) -> Option<(u64, Stuck)> {
        let (start, mut watch) = (Instant::now(), Watch::default());
        (0..60).find_map(|tick| {
            let now = start + Duration::from_millis(500) * tick as u32;
            watch
                .observe(lanes(tick), &policy(), now)
                .map(|stuck| (tick, stuck))
        })
    }

    fn lane(beat: u64, busy_since: Option<u64>) -> LaneSample {
        LaneSample {
            beat: Some(beat),
            busy_since,
        }
    }

    #[test]
    fn a_heartbeat_that_stands_still_is_noticed_in_any_lane() {
        assert_eq!(stuck_at(|tick| vec![lane(tick, None)]), None);
        let (tick, stuck) =
            stuck_at(|tick| vec![lane(tick, None), lane(tick.min(4), None)]).unwrap();
        assert_eq!(tick, 12); // last beat seen at tick 4, then 4 s
        assert_eq!(
            stuck,
            Stuck::Quiet {
                lane: 1,
                waited: Duration::from_secs(4)
            }
        );
    }

    #[test]
    fn one_long_request_is_noticed_many_short_ones_are_not() {
        assert_eq!(stuck_at(|tick| vec![lane(tick, Some(tick))]), None);
        let (tick, stuck) = stuck_at(|tick| vec![lane(tick, (tick > 3).then_some(77))]).unwrap();
        assert_eq!(tick, 20); // first seen at tick 4, then 8 s
        assert_eq!(
            stuck,
            Stuck::Busy {
                lane: 0,
                waited: Duration::from_secs(8)
            }
        );
    }

    #[test]
    fn a_lane_that_promised_no_heartbeat_is_not_missed() {
        assert_eq!(stuck_at(|_| vec![LaneSample::default()]), None);
    }

    #[test]
    fn a_frozen_machine_does_not_cost_the_workers_their_lives() {
        let (start, mut watch) = (Instant::now(), Watch::default());
        assert_eq!(watch.observe([lane(1, None)], &policy(), start), None);
        // Nobody ran for an hour; then the master is the first to wake up.
        let thawed = start + Duration::from_secs(3600);
        assert_eq!(watch.observe([lane(1, None)], &policy(), thawed), None);
        assert_eq!(
            watch.observe([lane(2, None)], &policy(), thawed + Duration::from_secs(1)),
            None
        );
    }
}
