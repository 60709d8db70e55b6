//! The text of one notification: assignments, one a line.

use std::fmt::Write as _;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// One datagram to the service manager, put together from several assignments.
///
/// ```
/// # use socket_activation::Message;
/// let message = Message::new().ready().status("serving 4 sites");
/// assert_eq!(message.as_bytes(), b"READY=1\nSTATUS=serving 4 sites\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    text: String,
}

impl Message {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `READY=1`.
    #[must_use]
    pub fn ready(self) -> Self {
        self.field("READY", "1")
    }

    /// `RELOADING=1` and the `MONOTONIC_USEC` of this moment.
    #[must_use]
    pub fn reloading(self) -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.field("RELOADING", "1")
            .field("MONOTONIC_USEC", &micros.to_string())
    }

    /// `STOPPING=1`.
    #[must_use]
    pub fn stopping(self) -> Self {
        self.field("STOPPING", "1")
    }

    /// `STATUS=`, one line: line ends become spaces.
    #[must_use]
    pub fn status(self, text: &str) -> Self {
        self.field("STATUS", text)
    }

    /// `MAINPID=`.
    #[must_use]
    pub fn main_pid(self, pid: u32) -> Self {
        self.field("MAINPID", &pid.to_string())
    }

    /// `ERRNO=`.
    #[must_use]
    pub fn errno(self, errno: i32) -> Self {
        self.field("ERRNO", &errno.to_string())
    }

    /// `WATCHDOG=1`.
    #[must_use]
    pub fn watchdog(self) -> Self {
        self.field("WATCHDOG", "1")
    }

    /// `WATCHDOG=trigger`: the service found itself broken and asks for what a missed watchdog brings.
    #[must_use]
    pub fn watchdog_trigger(self) -> Self {
        self.field("WATCHDOG", "trigger")
    }

    /// `WATCHDOG_USEC=`: another watchdog interval from now on.
    #[must_use]
    pub fn watchdog_interval(self, interval: Duration) -> Self {
        self.field("WATCHDOG_USEC", &interval.as_micros().to_string())
    }

    /// `EXTEND_TIMEOUT_USEC=`.
    #[must_use]
    pub fn extend_timeout(self, by: Duration) -> Self {
        self.field("EXTEND_TIMEOUT_USEC", &by.as_micros().to_string())
    }

    /// `FDSTORE=1` under a name, for [`Notifier::send_with_fds`](super::Notifier::send_with_fds); at most 255 printable
    /// ASCII characters without a colon.
    #[must_use]
    pub fn store(self, name: &str) -> Self {
        self.field("FDSTORE", "1").field("FDNAME", name)
    }

    /// `FDPOLL=0`: stored descriptors are kept even when they hang up or fail.
    #[must_use]
    pub fn keep_dead_fds(self) -> Self {
        self.field("FDPOLL", "0")
    }

    /// `FDSTOREREMOVE=1` for a name.
    #[must_use]
    pub fn unstore(self, name: &str) -> Self {
        self.field("FDSTOREREMOVE", "1").field("FDNAME", name)
    }

    /// `BARRIER=1`; by rule alone in its datagram.
    #[must_use]
    pub(crate) fn barrier(self) -> Self {
        self.field("BARRIER", "1")
    }

    /// Any other assignment, such as `X_MYAPP_STATE`. Control characters in either part become spaces.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        let clean = |text: &str| text.replace(|c: char| c.is_control(), " ");
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.text,
            "{}={}",
            clean(name).replace('=', " "),
            clean(value).trim_end()
        );
        self
    }

    /// What is sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    pub(crate) fn first_line(&self) -> String {
        self.text.lines().next().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &Message) -> &str {
        std::str::from_utf8(message.as_bytes()).unwrap()
    }

    #[test]
    fn a_status_cannot_smuggle_in_another_assignment() {
        let message = Message::new().status("fine\nMAINPID=1\r\n");
        assert_eq!(text(&message), "STATUS=fine MAINPID=1\n");
    }

    #[test]
    fn assignments_have_the_words_and_units_of_the_manual() {
        let second = Duration::from_millis(1500);
        for (message, expected) in [
            (Message::new().stopping().errno(2), "STOPPING=1\nERRNO=2\n"),
            (Message::new().main_pid(7), "MAINPID=7\n"),
            (Message::new().watchdog(), "WATCHDOG=1\n"),
            (Message::new().watchdog_trigger(), "WATCHDOG=trigger\n"),
            (
                Message::new().watchdog_interval(second),
                "WATCHDOG_USEC=1500000\n",
            ),
            (
                Message::new().extend_timeout(second),
                "EXTEND_TIMEOUT_USEC=1500000\n",
            ),
            (
                Message::new().store("a").keep_dead_fds(),
                "FDSTORE=1\nFDNAME=a\nFDPOLL=0\n",
            ),
            (Message::new().unstore("a"), "FDSTOREREMOVE=1\nFDNAME=a\n"),
            (Message::new().barrier(), "BARRIER=1\n"),
            (Message::new().field("X=Y", "1=2"), "X Y=1=2\n"),
        ] {
            assert_eq!(text(&message), expected);
        }
    }

    #[test]
    fn reloading_carries_the_monotonic_time() {
        let before = clock_gettime(ClockId::Monotonic);
        let message = Message::new().reloading();
        let micros: i64 = text(&message)
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert!(micros >= before.tv_sec * 1_000_000 + before.tv_nsec / 1_000);
    }
}
