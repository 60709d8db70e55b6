//! A response that is read ahead of a client that takes it slowly, so that its origin server is free for others.
//!
//! While the client keeps up, frames pass straight through: nothing is copied, nothing held. When the connection has to wait
//! for its client, it asks [`ReadAhead::poll_ahead`] to go on reading: first into memory, then, when the client has not
//! caught up for a moment, into a file without a name, up to a limit; after that the origin server waits, too.
//!
//! ```text
//! origin ─► ┌ last: gathered for the next write ─► file ─► first: memory ┐ ─► client
//! ```
//!
//! The event loop never waits for the disk: the file is made, written and closed by the blocking pool, one block of
//! [`BLOCK_BYTES`] at a time, and read from the page cache, or by the blocking pool what is not there (`FileBody`). Knows no
//! directive; what the limits are called is the business of whoever sets them.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use static_files::FileBody;
use tokio::task::JoinHandle;

use crate::alarm::Alarm;
use crate::body::{BodyError, BoxStream};
use crate::temp_file::unnamed_file;

/// Bytes gathered before they are written to the file.
pub const BLOCK_BYTES: usize = 128 * 1024;
/// Most bytes taken from the origin server in one go, before other connections of the thread have their turn.
const TURN_BYTES: usize = 512 * 1024;
/// How long memory may stay full before a file is made: a client that takes what memory holds in less time keeps up, and a
/// file would only cost.
const PATIENCE: Duration = Duration::from_millis(5);
/// A longer file is closed by the blocking pool: freeing it may take the file system a while.
const CLOSED_AT_ONCE_MAX: u64 = 1 << 20;

/// How much is read ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Held in memory, in bytes; the last read (64 KiB at most) may go beyond.
    pub memory_bytes: usize,
    /// Held in a file beyond that, in bytes; 0 for none. While a file is in use, [`BLOCK_BYTES`] more are in memory, and the
    /// last read.
    pub file_bytes: u64,
    /// Where the file lies.
    pub directory: PathBuf,
}

/// Is told when there is no file for what is read ahead.
pub trait Witness: Send + Sync {
    /// The file could not be made or written. Nothing is lost: the response goes on as fast as its client takes it.
    fn no_file(&self, error: &io::Error);
}

/// See the module.
pub struct ReadAhead {
    stream: BoxStream,
    /// The stream has given all it had.
    ended: bool,
    ahead: Arc<Ahead>,
    witness: Arc<dyn Witness>,
    /// Made when the client is slow for the first time.
    held: Option<Box<Held>>,
}

#[derive(Default)]
struct Held {
    first: Queue,
    overflow: Option<Overflow>,
    /// No file any more: there was an error.
    fileless: bool,
    patience: Alarm,
    trailers: Option<HeaderMap>,
    failed: Option<BodyError>,
}

/// What came after the memory was full.
#[derive(Default)]
struct Overflow {
    file: Option<Arc<File>>,
    /// What lies before this offset has been handed out.
    taken_to: u64,
    /// What lies before this offset has been written.
    written_to: u64,
    reading: Option<FileBody>,
    /// What is being written, at `written_to`.
    block: Bytes,
    writing: Option<JoinHandle<io::Result<Arc<File>>>>,
    last: BytesMut,
}

/// Bytes in memory, in blocks. They are copied in: a few bytes of a read buffer would otherwise keep all of it.
#[derive(Default)]
struct Queue {
    full: VecDeque<Bytes>,
    filling: BytesMut,
    len: usize,
}

/// Bytes of a block of a [`Queue`].
const QUEUE_BLOCK: usize = 16 * 1024;

impl ReadAhead {
    /// Reads `stream` ahead where asked to.
    pub fn new(stream: BoxStream, ahead: Arc<Ahead>, witness: Arc<dyn Witness>) -> Self {
        Self {
            stream,
            ended: false,
            ahead,
            witness,
            held: None,
        }
    }

    /// Bytes that were read and not yet handed out: those in memory, and those in the file.
    pub fn held_bytes(&self) -> (usize, u64) {
        self.held
            .as_ref()
            .map_or((0, 0), |held| (held.memory_bytes(), held.file_bytes()))
    }

    /// The next frame: what was read ahead, then what comes.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(held) = &mut self.held {
            held.patience.clear();
            if let Some(bytes) = ready!(held.poll_take(cx)) {
                if bytes.is_err() {
                    self.held = None;
                    self.ended = true;
                }
                return Poll::Ready(Some(bytes.map(Frame::data)));
            }
            if let Some(error) = held.failed.take() {
                return Poll::Ready(Some(Err(error)));
            }
            if let Some(trailers) = held.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(self.stream.as_mut().poll_frame(cx));
        self.ended = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    /// Reads ahead what there is room for. To be called while the client can't be written to; wakes the task when there is
    /// more to do.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        let held = self.held.get_or_insert_default();
        if self.ended && held.overflow.is_none() {
            return;
        }
        let mut taken = 0;
        while held.poll_room(cx, &self.ahead, &*self.witness).is_ready() && !self.ended {
            if taken >= TURN_BYTES {
                return cx.waker().wake_by_ref();
            }
            match self.stream.as_mut().poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(Err(error))) => {
                    self.ended = true;
                    held.failed = Some(error);
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        taken += data.len();
                        held.put(&data);
                    }
                    Err(frame) => held.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }
}

impl Held {
    fn memory_bytes(&self) -> usize {
        let overflow = self.overflow.as_ref();
        self.first.len + overflow.map_or(0, |overflow| overflow.block.len() + overflow.last.len())
    }

