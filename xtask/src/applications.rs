//! Real applications of PyPI under gunicorn and under appserver, started by the same command (`testkit/applications`).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::install::Venv;
use crate::process::run;
use crate::wheel;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(1200);

const HERE: &str = "testkit/applications";

/// The environment with all of them, and gunicorn.
pub fn venv(workspace: &Workspace) -> Result<Venv, String> {
    let requirements = workspace.join(HERE).join("requirements.txt");
    let arguments = ["-r".to_owned(), requirements.display().to_string()];
    Venv::with(
        workspace,
        "venv-applications",
        std::slice::from_ref(&requirements),
        &arguments,
    )
}

/// The step: installs the wheel beside gunicorn and compares what both answer.
pub fn compare(workspace: &Workspace, log: &Path) -> Result<String, String> {
    let here = workspace.join(HERE);
    let venv = venv(workspace)?;
    let mut pip = Command::new(venv.program("pip"));
    pip.args(["--disable-pip-version-check", "install", "-q"])
        .args(["--no-index", "--no-deps", "--force-reinstall"])
        .arg(wheel::latest(workspace)?);
    run(&mut pip, log, LIMIT)?;
    let mut compare = Command::new(venv.program("python"));
    compare
        .arg("-B")
        .arg(here.join("compare.py"))
        .arg(&venv.path)
        .arg(workspace.work("applications")?);
    run(&mut compare, log, LIMIT)?;
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let answers = said
        .lines()
        .filter_map(|line| line.split_once(": ")?.1.split_once(" answers, 0 different"))
        .filter_map(|(answers, _)| answers.parse::<u32>().ok());
    let (applications, answers) = answers.fold((0, 0), |(many, sum), one| (many + 1, sum + one));
    match answers {
        0 => Err("nothing was compared".to_owned()),
        answers => Ok(format!(
            "{applications} applications, {answers} answers alike"
        )),
    }
}
