//! What was found at a path: an open file or directory and the facts about it that a response needs.
//!
//! Made by [`Root`](crate::Root); read by whoever answers the request. Knows nothing of HTTP.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use crate::body::FileBody;
use crate::read::{self, Now, ReadError};

/// What kind of thing a path names. Only files are ever served; directories are reported so that the caller can
/// redirect, look for an index file or list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link (only reported by listings and only when it leads nowhere).
    Symlink,
    /// A FIFO, socket or device: never opened for content.
    Other,
}

impl Kind {
    pub(crate) fn of(file_type: FileType) -> Self {
        match file_type {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        }
    }
}

/// The facts about a file that one `fstat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// File, directory or neither.
    pub kind: Kind,
    /// Length of the content in bytes (0 for anything but a regular file).
    pub len: u64,
    /// Last modification, seconds since 1970-01-01 00:00:00 UTC; negative before.
    pub modified: i64,
    /// Nanoseconds within that second.
    pub modified_nanos: u32,
    /// Last change of content or status (mode, owner, links; nobody can set it), seconds since 1970-01-01 00:00:00 UTC.
    pub changed: i64,
    /// Nanoseconds within that second.
    pub changed_nanos: u32,
    /// Permission and type bits, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device of the file system. With [`ino`](Self::ino) it identifies the file, as long as somebody holds it open.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

impl Metadata {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "the widths of stat differ by platform"
    )]
    pub(crate) fn of(stat: &Stat) -> Self {
        let kind = Kind::of(FileType::from_raw_mode(stat.st_mode));
        Metadata {
            kind,
            len: if kind == Kind::File {
                stat.st_size.max(0) as u64
            } else {
                0
            },
            modified: stat.st_mtime as i64,
            modified_nanos: stat.st_mtime_nsec as u32,
            changed: stat.st_ctime as i64,
            changed_nanos: stat.st_ctime_nsec as u32,
            mode: stat.st_mode as u32,
            uid: stat.st_uid,
            gid: stat.st_gid,
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
        }
    }
}

/// A file or directory, open for reading. Closed when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Opened {
    pub(crate) file: Arc<OwnedFd>,
    pub(crate) metadata: Metadata,
}

/// How [`Opened::read_small`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SmallRead {
    /// The whole content was appended.
    Whole,
    /// The content is longer than the limit; nothing was read.
    TooLarge,
    /// (Part of) the content is not in memory; nothing was appended. Send it as a [`FileBody`].
    WouldBlock,
}

impl Opened {
    /// Takes a file that was opened elsewhere, with one `fstat`.
    ///
    /// # Errors
    /// What `fstat` reports.
    pub fn from_file(file: impl Into<OwnedFd>) -> std::io::Result<Self> {
        let file = file.into();
        let metadata = Metadata::of(&rustix::fs::fstat(&file)?);
        Ok(Opened::new(file, metadata))
    }

    pub(crate) fn new(file: OwnedFd, metadata: Metadata) -> Self {
        Opened {
            file: Arc::new(file),
            metadata,
        }
    }

    /// What `fstat` said when it was opened.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The descriptor itself, or a duplicate if there are clones.
    ///
    /// # Errors
    /// What `dup` reports.
    pub fn into_fd(self) -> std::io::Result<OwnedFd> {
        Arc::try_unwrap(self.file).or_else(|shared| shared.try_clone())
    }

    /// Appends the whole content to `out` if it has at most `limit` bytes and is in memory: one system call,
    /// `preadv2(RWF_NOWAIT)`, on the calling thread. File systems that don't know that flag (tmpfs, overlayfs) are
    /// read without it.
    ///
    /// # Errors
    /// [`ReadError::Truncated`] if the file became shorter since it was opened, [`ReadError::Io`] if reading failed.
    /// `out` is as before then.
    pub fn read_small(&self, limit: usize, out: &mut Vec<u8>) -> Result<SmallRead, ReadError> {
        let len = match usize::try_from(self.metadata.len) {
            Ok(len) if len <= limit => len,
            _ => return Ok(SmallRead::TooLarge),
        };
        if len == 0 {
            return Ok(SmallRead::Whole);
        }
        let start = out.len();
        out.resize(start + len, 0);
        let outcome = read::now(self.file.as_fd(), self.metadata.dev, &mut out[start..], 0);
        match outcome {
            Ok(Now::Read(n)) if n == len => Ok(SmallRead::Whole),
            Ok(Now::Read(n)) => {
                // Short: either the file shrank, or only its beginning is in memory.
                let rest = read::now(
                    self.file.as_fd(),
                    self.metadata.dev,
                    &mut out[start + n..],
                    n as u64,
                );
                out.truncate(start);
                match rest {
                    Ok(Now::Read(0)) => Err(ReadError::Truncated {
                        missing: (len - n) as u64,
                    }),
                    Ok(_) => Ok(SmallRead::WouldBlock),
                    Err(error) => Err(error.into()),
                }
            }
            Ok(Now::WouldBlock) => {
                out.truncate(start);
                Ok(SmallRead::WouldBlock)
            }
            Err(error) => {
                out.truncate(start);
                Err(error.into())
            }
        }
    }

    /// The whole content as a body.
    pub fn into_body(self) -> FileBody {
        let len = self.metadata.len;
        self.into_range(0, len)
    }

    /// `len` bytes from `offset` as a body.
    pub fn into_range(self, offset: u64, len: u64) -> FileBody {
        FileBody::from_opened(self, offset, len)
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
