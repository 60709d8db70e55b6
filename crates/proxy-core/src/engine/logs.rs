//! Log files: opened by whoever has the right to, written in batches, reopened without losing a line.
//!
//! Lines of the access log are gathered per thread and written when the thread has nothing else to do: a host calls
//! [`flush`] before its runtime parks and before a thread ends. Error lines are written at once.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

/// Gathered lines are written at the latest when a thread holds this many bytes of them.
const GATHERED_BYTES_MAX: usize = 32 * 1024;

/// A log file that stays the same object when its file is rotated away and opened anew.
pub struct LogFile {
    path: PathBuf,
    file: ArcSwap<File>,
}

impl LogFile {
    /// A log file that was opened at `path`.
    pub fn new(path: PathBuf, file: File) -> Arc<Self> {
        Arc::new(Self {
            path,
            file: ArcSwap::from_pointee(file),
        })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes on with another file: after a rotation. What a thread has gathered goes to the new one.
    pub fn replace(&self, file: File) {
        self.file.store(Arc::new(file));
    }

    /// Writes at once. A log that can't be written must not stop the service: the error is for the caller to ignore or count.
    pub fn write_now(&self, lines: &[u8]) -> io::Result<()> {
        (&**self.file.load()).write_all(lines)
    }

    /// Gathers a line, its line feed included, until the thread has nothing else to do.
    pub fn gather(self: &Arc<Self>, line: impl FnOnce(&mut Vec<u8>)) {
        GATHERED.with_borrow_mut(|gathered| {
            let at = gathered
                .iter()
                .position(|(file, _)| Arc::ptr_eq(file, self))
                .unwrap_or_else(|| {
                    gathered.push((Arc::clone(self), Vec::with_capacity(1024)));
                    gathered.len() - 1
                });
            let (file, lines) = &mut gathered[at];
            line(lines);
            if lines.len() >= GATHERED_BYTES_MAX {
                write_out(file, lines);
            }
        });
    }
}

impl fmt::Debug for LogFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LogFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

thread_local! {
    static GATHERED: RefCell<Vec<(Arc<LogFile>, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
}

/// Writes what this thread has gathered. To be called before the thread parks and before it ends.
pub fn flush() {
    GATHERED.with_borrow_mut(|gathered| {
        gathered.retain_mut(|(file, lines)| {
            write_out(file, lines);
            // A file that only this list still knows belongs to a configuration that is gone.
            Arc::strong_count(file) > 1
        });
    });
}

fn write_out(file: &LogFile, lines: &mut Vec<u8>) {
    if lines.is_empty() {
        return;
    }
    // A full disk loses lines, never requests.
    let _ = file.write_now(lines);
    lines.clear();
    lines.shrink_to(GATHERED_BYTES_MAX * 2);
}

/// How bad something is, in nginx's order and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything, for developers.
    Debug,
    /// Of interest.
    Info,
    /// Normal, but worth a line.
    Notice,
    /// Something unexpected that did no harm.
    Warn,
    /// A request failed.
    Error,
    /// Something of ours is broken.
    Crit,
    /// Somebody has to act.
    Alert,
    /// Nothing works.
    Emerg,
}

impl Level {
    /// All of them, least severe first.
    pub const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warn,
        Self::Error,
        Self::Crit,
        Self::Alert,
        Self::Emerg,
    ];

    /// The word in configuration files and log lines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Crit => "crit",
            Self::Alert => "alert",
            Self::Emerg => "emerg",
        }
    }

    /// The level of that name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }
}

/// Where errors of a block go: every sink takes what is at least as bad as its level.
#[derive(Clone, Debug, Default)]
pub struct ErrorLog {
    sinks: Arc<[(Level, Arc<LogFile>)]>,
}

impl ErrorLog {
    /// A log with these sinks.
    pub fn new(sinks: Vec<(Level, Arc<LogFile>)>) -> Self {
        Self {
            sinks: sinks.into(),
        }
    }

    /// The files that it writes to.
    pub fn files(&self) -> impl Iterator<Item = &Arc<LogFile>> {
        self.sinks.iter().map(|(_, file)| file)
    }

    /// True when some sink takes lines of this level.
    pub fn takes(&self, level: Level) -> bool {
        self.sinks.iter().any(|(least, _)| level >= *least)
    }

    /// Writes a line: `2026/11/20 15:44:29 [error] 123#0: *7 message`; `serial` is the connection's number.
    pub fn write(&self, level: Level, serial: Option<u64>, message: fmt::Arguments<'_>) {
        if !self.takes(level) {
            return;
        }
        let mut line = Vec::with_capacity(256);
        let _ = write!(
            line,
            "{} [{}] {}#0: ",
            super::clock::log_time(),
            level.word(),
            std::process::id()
        );
        if let Some(serial) = serial {
            let _ = write!(line, "*{serial} ");
        }
        let _ = write!(line, "{message}");
        escape_controls(&mut line);
        line.push(b'\n');
        for (least, file) in self.sinks.iter() {
            if level >= *least {
                let _ = file.write_now(&line);
            }
        }
    }
}

/// What a peer sent must not forge a line of its own.
fn escape_controls(line: &mut [u8]) {
    for byte in line
        .iter_mut()
        .filter(|byte| **byte < 0x20 || **byte == 0x7f)
    {
        *byte = b'?';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(path: &Path) -> Arc<LogFile> {
        LogFile::new(
            path.to_owned(),
            File::options()
                .append(true)
                .create(true)
                .open(path)
                .expect("a temporary file opens"),
        )
    }

    #[test]
    fn gathers_until_flushed_and_survives_rotation() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let file = log(&first);
        file.gather(|line| line.extend_from_slice(b"one\n"));
        assert_eq!(std::fs::read(&first).expect("readable"), b"");
        flush();
        assert_eq!(std::fs::read(&first).expect("readable"), b"one\n");
        file.gather(|line| line.extend_from_slice(b"two\n"));
        file.replace(File::create(&second).expect("creatable"));
        flush();
        assert_eq!(std::fs::read(&first).expect("readable"), b"one\n");
        assert_eq!(std::fs::read(&second).expect("readable"), b"two\n");
    }

    #[test]
    fn a_full_buffer_is_written_at_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a");
        let file = log(&path);
        file.gather(|line| line.resize(GATHERED_BYTES_MAX, b'x'));
        assert_eq!(
            std::fs::metadata(&path).expect("exists").len(),
            GATHERED_BYTES_MAX as u64
        );
    }

    #[test]
    fn an_error_line_has_the_shape_of_nginx_and_cannot_be_forged() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("error.log");
        let errors = ErrorLog::new(vec![(Level::Error, log(&path))]);
        errors.write(Level::Warn, None, format_args!("unseen"));
        errors.write(Level::Error, Some(7), format_args!("bad \"{}\"", "a\nb"));
        let text = std::fs::read_to_string(&path).expect("readable");
        let pid = std::process::id();
        assert!(
            text.ends_with(&format!("[error] {pid}#0: *7 bad \"a?b\"\n")),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
        assert_eq!(text.as_bytes()[4], b'/');
    }
}
