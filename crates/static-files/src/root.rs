//! A directory beneath which files are opened, and nothing else.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::fs::{AtFlags, OFlags, StatxFlags};
use rustix::time::{ClockId, clock_gettime};

use crate::error::{OpenError, OpenErrorKind};
use crate::explain::{self, Refusal};
use crate::open::{FOR_CONTENT, FOR_FACTS, Kernel, Lookup, Opener, Symlinks};
use crate::opened::{Kind, Metadata, Opened};
use crate::relative;
use crate::remembered::{self, Name, Remembered, Small};

/// A directory beneath which files are opened, and nothing else.
///
/// The directory itself is held open (`O_PATH`). Since operators replace whole directories (a release switched by a
/// symbolic link, a `mv`), its path is looked up again when the last look is older than
/// [`RootOptions::recheck_after`] (4 ms unless told otherwise, measured with the kernel's coarse clock, whose steps are 1
/// to 10 ms): a swap is noticed that soon, at the cost of three system calls in that time, not for each request. A root
/// that doesn't exist (yet) is no error until a request needs it.
///
/// Cheap to clone; all clones, in all threads, share one directory and one clock.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("app.css"), "body{}")?;
/// use static_files::{Lookup, Root};
/// let root = Root::new(folder.path());
/// let opened = match root.open_cached(b"app.css") {
///     Err(error) if error.would_block() => root.open_with(b"app.css", Lookup::Patient)?, // in the blocking pool
///     other => other?,
/// };
/// assert_eq!(opened.metadata().len, 6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Root {
    shared: Arc<Shared>,
}

struct Shared {
    /// Tells roots apart for as long as the process lives.
    number: u64,
    path: PathBuf,
    opener: Opener,
    recheck_ms: u64,
    settle_time: Duration,
    directory: ArcSwap<Directory>,
    /// Coarse clock of the last look at the path, in ms.
    looked_ms: AtomicU64,
}

/// What the path of the root led to when it was last looked at.
enum Directory {
    Open { fd: OwnedFd, identity: Identity },
    Refused(OpenError),
}

/// Tells a directory from its replacement: our holding it open keeps its inode number from being used again.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: (u32, u32),
    inode: u64,
    mount: u64,
}

/// How a [`Root`] is to behave.
#[derive(Clone, Debug)]
#[must_use]
pub struct RootOptions {
    symlinks: Symlinks,
    recheck_after: Duration,
    settle_time: Duration,
    kernel_containment: bool,
}

impl Default for RootOptions {
    /// [`Symlinks::Beneath`], looked at again after 4 ms, settled after 3 s, contained by the kernel.
    fn default() -> Self {
        RootOptions {
            symlinks: Symlinks::default(),
            recheck_after: Duration::from_millis(4),
            settle_time: Duration::from_secs(3),
            kernel_containment: true,
        }
    }
}

impl RootOptions {
    /// What symbolic links beneath the root may do. Default [`Symlinks::Beneath`].
    pub fn symlinks(mut self, symlinks: Symlinks) -> Self {
        self.symlinks = symlinks;
        self
    }

    /// How old the last look at the root's own path may be, to the millisecond. Default 4 ms; zero looks before each
    /// opening (three system calls more).
    pub fn recheck_after(mut self, age: Duration) -> Self {
        self.recheck_after = age;
        self
    }

    /// For how long a file must not have changed before [`Root::remember`] takes it: longer than the grain of the clocks of
    /// file systems, so that a change never goes unseen. Default 3 s; zero asks for no rest.
    pub fn settle_time(mut self, time: Duration) -> Self {
        self.settle_time = time;
        self
    }

    /// Whether to use `openat2` where the kernel has it. Default yes. Without it paths are walked component by component,
    /// with the same guarantees, but slower and without [`OpenErrorKind::WouldBlock`]; only for sandboxes that kill a
    /// process for using it (one that merely forbids it is noticed), and for tests.
    pub fn kernel_containment(mut self, wanted: bool) -> Self {
        self.kernel_containment = wanted;
        self
    }

