//! Files without a name, for content that waits: they vanish with their last descriptor, however the process ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

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
    use std::os::unix::fs::FileExt;

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
