//! The stage of a scenario: its prefix with files and configuration, the addresses, and how the subject starts.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use super::file::{Entry, Kind, Line, Scenario, What};
use super::origin::{Listener, Origin, Shared};
use super::run::Settings;
use super::subject::words;
use super::vars::Vars;
use crate::{Child, FreePort, Refusing, TempPrefix};

/// How many `{portN}` there are.
const PORTS: usize = 9;

/// An origin server that listens but does not play yet, with its script.
pub(crate) type Part = (Listener, Vec<Line>);

/// A scenario that is laid out for one subject.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) prefix: TempPrefix,
    pub(crate) vars: Vars,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    program: PathBuf,
    /// Whether the subject is configured to listen on `{port}`.
    pub(crate) listens_on_port: bool,
    _ports: Vec<FreePort>,
    _refusing: Refusing,
}

impl Stage {
    /// Finds addresses, writes every file, and gives the origin servers that listen already.
    pub(crate) fn build(scenario: &Scenario, settings: &Settings) -> io::Result<(Self, Vec<Part>)> {
        let mut prefix = TempPrefix::new()?;
        if settings.keep {
            prefix.keep();
        }
        let refusing = Refusing::reserve()?;
        let mut vars = Vars::default();
        vars.set("prefix", prefix.path().to_string_lossy());
        vars.set("subject", settings.subject.name());
        vars.set("refused", refusing.address().to_string());
        let mut ports = Vec::with_capacity(PORTS);
        for number in 1..=PORTS {
            let name = if number == 1 {
                "port".to_owned()
            } else {
                format!("port{number}")
            };
            let port = FreePort::find()?;
            vars.set(name, port.number().to_string());
            ports.push(port);
        }
        let mut listeners = Vec::new();
        for section in scenario.sections_for(settings.subject) {
            if let Kind::Origin(origin) = &section.kind {
                let listener =
                    Listener::bind(&origin.name, origin.unix, section.line, prefix.path())?;
                vars.set(format!("origin.{}", origin.name), listener.address.clone());
                if let Some((_, port)) = listener.address.rsplit_once(':').filter(|_| !origin.unix)
                {
                    vars.set(format!("origin.{}.port", origin.name), port);
                }
                let script = origin
                    .lines
                    .iter()
                    .filter(|line| line.is_for(settings.subject))
                    .cloned()
                    .collect();
                listeners.push((listener, script));
            }
        }
        let mut stage = Stage {
            prefix,
            vars,
            arguments: words(settings.subject.default_arguments()),
            environment: Vec::new(),
            program: settings.program.clone(),
            listens_on_port: false,
            _ports: ports,
            _refusing: refusing,
        };
        stage.furnish(scenario, settings)?;
        Ok((stage, listeners))
    }

    /// Starts the origin servers.
    pub(crate) fn origins(&self, listeners: Vec<Part>, shared: &Shared) -> Vec<Origin> {
        let start =
            |(listener, script)| Origin::start(listener, script, self.vars.clone(), shared.clone());
        listeners.into_iter().map(start).collect()
    }

    /// Starts the subject with the scenario's arguments; its output goes to `stdout.log` and `stderr.log`.
    pub(crate) fn start(&self, settings: &Settings) -> io::Result<Child> {
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|word| self.vars.fill(word))
            .collect();
        let mut command = self.command(settings, &arguments, "stdout.log", "stderr.log")?;
        for (name, value) in &self.environment {
            command.env(name, self.vars.fill(value));
        }
        Ok(Child::spawn(&mut command)?.with_farewell(settings.subject.farewell()))
    }

    /// A command of the subject's program with its output in two files below the prefix.
    pub(crate) fn command(
        &self,
        settings: &Settings,
        arguments: &[String],
        out: &str,
        err: &str,
    ) -> io::Result<Command> {
        let prefix = self.prefix.path();
        let mut command =
            settings
                .subject
                .command(&self.program, arguments, prefix, settings.venv.as_deref());
        command.stdin(std::process::Stdio::null());
        command
            .stdout(File::create(self.prefix.join(out))?)
            .stderr(File::create(self.prefix.join(err))?);
        Ok(command)
    }

    fn furnish(&mut self, scenario: &Scenario, settings: &Settings) -> io::Result<()> {
        let nginx = settings.subject == super::Subject::Nginx;
        for section in scenario.sections_for(settings.subject) {
            match &section.kind {
                Kind::Config(text) => self.write("nginx.conf", text)?,
                Kind::Http(text) => self.write("nginx.conf", &http_frame(text, nginx))?,
                Kind::Server(text) => self.write("nginx.conf", &server_frame(text, nginx))?,
                Kind::App(text) => self.write("app.py", text)?,
                Kind::Conf(text) => self.write("gunicorn.conf.py", text)?,
                Kind::Args(line) => self.arguments = words(line),
                Kind::Env(pairs) => self.environment.extend(pairs.iter().cloned()),
                Kind::Entry(entry) => self.place(entry)?,
                Kind::Origin(_) | Kind::Client(_) | Kind::Commands(_) | Kind::Difference(_) => {}
            }
        }
        let everything = self
            .arguments
            .iter()
            .chain(self.environment.iter().map(|(_, value)| value));
        self.listens_on_port |= everything.into_iter().any(|text| text.contains("{port}"));
        Ok(())
    }

    fn write(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.listens_on_port |= text.contains("{port}");
        self.prefix.write(name, self.vars.fill(text)).map(drop)
    }

    fn place(&self, entry: &Entry) -> io::Result<()> {
        let path = self.prefix.join(self.vars.fill(&entry.path));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match &entry.what {
            What::Text(text) => fs::write(&path, self.vars.fill(text))?,
            What::Raw(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => fs::write(&path, self.vars.fill(text))?,
                Err(_) => fs::write(&path, bytes)?,
            },
            What::Repeat(size, text) => fs::write(&path, super::expect::repeated(*size, text))?,
            What::Link(target) => symlink(self.vars.fill(target), &path)?,
            What::Dir => fs::create_dir_all(&path)?,
        }
        if let Some(mtime) = entry.mtime {
            File::open(&path)?.set_modified(UNIX_EPOCH + Duration::from_secs(mtime))?;
        }
        match entry.mode {
            Some(mode) => fs::set_permissions(&path, Permissions::from_mode(mode)),
            None => Ok(()),
        }
    }
}

/// A whole configuration around the content of `http { … }`. nginx gets directories for temporary files of its own, so
/// that it does not touch the system's.
fn http_frame(content: &str, nginx: bool) -> String {
    let temporary = match nginx {
        true => ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path tmp_{name};\n"))
            .concat(),
        false => String::new(),
    };
    format!(
        "worker_processes 1;\npid nginx.pid;\nerror_log error.log info;\nevents {{ worker_connections 256; }}\n\
         http {{\n    access_log access.log;\n{temporary}{content}}}\n"
    )
}

fn server_frame(content: &str, nginx: bool) -> String {
    http_frame(
        &format!("    server {{\n        listen 127.0.0.1:{{port}};\n{content}    }}\n"),
        nginx,
    )
}

/// Where a log of a subject is.
pub(crate) fn log_path(prefix: &Path, name: &str, family: super::Family) -> PathBuf {
    match (name, family) {
        ("access", _) => prefix.join("access.log"),
        ("error", super::Family::Web) => prefix.join("error.log"),
        ("error", super::Family::Python) => prefix.join("stderr.log"),
        (other, _) => prefix.join(other),
    }
}
