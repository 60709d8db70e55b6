//! The file that holds the number of the master's process.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PidFileError {
    /// Another process holds it.
    #[error(
        "{path:?} says that process {} is running already; stop it first, or remove the file if that is another program",
        pid.as_raw_pid()
    )]
    Running {
        /// The file.
        path: PathBuf,
        /// The process.
        pid: Pid,
    },
    /// It cannot be written, renamed or removed.
    #[error("the pid file {path:?} cannot be {done}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// `written`, `renamed` or `removed`.
        done: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A pid file of this process; removed when dropped, by the process that wrote it and only if it still holds its number.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    pid: Pid,
}

impl PidFile {
    /// Writes the file (mode 0644, at once and whole), unless it names another process that is alive.
    ///
    /// # Errors
    /// [`PidFileError`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, PidFileError> {
        let path = absolute(path.as_ref());
        match running(&path) {
            Some(pid) => Err(PidFileError::Running { path, pid }),
            None => Self::replace(path),
        }
    }

    /// Writes the file whatever it held before, as nginx does.
    ///
    /// # Errors
    /// [`PidFileError::Io`].
    pub fn replace(path: impl AsRef<Path>) -> Result<Self, PidFileError> {
        let (path, pid) = (absolute(path.as_ref()), getpid());
        write(&path, pid).map_err(|source| fault(&path, "written", source))?;
        Ok(Self { path, pid })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it: out of the way of a successor (`.oldbin`), back when the successor failed, or into its final place
    /// when the predecessor is gone (`.2`). A file that was taken away meanwhile is written again.
    ///
    /// # Errors
    /// [`PidFileError::Io`].
    pub fn rename(&mut self, to: impl AsRef<Path>) -> Result<(), PidFileError> {
        let to = absolute(to.as_ref());
        let done = match read(&self.path) {
            Some(pid) if pid == self.pid => fs::rename(&self.path, &to),
            _ => write(&to, self.pid),
        };
        done.map_err(|source| fault(&to, "renamed", source))?;
        self.path = to;
        Ok(())
    }

    /// Removes it, as dropping it does, and tells when that is impossible.
    ///
    /// # Errors
    /// [`PidFileError::Io`].
    pub fn remove(self) -> Result<(), PidFileError> {
        let done = self.unlink();
        done.map_err(|source| fault(&self.path, "removed", source))
    }

    /// Leaves the file where it is.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    fn unlink(&self) -> io::Result<()> {
        if self.pid == getpid() && read(&self.path) == Some(self.pid) {
            return fs::remove_file(&self.path);
        }
        Ok(())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = self.unlink();
    }
}

/// `path` with `suffix` behind it: `/run/edge.pid` and `.oldbin` make `/run/edge.pid.oldbin`.
#[must_use]
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The number in a pid file; `None` when there is no file or no number in it.
#[must_use]
pub fn read(path: &Path) -> Option<Pid> {
    parse(&fs::read_to_string(path).ok()?)
}

/// The number of one process; 0 and negative numbers stand for groups.
pub(crate) fn parse(text: &str) -> Option<Pid> {
    let number = text
        .trim()
        .parse::<i32>()
        .ok()
        .filter(|number| *number > 0)?;
    Pid::from_raw(number)
}

/// The process that a pid file names, if it is alive and not this one.
#[must_use]
pub fn running(path: &Path) -> Option<Pid> {
    let pid = read(path).filter(|pid| *pid != getpid())?;
    // A process that we may not signal is alive too.
    (test_kill_process(pid) != Err(Errno::SRCH)).then_some(pid)
}

/// Later the process may sit in another folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn fault(path: &Path, done: &'static str, source: io::Error) -> PidFileError {
    PidFileError::Io {
        path: path.to_path_buf(),
        done,
        source,
    }
}

/// Writes beside the place and renames, so that nobody ever reads half a number.
fn write(path: &Path, pid: Pid) -> io::Result<()> {
    let beside = with_suffix(path, &format!(".{}.tmp", getpid().as_raw_pid()));
    let written = write_new(&beside, pid).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_new(path: &Path, pid: Pid) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    // Whatever the umask says: other users may look up the number.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.set_permissions(mode)?;
    writeln!(file, "{}", pid.as_raw_pid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.pid");
        (folder, path)
    }

    #[test]
    fn it_holds_the_number_while_it_lives() {
        let (folder, path) = folder();
        let file = PidFile::create(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o644
        );
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_stale_or_senseless_file_is_replaced_a_live_one_is_not() {
        let (_folder, path) = folder();
        let gone = {
            let mut child = std::process::Command::new("true").spawn().unwrap();
            child.wait().unwrap();
            child.id()
        };
        for stale in [
            gone.to_string(),
            "words".into(),
            String::new(),
            "-1".into(),
            "0".into(),
        ] {
            fs::write(&path, &stale).unwrap();
            drop(PidFile::create(&path).unwrap_or_else(|error| panic!("{stale:?}: {error}")));
        }
        fs::write(&path, "1\n").unwrap();
        let words = PidFile::create(&path).unwrap_err().to_string();
        assert!(words.contains("process 1 is running already"), "{words}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        drop(PidFile::replace(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn renaming_there_and_back() {
        let (_folder, path) = folder();
        let old = with_suffix(&path, ".oldbin");
        let mut file = PidFile::create(&path).unwrap();
        file.rename(&old).unwrap();
        assert!(old.exists() && !path.exists());
        file.rename(&path).unwrap();
        assert!(path.exists() && !old.exists());
        fs::remove_file(&path).unwrap();
        file.rename(&old).unwrap();
        assert_eq!(read(&old), Some(getpid()));
        file.remove().unwrap();
        assert!(!old.exists());
    }

    #[test]
    fn what_a_successor_wrote_is_left_alone() {
        let (_folder, path) = folder();
        let file = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let words = PidFile::create("/nonexistent/web.pid")
            .unwrap_err()
            .to_string();
        assert!(
            words.contains("\"/nonexistent/web.pid\" cannot be written"),
            "{words}"
        );
    }
}