    /// The root at `path` (made absolute against the current directory now). Doesn't touch the disk.
    pub fn root(self, path: impl AsRef<Path>) -> Root {
        let path = path.as_ref();
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let kernel = if self.kernel_containment {
            Kernel::detect()
        } else {
            Kernel::Plain
        };
        let never = Directory::Refused(OpenError::new(OpenErrorKind::NotFound).about_root());
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Root {
            shared: Arc::new(Shared {
                number: COUNT.fetch_add(1, Ordering::Relaxed),
                path,
                opener: Opener {
                    kernel,
                    symlinks: self.symlinks,
                },
                settle_time: self.settle_time,
                recheck_ms: u64::try_from(self.recheck_after.as_millis()).unwrap_or(u64::MAX),
                directory: ArcSwap::from_pointee(never),
                looked_ms: AtomicU64::new(0),
            }),
        }
    }
}

impl Root {
    /// The root at `path` with the default [`RootOptions`]. Doesn't touch the disk.
    pub fn new(path: impl AsRef<Path>) -> Self {
        RootOptions::default().root(path)
    }

    /// Options to choose from.
    pub fn options() -> RootOptions {
        RootOptions::default()
    }

    /// The path it was made for, absolute.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// What symbolic links may do.
    pub fn symlinks(&self) -> Symlinks {
        self.shared.opener.symlinks
    }

    /// Opens the file or directory at `path` (relative to the root; leading slashes don't matter; bytes as the file
    /// system has them, i.e. already percent-decoded) on the calling thread without ever waiting for a disk. Two system
    /// calls.
    ///
    /// # Errors
    /// [`OpenErrorKind::WouldBlock`] if the path is not in the kernel's name cache: ask [`open_with`](Self::open_with) in
    /// the blocking pool, or [`open`](Self::open). Otherwise see [`OpenErrorKind`].
    pub fn open_cached(&self, path: &[u8]) -> Result<Opened, OpenError> {
        self.open_with(path, Lookup::Cached)
    }

    /// [`open_cached`](Self::open_cached), or the same with patience.
    ///
    /// # Errors
    /// See [`OpenErrorKind`]; with [`Lookup::Patient`] never [`OpenErrorKind::WouldBlock`].
    pub fn open_with(&self, path: &[u8], lookup: Lookup) -> Result<Opened, OpenError> {
        let (file, metadata) = self.lookup(path, FOR_CONTENT, lookup)?;
        match metadata.kind {
            Kind::File | Kind::Directory => Ok(Opened::new(file, metadata)),
            Kind::Symlink | Kind::Other => Err(OpenError::new(OpenErrorKind::NotRegular)),
        }
    }

    /// The file at `path` as this thread last [remembered](Self::remember) it or [kept it open](Self::keep_open), if that was within the
    /// last second and the file system says that nothing has changed. Never waits. One system call; none if nothing is remembered.
    pub fn recall(&self, path: &[u8]) -> Option<Remembered> {
        let path = relative::check(path).ok()?;
        let file = remembered::recall(self.name(path), coarse_ms())?;
        let flags = AtFlags::NO_AUTOMOUNT;
        let found = self.beneath(Lookup::Cached, |root| {
            rustix::fs::statat(root, path, flags).map_err(OpenError::of)
        });
        (Metadata::of(&found.ok()?) == *file.metadata()).then_some(file)
    }

    /// Keeps `opened`, which was found at `path`, open on this thread for a second or two; false unless it is a file of at most 4 MiB on a
    /// file system of this machine. A thread keeps at most 128 files open. Who calls this sees to it that somebody calls
    /// [`forget_old`](crate::forget_old) when there are no requests.
    pub fn keep_open(&self, path: &[u8], opened: &Opened) -> bool {
        relative::check(path)
            .is_ok_and(|path| remembered::keep_open(self.name(path), opened, coarse_ms()))
    }

