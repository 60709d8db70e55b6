//! Why an origin server gave no usable answer.

use std::io;
use std::time::Duration;

use http_wire::body::FramingError;
use http_wire::head::ResponseError;

use crate::server::ContentError;

/// How far an exchange with an origin server had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Making the connection.
    Connect,
    /// Sending the request.
    Send,
    /// Waiting for the first byte of the response.
    FirstByte,
    /// Reading the head of the response.
    Head,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Send => "sending the request",
            Self::FirstByte => "waiting for the response",
            Self::Head => "reading the head of the response",
        })
    }
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client, whose request content failed: answer what [`ContentError::status`] says.
    Client,
    /// The origin server: 502, or 504 when it was too slow.
    Origin,
    /// This machine: no descriptors, ports or memory left. 500 or 502.
    Us,
}

/// Why an origin server gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[error("{cause} while {phase}")]
pub struct ClientError {
    /// How far it had come.
    pub phase: Phase,
    /// What happened.
    #[source]
    pub cause: Cause,
    /// Bytes of the request that had been written to the socket.
    pub sent_bytes: u64,
    /// Bytes of the response that had come.
    pub received_bytes: u64,
    /// Whether the connection had carried requests before.
    pub reused: bool,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The operating system reports an error.
    #[error("{}", in_words(.0))]
    Io(#[source] io::Error),
    /// Too slow.
    #[error("nothing happened for {} ({setting})", Span(*limit))]
    Timeout {
        /// The limit.
        limit: Duration,
        /// The directive or setting that set it.
        setting: &'static str,
    },
    /// The origin server closed the connection without a (whole) response head.
    #[error("the origin server closed the connection")]
    Closed,
    /// The head of the response breaks a rule.
    #[error("the origin server sent a malformed head: {0}")]
    Head(#[source] ResponseError),
    /// The end of the response can't be told for sure.
    #[error("the origin server sent an ambiguous head: {0}")]
    Framing(#[source] FramingError),
    /// The origin server switched protocols without having been asked.
    #[error("the origin server sent \"101 Switching Protocols\", which was not asked for")]
    Unasked,
    /// The content of the request failed.
    #[error("{0}")]
    Content(#[source] ContentError),
    /// The content of the request is not as long as it was to be.
    #[error("the content of the request is not {promised_bytes} bytes long as announced")]
    Length {
        /// What its head says.
        promised_bytes: u64,
    },
}

impl ClientError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match &self.cause {
            Cause::Content(_) => Blame::Client,
            Cause::Length { .. } => Blame::Us,
            Cause::Io(error) if is_ours(error) => Blame::Us,
            _ => Blame::Origin,
        }
    }

    /// Whether it was too slow (504) rather than wrong (502).
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause, Cause::Timeout { .. })
            || matches!(&self.cause, Cause::Io(error) if error.kind() == io::ErrorKind::TimedOut)
    }

    /// Whether the origin server can't have seen any of the request.
    pub fn nothing_sent(&self) -> bool {
        self.sent_bytes == 0
    }
}

/// An error of the operating system without its number where it has a word: `connection refused (ECONNREFUSED)`.
fn in_words(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return error.to_string();
    };
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text).to_owned();
    let mut letters = words.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_lowercase().collect::<String>())
        .unwrap_or_default();
    format!("{first}{} (errno {number})", letters.as_str())
}

fn is_ours(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let ours = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
    ];
    error
        .raw_os_error()
        .is_some_and(|number| ours.iter().any(|errno| errno.raw_os_error() == number))
}

struct Span(Duration);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.subsec_millis() == 0 {
            write!(f, "{}s", self.0.as_secs())
        } else {
            write!(f, "{}ms", self.0.as_millis())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(phase: Phase, cause: Cause) -> ClientError {
        ClientError {
            phase,
            cause,
            sent_bytes: 0,
            received_bytes: 0,
            reused: false,
        }
    }

    #[test]
    fn says_what_happened_and_when() {
        let refused = error(Phase::Connect, Cause::Io(io::Error::from_raw_os_error(111)));
        assert_eq!(
            refused.to_string(),
            "connection refused (errno 111) while connecting"
        );
        assert_eq!(refused.blame(), Blame::Origin);
        let limit = Duration::from_secs(60);
        let slow = error(
            Phase::FirstByte,
            Cause::Timeout {
                limit,
                setting: "proxy_read_timeout",
            },
        );
        assert_eq!(
            slow.to_string(),
            "nothing happened for 60s (proxy_read_timeout) while waiting for the response"
        );
        assert!(slow.is_timeout());
    }

    #[test]
    fn no_descriptors_are_our_fault() {
        assert_eq!(
            error(Phase::Connect, Cause::Io(io::Error::from_raw_os_error(24))).blame(),
            Blame::Us
        );
    }
}
