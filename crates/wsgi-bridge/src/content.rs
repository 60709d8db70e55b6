//! Takes in the content of a request before the application is called: in memory, or in an unlinked file when it is large.
//!
//! So a slow client costs a connection and some memory, never a thread or a turn of the application, and content that breaks off
//! never reaches it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use proxy_core::server::{Content, ContentError};

use crate::settings::Settings;
use crate::spool;

/// Pieces smaller than this are copied together, so that a client that sends one byte at a time cannot make us keep a
/// large buffer for each.
const SMALL: usize = 8 << 10;
/// So much is gathered before it is written to a file, off the connection's thread.
const BATCH: usize = 1 << 20;

/// The whole content of a request.
#[derive(Default)]
pub(crate) struct Collected {
    /// The first part, or all of it.
    pub memory: VecDeque<Bytes>,
    /// The rest, with its length.
    pub file: Option<(File, u64)>,
}

/// Why content could not be taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("request content could not be stored: {0}")]
    Spool(#[from] io::Error),
}

/// Reads the content to its end.
pub(crate) async fn collect(
    mut content: Content,
    settings: &Settings,
) -> Result<Collected, CollectError> {
    let mut collected = Collected::default();
    if content.is_end() {
        return Ok(collected);
    }
    content.limit(settings.content_bytes_max)?;
    let mut tail = Vec::new();
    let mut total = 0;
    while let Some(piece) = content.chunk().await? {
        total += piece.len();
        if total > settings.content_memory_bytes {
            gather(&mut collected.memory, &mut tail, Bytes::new());
            collected.file = Some(store(content, piece, &settings.spool_dir).await?);
            return Ok(collected);
        }
        if content.is_end() && tail.is_empty() {
            collected.memory.push_back(piece);
        } else {
            gather(&mut collected.memory, &mut tail, piece);
        }
    }
    gather(&mut collected.memory, &mut tail, Bytes::new());
    Ok(collected)
}

/// Adds a piece; an empty one says that no more come.
fn gather(memory: &mut VecDeque<Bytes>, tail: &mut Vec<u8>, piece: Bytes) {
    if piece.len() < SMALL && !piece.is_empty() {
        tail.extend_from_slice(&piece);
        return;
    }
    if !tail.is_empty() {
        memory.push_back(std::mem::take(tail).into());
    }
    if !piece.is_empty() {
        memory.push_back(piece);
    }
}

/// Writes a piece and all that follows it to a file.
async fn store(
    mut content: Content,
    first: Bytes,
    dir: &Path,
) -> Result<(File, u64), CollectError> {
    let mut file = spool::create(dir)?;
    let mut total = 0;
    let mut batch = Vec::with_capacity(BATCH);
    let mut next = Some(first);
    while let Some(piece) = next {
        batch.extend_from_slice(&piece);
        total += piece.len() as u64;
        if batch.len() >= BATCH {
            (file, batch) = write(file, batch).await?;
        }
        next = content.chunk().await?;
    }
    if !batch.is_empty() {
        (file, _) = write(file, batch).await?;
    }
    Ok((file, total))
}

/// Appends on a thread that may wait for a disk, and gives file and emptied buffer back.
async fn write(mut file: File, mut batch: Vec<u8>) -> io::Result<(File, Vec<u8>)> {
    let job = tokio::task::spawn_blocking(move || {
        file.write_all(&batch)?;
        batch.clear();
        Ok((file, batch))
    });
    job.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_copied_together_and_large_ones_are_kept() {
        let (mut memory, mut tail) = (VecDeque::new(), Vec::new());
        let large = Bytes::from(vec![7; SMALL]);
        for piece in [
            Bytes::from_static(b"a"),
            Bytes::from_static(b"b"),
            large.clone(),
            Bytes::from_static(b"c"),
            Bytes::new(),
        ] {
            gather(&mut memory, &mut tail, piece);
        }
        assert_eq!(
            memory,
            [
                Bytes::from_static(b"ab"),
                large.clone(),
                Bytes::from_static(b"c")
            ]
        );
        assert_eq!(memory[1].as_ptr(), large.as_ptr());
    }
}
