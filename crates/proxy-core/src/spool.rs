//! Content that has to be there before it goes on: in memory while it is small, then in a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use static_files::FileBody;

use crate::server::{Content, ContentError};
pub use crate::temp_file::unnamed_file;

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
