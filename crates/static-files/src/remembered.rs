//! Files that a thread remembers for a moment: of small ones the content, so that serving one again costs one system call instead of
//! four; others it keeps open, which saves two.
//!
//! What is remembered is never believed: each request asks the file system (`fstatat`) whether the path still leads to the
//! same inode with the same times, owner, mode and length. Three rules keep that check from being fooled, the first of which content
//! alone needs (an open file is read when it is sent):
//!
//! - A file whose status changed a moment ago is not remembered: clocks have a grain, and a second change within it would
//!   look like none ([`RootOptions::settle_time`](crate::RootOptions::settle_time)).
//! - Nothing is remembered for longer than [`SPAN`], because who writes through `mmap` changes no time until the kernel
//!   writes back. Such a change may therefore be seen up to a second late.
//! - Only file systems of this machine count: those of a network tell the times they remember themselves.
//!
//! A file that is kept open also keeps its disk space and its file system busy when it is deleted. [`forget_old`] ends that where no
//! request does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use crate::opened::{Metadata, Opened, SmallRead};
use crate::root::coarse_ms;

/// Longest content that is remembered, in bytes.
pub(crate) const CONTENT_MAX: usize = 16 * 1024;
/// How long it is.
const SPAN: Duration = Duration::from_secs(1);
/// How much content a thread remembers of one [`SPAN`], in bytes; it holds at most that of two.
const HELD_MAX: usize = 512 * 1024;
/// How many files.
const FILES_MAX: usize = 512;
/// How many of them are kept open.
const OPEN_MAX: usize = 64;
/// The longest file that is kept open, in bytes. Opening costs little beside sending a longer one, and what the kernel knows of how an
/// open file is read would be shared by all who read it.
const OPEN_LEN_MAX: u64 = 4 << 20;

/// What a thread remembers of a file: see [`Root::recall`](crate::Root::recall).
#[derive(Clone, Debug)]
pub enum Remembered {
    /// All of it.
    Small(Small),
    /// It is open.
    Open(Opened),
}

impl Remembered {
    /// The facts about it.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Remembered::Small(small) => small.metadata(),
            Remembered::Open(opened) => opened.metadata(),
        }
    }

    fn content_len(&self) -> usize {
        match self {
            Remembered::Small(small) => small.content.len(),
            Remembered::Open(_) => 0,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Remembered::Open(_))
    }
}

/// A small file as a whole: see [`Root::remember`](crate::Root::remember).
#[derive(Clone, Debug)]
pub struct Small {
    pub(crate) metadata: Metadata,
    pub(crate) content: Bytes,
}

impl Small {
    /// The facts about it.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All of its content.
    pub fn content(&self) -> &Bytes {
        &self.content
    }
}

/// Which file: the number of its root, and the path below.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    pub root: u64,
    pub path: &'a [u8],
}

struct Kept {
    file: Remembered,
    since_ms: u64,
}

/// What was read in one span.
#[derive(Default)]
struct Generation {
    files: HashMap<Box<[u8]>, Kept>,
    /// Bytes of content.
    held: usize,
    /// Open files.
    open: usize,
}

#[derive(Default)]
struct Store {
    young: Generation,
    old: Generation,
    young_since_ms: u64,
    key: Vec<u8>,
}

thread_local! {
    static STORE: RefCell<Store> = RefCell::default();
    /// The device asked about last, and whether its file system is one of this machine.
    static LOCAL: Cell<(u64, bool)> = const { Cell::new((0, false)) };
}

/// What is remembered under this name; whether it is still true is the caller's question.
pub(crate) fn recall(name: Name<'_>, now_ms: u64) -> Option<Remembered> {
    STORE.with_borrow_mut(|store| {
        store.age(now_ms);
        store.name(name);
        let found = [&store.young, &store.old]
            .into_iter()
            .find_map(|generation| generation.files.get(&store.key[..]))?;
        let age_ms = now_ms.saturating_sub(found.since_ms);
        (u128::from(age_ms) < SPAN.as_millis()).then(|| found.file.clone())
    })
}

/// Keeps a file open, if it is one that can be; whether it is.
pub(crate) fn keep_open(name: Name<'_>, opened: &Opened, now_ms: u64) -> bool {
    let metadata = opened.metadata();
    if !metadata.is_file() || metadata.len > OPEN_LEN_MAX || !is_local(opened) {
        return false;
    }
    keep(name, Remembered::Open(opened.clone()), now_ms)
}

/// Closes the files that this thread has kept open for longer than a second or two, and says whether there are others; those who let files be
/// [kept open](crate::Root::keep_open) call it about once a second until there is none.
pub fn forget_old() -> bool {
    STORE.with_borrow_mut(|store| {
        store.age(coarse_ms());
        store.young.open + store.old.open > 0
    })
}

fn keep(name: Name<'_>, file: Remembered, now_ms: u64) -> bool {
    STORE.with_borrow_mut(|store| {
        store.age(now_ms);
        store.name(name);
        let kept = Kept {
            file,
            since_ms: now_ms,
        };
        store.young.keep(&store.key, kept)
    })
}

/// Reads a file and remembers it, if it is one that can be.
pub(crate) fn remember(
    name: Name<'_>,
    opened: &Opened,
    settle_time: Duration,
    now_ms: u64,
) -> Option<Small> {
    let metadata = *opened.metadata();
    if !metadata.is_file()
        || metadata.len > CONTENT_MAX as u64
        || !is_settled(&metadata, settle_time)
        || !is_local(opened)
    {
        return None;
    }
    let mut content = Vec::with_capacity(metadata.len as usize);
    let Ok(SmallRead::Whole) = opened.read_small(CONTENT_MAX, &mut content) else {
        return None;
    };
    let small = Small {
        metadata,
        content: content.into(),
    };
    keep(name, Remembered::Small(small.clone()), now_ms);
    Some(small)
}