    /// Reads `opened`, which was found at `path`, and remembers it on this thread for a second; `None` (and nothing is lost)
    /// unless it is a file of at most 16 KiB, in memory, on a file system of this machine, and has not changed lately
    /// ([`RootOptions::settle_time`]). A thread remembers at most 1 MiB.
    pub fn remember(&self, path: &[u8], opened: &Opened) -> Option<Small> {
        let path = relative::check(path).ok()?;
        remembered::remember(
            self.name(path),
            opened,
            self.shared.settle_time,
            coarse_ms(),
        )
    }

    fn name<'a>(&self, path: &'a [u8]) -> Name<'a> {
        Name {
            root: self.shared.number,
            path,
        }
    }

    /// Opens `path`: on this thread if everything is in memory, otherwise in tokio's blocking pool.
    ///
    /// # Errors
    /// See [`OpenErrorKind`].
    ///
    /// # Panics
    /// Outside a tokio runtime, if the pool is needed.
    pub async fn open(&self, path: &[u8]) -> Result<Opened, OpenError> {
        self.cached_or_patient(path, Self::open_with).await
    }

    /// The facts about what is at `path`, of whatever kind; needs no permission to read it. Two system calls.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with), except that a FIFO, socket or device is no error.
    pub fn metadata_with(&self, path: &[u8], lookup: Lookup) -> Result<Metadata, OpenError> {
        self.lookup(path, FOR_FACTS, lookup)
            .map(|(_, metadata)| metadata)
    }

    /// [`metadata_with`](Self::metadata_with), in the blocking pool if need be.
    ///
    /// # Errors
    /// As [`metadata_with`](Self::metadata_with).
    ///
    /// # Panics
    /// Outside a tokio runtime, if the pool is needed.
    pub async fn metadata(&self, path: &[u8]) -> Result<Metadata, OpenError> {
        self.cached_or_patient(path, Self::metadata_with).await
    }

    /// What is at `path`, in the words of a web server, refusals explained. May wait for a disk.
    pub fn resolve_with_patience(&self, path: &[u8]) -> Resolved {
        match self.open_with(path, Lookup::Patient) {
            Ok(opened) => Resolved::of(opened),
            Err(error) => Resolved::refused(self.explain(path, error)),
        }
    }

    /// [`resolve_with_patience`](Self::resolve_with_patience) in the blocking pool, unless everything is in memory and
    /// there is nothing to explain.
    ///
    /// # Panics
    /// Outside a tokio runtime, if the pool is needed.
    pub async fn resolve(&self, path: &[u8]) -> Resolved {
        if let Ok(opened) = self.open_cached(path) {
            return Resolved::of(opened);
        }
        let (root, path) = (self.clone(), path.to_vec());
        in_pool(move || root.resolve_with_patience(&path)).await
    }

    /// Finds out which file or directory refused whom, or is missing. Looks at each component of the path, so it is for
    /// logs, and may wait for a disk.
    pub fn explain(&self, path: &[u8], error: OpenError) -> Refusal {
        explain::explain(self, path, error)
    }

    pub(crate) fn lookup(
        &self,
        path: &[u8],
        flags: OFlags,
        lookup: Lookup,
    ) -> Result<(OwnedFd, Metadata), OpenError> {
        let path = relative::check(path)?;
        let file = self.beneath(lookup, |root| {
            self.shared.opener.open(root, path, flags, lookup)
        })?;
        let stat = rustix::fs::fstat(&file).map_err(OpenError::of)?;
        Ok((file, Metadata::of(&stat)))
    }

    /// Calls `work` with the root's directory.
    fn beneath<T>(
        &self,
        lookup: Lookup,
        work: impl FnOnce(BorrowedFd<'_>) -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        let now_ms = coarse_ms();
        let mut directory = self.shared.directory.load();
        // A missing root is looked for each time: it costs one call and nobody waits for it to be noticed.
        if self.is_due(now_ms) || matches!(**directory, Directory::Refused(_)) {
            self.look(now_ms, lookup)?;
            directory = self.shared.directory.load();
        }
        match &**directory {
            Directory::Open { fd, .. } => work(fd.as_fd()),
            Directory::Refused(error) => Err(*error),
        }
    }

    fn is_due(&self, now_ms: u64) -> bool {
        let looked_ms = self.shared.looked_ms.load(Ordering::Acquire);
        now_ms.saturating_sub(looked_ms) >= self.shared.recheck_ms
    }

    /// Looks at the root's path again. Two threads may do it at the same time; the later one to finish wins, and if it
    /// was the earlier one to look, the next look sets that right.
    #[cold]
    fn look(&self, now_ms: u64, lookup: Lookup) -> Result<(), OpenError> {
        let found = match self.shared.opener.root(&self.shared.path, lookup) {
            Err(error) if error.would_block() => return Err(error),
            Err(error) => Directory::Refused(error),
            Ok(fd) => match identity(&fd) {
                Ok(identity) => Directory::Open { fd, identity },
                Err(errno) => Directory::Refused(OpenError::of(errno).about_root()),
            },
        };
        if !found.is_same(&self.shared.directory.load()) {
            self.shared.directory.store(Arc::new(found));
        }
        self.shared.looked_ms.store(now_ms, Ordering::Release);
        Ok(())
    }

    async fn cached_or_patient<T: Send + 'static>(
        &self,
        path: &[u8],
        ask: fn(&Self, &[u8], Lookup) -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        match ask(self, path, Lookup::Cached) {
            Err(error) if error.would_block() => {}
            other => return other,
        }
        let (root, path) = (self.clone(), path.to_vec());
        in_pool(move || ask(&root, &path, Lookup::Patient)).await
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("path", &self.shared.path)
            .field("opener", &self.shared.opener)
            .finish_non_exhaustive()
    }
}

