//! What the workers of one template know of each other, so that each gets its share of the connections.
//!
//! All of them wait at the same sockets, and the kernel wakes all for each connection; left alone, it is mostly the same ones that
//! take it. So a worker looks at a table first, in memory that they share, and leaves a connection for a moment to another that is
//! free and has fewer of them, or as many and has had less to do. A worker with more kept connections than another that is free
//! lets go of one with a response, and its client opens another. Nobody is ever refused: who waits longer than [`DEFERENCE`] is
//! taken by whoever looks.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{Pid, getpid, test_kill_process};
use supervisor::board::monotonic_ms;

/// Workers that take part; others take whatever comes.
const SLOTS: usize = 256;
/// How long a connection is left to others at most.
const DEFERENCE: Duration = Duration::from_millis(20);
/// A request that began so recently is over soon, as far as anybody knows.
const SOON_MS: u64 = 20;
/// How often a worker that leaves a connection to others looks whether it is still there.
const LOOK: Duration = Duration::from_millis(1);
/// A worker whose heart has not beaten for so long is not waited for.
const ALIVE_MS: u64 = 2500;
/// Who was busy with one long request has not to be given every other one for it.
const ARREARS_MAX: u64 = 4;
/// Whether a connection is to go is looked at once in so many responses.
const RESPONSES: u64 = 8;

/// What a worker tells the others; zero while nobody has it.
#[derive(Default)]
#[repr(C, align(64))]
struct Slot {
    /// The worker's process.
    owner: AtomicU32,
    /// Requests that the application works on.
    running: AtomicU32,
    /// When the application last began with one.
    since_ms: AtomicU64,
    /// Requests that it can work on at a time.
    threads: AtomicU32,
    /// Open connections.
    open: AtomicU32,
    /// Connections taken and requests answered.
    turns: AtomicU64,
    /// When its heart last beat.
    beat_ms: AtomicU64,
}

type Table = [Slot; SLOTS];

static TABLE: OnceLock<&'static Table> = OnceLock::new();

/// Makes the table, in the template, before the first worker is forked.
///
/// # Errors
/// The kernel's.
pub(crate) fn prepare() -> io::Result<()> {
    // SAFETY: new memory is mapped at an address of the kernel's choice.
    let start = unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            size_of::<Table>(),
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
        )
    }?;
    // SAFETY: zeroed memory of this size, aligned to a page, is a table of atomics, and it is never unmapped.
    let table = unsafe { &*start.cast::<Table>() };
    let _ = TABLE.set(table);
    Ok(())
}

/// This worker among the others.
pub(crate) struct Peers {
    table: &'static [Slot],
    own: Option<usize>,
    left: AtomicBool,
}

impl Peers {
    /// Takes a place in the table, where there is one.
    pub fn join(threads: u32) -> Self {
        match TABLE.get() {
            Some(table) => Self::join_at(*table, getpid(), threads),
            None => Self {
                table: &[],
                own: None,
                left: AtomicBool::new(false),
            },
        }
    }

    fn join_at(table: &'static [Slot], pid: Pid, threads: u32) -> Self {
        let number = pid.as_raw_pid().cast_unsigned();
        let own = table.iter().position(|slot| slot.take(number));
        let left = AtomicBool::new(false);
        let peers = Self { table, own, left };
        if let Some(own) = peers.slot() {
            let most = peers.others().map(Slot::turns).max().unwrap_or(0);
            own.running.store(0, Ordering::Relaxed);
            own.open.store(0, Ordering::Relaxed);
            own.threads.store(threads, Ordering::Relaxed);
            own.turns.store(most, Ordering::Relaxed);
            own.beat_ms.store(monotonic_ms(), Ordering::Release);
        }
        peers
    }

