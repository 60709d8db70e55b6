//! Shared memory between a master and one worker: heartbeats, the oldest running request, counters.
//!
//! Each worker has a board of its own (a sealed memory file), so that a worker that goes mad writes over nobody else's
//! numbers, and its successor starts from zero. A board has one [`Lane`] per thread that serves requests; a lane is
//! written by its thread only, without locks, and read by anybody.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::time::{ClockId, clock_gettime};

use crate::fleet::LaneSample;

/// Most lanes of a board.
pub const LANES_MAX: usize = 1024;
/// Longest note of a lane in bytes; longer ones are cut.
pub const NOTE_MAX: usize = NOTE_WORDS * 8;

const NOTE_WORDS: usize = 20;
const COUNTERS: usize = 8;
/// Numbers of a lane whose meaning is the program's.
pub const TALLIES: usize = 32;
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// Why a board cannot be made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// The descriptor is no board.
    #[error("the descriptor is not a board of shared memory: {0}")]
    NotABoard(&'static str),
    /// The kernel's answer.
    #[error("shared memory is not to be had: {0}")]
    Io(#[from] std::io::Error),
}

impl From<rustix::io::Errno> for BoardError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// What a lane counts. The names are those of nginx' `stub_status` where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Connections accepted.
    Accepts = 0,
    /// Connections served (less than accepted when a limit refused some).
    Handled = 1,
    /// Requests begun.
    Requests = 2,
    /// Connections open now.
    Active = 3,
    /// Connections of which a request head is being read now.
    Reading = 4,
    /// Connections to which a response is being written now.
    Writing = 5,
    /// Connections that idle between requests now.
    Waiting = 6,
    /// Requests that the application or the server failed (5xx).
    Failed = 7,
}

/// The numbers of one thread of a worker.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Lane {
    beat: AtomicU64,
    busy_since: AtomicU64,
    counters: [AtomicU64; COUNTERS],
    /// Odd while the note is being written.
    note_version: AtomicU64,
    note_length: AtomicU64,
    note: [AtomicU64; NOTE_WORDS],
    tallies: [AtomicU64; TALLIES],
}

impl Lane {
    /// One beat of the heart. The first one promises that more will follow: from then on the master expects them.
    pub fn beat(&self) {
        let next = self.beat.load(Ordering::Relaxed).wrapping_add(1).max(1);
        self.beat.store(next, Ordering::Relaxed);
    }

    /// Takes the promise of beating back, for example before a thread ends.
    pub fn rest(&self) {
        self.beat.store(0, Ordering::Relaxed);
    }

    /// A request begins, with a note for the log should it never end (`GET /report`).
    pub fn begin(&self, note: &[u8]) {
        self.write_note(note);
        self.busy_since
            .store(monotonic_ms().max(1), Ordering::Release);
    }

    /// The request is over; the lane is idle.
    pub fn finish(&self) {
        self.busy_since.store(0, Ordering::Release);
    }

    /// Sets when the oldest running request began, for lanes that serve several at once. `None` when idle.
    pub fn set_busy_since(&self, since_ms: Option<u64>) {
        self.busy_since
            .store(since_ms.unwrap_or(0), Ordering::Release);
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, more: u64) {
        let place = &self.counters[counter as usize];
        place.store(
            place.load(Ordering::Relaxed).wrapping_add(more),
            Ordering::Relaxed,
        );
    }

    /// Takes from a counter that tells how many there are now.
    pub fn subtract(&self, counter: Counter, less: u64) {
        let place = &self.counters[counter as usize];
        place.store(
            place.load(Ordering::Relaxed).saturating_sub(less),
            Ordering::Relaxed,
        );
    }

    /// Reads a counter.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }

    /// Adds to a number whose meaning is the program's: a bucket of a histogram, say. One beyond [`TALLIES`] counts nowhere.
    pub fn tally(&self, number: usize, more: u64) {
        if let Some(place) = self.tallies.get(number) {
            let now = place.load(Ordering::Relaxed);
            place.store(now.wrapping_add(more), Ordering::Relaxed);
        }
    }

