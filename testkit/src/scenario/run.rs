//! One scenario against one subject, from the empty prefix to the outcome.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::client::Player;
use super::file::{Kind, Line, Scenario};
use super::origin::Shared;
use super::stage::{Stage, log_path};
use super::subject::Subject;
use crate::Child;

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The subject.
    pub subject: Subject,
    /// Its program.
    pub program: PathBuf,
    /// The Python environment of gunicorn and appserver.
    pub venv: Option<PathBuf>,
    /// Whether prefixes are left behind.
    pub keep: bool,
}

/// An expectation that did not hold.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Failure {
    /// The line of the scenario file; 0 when it is about the whole.
    pub line: usize,
    /// What was expected and what came, over several lines.
    pub message: String,
}

/// How a scenario went.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Outcome {
    /// Empty when all went well; otherwise the first failure, and others of the same moment.
    pub failures: Vec<Failure>,
    /// Everything that was sent and received, when it failed.
    pub transcript: Vec<String>,
    /// The ends of the subject's logs by name, when it failed.
    pub logs: Vec<(String, String)>,
    /// How long it took.
    pub elapsed: Duration,
    /// The prefix, when it was kept.
    pub kept: Option<PathBuf>,
}

impl Outcome {
    /// Whether every expectation held.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Runs a scenario.
pub fn run(scenario: &Scenario, settings: &Settings) -> Outcome {
    let start = Instant::now();
    let mut outcome = perform(scenario, settings);
    outcome.elapsed = start.elapsed();
    outcome
}

fn perform(scenario: &Scenario, settings: &Settings) -> Outcome {
    let mut outcome = Outcome {
        failures: Vec::new(),
        transcript: Vec::new(),
        logs: Vec::new(),
        elapsed: Duration::ZERO,
        kept: None,
    };
    match Stage::build(scenario, settings) {
        Err(error) => outcome.failures.push(Failure {
            line: 0,
            message: format!("can't lay out the files: {error}"),
        }),
        Ok((stage, listeners)) => {
            let shared = Shared::new(stage.prefix.path());
            let origins = stage.origins(listeners, &shared);
            converse(scenario, settings, &stage, &shared, origins);
            outcome.failures = shared.failures();
            outcome.kept = settings.keep.then(|| stage.prefix.path().to_owned());
            if !outcome.passed() {
                outcome.transcript = shared.transcript.lines();
                outcome.logs = logs(stage.prefix.path(), settings);
            }
        }
    }
    outcome
}

fn converse(
    scenario: &Scenario,
    settings: &Settings,
    stage: &Stage,
    shared: &Shared,
    origins: Vec<super::origin::Origin>,
) {
    let mut player = Player::new(stage, settings, shared);
    for section in scenario.sections_for(settings.subject) {
        let (script, server) = match &section.kind {
            Kind::Client(script) => (script, true),
            Kind::Commands(script) => (script, false),
            _ => continue,
        };
        let script: Vec<Line> = script
            .iter()
            .filter(|line| line.is_for(settings.subject))
            .cloned()
            .collect();
        if server && let Err(message) = player.start(&script) {
            shared.fail(section.line, message);
            break;
        }
        player.play(&script);
    }
    shared.over.raise();
    for origin in origins {
        origin.finish(shared);
    }
    drop(player);
    // Daemons have left the process group of what was started.
    for pid in Child::running_in(stage.prefix.path()) {
        let _ = kill_process(pid, Signal::KILL);
    }
    for (name, text) in logs(stage.prefix.path(), settings) {
        if let Some(line) = text.lines().find(|line| line.contains("panicked at")) {
            shared.fail(0, format!("{name}: {line}"));
        }
    }
}

/// The ends of what the subject wrote.
fn logs(prefix: &Path, settings: &Settings) -> Vec<(String, String)> {
    const END: usize = 6000;
    let paths = [
        "stdout.log",
        "stderr.log",
        "error",
        "access",
        "command.out",
        "command.err",
    ];
    let mut logs: Vec<(String, String)> = Vec::new();
    for name in paths {
        let path = log_path(prefix, name, settings.subject.family());
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bytes = fs::read(&path).unwrap_or_default();
        if !bytes.is_empty() && !logs.iter().any(|(other, _)| *other == name) {
            let end = &bytes[bytes.len().saturating_sub(END)..];
            logs.push((name, String::from_utf8_lossy(end).into_owned()));
        }
    }
    logs
}
