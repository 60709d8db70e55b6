//! What a master did and saw, for the log: typed, so that each program may use its own words, and with words of its own.

use std::fmt;

use rustix::process::Pid;

use crate::board::Board;
use crate::exit::signal_name;
use crate::fleet::{Death, Ending, Generation, KillReason, Notice, Stuck, WorkerId};

/// How serious an [`Event`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of interest when looking for a fault.
    Debug,
    /// The normal course of things.
    Info,
    /// Something that people should know.
    Warning,
    /// Something that must be put right.
    Error,
}

/// Something that happened. `Display` gives one line without the program's name or a full stop.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A worker's process exists.
    Spawned {
        /// The worker.
        worker: WorkerId,
        /// Its process.
        pid: Pid,
        /// Its place, from 0.
        seat: u32,
        /// Its generation.
        generation: Generation,
    },
    /// A worker accepts requests.
    Ready {
        /// The worker.
        worker: WorkerId,
        /// Its process.
        pid: Option<Pid>,
    },
    /// A worker asked to be replaced.
    Leaving {
        /// The worker.
        worker: WorkerId,
        /// Its process.
        pid: Option<Pid>,
    },
    /// A worker could not be started.
    SpawnFailed {
        /// The worker.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// A worker was told to go.
    Told {
        /// The worker.
        worker: WorkerId,
        /// Its process.
        pid: Option<Pid>,
        /// How.
        ending: Ending,
    },
    /// A worker is stuck; it was sent SIGABRT.
    Stuck {
        /// The worker.
        worker: WorkerId,
        /// Its process.
        pid: Option<Pid>,
        /// How it was found out.
        stuck: Stuck,
        /// What it was doing, from its board.
        note: Option<String>,
    },
    /// A worker was sent SIGKILL.
    Killed {
        /// The worker.
        worker: WorkerId,
        /// Its process.
        pid: Option<Pid>,
        /// Why.
        reason: KillReason,
    },
    /// A worker is gone.
    Gone {
        /// The worker.
        worker: WorkerId,
        /// Its process.
        pid: Option<Pid>,
        /// How.
        death: Death,
        /// Was it ever ready?
        was_ready: bool,
        /// Was it told to go, or had it said that it would?
        expected: bool,
        /// The pause before its seat is filled again; `None` when it is not, or somebody sits there already.
        respawn_in: Option<std::time::Duration>,
        /// Did the kernel kill it for lack of memory, as far as the counter of the cgroup tells?
        out_of_memory: bool,
        /// Its board, with the numbers that it has left behind.
        board: Option<Board>,
    },
    /// What a worker said was not understood, or it cannot be spoken to.
    Channel {
        /// The worker.
        worker: WorkerId,
        /// Its process.
        pid: Option<Pid>,
        /// What is wrong.
        reason: String,
    },
    /// Anything else that the fleet tells.
    Fleet(Notice),
}

impl Event {
    /// How serious it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Told { .. } | Self::Leaving { .. } | Self::Ready { .. } => Level::Debug,
            Self::Spawned { .. } => Level::Info,
            Self::SpawnFailed { .. } | Self::Stuck { .. } => Level::Error,
            Self::Killed {
                reason: KillReason::Asked,
                ..
            } => Level::Info,
            Self::Killed { .. } | Self::Channel { .. } => Level::Warning,
            Self::Gone { expected: true, .. } => Level::Info,
            Self::Gone { .. } => Level::Error,
            Self::Fleet(Notice::ReloadFailed { .. }) => Level::Error,
            Self::Fleet(_) => Level::Info,
        }
    }
}

/// A process by its number, or the fact that there is none.
struct Process(Option<Pid>);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "worker (pid:{})", pid.as_raw_pid()),
            None => write!(f, "worker (not started)"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawned {
                pid,
                seat,
                generation,
                ..
            } => {
                let pid = Process(Some(*pid));
                write!(f, "{pid} started in seat {seat}, generation {generation}")
            }
            Self::Ready { pid, .. } => write!(f, "{} is ready", Process(*pid)),
            Self::Leaving { pid, .. } => write!(f, "{} asks to be replaced", Process(*pid)),
            Self::SpawnFailed { reason, .. } => write!(f, "a worker cannot be started: {reason}"),
            Self::Told { pid, ending, .. } => {
                let how = if *ending == Ending::Graceful {
                    "gracefully"
                } else {
                    "quickly"
                };
                write!(f, "{} is told to stop {how}", Process(*pid))
            }
            Self::Stuck {
                pid, stuck, note, ..
            } => stuck_words(f, *pid, *stuck, note.as_deref()),
            Self::Killed { pid, reason, .. } => {
                write!(
                    f,
                    "{} is sent SIGKILL: {}",
                    Process(*pid),
                    kill_words(*reason)
                )
            }
            Self::Gone { .. } => self.gone_words(f),
            Self::Channel { pid, reason, .. } => write!(f, "{}: {reason}", Process(*pid)),
            Self::Fleet(notice) => write!(f, "{notice}"),
        }
    }
}

