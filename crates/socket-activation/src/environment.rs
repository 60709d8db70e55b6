//! What the environment announces, read without touching a descriptor: pure, so that every case can be tested.

use std::env;
use std::ffi::OsString;
use std::fmt;

use crate::{FIRST_FD, name};

/// The variables that announce sockets. Remove them from the environment of children that shall not take them.
pub const LISTEN_VARIABLES: [&str; 4] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
];

/// Name that `sd_listen_fds_with_names(3)` gives to a descriptor without one.
const UNNAMED: &str = "unknown";

/// Why the announced sockets could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// [`Sockets::take`](crate::Sockets::take) ran before in this process.
    #[error(
        "the sockets announced by LISTEN_FDS were taken before in this process; \
         take them once, at the start of main, and pass them on"
    )]
    TakenBefore,
    /// A variable does not hold what the protocol says.
    #[error("the variable {variable} is {value:?}, expected {expected}; {advice}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// More names than descriptors.
    #[error(
        "LISTEN_FDNAMES has {names} names ({value:?}) for the {fds} descriptors of LISTEN_FDS; \
         give each descriptor one name, or leave LISTEN_FDNAMES out"
    )]
    MoreNames {
        /// How many names there are.
        names: usize,
        /// How many descriptors are announced.
        fds: usize,
        /// The list of names.
        value: String,
    },
    /// An announced descriptor is closed.
    #[error(
        "LISTEN_FDS announces {fds} descriptors from number 3 on, but number {fd} is not open; \
         something closed it before it was taken, or whoever started this process passed too few"
    )]
    NotOpen {
        /// The number that is not open.
        fd: i32,
        /// How many descriptors are announced.
        fds: usize,
    },
    /// An announced descriptor cannot have been inherited.
    #[error(
        "descriptor {fd} is announced by LISTEN_FDS but is marked close-on-exec, so this process opened it itself; \
         take the sockets at the start of main, before anything is opened"
    )]
    OpenedHere {
        /// Its number.
        fd: i32,
    },
    /// A descriptor that was asked for by its number cannot be taken over.
    #[error(
        "descriptor {fd} cannot be taken over: {reason}; open it in whatever starts this process (systemd, a shell)"
    )]
    NotInherited {
        /// Its number.
        fd: i32,
        /// Why.
        reason: &'static str,
    },
    /// The kernel would not tell about a descriptor, or not mark it close-on-exec.
    #[error("descriptor {fd} of LISTEN_FDS cannot be examined: {source}")]
    Examine {
        /// Its number.
        fd: i32,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// Why there are no sockets, when there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Absence {
    /// `LISTEN_FDS` or `LISTEN_PID` is not set: nobody announces sockets.
    NotAnnounced,
    /// `LISTEN_FDS` is 0.
    NoneAnnounced,
    /// `LISTEN_PID` names another process: the variables were inherited from a parent or kept by a wrapper.
    OtherProcess {
        /// The process they are for.
        announced: u32,
        /// This process.
        own: u32,
    },
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnnounced => write!(f, "LISTEN_FDS and LISTEN_PID are not both set"),
            Self::NoneAnnounced => write!(f, "LISTEN_FDS is 0"),
            Self::OtherProcess { announced, own } => write!(
                f,
                "LISTEN_PID is {announced} but this process is {own}: the sockets are meant for another process \
                 (a wrapper that forks must exec instead)"
            ),
        }
    }
}

/// How many descriptors are announced, counted from 3, and the names of the first few of them.
#[derive(Debug)]
pub(crate) struct Announcement {
    pub(crate) fds: usize,
    given: Vec<String>,
}

impl Announcement {
    /// One name for each descriptor, in order.
    pub(crate) fn into_names(self) -> impl Iterator<Item = String> {
        let unnamed = std::iter::repeat_with(|| UNNAMED.to_owned());
        self.given.into_iter().chain(unnamed).take(self.fds)
    }
}

/// Reads the variables of this process.
pub(crate) fn read() -> Result<Result<Announcement, Absence>, TakeError> {
    parse(std::process::id(), |variable| env::var_os(variable))
}

