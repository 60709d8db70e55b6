//! Where appserver's processes tell what happens, beside their log files: syslog and StatsD, by gunicorn's settings.
//!
//! The master and the workers use it alike. It knows neither settings nor Python, never waits for a network, and what cannot be
//! sent is lost: a log must not stop a server.
#![forbid(unsafe_code)]

mod address;
mod level;
mod statsd;
mod syslog;

pub use level::Level;
pub use statsd::Statsd;
pub use syslog::{Facility, Syslog};
