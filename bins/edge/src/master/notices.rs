//! What the master says in the error log, in nginx's words where it has some.

use proxy_core::engine::logs::Level;
use supervisor::exit::signal_name;
use supervisor::{Death, Event, Exit, Notice, Pid, Signal};

use super::Edge;

impl Edge {
    pub(super) fn log_signal(&self, signal: Signal) {
        let number = signal.as_raw();
        let action = match signal {
            Signal::TERM | Signal::INT => ", exiting",
            Signal::QUIT => ", shutting down",
            Signal::HUP => ", reconfiguring",
            Signal::USR1 => ", reopening logs",
            Signal::USR2 => ", changing binary",
            Signal::WINCH if self.daemon => ", stop accepting connections",
            _ => ", ignored",
        };
        let name = signal_name(number).unwrap_or("?");
        self.log(
            Level::Notice,
            format_args!("signal {number} ({name}) received{action}"),
        );
    }

    pub(super) fn log_event(&self, event: &Event) {
        match event {
            Event::Spawned { pid, .. } => {
                self.log(
                    Level::Notice,
                    format_args!("start worker process {}", pid.as_raw_pid()),
                );
            }
            Event::Gone {
                pid,
                death,
                was_ready,
                expected,
                respawn_in,
                out_of_memory,
                ..
            } => {
                let pid = pid.map_or(0, Pid::as_raw_pid);
                let level = if *expected {
                    Level::Notice
                } else {
                    Level::Alert
                };
                let early = if *was_ready || *expected {
                    ""
                } else {
                    " before it was ready"
                };
                let memory = if *out_of_memory {
                    "; the kernel's OOM killer ended it for lack of memory (oom_kill of this cgroup has risen)"
                } else {
                    ""
                };
                let next = match respawn_in {
                    Some(pause) if !pause.is_zero() => {
                        format!("; another one is started in {pause:?}")
                    }
                    _ => String::new(),
                };
                self.log(
                    level,
                    format_args!(
                        "worker process {pid} {}{early}{memory}{next}",
                        death_words(*death)
                    ),
                );
            }
            Event::SpawnFailed { reason, .. } => {
                self.say(
                    Level::Alert,
                    &format!("a worker process can't be started: {reason}"),
                );
            }
            Event::Fleet(Notice::ReloadFailed { .. }) => {
                self.log(Level::Alert, format_args!("{event}"));
            }
            Event::Fleet(_) | Event::Ready { .. } | Event::Told { .. } => {
                self.log(Level::Info, format_args!("{event}"));
            }
            _ => self.log(level_of(event), format_args!("{event}")),
        }
    }
}

/// As nginx says it.
fn death_words(death: Death) -> String {
    match death {
        Death::Exited(Exit::Code(code)) => format!("exited with code {code}"),
        Death::Exited(Exit::Signal {
            number,
            core_dumped,
        }) => {
            let core = if core_dumped { " (core dumped)" } else { "" };
            format!("exited on signal {number}{core}")
        }
        other => other.to_string(),
    }
}

fn level_of(event: &Event) -> Level {
    match event.level() {
        supervisor::Level::Debug => Level::Debug,
        supervisor::Level::Info => Level::Notice,
        supervisor::Level::Warning => Level::Warn,
        supervisor::Level::Error => Level::Alert,
    }
}