impl Store {
    fn age(&mut self, now_ms: u64) {
        let span_ms = SPAN.as_millis() as u64;
        let age_ms = now_ms.saturating_sub(self.young_since_ms);
        if age_ms < span_ms {
            return;
        }
        self.young_since_ms = now_ms;
        std::mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
        if age_ms >= 2 * span_ms {
            self.old.clear();
        }
    }

    fn name(&mut self, name: Name<'_>) {
        self.key.clear();
        self.key.extend_from_slice(&name.root.to_ne_bytes());
        self.key.extend_from_slice(name.path);
    }
}

impl Generation {
    /// Whether there was room for it.
    fn keep(&mut self, key: &[u8], kept: Kept) -> bool {
        if let Some(before) = self.files.remove(key) {
            self.held -= before.file.content_len();
            self.open -= usize::from(before.file.is_open());
        }
        let held = self.held + kept.file.content_len();
        let open = self.open + usize::from(kept.file.is_open());
        let fits = self.files.len() < FILES_MAX && held <= HELD_MAX && open <= OPEN_MAX;
        if fits {
            (self.held, self.open) = (held, open);
            self.files.insert(key.into(), kept);
        }
        fits
    }

    fn clear(&mut self) {
        self.files.clear();
        (self.held, self.open) = (0, 0);
    }
}

/// Whether the last change of its status is so long ago that the next one will have another time.
fn is_settled(metadata: &Metadata, settle_time: Duration) -> bool {
    if settle_time.is_zero() {
        return true;
    }
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let at = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let age = at(now.tv_sec, now.tv_nsec) - at(metadata.changed, metadata.changed_nanos.into());
    u128::try_from(age).is_ok_and(|age| age >= settle_time.as_nanos())
}

/// Whether times and lengths come from the kernel that also changes them.
fn is_local(opened: &Opened) -> bool {
    let (asked, local) = LOCAL.get();
    let dev = opened.metadata.dev;
    if asked == dev {
        return local;
    }
    let local = rustix::fs::fstatfs(opened.as_fd())
        .is_ok_and(|found| LOCAL_TYPES.contains(&(found.f_type as u64 & 0xffff_ffff)));
    LOCAL.set((dev, local));
    local
}

/// The kernel's numbers of file systems that live on this machine alone (`linux/magic.h`).
const LOCAL_TYPES: [u64; 10] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0x794c_7630, // overlay
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0xf2f5_2010, // f2fs
    0x2fc1_2fc1, // zfs
    0x7371_7368, // squashfs
    0xe0f5_e1e2, // erofs
];

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Opened {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        Opened::from_file(std::fs::File::open(path).unwrap()).unwrap()
    }

    fn kept(len: usize, since_ms: u64) -> Kept {
        let small = Small {
            metadata: *opened().metadata(),
            content: vec![0; len].into(),
        };
        Kept {
            file: Remembered::Small(small),
            since_ms,
        }
    }

    #[test]
    fn few_files_are_kept_open() {
        let mut generation = Generation::default();
        let opened = opened();
        let mut keep = |number: u32| {
            let kept = Kept {
                file: Remembered::Open(opened.clone()),
                since_ms: 0,
            };
            generation.keep(&number.to_ne_bytes(), kept)
        };
        for number in 0..2 * OPEN_MAX as u32 {
            assert_eq!(keep(number), (number as usize) < OPEN_MAX);
        }
        // The same one again takes its own place.
        assert!(keep(0));
        assert!(generation.keep(&[1], kept(1, 0)));
        assert_eq!(generation.files.len(), OPEN_MAX + 1);
        generation.clear();
        assert_eq!((generation.open, generation.held), (0, 0));
    }

    #[test]
    fn what_is_held_is_bounded_and_counted() {
        let mut generation = Generation::default();
        for number in 0..2 * FILES_MAX as u32 {
            generation.keep(&number.to_ne_bytes(), kept(100, 0));
        }
        assert_eq!(generation.files.len(), FILES_MAX);
        generation.clear();
        for number in 0..100u32 {
            generation.keep(&number.to_ne_bytes(), kept(CONTENT_MAX, 0));
        }
        assert_eq!(generation.held, HELD_MAX);
        generation.keep(&0u32.to_ne_bytes(), kept(1, 0));
        assert_eq!(generation.held, HELD_MAX - CONTENT_MAX + 1);
    }

    #[test]
    fn after_a_span_it_is_forgotten() {
        let name = Name {
            root: u64::MAX,
            path: b"some/file",
        };
        let begin = 1_000_000;
        STORE.with_borrow_mut(|store| {
            store.age(begin);
            store.name(name);
            let key = store.key.clone();
            store.young.keep(&key, kept(3, begin + 900));
        });
        for (now_ms, remembered) in [(900, true), (1500, true), (1899, true), (1900, false)] {
            assert_eq!(
                recall(name, begin + now_ms).is_some(),
                remembered,
                "{now_ms}"
            );
        }
        assert!(recall(Name { root: 1, ..name }, begin + 950).is_none());
        let _ = recall(name, begin + 10_000);
        STORE.with_borrow(|store| {
            assert!(store.young.files.is_empty() && store.old.files.is_empty());
        });
    }
}
