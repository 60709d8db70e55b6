//! Memory of the demo project with four workers.

use std::process::Command;

use testkit::http::Client;
use testkit::{Address, Deadline, StopFlag, TempPrefix, WireError};

use super::Bench;
use super::measure::Series;
use super::server::Subject;
use super::table::{Compared, Report};
use crate::install::Venv;
use crate::process;

/// Requests before memory is read, for each worker to have had some.
const WARM_UP: usize = 400;
const LIMIT: std::time::Duration = std::time::Duration::from_secs(120);
/// How long memory is watched for falling again.
const REST: std::time::Duration = std::time::Duration::from_secs(2);

/// Both with `--preload`, and ours without.
pub fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), String> {
    let venv = Venv::for_demo(bench.workspace, true)?;
    let state = TempPrefix::new().map_err(|error| error.to_string())?;
    let shop = Shop {
        bench,
        venv: &venv,
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
            eprintln!("  memory {name}: {memory} KiB");
            series[at].memory_mib.add(memory as f64 / 1024.0);
        }
    }
    let title = "the demo project, 4 workers, each has answered: memory";
    report.add(title, Compared::Memory, &series, &[("gunicorn", 1.25)]);
    Ok(())
}

struct Shop<'a> {
    bench: &'a Bench<'a>,
    venv: &'a Venv,
    state: &'a TempPrefix,
}

impl Shop<'_> {
    /// The database with its content.
    fn prepare(&self) -> Result<(), String> {
        let log = self.state.join("prepare.log");
        for arguments in [&["migrate", "-v0"][..], &["seed"]] {
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
            clients
                .into_iter()
                .try_for_each(|mut client| client.response().map(drop))
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
