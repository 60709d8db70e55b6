//! When a worker asks to be replaced: after so many requests, so long, or with so much memory. It serves on until its successor is
//! ready, so nothing is lost by it; one that a hook has ended does not.

use std::time::{Duration, Instant};

use appserver_protocol::{Retirement, WorkerSettings};

/// The part of a limit that chance takes away, so that workers that began together do not retire together.
const JITTER: f64 = 0.1;
/// Where the kernel tells how much memory this process has.
const MEMORY: &str = "/proc/self/statm";

/// The limits of one worker, jitter included.
#[derive(Debug)]
pub(crate) struct Limits {
    requests: Option<u64>,
    lifetime: Option<Duration>,
    memory: Option<Memory>,
    began: Instant,
}

/// A limit of memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    /// With jitter.
    at: u64,
    /// As it was set.
    set: u64,
}

/// What a worker retires for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// For the master.
    pub why: Retirement,
    /// For the log.
    pub words: String,
}

impl Due {
    /// A hook has set `worker.alive` to false.
    pub fn by_hook() -> Self {
        Self {
            why: Retirement::Hook,
            words: "Autorestarting worker: a hook has ended it (worker.alive)".to_owned(),
        }
    }
}

impl Limits {
    /// This worker's limits, by chances from 0 to 1. The text is a warning: the memory that the worker has already is too much, so that its
    /// successors would retire at once, for ever; the limit is left out then.
    pub fn draw(
        chances: [f64; 3],
        settings: &WorkerSettings,
        began: Instant,
    ) -> (Self, Option<String>) {
        let [of_requests, of_lifetime, of_memory] = chances;
        let extra = (settings.max_requests_jitter as f64 * of_requests).round() as u64;
        let lifetime = shortened(settings.worker_max_lifetime * 1000, of_lifetime);
        let set = settings.worker_max_rss;
        let memory = Memory {
            at: shortened(set, of_memory),
            set,
        };
        let resident = resident().unwrap_or(0);
        let hopeless = set > 0 && resident >= set;
        let warning = hopeless.then(|| {
            format!(
                "worker_max_rss is {}, but a worker that has served nothing has {} already; it is not obeyed, set it higher",
                mib(set),
                mib(resident)
            )
        });
        let limits = Self {
            requests: (settings.max_requests > 0).then_some(settings.max_requests + extra),
            lifetime: (lifetime > 0).then(|| Duration::from_millis(lifetime)),
            memory: (set > 0 && !hopeless).then(|| memory.above(resident)),
            began,
        };
        (limits, warning)
    }

    /// How many requests, if that is limited.
    pub fn requests(&self) -> Option<u64> {
        self.requests
    }

    /// Looks whether one of them is reached.
    pub fn due(&self, requests: u64) -> Option<Due> {
        let resident = self.memory.and_then(|_| resident());
        self.reached(requests, self.began.elapsed(), resident)
    }

    fn reached(&self, requests: u64, age: Duration, resident: Option<u64>) -> Option<Due> {
        if self.requests.is_some_and(|most| requests >= most) {
            return Some(Due {
                why: Retirement::MaxRequests,
                words: "Autorestarting worker after current request.".to_owned(),
            });
        }
        if let (Some(memory), Some(resident)) = (self.memory, resident)
            && resident >= memory.at
        {
            return Some(Due {
                why: Retirement::MaxRss,
                words: format!(
                    "Autorestarting worker: it has {} of memory (worker_max_rss is {})",
                    mib(resident),
                    mib(memory.set)
                ),
            });
        }
        self.lifetime.filter(|most| age >= *most).map(|_| Due {
            why: Retirement::MaxLifetime,
            words: format!(
                "Autorestarting worker: it has lived for {} s (worker_max_lifetime)",
                age.as_secs()
            ),
        })
    }
}

impl Memory {
    /// Chance does not take so much away that nothing is left to serve with.
    fn above(self, resident: u64) -> Self {
        let room = resident + (self.set - resident) / 2;
        Self {
            at: self.at.max(room),
            ..self
        }
    }
}

/// Up to a tenth less, by chance (0 to 1).
fn shortened(limit: u64, chance: f64) -> u64 {
    limit - (limit as f64 * JITTER * chance) as u64
}

/// The resident memory of this process in bytes, shared pages included.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string(MEMORY).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn mib(bytes: u64) -> String {
    const MIB: f64 = 1_048_576.0;
    format!("{:.1} MiB", bytes as f64 / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            requests: Some(10),
            lifetime: Some(Duration::from_secs(60)),
            memory: Some(Memory {
                at: 95 << 20,
                set: 100 << 20,
            }),
            began: Instant::now(),
        }
    }

    #[test]
    fn each_limit_counts_at_its_end_and_not_before() {
        let at = |requests, seconds, resident| {
            let age = Duration::from_secs(seconds);
            limits()
                .reached(requests, age, Some(resident))
                .map(|due| due.why)
        };
        assert_eq!(at(9, 59, (95 << 20) - 1), None);
        assert_eq!(at(10, 0, 0), Some(Retirement::MaxRequests));
        assert_eq!(at(0, 60, 0), Some(Retirement::MaxLifetime));
        assert_eq!(at(0, 0, 95 << 20), Some(Retirement::MaxRss));
        let none = Limits {
            requests: None,
            lifetime: None,
            memory: None,
            began: Instant::now(),
        };
        assert_eq!(none.reached(u64::MAX, Duration::MAX, Some(u64::MAX)), None);
    }

    #[test]
    fn the_words_name_the_setting_and_what_was_found() {
        let due = limits().reached(0, Duration::ZERO, Some(96 << 20)).unwrap();
        assert_eq!(
            due.words,
            "Autorestarting worker: it has 96.0 MiB of memory (worker_max_rss is 100.0 MiB)"
        );
        let due = limits().reached(0, Duration::from_secs(61), None).unwrap();
        assert_eq!(
            due.words,
            "Autorestarting worker: it has lived for 61 s (worker_max_lifetime)"
        );
    }

    #[test]
    fn chance_takes_a_tenth_at_most_and_leaves_room_to_serve() {
        assert_eq!(shortened(1000, 0.0), 1000);
        assert_eq!(shortened(1000, 0.5), 950);
        assert_eq!(shortened(1000, 1.0), 900);
        assert_eq!(shortened(0, 1.0), 0);
        let memory = Memory { at: 900, set: 1000 };
        assert_eq!(memory.above(100), memory);
        assert_eq!(memory.above(960).at, 980);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident().unwrap() > 100_000);
    }
}
