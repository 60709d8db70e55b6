//! How a process ended, in words and as an exit code.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::WaitStatus;

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It called `exit` with this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The number of the signal.
        number: i32,
        /// Was a core file written?
        core_dumped: bool,
    },
}

impl Exit {
    /// From `waitpid(2)`; `None` for processes that merely stopped or continued.
    #[must_use]
    pub fn from_wait(status: WaitStatus) -> Option<Self> {
        if let Some(code) = status.exit_status() {
            return Some(Self::Code(code));
        }
        let number = status.terminating_signal()?;
        Some(Self::Signal {
            number,
            core_dumped: libc::WCOREDUMP(status.as_raw()),
        })
    }

    /// Did it end by SIGKILL? Then it had no chance to say why.
    #[must_use]
    pub fn was_killed(self) -> bool {
        matches!(
            self,
            Self::Signal {
                number: libc::SIGKILL,
                ..
            }
        )
    }

    /// Is this exit code 0?
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// As shells and container runtimes count: the code itself, or 128 + the number of the signal.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        match self {
            Self::Code(code) => code as u8, // the kernel keeps eight bits anyway
            Self::Signal { number, .. } => 128u8.saturating_add(number as u8),
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match status.signal() {
            Some(number) => Self::Signal {
                number,
                core_dumped: status.core_dumped(),
            },
            None => Self::Code(status.code().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal {
                number,
                core_dumped,
            } => {
                write!(f, "was ended by {}", signal_words(*number))?;
                if *core_dumped {
                    write!(f, ", core dumped")
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// A signal's name with what it commonly means: `SIGSEGV (invalid memory access)`.
#[must_use]
pub fn signal_words(number: i32) -> String {
    match (signal_name(number), signal_meaning(number)) {
        (Some(name), Some(meaning)) => format!("{name} ({meaning})"),
        (Some(name), None) => name.to_owned(),
        _ => format!("signal {number}"),
    }
}

/// `SIGTERM` for 15; `None` for numbers without a name of their own (real-time signals).
#[must_use]
pub fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGCHLD => "SIGCHLD",
        libc::SIGCONT => "SIGCONT",
        libc::SIGSTOP => "SIGSTOP",
        libc::SIGTSTP => "SIGTSTP",
        libc::SIGTTIN => "SIGTTIN",
        libc::SIGTTOU => "SIGTTOU",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGWINCH => "SIGWINCH",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

fn signal_meaning(number: i32) -> Option<&'static str> {
    Some(match number {
        libc::SIGILL => "illegal instruction",
        libc::SIGABRT => "it gave up by itself, or was stuck",
        libc::SIGBUS => "access to memory or a file that went away",
        libc::SIGFPE => "arithmetic fault",
        libc::SIGSEGV => "invalid memory access",
        libc::SIGXCPU => "limit of CPU time",
        libc::SIGXFSZ => "limit of file size",
        libc::SIGSYS => "a system call that is not allowed",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_the_signal_and_what_it_means() {
        let signal = |number, core_dumped| {
            Exit::Signal {
                number,
                core_dumped,
            }
            .to_string()
        };
        assert_eq!(Exit::Code(3).to_string(), "exited with code 3");
        assert_eq!(signal(9, false), "was ended by SIGKILL");
        assert_eq!(
            signal(11, true),
            "was ended by SIGSEGV (invalid memory access), core dumped"
        );
        assert_eq!(signal(40, false), "was ended by signal 40");
    }

    #[test]
    fn codes_are_those_of_a_shell() {
        assert_eq!(Exit::Code(3).shell_code(), 3);
        assert_eq!(
            Exit::Signal {
                number: 15,
                core_dumped: false
            }
            .shell_code(),
            143
        );
    }

    #[test]
    fn a_real_process_is_read_rightly() {
        for (script, expected) in [
            ("exit 7", Exit::Code(7)),
            (
                "kill -TERM $$",
                Exit::Signal {
                    number: 15,
                    core_dumped: false,
                },
            ),
        ] {
            let status = std::process::Command::new("sh")
                .args(["-c", script])
                .status()
                .unwrap();
            assert_eq!(Exit::from(status), expected);
        }
    }
}
