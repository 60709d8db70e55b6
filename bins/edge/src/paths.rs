//! Where edge looks for its files when nobody says otherwise.
//!
//! Without `-p` the places are those of nginx's packages, so that edge on a machine with nginx's files finds them. With
//! `-p` all of them lie below that directory, in the layout of an nginx built from source; a missing `logs` directory
//! is made when a default file goes into it. Relative paths in the configuration begin at the prefix, those of `include`
//! at the directory of the configuration file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The prefix without `-p`.
pub const PREFIX: &str = "/usr/share/nginx";
/// The configuration file without `-p` and `-c`.
pub const CONF: &str = "/etc/nginx/nginx.conf";
/// The error log without `-p`, `-e` and `error_log`.
pub const ERROR_LOG: &str = "/var/log/nginx/error.log";
/// The access log without `-p` and `access_log`.
pub const ACCESS_LOG: &str = "/var/log/nginx/access.log";
/// The pid file without `-p` and `pid`.
pub const PID: &str = "/run/nginx.pid";

/// The name of standard error as a log file.
pub const STDERR: &str = "/dev/stderr";

/// The places that hold for this process, all of them absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// What relative paths begin at.
    pub prefix: PathBuf,
    /// The configuration file.
    pub conf: PathBuf,
    /// The error log where `error_log` says nothing.
    pub error_log: PathBuf,
    /// The access log where `access_log` says nothing.
    pub access_log: PathBuf,
    /// The pid file where `pid` says nothing.
    pub pid: PathBuf,
}

impl Paths {
    /// From the options `-p`, `-c` and `-e`, for a process that was started in the directory `here`.
    pub fn new(
        here: &Path,
        prefix: Option<&Path>,
        conf: Option<&Path>,
        error_log: Option<&Path>,
    ) -> Self {
        let given = prefix.map(|prefix| tidy(&here.join(prefix)));
        let below = |relative: &str, packaged: &str| match &given {
            Some(prefix) => prefix.join(relative),
            None => PathBuf::from(packaged),
        };
        let prefix = below("", PREFIX);
        let error_log = match error_log {
            Some(path) if path == Path::new("stderr") => PathBuf::from(STDERR),
            Some(path) => tidy(&prefix.join(path)),
            None => below("logs/error.log", ERROR_LOG),
        };
        Self {
            conf: conf.map_or_else(
                || below("conf/nginx.conf", CONF),
                |conf| tidy(&prefix.join(conf)),
            ),
            error_log,
            access_log: below("logs/access.log", ACCESS_LOG),
            pid: below("logs/nginx.pid", PID),
            prefix: tidy(&prefix),
        }
    }

    /// Makes the directory of one of the default files, when only that directory is missing.
    ///
    /// # Errors
    /// What the system says; not when `path` is no default.
    pub fn make_room(&self, path: &Path) -> io::Result<()> {
        let is_default = [&self.error_log, &self.access_log, &self.pid]
            .iter()
            .any(|default| *default == path);
        match path.parent() {
            Some(folder) if is_default && !folder.exists() => fs::create_dir(folder),
            _ => Ok(()),
        }
    }
}

/// Without `.` and repeated or final slashes; `..` stays, since what is before it may be a link.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(prefix: Option<&str>, conf: Option<&str>, error_log: Option<&str>) -> [String; 5] {
        let of = |text: Option<&'static str>| text.map(Path::new);
        let leak = |text: Option<&str>| text.map(|text| &*text.to_owned().leak());
        let paths = Paths::new(
            Path::new("/here"),
            of(leak(prefix)),
            of(leak(conf)),
            of(leak(error_log)),
        );
        [
            paths.prefix,
            paths.conf,
            paths.error_log,
            paths.access_log,
            paths.pid,
        ]
        .map(|path| path.display().to_string())
    }

    #[test]
    fn without_a_prefix_they_are_those_of_the_packages() {
        assert_eq!(
            paths(None, None, None),
            [PREFIX, CONF, ERROR_LOG, ACCESS_LOG, PID]
        );
        assert_eq!(
            paths(None, Some("/x.conf"), Some("stderr"))[1..3],
            ["/x.conf", STDERR]
        );
    }

    #[test]
    fn with_a_prefix_everything_lies_below_it() {
        assert_eq!(
            paths(Some("a//b/"), Some("nginx.conf"), Some("e.log")),
            [
                "/here/a/b",
                "/here/a/b/nginx.conf",
                "/here/a/b/e.log",
                "/here/a/b/logs/access.log",
                "/here/a/b/logs/nginx.pid"
            ]
        );
        assert_eq!(
            paths(Some("/p"), None, None)[1..3],
            ["/p/conf/nginx.conf", "/p/logs/error.log"]
        );
    }

    #[test]
    fn a_relative_configuration_begins_at_the_prefix() {
        assert_eq!(
            paths(None, Some("other.conf"), None)[1],
            "/usr/share/nginx/other.conf"
        );
    }
}
