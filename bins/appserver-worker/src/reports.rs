//! Lines of the error log and of the access log where Rust writes them itself, and metrics: the error log's file, syslog, StatsD.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use appserver_protocol::WorkerSettings;
use appserver_reports::{Facility, Level, Statsd, Syslog};

use crate::access::AccessLog;
use crate::{clock, logs};

/// See the module.
#[derive(Debug)]
pub(crate) struct Reports {
    threshold: Level,
    syslog: Option<Syslog>,
    access_to_syslog: bool,
    statsd: Option<Statsd>,
}

static REPORTS: OnceLock<Reports> = OnceLock::new();
static ACCESS: RwLock<Option<Arc<AccessLog>>> = RwLock::new(None);

/// Where this process reports to; `None` before the settings are known.
pub(crate) fn reports() -> Option<&'static Reports> {
    REPORTS.get()
}

/// The access log of this process, where Python's loggers find it.
pub(crate) fn set_access(log: Option<Arc<AccessLog>>) {
    *ACCESS.write().unwrap_or_else(PoisonError::into_inner) = log;
}

/// A line for it, which is complete.
pub(crate) fn write_access(line: &str) {
    let log = ACCESS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(log) = log.as_ref() {
        log.whole_line(line);
    }
}

impl Reports {
    /// Takes the settings, once in the life of a template. `name` is the process's.
    ///
    /// # Errors
    /// Which setting is wrong, and why.
    pub fn settle(settings: &WorkerSettings, name: &str) -> Result<(), String> {
        let syslog = if settings.syslog {
            let facility = Facility::named(&settings.syslog_facility)
                .map_err(|why| format!("syslog_facility (--log-syslog-facility): {why}"))?;
            let prefix = settings.syslog_prefix.as_deref();
            let prefix = prefix.or(settings.proc_name.as_deref()).unwrap_or(name);
            let syslog = Syslog::new(&settings.syslog_addr, facility, prefix)
                .map_err(|why| format!("syslog_addr (--log-syslog-to): {why}"))?;
            Some(syslog)
        } else {
            None
        };
        let statsd = match &settings.statsd_host {
            Some(host) => {
                let (prefix, tags) = (&settings.statsd_prefix, &settings.dogstatsd_tags);
                let statsd = Statsd::new(host, prefix, tags)
                    .map_err(|why| format!("statsd_host (--statsd-host): {why}"))?;
                Some(statsd)
            }
            None => None,
        };
        let reports = Self {
            threshold: Level::named(&settings.loglevel),
            syslog,
            access_to_syslog: settings.access_to_syslog(),
            statsd,
        };
        // A template that settles twice keeps what it has; the master never asks it to.
        let _ = REPORTS.set(reports);
        Ok(())
    }

    /// Lines below it are not written.
    pub fn threshold(&self) -> Level {
        self.threshold
    }

    /// Metrics, where they are wanted.
    pub fn statsd(&self) -> Option<&Statsd> {
        self.statsd.as_ref()
    }

    /// Writes a line to the error log.
    pub fn line(&self, level: Level, message: &str) {
        if level < self.threshold {
            return;
        }
        let (time, pid) = (clock::error_form(clock::now()), std::process::id());
        let line = format!("{time} [{pid}] [{}] {message}\n", level.name());
        logs::error().write(line.as_bytes());
        self.to_syslog(level, message);
        self.count(level);
    }

    /// Sends a line of the error log to syslog too.
    pub fn to_syslog(&self, level: Level, message: &str) {
        if let Some(syslog) = &self.syslog {
            syslog.send("error", level, std::process::id(), message);
        }
    }

    /// Sends a line of the access log to syslog too.
    pub fn access_to_syslog(&self, line: &str) {
        if let (true, Some(syslog)) = (self.access_to_syslog, &self.syslog) {
            syslog.send("access", Level::Info, std::process::id(), line);
        }
    }

    fn count(&self, level: Level) {
        let name = match level {
            Level::Debug | Level::Info => return,
            Level::Warning => "gunicorn.log.warning",
            Level::Error => "gunicorn.log.error",
            Level::Critical => "gunicorn.log.critical",
        };
        if let Some(statsd) = &self.statsd {
            statsd.increment(name, 1);
        }
    }

    /// Sends what has been gathered.
    pub fn flush(&self) {
        if let Some(statsd) = &self.statsd {
            statsd.flush();
        }
    }

    /// A fork uses sockets of its own.
    pub fn forked(&self) {
        self.syslog.iter().for_each(Syslog::disconnect);
        self.statsd.iter().for_each(Statsd::disconnect);
    }
}
