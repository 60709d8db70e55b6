//! Log files: opened by the master, who has the right to, and used by the worker, who gets them handed over.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::engine::compile::Outside;
use proxy_core::engine::logs::{ErrorLog, Level, LogFile};
use rustix::io::Errno;

use crate::NAME;
use crate::paths::{Paths, STDERR};

/// A log file with its path, on its way to a worker.
pub type Handed = (PathBuf, File);

/// Opens logs on the disk, each path once.
pub struct DiskLogs {
    paths: Paths,
    opened: Mutex<Vec<Open>>,
}

struct Open {
    path: PathBuf,
    file: File,
    log: Arc<LogFile>,
}

impl DiskLogs {
    /// None open yet.
    pub fn new(paths: Paths) -> Self {
        Self {
            paths,
            opened: Mutex::default(),
        }
    }

    /// Copies of all that are open, for a worker.
    ///
    /// # Errors
    /// When no descriptors are left.
    pub fn hand_over(&self) -> io::Result<Vec<Handed>> {
        lock(&self.opened)
            .iter()
            .map(|open| Ok((open.path.clone(), open.file.try_clone()?)))
            .collect()
    }

    /// Opens all of them anew: after a rotation. Those that can't be opened stay as they are.
    ///
    /// # Errors
    /// One for each file that can't be opened.
    pub fn reopen(&self, owner: Option<(u32, u32)>) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        for open in lock(&self.opened).iter_mut() {
            match open_append(&open.path) {
                Ok(file) => {
                    give_to(&file, owner);
                    if let Ok(copy) = file.try_clone() {
                        open.log.replace(copy);
                        open.file = file;
                    }
                }
                Err(error) => faults.push(fault_of(&open.path, &error)),
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// A copy of the first file of an error log that is no standard stream: where a daemon's standard error goes.
    pub fn file_of(&self, errors: &ErrorLog) -> Option<File> {
        let opened = lock(&self.opened);
        let mut files = errors.files().filter(|log| log.path() != Path::new(STDERR));
        let log = files.next()?;
        let open = opened.iter().find(|open| open.path == log.path())?;
        open.file.try_clone().ok()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<LogFile>> {
        let mut opened = lock(&self.opened);
        if let Some(open) = opened.iter().find(|open| open.path == path) {
            return Ok(Arc::clone(&open.log));
        }
        self.paths.make_room(path)?;
        let file = open_append(path)?;
        let log = LogFile::new(path.to_owned(), file.try_clone()?);
        opened.push(Open {
            path: path.to_owned(),
            file,
            log: Arc::clone(&log),
        });
        Ok(log)
    }
}

impl Outside for DiskLogs {
    fn prefix(&self) -> &Path {
        &self.paths.prefix
    }

    fn open_log(&self, path: &Path) -> io::Result<Arc<LogFile>> {
        self.open(path)
    }

    fn default_error_log(&self) -> ErrorLog {
        let log = self.open(&self.paths.error_log).or_else(|error| {
            let words = fault_of(&self.paths.error_log, &error);
            let _ = writeln!(
                io::stderr(),
                "{NAME}: [alert] could not open error log file: {words}\n  help: errors go to standard error; name a \
                 file with \"error_log\" or -e"
            );
            self.open(Path::new(STDERR))
        });
        single(log)
    }

    fn default_access_log(&self) -> Option<PathBuf> {
        Some(self.paths.access_log.clone())
    }

    fn default_pid(&self) -> PathBuf {
        self.paths.pid.clone()
    }
}

/// Logs that were handed over. A log that two configurations name is the same object in both.
pub struct HandedLogs {
    paths: Paths,
    known: Mutex<HashMap<PathBuf, Arc<LogFile>>>,
}

impl HandedLogs {
    /// None yet.
    pub fn new(paths: Paths) -> Self {
        Self {
            paths,
            known: Mutex::default(),
        }
    }

    /// The places of the configuration to come.
    pub fn set_paths(&mut self, paths: Paths) {
        self.paths = paths;
    }

    /// Takes files, in addition to those that are known; a known log goes on with the new file.
    pub fn take(&self, handed: Vec<Handed>) {
        let mut known = lock(&self.known);
        for (path, file) in handed {
            match known.get(&path) {
                Some(log) => log.replace(file),
                None => {
                    known.insert(path.clone(), LogFile::new(path, file));
                }
            }
        }
    }

    /// Forgets those that no configuration uses any more.
    pub fn forget_unused(&self) {
        lock(&self.known).retain(|_, log| Arc::strong_count(log) > 1);
    }
}

impl Outside for HandedLogs {
    fn prefix(&self) -> &Path {
        &self.paths.prefix
    }

    fn open_log(&self, path: &Path) -> io::Result<Arc<LogFile>> {
        let known = lock(&self.known).get(path).cloned();
        known.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "the master has not handed this log over",
            )
        })
    }

    fn default_error_log(&self) -> ErrorLog {
        let log = self.open_log(&self.paths.error_log);
        single(log.or_else(|_| self.open_log(Path::new(STDERR))))
    }

    fn default_access_log(&self) -> Option<PathBuf> {
        Some(self.paths.access_log.clone())
    }

    fn default_pid(&self) -> PathBuf {
        self.paths.pid.clone()
    }
}

fn single(log: io::Result<Arc<LogFile>>) -> ErrorLog {
    ErrorLog::new(log.into_iter().map(|log| (Level::Error, log)).collect())
}

/// `open() "/x" failed (2: No such file or directory)`.
pub fn fault_of(path: &Path, error: &io::Error) -> String {
    format!("open() \"{}\" failed ({})", path.display(), reason(error))
}

/// `2: No such file or directory`, as nginx prints it.
pub fn reason(error: &io::Error) -> String {
    let words = error.to_string();
    match error.raw_os_error() {
        Some(code) => format!(
            "{code}: {}",
            words.split(" (os error").next().unwrap_or(&words)
        ),
        None => words,
    }
}

/// Opens a file for appending; made with mode 0644 where it is missing. What stands for an open stream of this process
/// and can't be opened (a socket of the journal) is duplicated.
fn open_append(path: &Path) -> io::Result<File> {
    if path == Path::new(STDERR) {
        return Ok(io::stderr().as_fd().try_clone_to_owned()?.into());
    }
    let opened = File::options()
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path);
    match opened {
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            stream_at(path).map_or(Err(error), |stream| Ok(stream.into()))
        }
        opened => opened,
    }
}

fn stream_at(path: &Path) -> Option<OwnedFd> {
    let wanted = fs::metadata(path).ok()?;
    let streams = [
        io::stdout().as_fd().try_clone_to_owned(),
        io::stderr().as_fd().try_clone_to_owned(),
    ];
    streams.into_iter().flatten().find(|stream| {
        rustix::fs::fstat(stream)
            .is_ok_and(|found| (found.st_dev, found.st_ino) == (wanted.dev(), wanted.ino()))
    })
}

/// As nginx does after a rotation: the worker's user owns the logs. A file that can't be given away stays usable.
fn give_to(file: &File, owner: Option<(u32, u32)>) {
    let (Some((user, _)), Ok(found)) = (owner, file.metadata()) else {
        return;
    };
    if found.is_file() && found.uid() != user {
        let _ = std::os::unix::fs::fchown(file, Some(user), None);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
