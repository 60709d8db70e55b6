//! Which parts of files a thread has lately found to be in memory, so that a file that many ask for is not probed for each.
//!
//! A hint with a short life: what the kernel evicts within it makes one `sendfile` wait for the disk.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

use rustix::time::{ClockId, clock_gettime};

/// How long a part counts as being in memory after it was found there.
const SPAN_MS: u64 = 500;
/// How many parts a thread knows.
const KNOWN: usize = 256;

/// A part of a file.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Stretch {
    pub dev: u64,
    pub ino: u64,
    pub offset: u64,
    pub len: u64,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    stretch: Stretch,
    at_ms: u64,
}

struct Table {
    hasher: RandomState,
    seen: Vec<Seen>,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::new(Table {
        hasher: RandomState::new(),
        seen: Vec::new(),
    });
}

impl Table {
    fn place(&mut self, stretch: Stretch) -> &mut Seen {
        if self.seen.is_empty() {
            self.seen = vec![Seen::default(); KNOWN];
        }
        let place = self.hasher.hash_one(stretch) as usize % KNOWN;
        &mut self.seen[place]
    }
}

/// Whether it was in memory a moment ago.
pub(crate) fn was_resident(stretch: Stretch) -> bool {
    let now_ms = now_ms();
    TABLE.with_borrow_mut(|table| {
        let seen = table.place(stretch);
        seen.stretch == stretch && now_ms.saturating_sub(seen.at_ms) < SPAN_MS
    })
}

/// Notes that it is in memory now.
pub(crate) fn note(stretch: Stretch) {
    let at_ms = now_ms();
    TABLE.with_borrow_mut(|table| *table.place(stretch) = Seen { stretch, at_ms });
}

fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_part_that_was_seen_counts() {
        let stretch = Stretch {
            dev: 7,
            ino: 1,
            offset: 0,
            len: 10,
        };
        assert!(!was_resident(stretch));
        note(stretch);
        assert!(was_resident(stretch));
        for other in [
            Stretch { dev: 8, ..stretch },
            Stretch { ino: 2, ..stretch },
            Stretch {
                offset: 1,
                ..stretch
            },
            Stretch { len: 11, ..stretch },
        ] {
            assert!(!was_resident(other));
        }
    }

    #[test]
    fn a_part_counts_for_a_moment_only() {
        let stretch = Stretch {
            dev: 9,
            ..Stretch::default()
        };
        note(stretch);
        TABLE.with_borrow_mut(|table| {
            let seen = table.place(stretch);
            seen.at_ms = seen.at_ms.saturating_sub(SPAN_MS);
        });
        assert!(!was_resident(stretch));
    }
}