    /// Nobody is to leave anything to this worker any more. Its place stays its own until its process is gone: its connections
    /// still count there, and must not count in a successor's.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
        if let Some(own) = self.slot() {
            own.beat_ms.store(0, Ordering::Relaxed);
        }
    }

    /// It is alive.
    pub fn beat(&self) {
        if let Some(own) = self.slot().filter(|_| !self.left.load(Ordering::Relaxed)) {
            own.beat_ms.store(monotonic_ms(), Ordering::Relaxed);
        }
    }

    /// The application begins with a request.
    pub fn began(&self) {
        if let Some(own) = self.slot() {
            own.since_ms.store(monotonic_ms(), Ordering::Relaxed);
            own.running.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The application pauses with a request, or is done with it.
    pub fn ended(&self) {
        if let Some(own) = self.slot() {
            own.running.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A request was answered.
    pub fn answered(&self) {
        if let Some(own) = self.slot() {
            own.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Connections that are open in this worker.
    pub fn open(&self) -> u32 {
        self.slot().map_or(0, Slot::open)
    }

    /// A connection is open as long as this lives.
    pub fn opened(&self) -> Open {
        let own = self.slot();
        if let Some(own) = own {
            let most = self.others().map(Slot::turns).max().unwrap_or(0);
            let least = most.saturating_sub(ARREARS_MAX);
            let turns = own.turns().max(least) + 1;
            own.turns.store(turns, Ordering::Relaxed);
            own.open.fetch_add(1, Ordering::Relaxed);
        }
        Open(own)
    }

    /// How long a connection that has waited for this worker so long is to wait on, for another to take it.
    pub fn pause(&self, waited: Duration) -> Option<Duration> {
        let own = self.slot().filter(|_| waited < DEFERENCE)?;
        let mine = (own.open(), own.turns());
        let comes_first = |other: &Slot| (other.open(), other.turns()) < mine;
        self.free().any(comes_first).then_some(LOOK)
    }

    /// Whether a connection that could be kept should rather be opened anew, with a worker that has fewer.
    pub fn has_too_many(&self) -> bool {
        let Some(own) = self.slot() else {
            return false;
        };
        let open = own.open();
        open > 1
            && own.turns().is_multiple_of(RESPONSES)
            && self.free().any(|other| other.open() + 1 < open)
    }

    /// The others that could do with a connection, now or soon.
    fn free(&self) -> impl Iterator<Item = &'static Slot> {
        let now = monotonic_ms();
        self.others().filter(move |slot| slot.is_free(now))
    }

    fn others(&self) -> impl Iterator<Item = &'static Slot> {
        let own = self.own;
        let slots = self.table.iter().enumerate();
        slots
            .filter(move |(place, slot)| {
                Some(*place) != own && slot.owner.load(Ordering::Acquire) != 0
            })
            .map(|(_, slot)| slot)
    }

    fn slot(&self) -> Option<&'static Slot> {
        self.own.map(|own| &self.table[own])
    }
}

impl Slot {
    /// Takes the slot when nobody has it, or somebody who is gone.
    fn take(&self, number: u32) -> bool {
        let owner = self.owner.load(Ordering::Relaxed);
        let is_free = owner == 0 || !lives(owner);
        is_free
            && self
                .owner
                .compare_exchange(owner, number, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    fn is_free(&self, now_ms: u64) -> bool {
        let ago = |when: &AtomicU64| now_ms.saturating_sub(when.load(Ordering::Relaxed));
        let has_thread =
            self.running.load(Ordering::Relaxed) < self.threads.load(Ordering::Relaxed);
        ago(&self.beat_ms) < ALIVE_MS && (has_thread || ago(&self.since_ms) < SOON_MS)
    }

    fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}

fn lives(process: u32) -> bool {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// See [`Peers::opened`].
pub(crate) struct Open(Option<&'static Slot>);

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(own) = self.0 {
            own.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(slots: usize) -> &'static [Slot] {
        Box::leak((0..slots).map(|_| Slot::default()).collect())
    }

    #[test]
    fn connections_of_a_worker_that_leaves_do_not_count_in_its_successor() {
        let table = table(4);
        let (this, other) = (getpid(), rustix::process::getppid().unwrap_or(Pid::INIT));
        let leaving = Peers::join_at(table, this, 1);
        let open = leaving.opened();
        leaving.leave();
        // A drain goes on beating.
        leaving.beat();
        assert!(!table[0].is_free(monotonic_ms()));
        let next = Peers::join_at(table, other, 1);
        assert_eq!(next.own, Some(1));
        let _kept = (next.opened(), next.opened());
        drop(open);
        assert_eq!((table[0].open(), table[1].open()), (0, 2));
        assert!(!next.has_too_many());
    }

    #[test]
    fn the_place_of_a_worker_that_is_gone_is_taken() {
        let table = table(1);
        let nobody = i32::MAX.cast_unsigned();
        table[0].owner.store(nobody, Ordering::Relaxed);
        table[0].open.store(7, Ordering::Relaxed);
        let next = Peers::join_at(table, getpid(), 1);
        assert_eq!((next.own, table[0].open()), (Some(0), 0));
    }
}
