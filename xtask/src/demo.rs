//! `cargo xtask demo`: the shop of `demo/` behind edge and appserver.

use std::process::{Command, ExitCode};

use crate::install::{self, Tool, Venv};
use crate::options::Options;
use crate::process::run_on_terminal;
use crate::workspace::{Profile, Workspace};

const USAGE: &str = "usage: cargo xtask demo [options]

Builds edge and appserver, prepares the Django shop of demo/ (environment, database, static files), starts it all on
a free port of 127.0.0.1, prints the address and shows a line for each request until Ctrl-C.

  --check             exercises the shop instead of waiting; exits 0 or 1
  --browser           with --check: also drives a headless Chromium through it
  --port N            listens on this port
  --workers N         appserver's workers; default 1: the chat lives in one process
  --front PROGRAM     another program in edge's place, e.g. /usr/sbin/nginx
  --app PROGRAM       another program in appserver's place, e.g. `gunicorn`, of the environment
  --state DIR         where the shop keeps its data; default demo/var, with --check a new folder each time
";

/// The command.
pub fn main(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode, String> {
    let mut options = Options::new(arguments);
    if options.flag("--help") || options.flag("-h") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let (check, browser) = (options.flag("--check"), options.flag("--browser"));
    let (front, app) = (options.value("--front")?, options.value("--app")?);
    let (port, workers) = (options.number("--port")?, options.number("--workers")?);
    let state = options.value("--state")?;
    options.words()?;

    if browser {
        install::require(workspace, &[Tool::Chromium])?;
    }
    let venv = Venv::for_demo(workspace, browser || app.is_some())?;
    if front.is_none() || app.is_none() {
        println!("building edge and appserver (release)");
        workspace.build(Profile::Release)?;
    }
    let ours = |name| workspace.program(Profile::Release, name);
    let front = front.map_or_else(|| ours("edge"), Into::into);
    let app = match app {
        Some(name) if !name.contains('/') => venv.program(&name),
        Some(path) => path.into(),
        None => ours("appserver"),
    };

    let folder = (check && state.is_none())
        .then(testkit::TempPrefix::new)
        .transpose()
        .map_err(|error| format!("can't make a folder for the shop: {error}"))?;
    let mut serve = Command::new(venv.program("python"));
    serve.arg(workspace.join("demo/serve.py"));
    serve.arg("--front").arg(front).arg("--app").arg(app);
    if let Some(folder) = &folder {
        serve.arg("--state").arg(folder.path());
    } else if let Some(state) = state {
        serve.args(["--state", &state]);
    }
    for (name, number) in [("--port", port), ("--workers", workers)] {
        if let Some(number) = number {
            serve.args([name, &number.to_string()]);
        }
    }
    for (name, wanted) in [("--check", check), ("--browser", check && browser)] {
        if wanted {
            serve.arg(name);
        }
    }
    let status = run_on_terminal(&mut serve)?;
    if check {
        let word = if status.success() { "passed" } else { "FAILED" };
        println!("demo: the check {word}");
    }
    Ok(ExitCode::from(u8::from(!status.success())))
}
