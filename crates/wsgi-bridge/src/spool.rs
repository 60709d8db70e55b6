//! A temporary file without a name, for content that is too large for memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes such a file in `dir`, readable by nobody else.
///
/// # Errors
/// Whatever the system says; the message names the directory.
pub(crate) fn create(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let flag = i32::try_from(rustix::fs::OFlags::TMPFILE.bits()).unwrap_or(0);
    options
        .custom_flags(flag)
        .open(dir)
        .or_else(|_| create_and_unlink(dir))
        .map_err(|fault| {
            io::Error::new(
                fault.kind(),
                format!("no temporary file in {}: {fault}", dir.display()),
            )
        })
}

/// For file systems without `O_TMPFILE`.
fn create_and_unlink(dir: &Path) -> io::Result<File> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let mut tries = 0;
    loop {
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!(".viaduct-{}-{number}", std::process::id()));
        match OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
        {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists && tries < 100 => tries += 1,
            Err(fault) => return Err(fault),
        }
    }
}

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
    /// As [`create`].
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
    fn files_have_no_name_on_either_way() {
        let dir = tempfile::tempdir().expect("makes a directory");
        for make in [create, create_and_unlink] {
            let file = make(dir.path()).expect("makes a file");
            file.write_all_at(b"content", 0).expect("writes");
            assert_eq!(std::fs::read_dir(dir.path()).expect("lists").count(), 0);
        }
    }

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

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let fault = create(Path::new("/nowhere/at/all"))
            .expect_err("fails")
            .to_string();
        assert!(fault.contains("/nowhere/at/all"), "{fault}");
    }
}
