//! The file of a unix socket: who may replace it, who may remove it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, getpid};

use super::Obstacle;

/// The file of a unix socket that this process made. Removed when dropped, if it is still the same file, and never by
/// a child that inherited the value.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// `None` after it was given away.
    maker: Option<Pid>,
}

impl SocketFile {
    /// The file that `bind(2)` has just made.
    pub(super) fn made_now(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let found = fs::symlink_metadata(&path)?;
        let (device, inode) = (found.dev(), found.ino());
        Ok(Self {
            path,
            device,
            inode,
            maker: Some(getpid()),
        })
    }

    /// The file of a socket that was inherited from a predecessor who is gone: now it is ours to remove.
    ///
    /// # Errors
    /// When there is no file.
    pub fn adopt(path: &Path) -> io::Result<Self> {
        Self::made_now(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Somebody else removes it: a successor that got the socket.
    pub fn give_away(&mut self) {
        self.maker = None;
    }

    /// The successor failed; it is ours again.
    pub fn take_back(&mut self) {
        self.maker = Some(getpid());
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.maker != Some(getpid()) {
            return;
        }
        let same = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if same {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket file on which nobody listens any more. Returns what is in the way when it is something else.
pub(super) fn clear_stale(
    path: &Path,
    address: &SocketAddrUnix,
) -> Result<Option<Obstacle>, Errno> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Ok(Some(Obstacle::NoSocket)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
            }
            _ => Ok(None),
        },
        Err(Errno::NOENT) => Ok(None),
        // Answered, a full queue, a socket of another type, no permission to ask: somebody's.
        _ => Ok(Some(Obstacle::Listening)),
    }
}
