//! Opening a path beneath a directory, by the kernel's own containment (`openat2`) where it has that.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{OpenError, OpenErrorKind};
use crate::walk;

/// Whether an answer may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// Only what is in the kernel's name cache (`RESOLVE_CACHED`): for the event loop. Otherwise
    /// [`OpenErrorKind::WouldBlock`]. Kernels without that flag (before 5.12, or a sandbox that forbids `openat2`) look
    /// the path up whatever it costs, as nginx always does.
    Cached,
    /// As long as it takes: for the blocking pool.
    Patient,
}

/// What symbolic links beneath a root may do. No policy lets `..` in a requested path leave the root, and none follows the
/// "magic" links of `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Symlinks {
    /// They may lead anywhere beneath the root. Absolute ones count as leading out of it, also those that come back.
    #[default]
    Beneath,
    /// They may lead anywhere, as with nginx's `disable_symlinks off`.
    Follow,
    /// There may be none, as with nginx's `disable_symlinks on from=$document_root`.
    Refuse,
    /// They may lead anywhere if link and target have the same owner, as with nginx's `disable_symlinks if_not_owner
    /// from=$document_root`. Stricter than nginx in that links met on the way to a link's target are checked as well.
    IfOwner,
}

/// What the running kernel (and the sandbox around us) can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// `openat2` with `RESOLVE_CACHED` (Linux 5.12).
    Cached,
    /// `openat2` without it (Linux 5.6).
    Contained,
    /// No `openat2`: paths are walked component by component.
    Plain,
}

impl Kernel {
    /// Asked once per process.
    pub(crate) fn detect() -> Self {
        static KERNEL: OnceLock<Kernel> = OnceLock::new();
        *KERNEL.get_or_init(|| {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let resolve = ResolveFlags::CACHED | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(CWD, "/", flags, Mode::empty(), resolve) {
                // Unknown to the kernel, or a sandbox is in the way.
                Err(Errno::NOSYS | Errno::PERM) => Kernel::Plain,
                // The flag is unknown.
                Err(Errno::INVAL) => Kernel::Contained,
                Ok(_) | Err(_) => Kernel::Cached,
            }
        })
    }

    /// The resolve flag that keeps a lookup from waiting.
    fn patience(self, lookup: Lookup) -> ResolveFlags {
        match (self, lookup) {
            (Kernel::Cached, Lookup::Cached) => ResolveFlags::CACHED,
            _ => ResolveFlags::empty(),
        }
    }
}

/// For content: neither a FIFO nor a device makes the caller wait, and a terminal does not become ours.
pub(crate) const FOR_CONTENT: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// For asking about it only: needs no permission on the thing itself and has no effect on it.
pub(crate) const FOR_FACTS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// How often a lookup is tried again that a concurrent rename disturbed (`EAGAIN`).
const DISTURBED_MAX: u32 = 16;

/// Opens `path` (checked by [`crate::relative::check`]) beneath `root`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opener {
    pub(crate) kernel: Kernel,
    pub(crate) symlinks: Symlinks,
}

impl Opener {
    pub(crate) fn open(
        self,
        root: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        lookup: Lookup,
    ) -> Result<OwnedFd, OpenError> {
        if self.kernel == Kernel::Plain {
            return walk::open(self, root, path, flags, lookup);
        }
        let resolve = match self.symlinks {
            Symlinks::Beneath => ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS),
            Symlinks::Follow => ResolveFlags::NO_MAGICLINKS,
            Symlinks::Refuse | Symlinks::IfOwner => {
                ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS)
            }
        };
        match self.kernel_open(root, path, flags, resolve, lookup) {
            Ok(file) => Ok(file),
            // There is a link: whose?
            Err(Errno::LOOP) if self.symlinks == Symlinks::IfOwner => {
                walk::open(self, root, path, flags, lookup)
            }
            // Renames go on beneath us; the walk isn't disturbed by them.
            Err(Errno::AGAIN) if lookup == Lookup::Patient => {
                walk::open(self, root, path, flags, lookup)
            }
            Err(errno) => Err(OpenError::of(errno)),
        }
    }

    fn kernel_open(
        self,
        root: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        resolve: ResolveFlags,
        lookup: Lookup,
    ) -> Result<OwnedFd, Errno> {
        let resolve = resolve | self.kernel.patience(lookup);
        let mut disturbed = 0;
        loop {
            match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN)
                    if !resolve.contains(ResolveFlags::CACHED) && disturbed < DISTURBED_MAX =>
                {
                    disturbed += 1;
                }
                other => return other,
            }
        }
    }

    /// Opens one name in `dir`, never following a link there; `..` and `.` are the caller's responsibility.
    pub(crate) fn step(
        self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        flags: OFlags,
        lookup: Lookup,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW;
        if self.kernel == Kernel::Cached && lookup == Lookup::Cached {
            return rustix::fs::openat2(dir, name, flags, Mode::empty(), ResolveFlags::CACHED);
        }
        rustix::io::retry_on_intr(|| rustix::fs::openat(dir, name, flags, Mode::empty()))
    }

    /// Opens the root directory itself, wherever its path leads.
    pub(crate) fn root(self, path: &std::path::Path, lookup: Lookup) -> Result<OwnedFd, OpenError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = self.kernel.patience(lookup);
        let opened = rustix::io::retry_on_intr(|| match self.kernel {
            Kernel::Plain => rustix::fs::openat(CWD, path, flags, Mode::empty()),
            _ => rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve),
        });
        opened.map_err(|errno| OpenError::of(errno).about_root())
    }
}

/// What the walk reports when a link leads out of the root, in the kernel's own words.
pub(crate) const ESCAPED: Errno = Errno::XDEV;

/// A link that belongs to somebody else.
pub(crate) const fn foreign_link() -> OpenError {
    OpenError::new(OpenErrorKind::Owner)
}
