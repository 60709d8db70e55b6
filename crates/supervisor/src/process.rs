//! What a process sets up for itself: umask, folder, limits, becoming a daemon.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, chdir, getrlimit, set_dumpable_behavior, setrlimit, setsid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Why the process could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The folder cannot be entered.
    #[error("cannot change to the folder {folder:?}: {source}")]
    Folder {
        /// The folder.
        folder: std::path::PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The limit of open files cannot be raised.
    #[error(
        "the limit of open files cannot be raised to {wanted} (the hard limit is {hard}): {source}; \
         start as root, or raise LimitNOFILE= in the unit"
    )]
    OpenFiles {
        /// What was asked for.
        wanted: u64,
        /// The hard limit.
        hard: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Only one of several threads would survive.
    #[error(
        "a process with {0} threads cannot become a daemon; it must be done before any thread is started"
    )]
    Threads(usize),
    /// A step of becoming a daemon failed.
    #[error("cannot become a daemon: {step} failed: {source}")]
    Daemon {
        /// The step.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Sets the file mode creation mask and returns the one before.
pub fn set_umask(mask: u32) -> u32 {
    rustix::process::umask(Mode::from_raw_mode(mask)).as_raw_mode()
}

/// Enters a folder.
///
/// # Errors
/// [`SetupError::Folder`].
pub fn enter(folder: &Path) -> Result<(), SetupError> {
    chdir(folder).map_err(|errno| SetupError::Folder {
        folder: folder.to_path_buf(),
        source: errno.into(),
    })
}

/// Raises the limit of open files: to `wanted`, or as far as the hard limit allows when that is `None`. Never lowers the
/// hard limit. Returns the limit in force.
///
/// # Errors
/// [`SetupError::OpenFiles`].
pub fn raise_open_files(wanted: Option<u64>) -> Result<u64, SetupError> {
    let now = getrlimit(Resource::Nofile);
    let (Some(current), Some(hard)) = (now.current, now.maximum) else {
        return Ok(now.current.or(wanted).unwrap_or(u64::MAX));
    };
    let target = wanted.unwrap_or(hard);
    if wanted.is_none() && current >= target {
        return Ok(current);
    }
    let new = Rlimit {
        current: Some(target),
        maximum: Some(hard.max(target)),
    };
    match setrlimit(Resource::Nofile, new) {
        Ok(()) => Ok(target),
        Err(errno) => Err(SetupError::OpenFiles {
            wanted: target,
            hard,
            source: errno.into(),
        }),
    }
}

/// Lets the kernel write core files again, and debuggers of the same user attach, which both ends when a process becomes
/// another user. A core file holds everything that was in memory, keys too.
///
/// # Errors
/// The kernel's.
pub fn allow_core_files() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

/// How to become a daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Daemon {
    /// Keep standard output.
    pub keep_stdout: bool,
    /// Keep standard error: messages still reach the terminal, until [`silence`] is called.
    pub keep_stderr: bool,
    /// The process that was started waits until [`Waiting::release`] says that all is well, or how it failed.
    pub wait: bool,
}

/// The process that was started, if it waits.
#[derive(Debug)]
#[must_use = "dropping it makes the waiting process end with code 1"]
pub struct Waiting(Option<fs::File>);

impl Waiting {
    /// Lets it end, with this exit code.
    pub fn release(self, code: u8) {
        if let Some(mut pipe) = self.0 {
            let _ = pipe.write_all(&[code]);
        }
    }
}

/// Leaves the terminal: forks twice, becomes the leader of a session in between, and turns the standard streams to
/// `/dev/null`. Returns in the daemon only. The folder and the umask stay as they are.
///
/// # Errors
/// [`SetupError::Threads`], [`SetupError::Daemon`].
pub fn daemonize(how: Daemon) -> Result<Waiting, SetupError> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(SetupError::Threads(threads));
    }
    let _ = io::stdout().flush();
    let pipe = match how.wait {
        true => Some(pipe_with(PipeFlags::CLOEXEC).map_err(daemon_fault("pipe"))?),
        false => None,
    };
    if fork()? {
        leave(pipe);
    }
    setsid().map_err(daemon_fault("setsid"))?;
    if fork()? {
        // SAFETY: ends the process between the forks without running anything of the program's.
        unsafe { libc::_exit(0) };
    }
    silence(how.keep_stdout, how.keep_stderr)?;
    Ok(Waiting(pipe.map(|(_, write)| fs::File::from(write))))
}

/// Turns the standard streams to `/dev/null`, but for those that are kept.
///
/// # Errors
/// [`SetupError::Daemon`].
pub fn silence(keep_stdout: bool, keep_stderr: bool) -> Result<(), SetupError> {
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(daemon_fault("opening /dev/null"))?;
    dup2_stdin(&null).map_err(daemon_fault("dup2"))?;
    if !keep_stdout {
        dup2_stdout(&null).map_err(daemon_fault("dup2"))?;
    }
    if !keep_stderr {
        dup2_stderr(null.as_fd()).map_err(daemon_fault("dup2"))?;
    }
    Ok(())
}

fn daemon_fault(step: &'static str) -> impl Fn(rustix::io::Errno) -> SetupError {
    move |errno| SetupError::Daemon {
        step,
        source: errno.into(),
    }
}

/// `true` in the parent.
fn fork() -> Result<bool, SetupError> {
    // SAFETY: there is one thread only (checked by the caller), so the child is a whole process.
    match unsafe { libc::fork() } {
        -1 => Err(SetupError::Daemon {
            step: "fork",
            source: io::Error::last_os_error(),
        }),
        0 => Ok(false),
        _ => Ok(true),
    }
}

/// The process that was started ends here, at once or when the daemon has spoken.
fn leave(pipe: Option<(OwnedFd, OwnedFd)>) -> ! {
    let mut code = [0];
    if let Some((read, write)) = pipe {
        drop(write);
        code = [1]; // the daemon ended without a word
        let _ = fs::File::from(read).read_exact(&mut code);
    }
    // SAFETY: ends the process without running destructors that belong to the daemon.
    unsafe { libc::_exit(i32::from(code[0])) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_no_daemon() {
        // The test harness runs each test in a thread of its own.
        let words = daemonize(Daemon::default()).unwrap_err().to_string();
        assert!(words.contains("before any thread is started"), "{words}");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let words = enter(Path::new("/no/such/folder")).unwrap_err().to_string();
        assert!(words.contains("\"/no/such/folder\""), "{words}");
    }

    #[test]
    fn the_limit_of_open_files_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let now = raise_open_files(None).unwrap();
        assert_eq!(hard.unwrap_or(now), now);
    }
}
