//! The error log, as the master writes it: `[2026-11-20 15:44:29 +0000] [pid] [LEVEL] message`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use appserver_protocol::{Line, ToTemplate};
pub(crate) use appserver_reports::Level;
use appserver_reports::{Facility, Statsd, Syslog};
use supervisor::Channel;
use tz::{DateTime, TimeZone};

use crate::settings::Resolved;

/// Where lines go, and which.
#[derive(Debug)]
pub(crate) struct Log {
    /// `None` is standard error.
    file: Option<(String, File)>,
    threshold: Level,
    zone: TimeZone,
    syslog: Option<Syslog>,
    statsd: Option<Statsd>,
    /// A template whose logging writes the lines instead.
    python: Option<Channel>,
}

impl Log {
    /// Standard error, from `info` on.
    pub fn to_stderr() -> Self {
        Self {
            file: None,
            threshold: Level::Info,
            zone: TimeZone::local().unwrap_or_else(|_| TimeZone::utc()),
            syslog: None,
            statsd: None,
            python: None,
        }
    }

    /// Another file (`-` is standard error) and another level.
    ///
    /// # Errors
    /// When the file cannot be opened; everything stays as it was.
    pub fn configure(&mut self, path: &str, level: &str) -> Result<(), String> {
        let file = match path {
            "-" => None,
            path => {
                let file = open(path).map_err(|error| {
                    format!("\"{path}\" isn't writable (errorlog, --error-logfile): {error}")
                })?;
                Some((path.to_owned(), file))
            }
        };
        self.file = file;
        self.threshold = Level::named(level);
        Ok(())
    }

    /// As the settings want it: file, level, syslog, StatsD.
    ///
    /// # Errors
    /// Which setting is wrong; everything stays as it was.
    pub fn settle(&mut self, resolved: &Resolved) -> Result<(), String> {
        let text = |name: &str| resolved.text(name).unwrap_or_default();
        let syslog = match resolved.is_on("syslog") {
            true => {
                let named = resolved
                    .text("syslog_prefix")
                    .or(resolved.text("proc_name"));
                let facility = Facility::named(text("syslog_facility"))?;
                let prefix = named.unwrap_or(&resolved.application);
                Some(Syslog::new(text("syslog_addr"), facility, prefix)?)
            }
            false => None,
        };
        let statsd = match resolved.text("statsd_host") {
            Some(host) => {
                let (prefix, tags) = (text("statsd_prefix"), text("dogstatsd_tags"));
                Some(Statsd::new(host, prefix, tags)?)
            }
            None => None,
        };
        let level = resolved.text("loglevel").unwrap_or("info");
        self.configure(resolved.text("errorlog").unwrap_or("-"), level)?;
        (self.syslog, self.statsd) = (syslog, statsd);
        Ok(())
    }

    /// From now on Python's logging in a template writes the lines, or nobody's but ours.
    pub fn speak_through(&mut self, template: Option<Channel>) {
        self.python = template;
    }

    /// Metrics, where they are wanted.
    pub fn statsd(&self) -> Option<&Statsd> {
        self.statsd.as_ref()
    }

    /// Opens the file again, for it was renamed.
    pub fn reopen(&mut self) {
        let Some((path, _)) = &self.file else {
            return;
        };
        let path = path.clone();
        match open(&path) {
            Ok(file) => self.file = Some((path, file)),
            Err(error) => self.error(format_args!(
                "log file \"{path}\" cannot be opened again: {error}"
            )),
        }
    }

    pub fn debug(&self, message: impl fmt::Display) {
        self.line(Level::Debug, message);
    }

    pub fn info(&self, message: impl fmt::Display) {
        self.line(Level::Info, message);
    }

    pub fn warning(&self, message: impl fmt::Display) {
        self.line(Level::Warning, message);
    }

    pub fn error(&self, message: impl fmt::Display) {
        self.line(Level::Error, message);
    }

    /// Writes a line. What cannot be written is lost.
    pub fn line(&self, level: Level, message: impl fmt::Display) {
        // Python's loggers have a level of their own, which the configuration may have changed.
        if level < self.threshold && self.python.is_none() {
            return;
        }
        let (pid, message) = (std::process::id(), message.to_string());
        self.count(level);
        if self.told_python(level, pid, &message) || level < self.threshold {
            return;
        }
        if let Some(syslog) = &self.syslog {
            syslog.send("error", level, pid, &message);
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let line = format!(
            "[{}] [{pid}] [{}] {message}\n",
            timestamp(now as i64, &self.zone),
            level.name()
        );
        let _ = match &self.file {
            Some((_, file)) => (&*file).write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }

    fn told_python(&self, level: Level, pid: u32, message: &str) -> bool {
        let line = |message: &str| {
            ToTemplate::Log(Line {
                level: level.number(),
                pid,
                message: message.to_owned(),
            })
        };
        self.python
            .as_ref()
            .is_some_and(|channel| matches!(channel.try_send(&line(message), &[]), Ok(true)))
    }

    fn count(&self, level: Level) {
        let name = match level {
            Level::Debug | Level::Info => return,
            Level::Warning => "gunicorn.log.warning",
            Level::Error => "gunicorn.log.error",
            Level::Critical => "gunicorn.log.critical",
        };
        // With Python's logging, its logger counts.
        if let (Some(statsd), None) = (&self.statsd, &self.python) {
            statsd.increment(name, 1);
            statsd.flush();
        }
    }
}

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn timestamp(seconds: i64, zone: &TimeZone) -> String {
    let Ok(time) = DateTime::from_timespec(seconds, 0, zone.as_ref()) else {
        return seconds.to_string();
    };
    let offset = time.local_time_type().ut_offset();
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02} {sign}{:02}{:02}",
        time.year(),
        time.month(),
        time.month_day(),
        time.hour(),
        time.minute(),
        time.second(),
        minutes / 60,
        minutes % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_their_offset() {
        assert_eq!(
            timestamp(1_795_189_469, &TimeZone::utc()),
            "2026-11-20 15:44:29 +0000"
        );
        let west = TimeZone::fixed(-12_600).unwrap();
        assert_eq!(timestamp(1_795_189_469, &west), "2026-11-20 12:14:29 -0330");
    }

    #[test]
    fn lines_below_the_level_are_left_out_and_a_renamed_file_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.log");
        let mut log = Log::to_stderr();
        log.configure(path.to_str().unwrap(), "warning").unwrap();
        log.info("not this");
        log.error("this");
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        log.reopen();
        log.line(Level::Critical, "and this");
        let old = std::fs::read_to_string(folder.path().join("old")).unwrap();
        assert!(
            old.ends_with("[ERROR] this\n") && !old.contains("not this"),
            "{old}"
        );
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .ends_with("[CRITICAL] and this\n")
        );
        let words = log.configure("/no/such/folder/e.log", "info").unwrap_err();
        assert!(words.contains("/no/such/folder/e.log"), "{words}");
    }
}
