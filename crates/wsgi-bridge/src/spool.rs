//! A queue in a file without a name, for content that is too large for memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(crate) use proxy_core::temp_file::unnamed_file as create;

/// First in, first out, in a file. Its room is used again whenever it has been emptied.
pub(crate) struct Queue {
    file: File,
    read: u64,
    written: u64,
}

impl Queue {
    /// An empty one.
    ///
    /// # Errors
    /// As [`proxy_core::temp_file::unnamed_file`].
    pub fn new(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            file: create(dir)?,
            read: 0,
            written: 0,
        })
    }

    /// Bytes in it.
    pub fn len(&self) -> u64 {
        self.written - self.read
    }

    /// Appends.
    ///
    /// # Errors
    /// The file's.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Takes up to `most` bytes out; an empty vector when there are none.
    ///
    /// # Errors
    /// The file's.
    pub fn pop(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len()).unwrap_or(usize::MAX).min(most);
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, self.read)?;
        self.read += len as u64;
        if self.read == self.written && self.written > 0 {
            self.file.set_len(0)?;
            (self.read, self.written) = (0, 0);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_and_the_room_is_used_again() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let mut queue = Queue::new(dir.path()).expect("makes a queue");
        queue.push(b"abc").expect("pushes");
        assert_eq!(queue.pop(2).expect("pops"), b"ab");
        queue.push(b"def").expect("pushes");
        assert_eq!(
            (queue.len(), queue.pop(100).expect("pops")),
            (4, b"cdef".to_vec())
        );
        assert_eq!(queue.file.metadata().expect("has metadata").len(), 0);
        assert_eq!(queue.pop(100).expect("pops"), b"");
    }
}
