//! How often the service manager wants a sign of life.

use std::env;
use std::ffi::OsString;
use std::time::Duration;

use super::NotifyError;

/// The manager's watchdog (`WatchdogSec=`): it acts when no `WATCHDOG=1` comes within the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog {
    interval: Duration,
}

impl Watchdog {
    /// From `WATCHDOG_USEC` and `WATCHDOG_PID`; `None` when there is none or it is for another process.
    ///
    /// # Errors
    /// [`NotifyError::Variable`] when one of them is no number, or the interval is 0.
    pub fn from_env() -> Result<Option<Self>, NotifyError> {
        Self::read(std::process::id(), env::var_os)
    }

    fn read(
        own: u32,
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Option<Self>, NotifyError> {
        let number = |name: &'static str, expected: &'static str| match variable(name) {
            None => Ok(None),
            Some(value) => match value.to_str().and_then(|text| text.parse::<u64>().ok()) {
                Some(number) if number > 0 => Ok(Some(number)),
                _ => Err(NotifyError::Variable {
                    variable: name,
                    value: value.to_string_lossy().into_owned(),
                    expected,
                }),
            },
        };
        let Some(micros) = number("WATCHDOG_USEC", "microseconds, more than 0")? else {
            return Ok(None);
        };
        match number("WATCHDOG_PID", "the number of a process")? {
            Some(pid) if pid != u64::from(own) => Ok(None),
            _ => Ok(Some(Self {
                interval: Duration::from_micros(micros),
            })),
        }
    }

    /// The manager acts when it hears nothing for this long.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// How often to say [`watchdog`](super::Notifier::watchdog): half the interval, as `sd_watchdog_enabled(3)` advises.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.interval / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(usec: Option<&str>, pid: Option<&str>) -> Result<Option<Watchdog>, NotifyError> {
        Watchdog::read(42, |name| {
            if name == "WATCHDOG_USEC" { usec } else { pid }.map(OsString::from)
        })
    }

    #[test]
    fn the_interval_is_in_microseconds_and_the_period_is_half_of_it() {
        for pid in [None, Some("42")] {
            let watchdog = read(Some("3000000"), pid).unwrap().unwrap();
            assert_eq!(watchdog.interval(), Duration::from_secs(3));
            assert_eq!(watchdog.period(), Duration::from_millis(1500));
        }
    }

    #[test]
    fn another_process_or_no_interval_means_no_watchdog() {
        assert_eq!(read(Some("3000000"), Some("41")).unwrap(), None);
        assert_eq!(read(None, Some("42")).unwrap(), None);
    }

    #[test]
    fn nonsense_is_named() {
        for (usec, pid, fault) in [
            (Some("soon"), None, "WATCHDOG_USEC"),
            (Some("0"), None, "WATCHDOG_USEC"),
            (Some("5"), Some("me"), "WATCHDOG_PID"),
        ] {
            let words = read(usec, pid).unwrap_err().to_string();
            assert!(words.contains(fault), "{words}");
        }
    }
}
