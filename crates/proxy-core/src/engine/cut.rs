//! What the log says of a response that did not reach its client whole, in nginx's words.

use super::exchange::Exchange;
use super::logs::Level;
use crate::body::BodyError;
use crate::server::Outcome;

/// Writes why a response was cut, where it was.
pub(super) fn log(exchange: &Exchange, outcome: &Outcome) {
    match outcome {
        Outcome::Complete => {}
        Outcome::ClientGone => exchange.log(
            Level::Info,
            format_args!("client closed connection while sending to client"),
        ),
        Outcome::SendTimeout => exchange.log(
            Level::Info,
            format_args!(
                "client timed out (110: Connection timed out) while sending to client: it took nothing for send_timeout"
            ),
        ),
        Outcome::BodyFailed(error) if exchange.attempts.is_empty() => {
            exchange.log_error(format_args!("{error} while sending to client"));
        }
        Outcome::BodyFailed(error) => {
            let what = of_upstream(error);
            exchange.log_error(format_args!("{what} while reading upstream: {error}"));
        }
    }
}

fn of_upstream(error: &BodyError) -> &'static str {
    match error {
        BodyError::Incomplete(_) => "upstream prematurely closed connection",
        BodyError::Timeout { .. } => "upstream timed out (110: Connection timed out)",
        BodyError::Framing(_) => "upstream sent invalid chunked response",
        BodyError::TooLong { .. } => {
            "upstream sent more data than specified in \"Content-Length\" header"
        }
        BodyError::Io(_) | BodyError::TooLarge { .. } => "recv() failed",
    }
}