impl Directory {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Directory::Open { identity: one, .. },
                Directory::Open {
                    identity: other, ..
                },
            ) => one == other,
            (Directory::Refused(one), Directory::Refused(other)) => one == other,
            _ => false,
        }
    }
}

/// What is at a path, in the words of a web server. The trailing slash and index files are the caller's business.
#[derive(Debug)]
#[non_exhaustive]
pub enum Resolved {
    /// A regular file.
    File(Opened),
    /// A directory.
    Directory(Opened),
    /// Nothing, or something that is neither file nor directory: 404.
    NotFound(Refusal),
    /// A permission or the policy for symbolic links stands against it: 403.
    Forbidden(Refusal),
    /// Not a path that could be asked for: 400.
    BadPath(Refusal),
    /// The system failed: 500.
    Failed(Refusal),
}

impl Resolved {
    fn of(opened: Opened) -> Self {
        if opened.metadata.is_dir() {
            Resolved::Directory(opened)
        } else {
            Resolved::File(opened)
        }
    }

    fn refused(refusal: Refusal) -> Self {
        match refusal.error().status().as_u16() {
            404 => Resolved::NotFound(refusal),
            403 => Resolved::Forbidden(refusal),
            400 => Resolved::BadPath(refusal),
            _ => Resolved::Failed(refusal),
        }
    }
}

/// Runs `work` in tokio's blocking pool; a panic in it goes on here.
pub(crate) async fn in_pool<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        // The runtime is shutting down: nobody polls us any more.
        Err(_) => std::future::pending().await,
    }
}

fn identity(fd: &OwnedFd) -> rustix::io::Result<Identity> {
    let mask = StatxFlags::INO | StatxFlags::MNT_ID;
    match rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, mask) {
        Ok(found) => Ok(Identity {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            mount: found.stx_mnt_id,
        }),
        // Sandboxes that know no statx.
        Err(_) => {
            let stat = rustix::fs::fstat(fd)?;
            let device = (
                rustix::fs::major(stat.st_dev),
                rustix::fs::minor(stat.st_dev),
            );
            Ok(Identity {
                device,
                inode: stat.st_ino,
                mount: 0,
            })
        }
    }
}

/// Milliseconds of the coarse monotonic clock.
pub(crate) fn coarse_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