    fn file_bytes(&self) -> u64 {
        self.overflow.as_ref().map_or(0, |overflow| {
            let reading = overflow.reading.as_ref().map_or(0, FileBody::len);
            overflow.written_to - overflow.taken_to + reading
        })
    }

    fn is_empty(&self) -> bool {
        self.memory_bytes() == 0
            && self.file_bytes() == 0
            && self.failed.is_none()
            && self.trailers.is_none()
    }

    fn put(&mut self, data: &[u8]) {
        match &mut self.overflow {
            None => self.first.put(data),
            Some(overflow) => overflow.last.extend_from_slice(data),
        }
    }

    /// Ready when something may be put; moves what is full into the file.
    fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        ahead: &Ahead,
        witness: &dyn Witness,
    ) -> Poll<()> {
        if self.overflow.is_none() {
            if self.first.len < ahead.memory_bytes {
                return Poll::Ready(());
            }
            if self.fileless || ahead.file_bytes == 0 {
                return Poll::Pending;
            }
            if !self.patience.is_set() {
                self.patience.set_after(PATIENCE);
            }
            ready!(self.patience.poll(cx));
        }
        let overflow = self.overflow.get_or_insert_default();
        loop {
            if let Err(error) = ready!(overflow.poll_written(cx)) {
                self.fileless = true;
                witness.no_file(&error);
            }
            if self.fileless {
                return Poll::Pending;
            }
            let left = ahead.file_bytes - overflow.written_to;
            let block = usize::try_from(left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
            if overflow.last.len() < block {
                return Poll::Ready(());
            }
            if block == 0 {
                return Poll::Pending;
            }
            overflow.write(block, &ahead.directory);
        }
    }

    /// The next bytes in order; `None` when nothing is held.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(bytes) = self.first.take() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        let Some(overflow) = &mut self.overflow else {
            return Poll::Ready(None);
        };
        let bytes = ready!(overflow.poll_take(cx));
        if bytes.is_none() {
            self.overflow = None;
        }
        Poll::Ready(bytes)
    }
}

impl Overflow {
    /// Has the first bytes that were gathered written by the blocking pool.
    fn write(&mut self, bytes: usize, directory: &std::path::Path) {
        self.block = self.last.split_to(bytes).freeze();
        let (block, at) = (self.block.clone(), self.written_to);
        let (file, directory) = (self.file.clone(), directory.to_owned());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let file = match file {
                Some(file) => file,
                None => Arc::new(unnamed_file(&directory)?),
            };
            file.write_all_at(&block, at).map_err(|error| {
                let directory = directory.display();
                io::Error::new(
                    error.kind(),
                    format!("the temporary file in {directory} can't be written: {error}"),
                )
            })?;
            Ok(file)
        }));
    }

    /// Ready when nothing is being written. After an error the bytes are still here.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(writing) = &mut self.writing else {
            return Poll::Ready(Ok(()));
        };
        let written = ready!(Pin::new(writing).poll(cx));
        self.writing = None;
        self.file = Some(written.map_err(io::Error::other)??);
        self.written_to += std::mem::take(&mut self.block).len() as u64;
        Poll::Ready(Ok(()))
    }

    /// The next bytes in order: from the file, then those that are on their way there, then those gathered.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                if let Some(chunk) = ready!(reading.poll_chunk(cx)) {
                    return Poll::Ready(Some(chunk.map_err(|error| BodyError::Io(error.into()))));
                }
                self.reading = None;
            }
            if let Some(file) = self
                .file
                .as_ref()
                .filter(|_| self.taken_to < self.written_to)
            {
                let length = self.written_to - self.taken_to;
                match file.try_clone() {
                    Ok(file) => self.reading = Some(FileBody::new(file, self.taken_to, length)),
                    Err(error) => return Poll::Ready(Some(Err(error.into()))),
                }
                self.taken_to = self.written_to;
                continue;
            }
            if !self.block.is_empty() {
                // Nobody will read it from the file any more. What is being written there stays where it is.
                self.written_to += self.block.len() as u64;
                self.taken_to = self.written_to;
                self.writing = None;
                return Poll::Ready(Some(Ok(std::mem::take(&mut self.block))));
            }
            let last = std::mem::take(&mut self.last).freeze();
            return Poll::Ready((!last.is_empty()).then_some(Ok(last)));
        }
    }
}

impl Drop for Overflow {
    fn drop(&mut self) {
        let length = self.written_to;
        if length > CLOSED_AT_ONCE_MAX
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let file = (self.file.take(), self.reading.take());
            runtime.spawn_blocking(move || drop(file));
        }
    }
}

impl Queue {
    fn put(&mut self, mut data: &[u8]) {
        self.len += data.len();
        while !data.is_empty() {
            if self.filling.capacity() == 0 {
                self.filling.reserve(QUEUE_BLOCK);
            }
            let room = (QUEUE_BLOCK - self.filling.len()).min(data.len());
            self.filling.extend_from_slice(&data[..room]);
            data = &data[room..];
            if self.filling.len() == QUEUE_BLOCK {
                self.full
                    .push_back(std::mem::take(&mut self.filling).freeze());
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let bytes = match self.full.pop_front() {
            Some(bytes) => bytes,
            None => std::mem::take(&mut self.filling).freeze(),
        };
        self.len -= bytes.len();
        (!bytes.is_empty()).then_some(bytes)
    }
}

impl http_body::Body for ReadAhead {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll_next(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.is_empty())
            && (self.ended || self.stream.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let (memory, file) = self.held_bytes();
        let held = memory as u64 + file;
        let coming = if self.ended {
            SizeHint::with_exact(0)
        } else {
            self.stream.size_hint()
        };
        match coming.exact() {
            Some(exact) => SizeHint::with_exact(exact + held),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
