//! Application servers with the same application.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Address, TempPrefix};

use super::Bench;
use super::machine::{label, version};
use super::measure::in_turn;
use super::server::{Subject, configuration, front};
use super::table::{Compared, Report};
use crate::install::{self, Tool, Venv};

const HELLO: &str = include_str!("hello.py");
const VIEW: &str = include_str!("small_view.py");
const BJOERN: &str =
    "import sys, bjoern, hello; bjoern.run(hello.application, '127.0.0.1', int(sys.argv[1]))";

/// All from PyPI, pinned.
const PACKAGES: [&str; 4] = [
    "gunicorn==27.0.1",
    "granian==2.8.7",
    "pyuwsgi==2.0.30.post1",
    "Django==5.2.19",
];
/// Is compiled where it is installed, and so may be missing.
const BJOERN_PACKAGE: &str = "bjoern==3.2.2";

const SERVERS: &str = "    upstream app { server unix:SOCKET; }

    server {
        listen  LISTEN;
        location / {
            proxy_pass        http://app;
            proxy_set_header  Host $host;
            proxy_set_header  X-Real-IP $remote_addr;
            proxy_set_header  X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header  X-Forwarded-Proto $scheme;
        }
    }
";

/// The chosen ones of these benches.
pub fn run(
    bench: &Bench<'_>,
    report: &mut Report,
    has: &impl Fn(&str) -> bool,
) -> Result<(), String> {
    let all = Setup::new(bench, report)?;
    if has("hello") {
        all.hello(report)?;
    }
    if has("django") {
        all.django(report)?;
    }
    Ok(())
}

struct Setup<'a> {
    bench: &'a Bench<'a>,
    venv: Venv,
    folder: TempPrefix,
    has_bjoern: bool,
}

impl<'a> Setup<'a> {
    fn new(bench: &'a Bench<'a>, report: &mut Report) -> Result<Self, String> {
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
        for (name, text) in [("hello.py", HELLO), ("small_view.py", VIEW)] {
            folder
                .write(name, text)
                .map_err(|error| error.to_string())?;
        }
        Ok(Setup {
            bench,
            venv,
            folder,
            has_bjoern,
        })
    }

    fn hello(&self, report: &mut Report) -> Result<(), String> {
        let mut subjects = vec![self.alone("appserver", &self.ours(), |port| {
            words("hello:application --workers 1 --bind 127.0.0.1:PORT", port)
        })?];
        if self.has_bjoern {
            subjects.push(self.alone("bjoern", &self.venv.program("python"), |port| {
                vec!["-c".to_owned(), BJOERN.to_owned(), port.to_owned()]
            })?);
        }
        for (name, program, arguments) in [
            (
                "granian",
                "granian",
                "--interface wsgi --workers 1 --no-ws --log-level warning --host 127.0.0.1 --port PORT hello:application",
            ),
            (
                "uWSGI",
                "uwsgi",
                "--http11-socket 127.0.0.1:PORT --wsgi-file hello.py --master --processes 1 --disable-logging --die-on-term",
            ),
            (
                "gunicorn gthread",
                "gunicorn",
                "hello:application --workers 1 --threads 4 --bind 127.0.0.1:PORT",
            ),
            (
                "gunicorn sync",
                "gunicorn",
                "hello:application --workers 1 --bind 127.0.0.1:PORT",
            ),
        ] {
            subjects.push(self.alone(name, &self.venv.program(program), |port| {
                words(arguments, port)
            })?);
        }
        let bench = self.bench;
        let series = in_turn(
            bench.cores,
            &bench.effort,
            "/",
            &subjects,
            self.folder.path(),
        )?;
        let goals = [("bjoern", 1.05), ("granian", 2.0), ("gthread", 20.0)];
        report.add("WSGI hello", Compared::Cpu, &series, &goals);
        report.add_source("hello.py", HELLO);
        Ok(())
    }

    fn django(&self, report: &mut Report) -> Result<(), String> {
        let nginx = Path::new("/usr/sbin/nginx");
        let gunicorn = self.venv.program("gunicorn");
        let subjects = [
            self.behind("edge and appserver", &self.bench.edge, &self.ours(), "")?,
            self.behind("nginx and gunicorn", nginx, &gunicorn, "")?,
            self.behind(
                "nginx and gunicorn with 4 threads",
                nginx,
                &gunicorn,
                "--threads 4",
            )?,
        ];
        let bench = self.bench;
        let series = in_turn(
            bench.cores,
            &bench.effort,
            "/prints/7/",
            &subjects,
            self.folder.path(),
        )?;
        report.add(
            "a small Django view",
            Compared::Speed,
            &series,
            &[("gunicorn", 2.0)],
        );
        report.add_source("small_view.py", VIEW);
        report.add_source("nginx.conf of both", &configuration(SERVERS, "LISTEN"));
        Ok(())
    }

    fn ours(&self) -> PathBuf {
        self.bench.appserver.clone()
    }

    /// An application server that wrk asks directly.
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
    fn behind(
        &self,
        name: &str,
        program: &Path,
        app: &Path,
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
        let servers = SERVERS.replace("SOCKET", &socket.display().to_string());
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
        let package = name.split(' ').next().unwrap_or(name);
        let package = if package == "uWSGI" {
            "pyuwsgi"
        } else {
            package
        };
        if package == "appserver" {
            return label(name, &version(program, "--version"));
        }
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
