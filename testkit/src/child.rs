//! A guarded child process: whatever happens to the test, it ends with all its descendants of the same group.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{Deadline, StopFlag};

/// How long a child may take to end after it was asked to, before its group is killed.
const GRACE: Duration = Duration::from_secs(2);

/// A process that was started by a test. Dropping it kills its process group and reaps it.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
    ended: Option<ExitStatus>,
    farewell: Signal,
}

impl Child {
    /// Starts `command` as the leader of a process group of its own.
    ///
    /// # Errors
    /// Whatever `spawn` says, with the program's name.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let inner = command.process_group(0).spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("can't start \"{program}\": {error}"))
        })?;
        Ok(Child {
            inner,
            ended: None,
            farewell: Signal::TERM,
        })
    }

    /// Which signal asks the process to end when this is dropped; TERM unless said otherwise.
    #[must_use]
    pub fn with_farewell(mut self, signal: Signal) -> Self {
        self.farewell = signal;
        self
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Sends a signal to the process (not to its group).
    ///
    /// # Errors
    /// `NotFound` when it has ended already.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.ended()?.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the process has ended already",
            ));
        }
        Ok(kill_process(self.pid(), signal)?)
    }

    /// The processes whose working directory is `folder` or below it: daemons of a test that left their group.
    pub fn running_in(folder: &Path) -> Vec<Pid> {
        let within = |number: &i32| {
            std::fs::read_link(format!("/proc/{number}/cwd"))
                .is_ok_and(|cwd| cwd.starts_with(folder))
        };
        processes()
            .filter(within)
            .filter_map(Pid::from_raw)
            .collect()
    }

    /// The processes whose parent it is now.
    pub fn children(&self) -> Vec<Pid> {
        let own = self.inner.id().to_string();
        let mine = |number: &i32| parent(*number).as_deref() == Some(&own);
        processes().filter(mine).filter_map(Pid::from_raw).collect()
    }

    /// How it ended, when it has.
    ///
    /// # Errors
    /// Whatever `wait` says.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.inner.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// `TimedOut` when it still runs at the deadline.
    pub fn wait(&mut self, deadline: Deadline) -> io::Result<ExitStatus> {
        self.wait_unless(deadline, &StopFlag::default())
    }

    /// Waits for the end, but gives up as soon as `stop` is raised.
    ///
    /// # Errors
    /// `TimedOut` when it still runs at the deadline.
    pub fn wait_unless(&mut self, deadline: Deadline, stop: &StopFlag) -> io::Result<ExitStatus> {
        deadline
            .poll(stop, || self.ended().transpose())
            .unwrap_or_else(|| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("process {} still runs", self.inner.id()),
                ))
            })
    }

    /// The exit code, or 128 plus the signal's number as a shell would say.
    pub fn code(status: ExitStatus) -> i32 {
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.inner)
    }
}

/// The ids of all processes.
fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The parent of a process: the second word after its name, which may hold anything but ends with the last parenthesis.
fn parent(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1).map(str::to_owned)
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Ok(None) = self.ended() {
            let _ = kill_process(self.pid(), self.farewell);
            let _ = self.wait(Deadline::after(GRACE));
        }
        // Workers may outlive their master. The group's id cannot have been reused: it is free only when no member is left,
        // and an error is the answer then.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.inner.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PATIENCE, TempPrefix};
    use rustix::process::test_kill_process;

    #[test]
    fn tells_how_the_process_ended() {
        let mut child = Child::spawn(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        assert_eq!(
            Child::code(child.wait(Deadline::after(PATIENCE)).unwrap()),
            7
        );
        assert!(child.signal(Signal::TERM).is_err());
    }

    #[test]
    fn a_signal_counts_as_in_a_shell() {
        let mut child = Child::spawn(Command::new("sleep").arg("1000")).unwrap();
        child.signal(Signal::KILL).unwrap();
        assert_eq!(
            Child::code(child.wait(Deadline::after(PATIENCE)).unwrap()),
            128 + 9
        );
    }

    #[test]
    fn drop_ends_the_process_and_its_children() {
        let prefix = TempPrefix::new().unwrap();
        let script = "sleep 1000 & echo $! > grandchild.tmp; mv grandchild.tmp grandchild; wait";
        let child = Child::spawn(
            Command::new("sh")
                .args(["-c", script])
                .current_dir(prefix.path()),
        )
        .unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let grandchild = Deadline::after(PATIENCE)
            .poll(&StopFlag::default(), || {
                std::fs::read_to_string(prefix.join("grandchild")).ok()
            })
            .unwrap();
        let grandchild = Pid::from_raw(grandchild.trim().parse().unwrap()).unwrap();
        drop(child);
        assert!(test_kill_process(pid).is_err());
        // The grandchild becomes somebody else's zombie at most; it no longer runs.
        let gone = Deadline::after(PATIENCE).poll(&StopFlag::default(), || {
            let stat =
                std::fs::read_to_string(format!("/proc/{}/stat", grandchild.as_raw_nonzero()));
            stat.map_or(true, |stat| stat.contains(") Z "))
                .then_some(())
        });
        assert!(gone.is_some(), "the grandchild still runs");
    }

    #[test]
    fn knows_its_children() {
        let child = Child::spawn(Command::new("sh").args(["-c", "sleep 1000 & wait"])).unwrap();
        let found = Deadline::after(PATIENCE).poll(&StopFlag::default(), || child.children().pop());
        assert!(found.is_some());
    }

    #[test]
    fn finds_processes_by_their_folder() {
        let prefix = TempPrefix::new().unwrap();
        assert!(Child::running_in(prefix.path()).is_empty());
        let child =
            Child::spawn(Command::new("sleep").arg("1000").current_dir(prefix.path())).unwrap();
        let found = Child::running_in(prefix.path());
        assert_eq!(found, [Pid::from_raw(child.id() as i32).unwrap()]);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Child::spawn(&mut Command::new("/nowhere/at-all")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at-all"), "{error}");
    }
}
