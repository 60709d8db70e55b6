//! Application servers of others, and ours, with the same application.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Address, TempPrefix};

use super::Bench;
use super::load::Load;
use super::machine::{label, version};
use super::measure::in_turn;
use super::server::{Subject, front};
use super::table::{Compared, Report};
use crate::install::{self, Tool, Venv};

/// The applications.
const SOURCES: [(&str, &str); 4] = [
    ("hello.py", include_str!("apps/hello.py")),
    ("small_view.py", include_str!("apps/small_view.py")),
    ("echo.py", include_str!("apps/echo.py")),
    ("asgi_app.py", include_str!("apps/asgi_app.py")),
];

/// All from PyPI, pinned.
const PACKAGES: [&str; 10] = [
    "gunicorn==27.0.1",
    "granian==2.8.7",
    "pyuwsgi==2.0.30.post1",
    "Django==5.2.19",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
    "websockets==17.4",
    "daphne==4.2.3",
    "asgiref==3.13.0",
];
/// Is compiled where it is installed, and so may be missing.
const BJOERN_PACKAGE: &str = "bjoern==3.2.2";
const BJOERN: &str =
    "import sys, bjoern, MODULE; bjoern.run(MODULE.application, '127.0.0.1', int(sys.argv[1]))";

/// What a bench of application servers works with.
pub struct Peers<'a> {
    pub bench: &'a Bench<'a>,
    pub folder: TempPrefix,
    pub has_bjoern: bool,
    venv: Venv,
}

/// One of others: what the table calls it (its package comes first), its program, and its arguments, with `PORT` in them.
pub type Peer = (&'static str, &'static str, &'static str);

impl<'a> Peers<'a> {
    /// Installs them.
    pub fn new(bench: &'a Bench<'a>, report: &mut Report) -> Result<Self, String> {
        let packages = |more: &[&str]| -> Vec<String> {
            PACKAGES
                .iter()
                .chain(more)
                .map(|&package| package.to_owned())
                .collect()
        };
        let missing = install::tools(bench.workspace, &[Tool::Libev, Tool::PythonDev, Tool::Cxx]);
        let with = |packages: &[String]| Venv::with(bench.workspace, "venv-bench", &[], packages);
        let (venv, has_bjoern) = match missing
            .is_empty()
            .then(|| with(&packages(&[BJOERN_PACKAGE])))
        {
            Some(Ok(venv)) => (venv, true),
            other => {
                let reason = match other {
                    Some(Err(problem)) => problem,
                    _ => missing
                        .iter()
                        .map(|(_, reason)| reason.as_str())
                        .collect::<Vec<_>>()
                        .join("; "),
                };
                report.add_text(format!("bjoern was NOT measured: {reason}\n"));
                (with(&packages(&[]))?, false)
            }
        };
        let folder = TempPrefix::new().map_err(|error| error.to_string())?;
        for (name, text) in SOURCES {
            folder
                .write(name, text)
                .map_err(|error| error.to_string())?;
        }
        Ok(Peers {
            bench,
            folder,
            has_bjoern,
            venv,
        })
    }

    /// Measures ours and others in turn, and adds the table.
    pub fn compare(
        &self,
        report: &mut Report,
        title: &str,
        subjects: &[Subject],
        load: Load<'_>,
        compared: Compared,
        goals: &[(&str, f64)],
    ) -> Result<(), String> {
        let bench = self.bench;
        let folder = self.folder.path();
        let series = in_turn(bench.cores, &bench.effort, load, subjects, folder)?;
        report.add(title, compared, &series, goals);
        Ok(())
    }

    /// The text of one of the applications, for the reader.
    pub fn show(report: &mut Report, name: &str) {
        if let Some((name, text)) = SOURCES.iter().find(|(source, _)| *source == name) {
            report.add_source(name, text);
        }
    }

    /// appserver with these arguments.
    pub fn ours(&self, name: &str, arguments: &str) -> Result<Subject, String> {
        let program = self.bench.appserver.clone();
        self.alone(name, &program, |port| {
            let arguments = format!("{arguments} --workers 1 --bind 127.0.0.1:PORT");
            words(&arguments, port)
        })
    }

    /// Servers of others.
    pub fn others(&self, peers: &[Peer]) -> Result<Vec<Subject>, String> {
        let start = |(name, program, arguments): &Peer| {
            self.alone(name, &self.venv.program(program), |port| {
                words(arguments, port)
            })
        };
        peers.iter().map(start).collect()
    }

    /// bjoern, where it could be installed.
    pub fn bjoern(&self, module: &str) -> Result<Option<Subject>, String> {
        if !self.has_bjoern {
            return Ok(None);
        }
        let program = BJOERN.replace("MODULE", module);
        let python = self.venv.program("python");
        self.alone("bjoern", &python, |port| {
            vec!["-c".to_owned(), program, port.to_owned()]
        })
        .map(Some)
    }

    /// An application server that the load asks directly.
    fn alone(
        &self,
        name: &str,
        program: &Path,
        arguments: impl FnOnce(&str) -> Vec<String>,
    ) -> Result<Subject, String> {
        let mut subject = Subject::new(&self.named(name, program))?;
        let mut command = self.python(program);
        command.args(arguments(&subject.address.port().to_string()));
        let address = Address::from(subject.address);
        let log = self.folder.join(format!("{}.log", name.replace(' ', "-")));
        subject.start(self.bench.cores.server, &command, &address, &log)?;
        Ok(subject)
    }

    /// A front with an application server behind it, on one core.
    pub fn behind(
        &self,
        name: &str,
        program: &Path,
        app: &Path,
        servers: &str,
        more: &str,
    ) -> Result<Subject, String> {
        let mut subject = Subject::new(name)?;
        let short = name.replace(' ', "-");
        let socket = self.folder.join(format!("{short}.sock"));
        let mut command = self.python(app);
        command
            .args(["small_view:application", "--workers", "1", "--bind"])
            .arg(format!("unix:{}", socket.display()))
            .args(more.split_whitespace());
        let core = self.bench.cores.server;
        let log = self.folder.join(format!("{short}-app.log"));
        subject.start(core, &command, &Address::Unix(socket.clone()), &log)?;
        let servers = servers.replace("SOCKET", &socket.display().to_string());
        let command = front(program, self.folder.join(&short), &servers, subject.address)?;
        let address = Address::from(subject.address);
        subject.start(
            core,
            &command,
            &address,
            &self.folder.join(format!("{short}.log")),
        )?;
        Ok(subject)
    }

    /// A program of the environment.
    pub fn program(&self, name: &str) -> PathBuf {
        self.venv.program(name)
    }

    fn python(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env("VIRTUAL_ENV", &self.venv.path)
            .env("PYTHONPATH", self.folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// With its version, as pip or the program itself tells it.
    fn named(&self, name: &str, program: &Path) -> String {
        let (package, rest) = name.split_once(' ').unwrap_or((name, ""));
        if package == "appserver" {
            let label = label(package, &version(program, "--version"));
            return [&label, rest].join(" ").trim().to_owned();
        }
        let package = if package == "uWSGI" {
            "pyuwsgi"
        } else {
            package
        };
        let ask = format!("from importlib.metadata import version; print(version('{package}'))");
        let told =
            crate::process::output(Command::new(self.venv.program("python")).args(["-c", &ask]));
        format!("{name} {}", told.unwrap_or_default().trim())
    }
}

fn words(arguments: &str, port: &str) -> Vec<String> {
    let arguments = arguments.replace("PORT", port);
    arguments.split_whitespace().map(str::to_owned).collect()
}
