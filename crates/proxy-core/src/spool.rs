//! Content that has to be there before it goes on: in memory while it is small, then in a file without a name.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Bytes, BytesMut};
use static_files::FileBody;

use crate::server::{Content, ContentError};

/// Bytes gathered before they are written to the file.
const WRITE_BYTES: usize = 256 * 1024;

/// Content that is complete.
#[derive(Clone, Debug, Default)]
pub enum Spooled {
    /// There was none.
    #[default]
    Empty,
    /// In memory.
    Memory(Bytes),
    /// In a file without a name, of this length in bytes.
    File(Arc<File>, u64),
}

impl Spooled {
    /// Reads all of a request's content; what exceeds `memory_bytes` goes to a file in `directory`, written by the blocking pool.
    ///
    /// # Errors
    /// When the client or the file fails.
    pub async fn read(
        content: &mut Content,
        memory_bytes: usize,
        directory: &Path,
    ) -> Result<Self, ContentError> {
        let Some(first) = content.chunk().await? else {
            return Ok(Self::Empty);
        };
        if content.is_end() && first.len() <= memory_bytes {
            return Ok(Self::Memory(first));
        }
        let mut held = BytesMut::from(first);
        let mut file: Option<(Arc<File>, u64)> = None;
        while let Some(chunk) = content.chunk().await? {
            held.extend_from_slice(&chunk);
            let room = if file.is_some() {
                WRITE_BYTES
            } else {
                memory_bytes
            };
            if held.len() > room {
                file = Some(write_out(file, held.split().freeze(), directory).await?);
            }
        }
        if file.is_none() && held.len() <= memory_bytes {
            return Ok(Self::Memory(held.freeze()));
        }
        let (file, length) = write_out(file, held.freeze(), directory).await?;
        Ok(Self::File(file, length))
    }

    /// How long it is, in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, length) => *length,
        }
    }

    /// True when there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file's content as a body, from its beginning; `None` when it is in memory.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn file_body(&self) -> io::Result<Option<FileBody>> {
        match self {
            Self::File(file, length) => Ok(Some(FileBody::new(file.try_clone()?, 0, *length))),
            Self::Empty | Self::Memory(_) => Ok(None),
        }
    }
}

async fn write_out(
    file: Option<(Arc<File>, u64)>,
    bytes: Bytes,
    directory: &Path,
) -> io::Result<(Arc<File>, u64)> {
    let directory = directory.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        let (file, length) = match file {
            Some(file) => file,
            None => (Arc::new(unnamed_file(&directory)?), 0),
        };
        file.write_all_at(&bytes, length)?;
        Ok((file, length + bytes.len() as u64))
    });
    written.await.map_err(io::Error::other)?
}

/// Makes a file without a name in a directory, readable by nobody else.
///
/// # Errors
/// What the system says; the message names the directory.
pub fn unnamed_file(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let flag = i32::try_from(rustix::fs::OFlags::TMPFILE.bits()).unwrap_or(0);
    options
        .custom_flags(flag)
        .open(directory)
        .or_else(|_| created_and_unlinked(directory))
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("no temporary file in {}: {error}", directory.display()),
            )
        })
}

/// For file systems without `O_TMPFILE`.
fn created_and_unlinked(directory: &Path) -> io::Result<File> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    for _ in 0..100 {
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".viaduct-{}-{number}", std::process::id()));
        match OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
        {
            Ok(file) => return std::fs::remove_file(&path).map(|()| file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_no_name_on_either_way() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for make in [unnamed_file, created_and_unlinked] {
            let file = make(directory.path()).expect("a file");
            file.write_all_at(b"content", 0).expect("writable");
            assert_eq!(
                std::fs::read_dir(directory.path())
                    .expect("listable")
                    .count(),
                0
            );
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = unnamed_file(Path::new("/nowhere/at/all"))
            .expect_err("no such directory")
            .to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