    /// Reads such a number.
    #[must_use]
    pub fn tallied(&self, number: usize) -> u64 {
        self.tallies
            .get(number)
            .map_or(0, |place| place.load(Ordering::Relaxed))
    }

    /// How long the oldest running request has been running; `None` when idle.
    #[must_use]
    pub fn busy_for(&self) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Acquire);
        (since > 0).then(|| Duration::from_millis(monotonic_ms().saturating_sub(since)))
    }

    /// The note of the latest request; `None` when there was none or it is being written.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let before = self.note_version.load(Ordering::Acquire);
        let words: Vec<u64> = self
            .note
            .iter()
            .map(|word| word.load(Ordering::Relaxed))
            .collect();
        let length = self.note_length.load(Ordering::Relaxed) as usize;
        fence(Ordering::Acquire);
        if before % 2 == 1 || self.note_version.load(Ordering::Relaxed) != before || length == 0 {
            return None;
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        Some(String::from_utf8_lossy(&bytes[..length.min(NOTE_MAX)]).into_owned())
    }

    /// What a [`Fleet`](crate::Fleet) wants to see.
    #[must_use]
    pub fn sample(&self) -> LaneSample {
        let some = |number: u64| (number > 0).then_some(number);
        LaneSample {
            beat: some(self.beat.load(Ordering::Relaxed)),
            busy_since: some(self.busy_since.load(Ordering::Acquire)),
        }
    }

    fn write_note(&self, note: &[u8]) {
        let note = &note[..note.len().min(NOTE_MAX)];
        let version = self.note_version.load(Ordering::Relaxed);
        self.note_version
            .store(version.wrapping_add(1) | 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.note_length.store(note.len() as u64, Ordering::Relaxed);
        for (word, bytes) in self.note.iter().zip(note.chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
        }
        self.note_version
            .store((version | 1).wrapping_add(1), Ordering::Release);
    }
}

/// The lanes of one worker, mapped into this process.
#[derive(Debug)]
pub struct Board {
    lanes: *const Lane,
    count: usize,
}

// SAFETY: the memory belongs to the mapping that the board owns; lanes are atomics, made to be shared.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

impl Board {
    /// Makes a board with `lanes` lanes (1 to [`LANES_MAX`]) and the descriptor to give to the worker.
    ///
    /// # Errors
    /// The kernel's.
    pub fn create(lanes: usize) -> Result<(Self, OwnedFd), BoardError> {
        let lanes = lanes.clamp(1, LANES_MAX);
        let fd = memfd_create("board", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, (lanes * size_of::<Lane>()) as u64)?;
        fcntl_add_seals(&fd, SEALS)?;
        Ok((Self::map(&fd, lanes)?, fd))
    }

    /// Opens the board that a master made.
    ///
    /// # Errors
    /// [`BoardError::NotABoard`], or the kernel's.
    pub fn open(fd: impl AsFd) -> Result<Self, BoardError> {
        let size = rustix::fs::fstat(&fd)?.st_size as usize;
        let lanes = size / size_of::<Lane>();
        if lanes == 0 || lanes > LANES_MAX || !size.is_multiple_of(size_of::<Lane>()) {
            return Err(BoardError::NotABoard("its size is not that of a board"));
        }
        // Without the seals somebody could shrink the file, and reading it would end in SIGBUS.
        match fcntl_get_seals(&fd) {
            Ok(seals) if seals.contains(SEALS) => Self::map(fd, lanes),
            _ => Err(BoardError::NotABoard("it is not sealed")),
        }
    }

    fn map(fd: impl AsFd, count: usize) -> Result<Self, BoardError> {
        let (length, both) = (
            count * size_of::<Lane>(),
            ProtFlags::READ | ProtFlags::WRITE,
        );
        // SAFETY: a new mapping at a place of the kernel's choice, of a file that is that long and sealed against
        // shrinking.
        let place = unsafe { mmap(std::ptr::null_mut(), length, both, MapFlags::SHARED, fd, 0)? };
        Ok(Self {
            lanes: place.cast_const().cast(),
            count,
        })
    }