/// Reads the announcement from any source of variables, for the process `own`.
fn parse(
    own: u32,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Result<Announcement, Absence>, TakeError> {
    let (Some(pid), Some(fds)) = (variable("LISTEN_PID"), variable("LISTEN_FDS")) else {
        return Ok(Err(Absence::NotAnnounced));
    };
    let announced = number(
        "LISTEN_PID",
        &pid,
        "the number of a process",
        "unset it or correct it",
    )?;
    if announced != own {
        return Ok(Err(Absence::OtherProcess { announced, own }));
    }
    let fds = number(
        "LISTEN_FDS",
        &fds,
        "a number of descriptors",
        "unset LISTEN_FDS and LISTEN_PID if no sockets are passed",
    )?;
    let fds = usize::try_from(fds)
        .ok()
        .filter(|fds| *fds <= (i32::MAX - FIRST_FD) as usize)
        .ok_or_else(|| TakeError::Variable {
            variable: "LISTEN_FDS",
            value: fds.to_string(),
            expected: "a number of descriptors",
            advice: "no process can have that many",
        })?;
    if fds == 0 {
        return Ok(Err(Absence::NoneAnnounced));
    }
    names(fds, variable("LISTEN_FDNAMES")).map(Ok)
}

fn number(
    variable: &'static str,
    value: &OsString,
    expected: &'static str,
    advice: &'static str,
) -> Result<u32, TakeError> {
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| TakeError::Variable {
            variable,
            value: value.to_string_lossy().into_owned(),
            expected,
            advice,
        })
}

fn names(fds: usize, list: Option<OsString>) -> Result<Announcement, TakeError> {
    let list = list
        .map(|list| list.to_string_lossy().into_owned())
        .unwrap_or_default();
    if list.is_empty() {
        return Ok(Announcement {
            fds,
            given: Vec::new(),
        });
    }
    let mut given: Vec<String> = list.split(':').map(str::to_owned).collect();
    if given.len() > fds {
        return Err(TakeError::MoreNames {
            names: given.len(),
            fds,
            value: list,
        });
    }
    for name in given.iter_mut().filter(|name| name::fault(name).is_some()) {
        UNNAMED.clone_into(name);
    }
    Ok(Announcement { fds, given })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 42;

    fn parse_from(variables: &[(&str, &str)]) -> Result<Result<Vec<String>, Absence>, TakeError> {
        let announcement = parse(OWN, |name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        })?;
        Ok(announcement.map(|announcement| announcement.into_names().collect()))
    }

    #[test]
    fn names_are_padded_as_the_manual_says() {
        let names = parse_from(&[
            ("LISTEN_PID", "42"),
            ("LISTEN_FDS", "3"),
            ("LISTEN_FDNAMES", "http::"),
        ]);
        assert_eq!(names.unwrap().unwrap(), ["http", "unknown", "unknown"]);
        let names = parse_from(&[("LISTEN_PID", "42"), ("LISTEN_FDS", "2")]);
        assert_eq!(names.unwrap().unwrap(), ["unknown", "unknown"]);
        let names = parse_from(&[
            ("LISTEN_PID", "42"),
            ("LISTEN_FDS", "2"),
            ("LISTEN_FDNAMES", "a"),
        ]);
        assert_eq!(names.unwrap().unwrap(), ["a", "unknown"]);
    }

    #[test]
    fn says_why_there_is_nothing() {
        let absent = |variables: &[(&str, &str)]| parse_from(variables).unwrap().unwrap_err();
        assert_eq!(absent(&[]), Absence::NotAnnounced);
        assert_eq!(absent(&[("LISTEN_FDS", "1")]), Absence::NotAnnounced);
        assert_eq!(
            absent(&[("LISTEN_PID", "42"), ("LISTEN_FDS", "0")]),
            Absence::NoneAnnounced
        );
        let other = absent(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "1")]);
        assert_eq!(
            other,
            Absence::OtherProcess {
                announced: 7,
                own: OWN
            }
        );
        assert!(other.to_string().contains("LISTEN_PID is 7"), "{other}");
    }

    #[test]
    fn refuses_nonsense_and_names_the_variable() {
        for (pid, fds, fault) in [
            ("x", "1", "LISTEN_PID"),
            ("-1", "1", "LISTEN_PID"),
            ("42", "", "LISTEN_FDS"),
            ("42", "-1", "LISTEN_FDS"),
            ("42", "1x", "LISTEN_FDS"),
            ("42", "4294967295", "LISTEN_FDS"),
            ("42", "99999999999", "LISTEN_FDS"),
        ] {
            let error = parse_from(&[("LISTEN_PID", pid), ("LISTEN_FDS", fds)]).unwrap_err();
            assert!(error.to_string().contains(fault), "{error}");
        }
    }

    #[test]
    fn refuses_more_names_than_descriptors() {
        let error = parse_from(&[
            ("LISTEN_PID", "42"),
            ("LISTEN_FDS", "1"),
            ("LISTEN_FDNAMES", "a:b"),
        ])
        .unwrap_err();
        assert!(
            matches!(
                error,
                TakeError::MoreNames {
                    names: 2,
                    fds: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
}
