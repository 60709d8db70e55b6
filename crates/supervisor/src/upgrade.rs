//! Replacing the program while it runs (USR2): the new binary is started beside the old one and gets its sockets by the
//! `LISTEN_FDS` protocol. Both serve until the old one is told to go.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open};
use socket_activation::{HandoverError, Successor};

use crate::bind::Listeners;

/// Tells a new binary which process it replaces.
const VARIABLE: &str = "SUPERVISOR_PREDECESSOR";

/// How this process was started, kept so that it can be started again: program, arguments, folder, environment.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The file, found as the shell found it: an upgrade puts another one in its place.
    pub program: PathBuf,
    /// The program's own name for itself.
    pub arg0: OsString,
    /// The arguments after it.
    pub args: Vec<OsString>,
    /// The folder, by the name in `PWD` when that is the same folder.
    pub folder: PathBuf,
    /// The environment, without what belongs to an upgrade.
    pub variables: Vec<(OsString, OsString)>,
}

impl Launch {
    /// Takes note; call it at the start, before the folder or the environment change.
    ///
    /// # Errors
    /// When the present folder is gone.
    pub fn capture() -> io::Result<Self> {
        let mut args = env::args_os();
        let folder = folder()?;
        let arg0 = args.next().unwrap_or_default();
        let program = find(&arg0, &folder)
            .or_else(|| env::current_exe().ok())
            .unwrap_or_else(|| PathBuf::from(&arg0));
        let variables = env::vars_os()
            .filter(|(name, _)| name != VARIABLE)
            .collect();
        Ok(Self {
            program,
            arg0,
            args: args.collect(),
            folder,
            variables,
        })
    }

    /// The same program again, as the successor of this process. Add the sockets and start it.
    #[must_use]
    pub fn successor(&self) -> Successor {
        let next = Successor::new(&self.program)
            .arg0(&self.arg0)
            .args(&self.args)
            .current_dir(&self.folder)
            .env_clear();
        let with_variables = self
            .variables
            .iter()
            .fold(next, |next, (name, value)| next.env(name, value));
        with_variables.env(VARIABLE, getpid().as_raw_pid().to_string())
    }
}

/// Why an upgrade was not begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// One is under way.
    #[error(
        "an upgrade is under way already: process {} is the new one; stop it or this one first",
        pid.as_raw_pid()
    )]
    UnderWay {
        /// The new process.
        pid: Pid,
    },
    /// The new binary cannot be started.
    #[error(transparent)]
    Handover(#[from] HandoverError),
}

/// The upgrade that this process began, if it did: at most one at a time.
#[derive(Debug, Default)]
pub struct Upgrade {
    child: Option<Pid>,
}

impl Upgrade {
    /// Starts the program again, with the sockets of `listeners`. From now on their files are the new process' to remove.
    /// `prepare` adds what else the program wants to hand over.
    ///
    /// # Errors
    /// [`UpgradeError`]; nothing has changed then.
    pub fn begin(
        &mut self,
        launch: &Launch,
        listeners: &mut Listeners,
        prepare: impl FnOnce(Successor) -> Result<Successor, HandoverError>,
    ) -> Result<Pid, UpgradeError> {
        if let Some(pid) = self.child {
            return Err(UpgradeError::UnderWay { pid });
        }
        let pid = Pid::from_child(&prepare(listeners.attach(launch.successor())?)?.spawn()?);
        listeners.give_files_away();
        self.child = Some(pid);
        Ok(pid)
    }

    /// The new process, while it lives.
    #[must_use]
    pub fn child(&self) -> Option<Pid> {
        self.child
    }

    /// Tell it of every child that ended: when that was the new process, the upgrade has failed, the files are this
    /// process' again, and the answer is `true`.
    pub fn ended(&mut self, pid: Pid, listeners: &mut Listeners) -> bool {
        if self.child != Some(pid) {
            return false;
        }
        self.child = None;
        listeners.take_files_back();
        true
    }
}

/// The process that this one is to replace, seen from the new binary.
#[derive(Debug)]
pub struct Predecessor {
    pid: Pid,
    fd: OwnedFd,
}

impl Predecessor {
    /// The process that started this one for an upgrade; `None` when this is no upgrade, or it is gone already.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let pid = crate::pidfile::parse(&env::var(VARIABLE).ok()?)?;
        // The variable may have been handed down further; only a child is a successor.
        if getppid() != Some(pid) {
            return None;
        }
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // It may have ended before it was opened, and its number be another's.
        (getppid() == Some(pid)).then_some(Self { pid, fd })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Is it gone?
    #[must_use]
    pub fn is_gone(&self) -> bool {
        getppid() != Some(self.pid)
    }

    /// Sends it a signal: SIGQUIT, say, when all is well here.
    ///
    /// # Errors
    /// The kernel's, when it is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.is_gone() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        Ok(kill_process(self.pid, signal)?)
    }
}

/// Becomes readable when the process ends: a source for the [`Master`](crate::Master).
impl AsFd for Predecessor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `PWD` keeps the symbolic links that an atomic deployment turns over.
fn folder() -> io::Result<PathBuf> {
    let here = env::current_dir()?;
    let Some(named) = env::var_os("PWD")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
    else {
        return Ok(here);
    };
    let same = |one: &Path, other: &Path| {
        let (one, other) = (one.metadata().ok()?, other.metadata().ok()?);
        Some(one.dev() == other.dev() && one.ino() == other.ino())
    };
    Ok(if same(&named, &here) == Some(true) {
        named
    } else {
        here
    })
}

/// The file behind the name that the program was called by.
fn find(arg0: &OsStr, folder: &Path) -> Option<PathBuf> {
    let executable = |file: &PathBuf| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if arg0.as_encoded_bytes().contains(&b'/') {
        return Some(folder.join(arg0)).filter(executable);
    }
    if arg0.is_empty() {
        return None;
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|place| folder.join(place).join(arg0))
        .find(executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        assert!(
            find(OsStr::new("sh"), Path::new("/"))
                .unwrap()
                .ends_with("sh")
        );
        assert_eq!(
            find(OsStr::new("./sh"), Path::new("/bin")),
            Some("/bin/./sh".into())
        );
        assert_eq!(
            find(OsStr::new("/bin/sh"), Path::new("/tmp")),
            Some("/bin/sh".into())
        );
        assert_eq!(find(OsStr::new("/etc/passwd"), Path::new("/")), None);
        assert_eq!(find(OsStr::new(""), Path::new("/")), None);
    }

    #[test]
    fn a_process_that_nobody_upgraded_has_no_predecessor() {
        assert!(Predecessor::from_env().is_none());
        let launch = Launch::capture().unwrap();
        assert!(launch.program.is_absolute() && launch.folder.is_absolute());
    }
}