impl Event {
    fn gone_words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Gone {
            pid,
            death,
            was_ready,
            expected,
            respawn_in,
            out_of_memory,
            ..
        } = self
        else {
            return Ok(());
        };
        write!(f, "{} {death}", Process(*pid))?;
        if !was_ready && !expected {
            write!(f, " before it was ready")?;
        }
        if *out_of_memory {
            write!(
                f,
                "; the kernel's OOM killer ended it for lack of memory (oom_kill of this cgroup has risen)"
            )?;
        }
        match respawn_in {
            Some(pause) if pause.is_zero() => write!(f, "; another one is started"),
            Some(pause) => write!(f, "; another one is started in {pause:?}"),
            None => Ok(()),
        }
    }
}

fn stuck_words(
    f: &mut fmt::Formatter<'_>,
    pid: Option<Pid>,
    stuck: Stuck,
    note: Option<&str>,
) -> fmt::Result {
    let pid = Process(pid);
    match stuck {
        Stuck::Busy { waited, .. } => {
            let note = note.unwrap_or("a request");
            write!(
                f,
                "{pid} has been busy with {note:?} for {} s",
                waited.as_secs()
            )?;
        }
        Stuck::Quiet { waited, .. } => {
            write!(
                f,
                "{pid} has shown no sign of life for {} s",
                waited.as_secs()
            )?;
            if let Some(note) = note {
                write!(f, " (its last request: {note:?})")?;
            }
        }
    }
    write!(
        f,
        "; it is sent {}",
        signal_name(libc::SIGABRT).unwrap_or_default()
    )
}

fn kill_words(reason: KillReason) -> &'static str {
    match reason {
        KillReason::NotReady => "it was not ready in time",
        KillReason::Stuck => "it was stuck and SIGABRT did not end it",
        KillReason::Overdue(Ending::Graceful) => "it did not finish its requests in time",
        KillReason::Overdue(_) => "it did not stop in time",
        KillReason::Asked => "everything is to end now",
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { workers, .. } => write!(f, "all {workers} workers are ready"),
            Self::Reloading { generation } => write!(f, "reload: generation {generation} starts"),
            Self::Reloaded {
                generation,
                workers,
            } => write!(
                f,
                "reload: all {workers} workers of generation {generation} are ready, the old ones retire"
            ),
            Self::ReloadFailed {
                generation, death, ..
            } => write!(
                f,
                "reload: generation {generation} is given up because a worker {death}; the old workers serve on"
            ),
            Self::Gone { death, .. } => write!(f, "a worker {death}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;
    use std::time::Duration;

    #[test]
    fn words_say_who_what_and_what_follows() {
        let pid = Pid::from_raw(12);
        let worker = WorkerId(1);
        let gone = Event::Gone {
            worker,
            pid,
            death: Death::Exited(Exit::Signal {
                number: 9,
                core_dumped: false,
            }),
            was_ready: false,
            expected: false,
            respawn_in: Some(Duration::from_millis(200)),
            out_of_memory: true,
            board: None,
        };
        assert_eq!(
            gone.to_string(),
            "worker (pid:12) was ended by SIGKILL before it was ready; the kernel's OOM killer ended it for lack of \
             memory (oom_kill of this cgroup has risen); another one is started in 200ms"
        );
        assert_eq!(gone.level(), Level::Error);
        let stuck = Stuck::Busy {
            lane: 0,
            waited: Duration::from_secs(30),
        };
        let stuck = Event::Stuck {
            worker,
            pid,
            stuck,
            note: Some("GET /report".into()),
        };
        assert_eq!(
            stuck.to_string(),
            "worker (pid:12) has been busy with \"GET /report\" for 30 s; it is sent SIGABRT"
        );
    }
}
