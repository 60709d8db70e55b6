//! The content of a response: ranges of one open file and literal bytes, in order.
//!
//! Three ways to send it, cheapest first:
//!
//! 1. [`FileBody::read_now`]: append what is in memory to a buffer, so that head and small content leave in one `writev`.
//! 2. [`FileBody::part`], `sendfile` (or `write` for literal bytes) by the connection, [`FileBody::advance`]; before each
//!    step [`FileBody::poll_resident`] makes sure that `sendfile` won't wait for a disk.
//! 3. [`http_body::Body`], for everybody else. It reads 128 KiB at a time.
//!
//! The length is fixed when the body is made. A file that turns out shorter gives [`ReadError::Truncated`], never
//! content of another length; one that grows is sent up to the promised length.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::opened::{Metadata, Opened};
use crate::read::{self, CHUNK, Chunk, NO_DEVICE, Now, ReadError};
use crate::residency::{self, Stretch};

/// A piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Literal bytes.
    Bytes(Bytes),
    /// `len` bytes of the body's file, from `offset`.
    File {
        /// Where in the file it starts, in bytes.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
}

impl Segment {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Segment::Bytes(bytes) => bytes.len() as u64,
            Segment::File { len, .. } => *len,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What comes next in a body; never empty.
#[derive(Debug)]
pub enum Part<'a> {
    /// Literal bytes, to be written.
    Bytes(&'a [u8]),
    /// A range of a file, to be sent with `sendfile` (from this offset: the file's own position is not used).
    File {
        /// The file, open for reading.
        fd: BorrowedFd<'a>,
        /// Where in the file it starts, in bytes.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
}

/// The content of a response. `FileBody::default()` is empty.
#[derive(Default)]
pub struct FileBody {
    /// Absent if there are only literal bytes, and while the blocking pool has it.
    file: Option<Arc<OwnedFd>>,
    dev: u64,
    ino: u64,
    current: Option<Segment>,
    rest: VecDeque<Segment>,
    /// Bytes of all segments that are still to be sent.
    remaining: u64,
    /// Up to this offset the current segment is known to be in memory.
    resident_to: u64,
    reading: Option<JoinHandle<Job>>,
    broken: bool,
}

/// What comes back from the blocking pool.
struct Job {
    file: Arc<OwnedFd>,
    outcome: io::Result<Done>,
}

enum Done {
    Chunk(Bytes),
    Loaded { to: u64 },
}

impl FileBody {
    /// No content.
    pub fn empty() -> Self {
        Self::default()
    }

    /// `len` bytes of `file`, from `offset`. The caller vouches that the file has them (see [`ReadError::Truncated`]).
    pub fn new(file: impl Into<OwnedFd>, offset: u64, len: u64) -> Self {
        Self::one(Arc::new(file.into()), (NO_DEVICE, 0), offset, len)
    }

    pub(crate) fn from_opened(opened: Opened, offset: u64, len: u64) -> Self {
        let identity = (opened.metadata.dev, opened.metadata.ino);
        Self::one(opened.file, identity, offset, len)
    }

    fn one(file: Arc<OwnedFd>, (dev, ino): (u64, u64), offset: u64, len: u64) -> Self {
        if len == 0 {
            return Self::empty();
        }
        FileBody {
            file: Some(file),
            dev,
            ino,
            current: Some(Segment::File { offset, len }),
            remaining: len,
            ..Self::default()
        }
    }

    /// Segments in order; those of kind [`Segment::File`] are ranges of `opened`.
    pub fn from_segments(opened: Opened, segments: impl IntoIterator<Item = Segment>) -> Self {
        let mut rest: VecDeque<Segment> = segments
            .into_iter()
            .filter(|segment| !segment.is_empty())
            .collect();
        let remaining = rest.iter().map(Segment::len).sum();
        let Metadata { dev, ino, .. } = opened.metadata;
        FileBody {
            file: Some(opened.file),
            dev,
            ino,
            current: rest.pop_front(),
            rest,
            remaining,
            ..Self::default()
        }
    }

    /// How many bytes are still to be sent.
    pub fn len(&self) -> u64 {
        self.remaining
    }

    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// What comes next; `None` at the end, and while a read begun by [`poll_resident`](Self::poll_resident) or
    /// [`poll_chunk`](Self::poll_chunk) is pending. The same until [`advance`](Self::advance) is called.
    pub fn part(&self) -> Option<Part<'_>> {
        match self.current.as_ref()? {
            Segment::Bytes(bytes) => Some(Part::Bytes(bytes)),
            Segment::File { offset, len } => {
                let fd = self.file.as_ref()?.as_fd();
                Some(Part::File {
                    fd,
                    offset: *offset,
                    len: *len,
                })
            }
        }
    }

    /// Takes the first `n` bytes away, because they were sent. May cross segments.
    ///
    /// # Panics
    /// If fewer than `n` bytes are left.
    pub fn advance(&mut self, mut n: u64) {
        assert!(n <= self.remaining, "advanced past the end of the content");
        self.remaining -= n;
        while n > 0 {
            let Some(segment) = &mut self.current else {
                return;
            };
            let step = n.min(segment.len());
            match segment {
                // `step` is at most the length of these bytes.
                Segment::Bytes(bytes) => bytes.advance(step as usize),
                Segment::File { offset, len } => {
                    *offset += step;
                    *len -= step;
                }
            }
            n -= step;
            if segment.is_empty() {
                self.current = self.rest.pop_front();
                self.resident_to = 0;
            }
        }
        if self.remaining == 0 {
            self.file = None;
        }
    }

    /// The error to report when `sendfile` found the end of the file although [`part`](Self::part) promised more.
    pub fn truncated(&self) -> ReadError {
        let missing = match &self.current {
            Some(Segment::File { len, .. }) => *len,
            _ => 0,
        };
        ReadError::Truncated { missing }
    }

    /// Appends up to `limit` bytes to `out` and advances past them, as far as they are in memory; never waits.
    /// Returns how many. Fewer than both `limit` and [`len`](Self::len) means that the next byte is on a disk:
    /// [`poll_resident`](Self::poll_resident) or [`poll_chunk`](Self::poll_chunk) get it.
    ///
    /// # Errors
    /// See [`ReadError`]; `out` then keeps what was read before.
    pub fn read_now(&mut self, limit: usize, out: &mut Vec<u8>) -> Result<usize, ReadError> {
        let mut total = 0;
        while total < limit {
            let room = limit - total;
            let Some(part) = self.part() else { break };
            let n = match part {
                Part::Bytes(bytes) => {
                    let n = room.min(bytes.len());
                    out.extend_from_slice(&bytes[..n]);
                    n
                }
                Part::File { fd, offset, len } => {
                    let want = usize::try_from(len).unwrap_or(room).min(room);
                    let start = out.len();
                    out.resize(start + want, 0);
                    let outcome = read::now(fd, self.dev, &mut out[start..], offset);
                    out.truncate(start + if let Ok(Now::Read(n)) = outcome { n } else { 0 });
                    match outcome? {
                        Now::Read(0) => return Err(self.break_off()),
                        Now::Read(n) => n,
                        Now::WouldBlock => break,
                    }
                }
            };
            self.advance(n as u64);
            total += n;
        }
        Ok(total)
    }

    /// How many of the next bytes (at most `at_most`, at least one unless the body is at its end) can be sent without
    /// waiting for a disk. What isn't in memory is read ahead in the blocking pool first, with `Pending` meanwhile.
    ///
    /// The first and the last byte of the range are tried, not each page, and not again within half a second: what the kernel
    /// evicted in the middle or since makes `sendfile` wait, as it does in nginx. File systems that can't tell (tmpfs, overlayfs) count as
    /// being in memory. Outside a tokio runtime nothing is read ahead.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn poll_resident(
        &mut self,
        cx: &mut Context<'_>,
        at_most: u64,
    ) -> Poll<Result<u64, ReadError>> {
        loop {
            if self.reading.is_some() {
                match ready!(self.poll_job(cx))? {
                    Done::Loaded { to } => self.resident_to = to,
                    // A chunk that `poll_chunk` was dropped out of: hand it out as bytes.
                    Done::Chunk(bytes) => self.put_back(bytes),
                }
            }
            let (offset, len) = match &self.current {
                None => return Poll::Ready(Ok(0)),
                Some(Segment::Bytes(bytes)) => {
                    return Poll::Ready(Ok(at_most.min(bytes.len() as u64)));
                }
                Some(Segment::File { offset, len }) => (*offset, at_most.min(*len)),
            };
            if offset < self.resident_to {
                self.look_on(offset + len, at_most)?;
                return Poll::Ready(Ok(len.min(self.resident_to - offset)));
            }
            if len == 0
                || self.is_resident(offset, len)?
                || !self.begin(move |fd| loaded(fd, offset, len))
            {
                self.resident_to = offset + len;
                return Poll::Ready(Ok(len));
            }
        }
    }

