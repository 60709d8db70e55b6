//! What the log says of a peer that failed: nginx's established phrases, which tools look for, with what decided beside them.

use std::io;

use http_wire::head::ResponseError;

use crate::client::{Cause, ClientError, Phase};

/// A failure in words: `connect() failed (111: Connection refused) while connecting to upstream`.
pub(super) fn of(error: &ClientError) -> String {
    let phase = while_doing(error.phase);
    match &error.cause {
        Cause::Timeout { limit, setting } => {
            format!(
                "upstream timed out (110: Connection timed out) while {phase}: nothing happened for {limit:?} ({setting})"
            )
        }
        Cause::Io(cause) => format!(
            "{} failed ({}) while {phase}",
            call(error.phase),
            numbered(cause)
        ),
        Cause::Closed => format!("upstream prematurely closed connection while {phase}"),
        Cause::Head(ResponseError::LineTooLong { .. }) => {
            format!("upstream sent too big header while {phase}; proxy_buffer_size allows more")
        }
        Cause::Head(ResponseError::Section(cause)) if cause.status().as_u16() == 431 => {
            format!(
                "upstream sent too big header while {phase}: {cause}; proxy_buffer_size allows more"
            )
        }
        Cause::Head(cause) => format!("upstream sent invalid header while {phase}: {cause}"),
        Cause::Framing(cause) => {
            format!("upstream sent a response whose end can't be told while {phase}: {cause}")
        }
        other => format!("{other} while {phase}"),
    }
}

fn while_doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "connecting to upstream",
        Phase::Send => "sending request to upstream",
        Phase::FirstByte | Phase::Head => "reading response header from upstream",
    }
}

/// The system call that is to blame.
fn call(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "connect()",
        Phase::Send => "writev()",
        Phase::FirstByte | Phase::Head => "recv()",
    }
}

fn numbered(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.split_once(" (os error")) {
        (Some(number), Some((words, _))) => format!("{number}: {words}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    fn speaks_in_the_phrases_that_tools_look_for() {
        let refused = Cause::Io(io::Error::from_raw_os_error(111));
        let late = Cause::Timeout {
            limit: Duration::from_secs(60),
            setting: "proxy_read_timeout",
        };
        for (failure, words) in [
            (
                error(Phase::Connect, refused),
                "connect() failed (111: Connection refused) while connecting to upstream",
            ),
            (
                error(Phase::Head, Cause::Closed),
                "upstream prematurely closed connection while reading response header from upstream",
            ),
            (
                error(Phase::FirstByte, late),
                "upstream timed out (110: Connection timed out) while reading response header from upstream: nothing happened for 60s (proxy_read_timeout)",
            ),
        ] {
            assert_eq!(of(&failure), words);
        }
    }
}
