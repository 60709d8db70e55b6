//! Processes that are run to their end or until somebody says stop, and that never outlive us.
//!
//! Every child leads a process group of its own. We are the reaper of whatever its descendants leave behind, so that
//! a server that put itself into the background is still found below us, and ended.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use std::os::unix::process::{CommandExt, ExitStatusExt};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group};
use testkit::{Deadline, StopFlag};

use crate::tree;

/// How long a process may take to end after TERM before KILL follows.
const GRACE: Duration = Duration::from_secs(30);

/// How often the processes that were left to us are looked after while we wait for one of ours.
const REAP_EVERY: Duration = Duration::from_millis(200);

/// Raised by Ctrl-C and TERM.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Our own children: each has somebody who waits for it.
static OWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Becomes the reaper of orphans and takes over INT, TERM and HUP. To be called once, at the start.
pub fn prepare() {
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ] {
        // A second one ends us at once, for whoever is in a hurry.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, INTERRUPTED.clone());
        let _ = signal_hook::flag::register(signal, INTERRUPTED.clone());
    }
}

/// Whether somebody asked us to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The error for it.
pub fn check_interrupted() -> Result<(), String> {
    if interrupted() {
        Err("interrupted".to_owned())
    } else {
        Ok(())
    }
}

/// Ends all processes below us; their names.
pub fn end_everything() -> Vec<String> {
    end(&tree::descendants(std::process::id()))
}

/// Ends these processes below us; their names.
pub fn end(left: &[tree::Process]) -> Vec<String> {
    let names = left
        .iter()
        .map(|process| format!("{} ({})", process.command_line(), process.pid))
        .collect();
    for process in left {
        tree::signal(process.pid, Signal::KILL);
    }
    reap_orphans();
    names
}

/// Takes note of the end of processes that were left to us, as init would: daemons of a test end while it looks.
pub fn reap_orphans() {
    let own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    for orphan in tree::ended_children(std::process::id()) {
        if !own.contains(&orphan)
            && let Some(pid) = i32::try_from(orphan).ok().and_then(Pid::from_raw)
        {
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// Starts a child that somebody of us will wait for.
fn spawn(command: &mut Command) -> Result<Child, String> {
    // The reaper looks on only when the new child is among ours.
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let child = command
        .spawn()
        .map_err(|error| format!("can't start `{}`: {error}", describe(command)))?;
    own.insert(child.id());
    Ok(child)
}

/// Its end was noted; the number may be another's from now on.
fn forget(pid: u32) {
    OWN.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&pid);
}

/// A process with a group of its own that is ended, with all its descendants, when this is dropped.
pub struct Guarded {
    child: Child,
    name: String,
    ended: Option<ExitStatus>,
}

impl Guarded {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = spawn(command.process_group(0))?;
        Ok(Guarded {
            child,
            name,
            ended: None,
        })
    }

    /// Starts it with its output added to a file.
    pub fn spawn_logged(command: &mut Command, log: &Path) -> Result<Self, String> {
        let file = append(log)?;
        let copy = file.try_clone().map_err(|error| error.to_string())?;
        Guarded::spawn(command.stdin(Stdio::null()).stdout(file).stderr(copy))
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
            if self.ended.is_some() {
                forget(self.child.id());
            }
        }
        self.ended
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Waits for its end; an error when that takes longer than `limit` or somebody interrupts.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let deadline = Deadline::after(limit);
        let mut looked = Instant::now();
        let status = deadline.poll(&StopFlag::default(), || {
            if looked.elapsed() > REAP_EVERY {
                reap_orphans();
                looked = Instant::now();
            }
            self.ended()
                .map(Some)
                .or_else(|| interrupted().then_some(None))
        });
        match status {
            Some(Some(status)) => Ok(status),
            Some(None) => Err("interrupted".to_owned()),
            None => Err(format!(
                "\"{}\" still ran after {} s",
                self.name,
                limit.as_secs()
            )),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let below = tree::descendants(self.child.id());
        if self.ended().is_none() {
            self.signal(Signal::TERM);
            let gone = Deadline::after(GRACE).poll(&StopFlag::default(), || self.ended().map(drop));
            if gone.is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
                forget(self.child.id());
            }
        }
        // The group's id can't have been reused: it is free only when no member is left, and an error is the answer then.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        for process in below {
            if process.still_the_same() {
                tree::signal(process.pid, Signal::KILL);
            }
        }
    }
}

/// Opens a log for adding to it.
pub fn append(log: &Path) -> Result<File, String> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|error| format!("can't write \"{}\": {error}", log.display()))
}

/// Runs a command to its end with its output added to `log`. Success, or what to tell.
pub fn run(command: &mut Command, log: &Path, limit: Duration) -> Result<(), String> {
    use std::io::Write;
    let line = describe(command);
    let _ = writeln!(append(log)?, "$ {line}");
    let start = Instant::now();
    let status = Guarded::spawn_logged(command, log)?.wait(limit)?;
    let _ = writeln!(
        append(log)?,
        "({}, {:.1} s)\n",
        outcome(status),
        start.elapsed().as_secs_f64()
    );
    success(status, &line)
}

/// Runs a command to its end on the terminal. Ctrl-C reaches it as well, and it is waited for all the same.
pub fn run_on_terminal(command: &mut Command) -> Result<ExitStatus, String> {
    let mut child = spawn(command)?;
    let status = child.wait().map_err(|error| error.to_string());
    forget(child.id());
    status
}

/// The output of a command that succeeds.
pub fn output(command: &mut Command) -> Result<String, String> {
    let line = describe(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = spawn(command.stderr(Stdio::piped()))?;
    let pid = child.id();
    let output = child
        .wait_with_output()
        .map_err(|error| format!("`{line}`: {error}"));
    forget(pid);
    let output = output?;
    success(output.status, &line).map_err(|problem| {
        format!(
            "{problem}\n{}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An error unless the command succeeded.
pub fn success(status: ExitStatus, line: &str) -> Result<(), String> {
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}`: {}", outcome(status)))
    }
}

/// An exit status in words.
pub fn outcome(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("ended by signal {}", signal.unwrap_or(0)),
    }
}

/// A command as one would type it, roughly.
pub fn describe(command: &Command) -> String {
    let mut line = short(Path::new(command.get_program()));
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        line.push(' ');
        if argument.is_empty() || argument.contains([' ', ';', '"']) {
            line.push_str(&format!("'{argument}'"));
        } else {
            line.push_str(&argument);
        }
    }
    line
}

fn short(program: &Path) -> String {
    match program.file_name() {
        Some(name) if name == "cargo" => "cargo".to_owned(),
        _ => program.display().to_string(),
    }
}

/// The end of a text file.
pub fn tail(path: &Path, lines_max: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(lines_max)..].join("\n")
}

/// The program of this name on the PATH or in the system's own folders.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}
