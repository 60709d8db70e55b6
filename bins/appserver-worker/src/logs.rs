//! The log files of a process: opened by path, opened again when they were renamed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The name that stands for standard output or standard error.
const STANDARD: &str = "-";

/// Where lines go: a file, or a standard stream.
pub(crate) struct Sink {
    state: Mutex<State>,
    standard: RawFd,
}

struct State {
    path: Option<String>,
    file: Option<File>,
}

static ERROR: Sink = Sink::new(2);

/// The error log of this process.
pub(crate) fn error() -> &'static Sink {
    &ERROR
}

impl Sink {
    /// A sink that writes to this standard stream until it is opened.
    pub const fn new(standard: RawFd) -> Self {
        Self {
            state: Mutex::new(State {
                path: None,
                file: None,
            }),
            standard,
        }
    }

    /// Writes to this file from now on; `-` is the standard stream.
    ///
    /// # Errors
    /// The system's; the message names the file.
    pub fn open(&self, path: &str) -> io::Result<()> {
        let file = if path == STANDARD {
            None
        } else {
            Some(open(path)?)
        };
        *self.state() = State {
            path: Some(path.to_owned()),
            file,
        };
        Ok(())
    }

    /// Opens the file again; goes on with the old one when that fails.
    ///
    /// # Errors
    /// As [`Sink::open`].
    pub fn reopen(&self) -> io::Result<()> {
        let path = self.state().path.clone();
        match path {
            Some(path) if path != STANDARD => self.open(&path),
            _ => Ok(()),
        }
    }

    /// Writes all of it; what cannot be written is lost.
    pub fn write(&self, bytes: &[u8]) {
        let state = self.state();
        match state.file.as_ref() {
            Some(mut file) => drop(file.write_all(bytes)),
            None => write_all(self.standard, bytes),
        }
    }

    /// The descriptor behind it.
    pub fn descriptor(&self) -> RawFd {
        self.state()
            .file
            .as_ref()
            .map_or(self.standard, AsRawFd::as_raw_fd)
    }

    /// Makes standard output and standard error go here too, where here is a file.
    ///
    /// # Errors
    /// The system's.
    pub fn capture_output(&self) -> io::Result<()> {
        if let Some(file) = &self.state().file {
            rustix::stdio::dup2_stdout(file.as_fd())?;
            rustix::stdio::dup2_stderr(file.as_fd())?;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("log file \"{path}\" cannot be opened: {error}"),
            )
        })
}

fn write_all(standard: RawFd, mut bytes: &[u8]) {
    // SAFETY: 1 or 2; should the process have closed it, the write fails and nothing else happens.
    let descriptor = unsafe { BorrowedFd::borrow_raw(standard) };
    while !bytes.is_empty() {
        match rustix::io::write(descriptor, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                let mut writable = [rustix::event::PollFd::new(
                    &descriptor,
                    rustix::event::PollFlags::OUT,
                )];
                if rustix::event::poll(&mut writable, None).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
