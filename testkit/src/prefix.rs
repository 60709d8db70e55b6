//! A temporary directory in which a server under test finds its configuration, files, logs and sockets.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A directory of its own below the system's temporary directory; removed when this is dropped.
///
/// Its mode is 0755: a server that was started by root and gave up its privileges still reads what is in it. Its path
/// is short, so that unix socket paths (108 bytes) fit below it.
#[derive(Debug)]
pub struct TempPrefix {
    dir: tempfile::TempDir,
    keep: bool,
}

impl TempPrefix {
    /// Makes the directory.
    ///
    /// # Errors
    /// When the temporary directory cannot be written.
    pub fn new() -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("vdct-")
            .rand_bytes(8)
            .tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(TempPrefix { dir, keep: false })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path below it. An absolute `relative` is taken as it is.
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Writes a file below it, with the directories on its way, and gives its path.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write(
        &self,
        relative: impl AsRef<Path>,
        content: impl AsRef<[u8]>,
    ) -> io::Result<PathBuf> {
        let path = self.join(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Leaves the directory behind, for a person who wants to look at it.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for TempPrefix {
    fn drop(&mut self) {
        self.dir.disable_cleanup(self.keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_readable_by_others_and_gone_after_drop() {
        let prefix = TempPrefix::new().unwrap();
        let path = prefix.write("a/b/c.txt", "text").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"text");
        assert_eq!(
            fs::metadata(prefix.path()).unwrap().permissions().mode() & 0o777,
            0o755
        );
        drop(prefix);
        assert!(!path.exists());
    }

    #[test]
    fn is_kept_when_asked() {
        let mut prefix = TempPrefix::new().unwrap();
        prefix.keep();
        let path = prefix.path().to_owned();
        drop(prefix);
        assert!(path.is_dir());
        fs::remove_dir_all(path).unwrap();
    }
}