    /// The next bytes, at most 128 KiB; `None` at the end. Advances. What isn't in memory is read in the blocking pool.
    ///
    /// # Errors
    /// See [`ReadError`]; afterwards the body is at its end.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        match ready!(self.poll_some(cx)) {
            Ok(bytes) if bytes.is_empty() => Poll::Ready(None),
            Ok(bytes) => Poll::Ready(Some(Ok(bytes))),
            Err(error) => {
                self.end();
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, ReadError>> {
        loop {
            if self.reading.is_some() {
                match ready!(self.poll_job(cx))? {
                    Done::Chunk(bytes) => return Poll::Ready(self.took(bytes)),
                    Done::Loaded { to } => self.resident_to = to,
                }
            }
            let (offset, len) = match &mut self.current {
                None => return Poll::Ready(Ok(Bytes::new())),
                Some(Segment::Bytes(bytes)) => {
                    let bytes = bytes.clone();
                    self.advance(bytes.len() as u64);
                    return Poll::Ready(Ok(bytes));
                }
                Some(Segment::File { offset, len }) => (*offset, *len),
            };
            let Some(file) = &self.file else {
                return Poll::Ready(Err(self.break_off()));
            };
            let want = usize::try_from(len).unwrap_or(CHUNK).min(CHUNK);
            let mut chunk = Chunk::take(want);
            match read::now(file.as_fd(), self.dev, chunk.space(), offset)? {
                Now::Read(n) => return Poll::Ready(self.took(chunk.into_bytes(n))),
                Now::WouldBlock => drop(chunk),
            }
            if !self.begin(move |fd| chunked(fd, offset, want)) {
                // No runtime to hand the read to.
                let Some(file) = &self.file else {
                    return Poll::Ready(Err(self.break_off()));
                };
                let Done::Chunk(bytes) = chunked(file.as_fd(), offset, want)? else {
                    continue;
                };
                return Poll::Ready(self.took(bytes));
            }
        }
    }

    /// Starts a job in the blocking pool; false if there is none.
    fn begin(
        &mut self,
        work: impl FnOnce(BorrowedFd<'_>) -> io::Result<Done> + Send + 'static,
    ) -> bool {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return false;
        };
        let Some(file) = self.file.take() else {
            return false;
        };
        self.reading = Some(runtime.spawn_blocking(move || {
            let outcome = work(file.as_fd());
            Job { file, outcome }
        }));
        true
    }

    fn poll_job(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Done>> {
        let Some(task) = &mut self.reading else {
            return Poll::Ready(Err(io::Error::other("no read is pending")));
        };
        let joined = ready!(Pin::new(task).poll(cx));
        self.reading = None;
        let job = joined.map_err(io::Error::other)?;
        self.file = Some(job.file);
        Poll::Ready(job.outcome)
    }

    /// Counts the next range, too, if what is known to be in memory ends before `end`: the kernel then sends as much at once as
    /// there is room for, not the rest of one range.
    fn look_on(&mut self, end: u64, at_most: u64) -> Result<(), ReadError> {
        let (from, Some(Segment::File { offset, len })) = (self.resident_to, &self.current) else {
            return Ok(());
        };
        let next = at_most.min((offset + len).saturating_sub(from));
        if from < end && next > 0 && self.is_resident(from, next)? {
            self.resident_to = from + next;
        }
        Ok(())
    }

    fn is_resident(&self, offset: u64, len: u64) -> Result<bool, ReadError> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let stretch = Stretch {
            dev: self.dev,
            ino: self.ino,
            offset,
            len,
        };
        let is_known = self.dev != NO_DEVICE && residency::was_resident(stretch);
        if is_known || !read::can_tell(self.dev) {
            return Ok(true);
        }
        let mut byte = [0];
        match read::now(file.as_fd(), self.dev, &mut byte, offset)? {
            Now::Read(0) => return Err(self.truncated()),
            Now::Read(_) => {}
            Now::WouldBlock => return Ok(false),
        }
        let last = read::now(file.as_fd(), self.dev, &mut byte, offset + len - 1)?;
        if matches!(last, Now::WouldBlock) {
            return Ok(false);
        }
        residency::note(stretch);
        Ok(true)
    }

    /// Counts bytes of the current file segment as sent.
    fn took(&mut self, bytes: Bytes) -> Result<Bytes, ReadError> {
        if bytes.is_empty() {
            return Err(self.break_off());
        }
        self.advance(bytes.len() as u64);
        Ok(bytes)
    }

    /// Replaces the beginning of the current file segment by the bytes that were read from it.
    fn put_back(&mut self, bytes: Bytes) {
        let Some(Segment::File { offset, len }) = self.current else {
            return;
        };
        if bytes.is_empty() {
            return; // the end of the file: whoever reads next reports it
        }
        let n = bytes.len() as u64;
        if n < len {
            self.rest.push_front(Segment::File {
                offset: offset + n,
                len: len - n,
            });
        }
        self.current = Some(Segment::Bytes(bytes));
    }

    fn break_off(&mut self) -> ReadError {
        let error = self.truncated();
        self.end();
        error
    }

    fn end(&mut self) {
        *self = FileBody {
            broken: true,
            ..FileBody::default()
        };
    }
}

fn loaded(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<Done> {
    read::load(file, offset, len)?;
    Ok(Done::Loaded { to: offset + len })
}

fn chunked(file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Done> {
    let mut chunk = Chunk::take(len);
    let n = read::patient(file, chunk.space(), offset)?;
    Ok(Done::Chunk(chunk.into_bytes(n)))
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        self.get_mut().poll_chunk(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0 && !self.broken
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

impl From<Bytes> for FileBody {
    fn from(bytes: Bytes) -> Self {
        let remaining = bytes.len() as u64;
        let current = (remaining > 0).then_some(Segment::Bytes(bytes));
        FileBody {
            current,
            remaining,
            ..Self::default()
        }
    }
}

impl From<Opened> for FileBody {
    fn from(opened: Opened) -> Self {
        opened.into_body()
    }
}

impl fmt::Debug for FileBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBody")
            .field("remaining", &self.remaining)
            .field("current", &self.current)
            .field("reading", &self.reading.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::BodyExt;

    use super::*;

    const LEN: u64 = 300_000;

    fn content() -> Vec<u8> {
        (0..LEN).map(|n| (n ^ (n >> 8)) as u8).collect()
    }

    fn body() -> (std::fs::File, FileBody) {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &content()).unwrap();
        (file.try_clone().unwrap(), FileBody::new(file, 0, LEN))
    }

    /// As if the content were not in memory.
    fn begin_chunk(body: &mut FileBody, len: usize) {
        assert!(body.begin(move |fd| chunked(fd, 0, len)));
        assert!(body.part().is_none(), "the pool has the file");
        assert_eq!(body.read_now(10, &mut Vec::new()).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_chunk_from_the_pool_comes_first() {
        let (_file, mut body) = body();
        begin_chunk(&mut body, 1000);
        let chunk = poll_fn(|cx| body.poll_chunk(cx)).await.unwrap().unwrap();
        assert_eq!(chunk, content()[..1000]);
        assert_eq!(body.collect().await.unwrap().to_bytes(), content()[1000..]);
    }

    #[tokio::test]
    async fn giving_up_a_pending_read_loses_nothing() {
        let (_file, mut body) = body();
        begin_chunk(&mut body, 1000);
        let n = poll_fn(|cx| body.poll_resident(cx, 5000)).await.unwrap();
        assert_eq!(n, 1000, "what was read is handed out as bytes");
        assert!(matches!(body.part(), Some(Part::Bytes(bytes)) if bytes.len() == 1000));
        assert_eq!(body.len(), LEN);
        assert_eq!(body.collect().await.unwrap().to_bytes(), content());
    }

    #[tokio::test]
    async fn what_was_loaded_counts_as_resident() {
        let (_file, mut body) = body();
        assert!(body.begin(|fd| loaded(fd, 0, 200_000)));
        let n = poll_fn(|cx| body.poll_resident(cx, 200_000)).await.unwrap();
        assert_eq!(n, 200_000);
        body.advance(150_000);
        let n = poll_fn(|cx| body.poll_resident(cx, 50_000)).await.unwrap();
        assert_eq!(n, 50_000);
        assert_eq!(
            body.collect().await.unwrap().to_bytes(),
            content()[150_000..]
        );
    }

    #[tokio::test]
    async fn what_follows_is_looked_at_before_it_is_reached() {
        let (_file, mut body) = body();
        let resident = async |body: &mut FileBody| {
            poll_fn(|cx| body.poll_resident(cx, 100_000)).await.unwrap()
        };
        assert_eq!(resident(&mut body).await, 100_000);
        body.advance(30_000);
        assert_eq!(
            resident(&mut body).await,
            100_000,
            "not the 70,000 that were left"
        );
        body.advance(100_000);
        body.advance(100_000);
        assert_eq!(resident(&mut body).await, 70_000, "the end of the file");
    }

    #[tokio::test]
    async fn a_file_truncated_while_the_pool_reads_is_an_error() {
        let (file, mut body) = body();
        file.set_len(0).unwrap();
        begin_chunk(&mut body, 1000);
        let error = poll_fn(|cx| body.poll_chunk(cx))
            .await
            .unwrap()
            .unwrap_err();
        assert!(matches!(error, ReadError::Truncated { missing: LEN }));

        let (file, mut body) = self::body();
        file.set_len(0).unwrap();
        begin_chunk(&mut body, 1000);
        let error = poll_fn(|cx| body.poll_resident(cx, 1000))
            .await
            .unwrap_err();
        assert!(matches!(error, ReadError::Truncated { missing: LEN }));
    }
}
