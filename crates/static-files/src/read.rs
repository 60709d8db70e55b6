//! Reading from a file without waiting for its disk, and reading with patience in the blocking pool.
//!
//! Called by [`Opened`](crate::Opened) and [`FileBody`](crate::FileBody).

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::os::fd::BorrowedFd;

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};

/// Why content could not be read to its end. Whoever sends it has promised a length already, so the connection can
/// only be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file became shorter while it was being sent.
    #[error(
        "the file was truncated while it was being sent: {missing} bytes that were promised are gone"
    )]
    Truncated {
        /// How many of the promised bytes are missing.
        missing: u64,
    },
    /// The operating system refused to read.
    #[error("reading the file failed: {0}")]
    Io(#[from] io::Error),
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            truncated => io::Error::new(io::ErrorKind::UnexpectedEof, truncated),
        }
    }
}

/// Result of a read that must not wait.
pub(crate) enum Now {
    /// So many bytes; 0 is the end of the file.
    Read(usize),
    /// The next byte is not in memory.
    WouldBlock,
}

thread_local! {
    /// Device whose file system last refused `RWF_NOWAIT`, so that not every read asks it again.
    static NO_NOWAIT: Cell<u64> = const { Cell::new(NO_DEVICE) };
    /// One buffer per thread, kept between chunks so that it need not be cleared again.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Stands for "device not known".
pub(crate) const NO_DEVICE: u64 = 0;

/// Reads what is in memory. On file systems that don't support `RWF_NOWAIT` it reads whatever that costs, as there is
/// no way to know (they are the memory-backed and stacked ones, mostly).
pub(crate) fn now(file: BorrowedFd<'_>, dev: u64, buf: &mut [u8], offset: u64) -> io::Result<Now> {
    if can_tell(dev) {
        loop {
            return match rustix::io::preadv2(
                file,
                &mut [IoSliceMut::new(buf)],
                offset,
                ReadWriteFlags::NOWAIT,
            ) {
                Ok(n) => Ok(Now::Read(n)),
                Err(Errno::AGAIN) => Ok(Now::WouldBlock),
                Err(Errno::INTR) => continue,
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => break,
                Err(error) => Err(error.into()),
            };
        }
        if dev != NO_DEVICE {
            NO_NOWAIT.set(dev);
        }
    }
    patient(file, buf, offset).map(Now::Read)
}

/// Whether the file system of this device can tell what is in memory. Learnt from the first read.
pub(crate) fn can_tell(dev: u64) -> bool {
    dev == NO_DEVICE || NO_NOWAIT.get() != dev
}

/// Reads at least one byte, waiting for the disk if need be; 0 is the end of the file.
pub(crate) fn patient(file: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buf, offset))
        .map_err(io::Error::from)
}

/// Reads `len` bytes from `offset` (or up to the end of the file) only for the sake of having them in memory.
pub(crate) fn load(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let mut scratch = Chunk::take(CHUNK.min(usize::try_from(len).unwrap_or(CHUNK)));
    let mut done = 0;
    while done < len {
        let step = usize::try_from(len - done)
            .unwrap_or(usize::MAX)
            .min(scratch.len);
        match patient(file, &mut scratch.space()[..step], offset + done)? {
            0 => break,
            n => done += n as u64,
        }
    }
    Ok(())
}

/// Largest piece that is read at a time, in bytes.
pub(crate) const CHUNK: usize = 128 * 1024;

/// A buffer of up to [`CHUNK`] bytes that goes back to a thread when the bytes were used.
pub(crate) struct Chunk {
    /// Everything in it is initialised; it may be longer than `len`.
    buf: Vec<u8>,
    len: usize,
}

impl Chunk {
    /// A buffer of `len` bytes, of any content.
    pub(crate) fn take(len: usize) -> Self {
        let mut buf = SPARE.take();
        if buf.len() < len {
            buf.resize(len, 0);
        }
        Chunk { buf, len }
    }

    /// The bytes to read into.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.buf[..self.len]
    }

    /// The first `n` bytes.
    pub(crate) fn into_bytes(mut self, n: usize) -> Bytes {
        self.len = n;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.buf[..self.len]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let buf = std::mem::take(&mut self.buf);
        // A thread that is ending has no slot any more; the buffer is then simply freed.
        let _ = SPARE.try_with(|spare| {
            let kept = spare.take();
            spare.set(if kept.len() >= buf.len() { kept } else { buf });
        });
    }
}
