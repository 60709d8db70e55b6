//! The programs that scenarios are run against, and how each is started.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

/// A program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// nginx as the distribution packs it.
    Nginx,
    /// Ours in its place.
    Edge,
    /// gunicorn from PyPI.
    Gunicorn,
    /// Ours in its place.
    Appserver,
}

/// Which pair of subjects a scenario is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// nginx and edge: a configuration file.
    Web,
    /// gunicorn and appserver: a Python application.
    Python,
}

impl Subject {
    /// Every subject.
    pub const ALL: [Subject; 4] = [
        Subject::Nginx,
        Subject::Edge,
        Subject::Gunicorn,
        Subject::Appserver,
    ];

    /// The subject of this name.
    pub fn named(name: &str) -> Option<Self> {
        Subject::ALL
            .into_iter()
            .find(|subject| subject.name() == name)
    }

    /// The name, as the command line and scenario files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Nginx => "nginx",
            Subject::Edge => "edge",
            Subject::Gunicorn => "gunicorn",
            Subject::Appserver => "appserver",
        }
    }

    /// The pair it belongs to.
    pub fn family(self) -> Family {
        match self {
            Subject::Nginx | Subject::Edge => Family::Web,
            Subject::Gunicorn | Subject::Appserver => Family::Python,
        }
    }

    /// Where the program is when nobody says otherwise: Debian's nginx; gunicorn of the environment `venv`; ours beside
    /// the running executable.
    pub fn default_program(self, venv: Option<&Path>) -> PathBuf {
        let beside = |name| {
            let own = std::env::current_exe().unwrap_or_default();
            own.with_file_name(name)
        };
        match (self, venv) {
            (Subject::Nginx, _) => PathBuf::from("/usr/sbin/nginx"),
            (Subject::Gunicorn, Some(venv)) => venv.join("bin/gunicorn"),
            (Subject::Gunicorn, None) => PathBuf::from("gunicorn"),
            (Subject::Edge | Subject::Appserver, _) => beside(self.name()),
        }
    }

    /// The signal that ends it quickly.
    pub(crate) fn farewell(self) -> Signal {
        match self.family() {
            Family::Web => Signal::TERM,
            // A drain takes seconds here; how servers stop has scenarios of its own.
            Family::Python => Signal::KILL,
        }
    }

    /// The command for `arguments`, to be run in `prefix`, with an environment that no caller's setting leaks into.
    pub(crate) fn command(
        self,
        program: &Path,
        arguments: &[String],
        prefix: &Path,
        venv: Option<&Path>,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(prefix)
            .env("PWD", prefix)
            .env("TZ", "UTC")
            .env("XDG_RUNTIME_DIR", prefix);
        for leaking in [
            "GUNICORN_CMD_ARGS",
            "WEB_CONCURRENCY",
            "PORT",
            "FORWARDED_ALLOW_IPS",
            "SENDFILE",
            "SCRIPT_NAME",
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "LISTEN_PID",
            "LISTEN_FDNAMES",
            "WATCHDOG_USEC",
            "NGINX",
            "RUST_BACKTRACE",
        ] {
            command.env_remove(leaking);
        }
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONPATH");
        if let Some(venv) = venv {
            let path = std::env::var("PATH").unwrap_or_default();
            command
                .env("VIRTUAL_ENV", venv)
                .env("PATH", format!("{}/bin:{path}", venv.display()));
        }
        command
    }

    /// The arguments when a scenario has no `--- args`.
    pub(crate) fn default_arguments(self) -> &'static str {
        match self.family() {
            Family::Web => "-p {prefix}/ -c {prefix}/nginx.conf -g 'daemon off;'",
            Family::Python => {
                "app:application --bind 127.0.0.1:{port} --access-logfile {prefix}/access.log"
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Splits a command line at white space; `'…'` and `"…"` keep it.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => current.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(current.take()),
            None => current.get_or_insert_default().push(c),
        }
    }
    words.extend(current);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_subjects_agree() {
        for subject in Subject::ALL {
            assert_eq!(Subject::named(subject.name()), Some(subject));
        }
        assert_eq!(Subject::named("apache"), None);
    }

    #[test]
    fn words_keep_quoted_spaces() {
        assert_eq!(
            words("-g 'daemon off;'  -c \"a b\"c ''"),
            ["-g", "daemon off;", "-c", "a bc", ""]
        );
        assert!(words("  ").is_empty());
    }
}