    /// All lanes.
    #[must_use]
    pub fn lanes(&self) -> &[Lane] {
        // SAFETY: the mapping is page-aligned, `count` lanes long, lives as long as `self`, and a lane is nothing but
        // atomics, for which every bit pattern is valid.
        unsafe { std::slice::from_raw_parts(self.lanes, self.count) }
    }

    /// One lane; the last one when there are fewer.
    #[must_use]
    pub fn lane(&self, number: usize) -> &Lane {
        &self.lanes()[number.min(self.count - 1)]
    }

    /// Such a number of [`Lane::tally`], summed over all lanes.
    #[must_use]
    pub fn tallied(&self, number: usize) -> u64 {
        self.lanes().iter().map(|lane| lane.tallied(number)).sum()
    }

    /// A counter, summed over all lanes.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.lanes().iter().map(|lane| lane.count(counter)).sum()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `map` mapped; no reference outlives `self`.
        let _ = unsafe { munmap(self.lanes.cast_mut().cast(), self.count * size_of::<Lane>()) };
    }
}

/// Milliseconds of the monotonic clock, the same in every process of the machine. To a few milliseconds: it is read for every
/// request, and the coarse clock costs a fraction of the exact one.
#[must_use]
pub fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_lanes() {
        let (master, fd) = Board::create(3).unwrap();
        let worker = Board::open(&fd).unwrap();
        assert_eq!(worker.lanes().len(), 3);
        assert_eq!(size_of::<Lane>(), 512);
        worker.lane(1).tally(TALLIES - 1, 3);
        worker.lane(1).tally(TALLIES, 3);
        assert_eq!(master.lane(1).tallied(TALLIES - 1), 3);
        assert_eq!(master.lane(1).tallied(TALLIES), 0);
        worker.lane(1).beat();
        worker.lane(1).begin(b"GET /report");
        worker.lane(0).add(Counter::Requests, 2);
        worker.lane(2).add(Counter::Requests, 1);
        worker.lane(2).subtract(Counter::Waiting, 1);
        assert_eq!(master.lane(1).sample().beat, Some(1));
        assert!(master.lane(1).busy_for().is_some());
        assert_eq!(master.lane(1).note().as_deref(), Some("GET /report"));
        assert_eq!(
            (
                master.count(Counter::Requests),
                master.count(Counter::Waiting)
            ),
            (3, 0)
        );
        assert_eq!(master.lane(0).sample(), LaneSample::default());
        worker.lane(1).finish();
        worker.lane(1).rest();
        assert_eq!(master.lane(1).sample(), LaneSample::default());
    }

    #[test]
    fn a_note_is_cut_at_its_limit_and_a_shorter_one_leaves_nothing_behind() {
        let (board, _fd) = Board::create(1).unwrap();
        let lane = board.lane(0);
        assert_eq!(lane.note(), None);
        for length in [NOTE_MAX - 1, NOTE_MAX, NOTE_MAX + 1, 3] {
            lane.begin("n".repeat(length).as_bytes());
            assert_eq!(lane.note().unwrap().len(), length.min(NOTE_MAX));
        }
    }

    #[test]
    fn a_note_is_never_seen_half_written() {
        let (board, fd) = Board::create(1).unwrap();
        let reader = Board::open(&fd).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..20_000 {
                    let letter = if round % 2 == 0 { "a" } else { "b" };
                    board
                        .lane(0)
                        .begin(letter.repeat(100 + round % 3).as_bytes());
                }
                board.lane(0).finish();
            });
            let mut seen = 0;
            while seen < 100 || reader.lane(0).busy_for().is_some() {
                if let Some(note) = reader.lane(0).note() {
                    seen += 1;
                    assert!(
                        note.bytes().all(|byte| byte == note.as_bytes()[0]),
                        "{note}"
                    );
                }
            }
        });
    }

    #[test]
    fn only_sealed_boards_are_opened() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(512).unwrap();
        assert!(matches!(Board::open(&file), Err(BoardError::NotABoard(_))));
        file.set_len(100).unwrap();
        assert!(matches!(Board::open(&file), Err(BoardError::NotABoard(_))));
    }
}
