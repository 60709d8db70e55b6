//! Memory of the demo project with four workers.

use std::ops::RangeInclusive;
use std::process::Command;

use testkit::http::Client;
use testkit::{Address, Deadline, StopFlag, TempPrefix, WireError};

use super::Bench;
use super::measure::Series;
use super::server::Subject;
use super::table::{Compared, Report};
use crate::install::Venv;
use crate::{process, wheel};

/// Requests before memory is read, for each worker to have had some.
const WARM_UP: usize = 400;
const LIMIT: std::time::Duration = std::time::Duration::from_secs(120);
/// How long memory is watched for falling again.
const REST: std::time::Duration = std::time::Duration::from_secs(2);

/// The minor versions of Python whose objects can be immortal: workers then share more of an application that was preloaded.
const NEWER: RangeInclusive<u32> = 12..=13;

/// Under `python3`, and, where that is older, under a newer one that is found beside it.
pub fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), String> {
    let venv = Venv::for_demo(bench.workspace, true)?;
    let version = version_of(&venv)?;
    compare(bench, report, &venv, version)?;
    if version >= *NEWER.start() {
        return Ok(());
    }
    match wheel::pythons().range(NEWER).next_back() {
        Some((&minor, python)) => {
            let venv = Venv::for_demo_under(bench.workspace, python, minor)?;
            compare(bench, report, &venv, minor)
        }
        None => {
            report.add_text(format!(
                "memory: there is no Python 3.12 or 3.13 here; only 3.{version} was measured\n"
            ));
            Ok(())
        }
    }
}

/// The minor version of an environment's interpreter.
fn version_of(venv: &Venv) -> Result<u32, String> {
    let ask = "import sys; print(sys.version_info[1])";
    let said = process::output(Command::new(venv.program("python")).args(["-c", ask]))?;
    said.trim()
        .parse()
        .map_err(|_| format!("\"{}\" is no version of Python", said.trim()))
}

/// Both with `--preload`, and ours without.
fn compare(
    bench: &Bench<'_>,
    report: &mut Report,
    venv: &Venv,
    version: u32,
) -> Result<(), String> {
    let state = TempPrefix::new().map_err(|error| error.to_string())?;
    let shop = Shop {
        bench,
        venv,
        state: &state,
    };
    shop.prepare()?;
    let gunicorn = venv.program("gunicorn");
    let kinds = [
        ("appserver --preload", &bench.appserver, "--preload"),
        ("gunicorn --preload", &gunicorn, "--preload"),
        ("appserver, nothing shared", &bench.appserver, ""),
    ];
    let rounds = if bench.effort.quick { 1 } else { 3 };
    let mut series: Vec<Series> = Vec::new();
    for _ in 0..rounds {
        for (at, (name, program, more)) in kinds.iter().enumerate() {
            let subject = shop.serve(name, program, more)?;
            if series.len() == at {
                series.push(Series::of(&subject));
            }
            let memory = shop.ask_and_weigh(&subject)?;
            eprintln!("  memory {name}, Python 3.{version}: {memory} KiB");
            series[at].memory_mib.add(memory as f64 / 1024.0);
        }
    }
    let title =
        format!("the demo project, 4 workers, each has answered: memory under Python 3.{version}");
    report.add(&title, Compared::Memory, &series, &[("gunicorn", 1.25)]);
    Ok(())
}

struct Shop<'a> {
    bench: &'a Bench<'a>,
    venv: &'a Venv,
    state: &'a TempPrefix,
}

impl Shop<'_> {
    /// The database with its content, and the names of its static files, without which no page is answered.
    fn prepare(&self) -> Result<(), String> {
        let log = self.state.join("prepare.log");
        for arguments in [
            &["migrate", "-v0"][..],
            &["seed"],
            &["collectstatic", "--noinput", "-v0"],
        ] {
            let mut command = self.command(&self.venv.program("python"));
            command.arg("manage.py").args(arguments);
            process::run(&mut command, &log, LIMIT)
                .map_err(|problem| format!("{problem}\n{}", process::tail(&log, 20)))?;
        }
        Ok(())
    }

    fn serve(&self, name: &str, program: &std::path::Path, more: &str) -> Result<Subject, String> {
        let mut subject = Subject::new(name)?;
        let mut command = self.command(program);
        command
            .args(["my_shop.wsgi:application", "--workers", "4", "--bind"])
            .arg(subject.address.to_string())
            .args(more.split_whitespace());
        let address = Address::from(subject.address);
        let log = self.state.join(format!("{}.log", name.replace(' ', "-")));
        subject.start(self.bench.cores.server, &command, &address, &log)?;
        Ok(subject)
    }

    fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.bench.workspace.join("demo/my_shop"))
            .env("VIRTUAL_ENV", &self.venv.path)
            .env("SHOP_STATE", self.state.path())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Asks until every worker has done something, and reads the least memory that is seen behind that.
    fn ask_and_weigh(&self, subject: &Subject) -> Result<u64, String> {
        let told = |error: WireError| format!("{}: {error}", subject.name);
        let ask = || -> Result<(), WireError> {
            // Connections of their own, a few at a time: they spread over the workers.
            let mut clients = Vec::new();
            for _ in 0..8 {
                let mut client = Client::connect(subject.address)?;
                client.ask("GET", "/", &[("Connection", "close")])?;
                clients.push(client);
            }
            for mut client in clients {
                let response = client.response()?;
                if response.status != 200 {
                    let words = format!("a page was answered with {}", response.status);
                    return Err(WireError::Malformed(words));
                }
            }
            Ok(())
        };
        for _ in 0..WARM_UP / 8 {
            process::check_interrupted()?;
            ask().map_err(told)?;
        }
        let mut least = u64::MAX;
        let _ = Deadline::after(REST).poll(&StopFlag::default(), || {
            least = least.min(subject.pss_kib());
            None::<()>
        });
        Ok(least)
    }
}
