//! `cargo xtask test`: every step in turn, a line for each, a sum at the end.

mod oom;
mod steps;
mod units;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::install::{self, Tool, Venv};
use crate::options::Options;
use crate::process;
use crate::tree;
use crate::workspace::Workspace;
use steps::STEPS;

/// How long processes of a step may take to be gone after it.
const AFTERMATH: Duration = Duration::from_secs(10);
const TAIL_LINES: usize = 60;

/// One thing that must hold.
pub struct Step {
    name: &'static str,
    about: &'static str,
    /// Steps whose results it uses: chosen with it, and it does not run when one of them failed.
    after: &'static [&'static str],
    tools: &'static [Tool],
    run: fn(&Context<'_>) -> Result<String, String>,
}

/// What a step works with.
pub struct Context<'a> {
    pub workspace: &'a Workspace,
    /// Its log; what it runs adds to it.
    pub log: PathBuf,
    /// Why the machine does not allow it.
    unable: RefCell<Option<String>>,
}

impl Context<'_> {
    /// Runs a command to its end with its output in the log.
    pub fn run(&self, command: &mut Command, minutes_max: u64) -> Result<(), String> {
        process::run(command, &self.log, Duration::from_secs(60 * minutes_max))
    }

    /// The result of a step that finds that this machine does not allow it: it counts as skipped, with the reason.
    pub fn cannot(&self, reason: String) -> Result<String, String> {
        *self.unable.borrow_mut() = Some(reason);
        Ok(String::new())
    }

    /// What is in the log so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The environment with the shop, its peers and the browser's driver.
    pub fn venv(&self) -> Result<Venv, String> {
        Venv::for_demo(self.workspace, true)
    }
}

enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(String),
}

/// The command.
pub fn main(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode, String> {
    let mut options = Options::new(arguments);
    if options.flag("--help") || options.flag("-h") {
        print!("{}", usage());
        return Ok(ExitCode::SUCCESS);
    }
    let mut left_out = Vec::new();
    for name in options.values("--skip")? {
        left_out.push(known(&name)?);
    }
    let mut chosen = Vec::new();
    for word in options.words()? {
        chosen.push(known(&word)?);
    }
    for step in STEPS
        .iter()
        .filter(|step| chosen.contains(&step.name))
        .collect::<Vec<_>>()
    {
        chosen.extend(step.after);
    }
    let steps: Vec<&Step> = STEPS
        .iter()
        .filter(|step| chosen.is_empty() || chosen.contains(&step.name))
        .collect();
    let start = Instant::now();
    let outcomes = run_all(workspace, &steps, &left_out);
    Ok(sum_up(&steps, &outcomes, start.elapsed()))
}

fn usage() -> String {
    let mut text = "usage: cargo xtask test [--skip STEP]… [STEP…]\n\n\
        Checks everything, or the named steps and what they need. The output of each is in target/xtask/logs/STEP.log; the end of a failing one's is shown.\n\n"
        .to_owned();
    for step in STEPS {
        let _ = writeln!(text, "  {:20} {}", step.name, step.about);
    }
    text
}

fn known(name: &str) -> Result<&'static str, String> {
    STEPS
        .iter()
        .find(|step| step.name == name)
        .map(|step| step.name)
        .ok_or_else(|| {
            let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
            format!(
                "there is no step \"{name}\"; the steps are {}",
                names.join(", ")
            )
        })
}

fn run_all(workspace: &Workspace, steps: &[&Step], left_out: &[&str]) -> Vec<Outcome> {
    let mut wanted = Vec::new();
    for tool in steps.iter().flat_map(|step| step.tools) {
        if !wanted.contains(tool) {
            wanted.push(*tool);
        }
    }
    let missing = install::tools(workspace, &wanted);
    let mut failed: Vec<&str> = Vec::new();
    let mut outcomes = Vec::new();
    for step in steps {
        if process::interrupted() {
            outcomes.push(Outcome::Failed("interrupted before it began".to_owned()));
            continue;
        }
        begin(step);
        let start = Instant::now();
        let outcome = if left_out.contains(&step.name) {
            Outcome::Skipped("left out by --skip".to_owned())
        } else if let Some(first) = step.after.iter().find(|name| failed.contains(name)) {
            Outcome::Failed(format!("not run, because step \"{first}\" failed"))
        } else {
            attempt(workspace, step, &missing)
        };
        if let Outcome::Failed(_) = outcome {
            failed.push(step.name);
        }
        report(workspace, step, &outcome, start.elapsed());
        outcomes.push(outcome);
    }
    outcomes
}

fn attempt(workspace: &Workspace, step: &Step, missing: &[(Tool, String)]) -> Outcome {
    let lacking: Vec<&str> = missing
        .iter()
        .filter(|(tool, _)| step.tools.contains(tool))
        .map(|(_, reason)| reason.as_str())
        .collect();
    if !lacking.is_empty() {
        return Outcome::Skipped(lacking.join("; "));
    }
    let log = match workspace.work(&format!("logs/{}.log", step.name)) {
        Ok(log) => log,
        Err(problem) => return Outcome::Failed(problem),
    };
    let _ = std::fs::remove_file(&log);
    let context = Context {
        workspace,
        log,
        unable: RefCell::default(),
    };
    let result = (step.run)(&context);
    let left = left_running();
    match result {
        Ok(_) if !left.is_empty() => {
            Outcome::Failed(format!("it left processes running: {}", left.join(", ")))
        }
        Ok(note) => match context.unable.take() {
            Some(reason) => Outcome::Skipped(reason),
            None => Outcome::Passed(note),
        },
        Err(problem) => Outcome::Failed(problem),
    }
}

/// What still runs a while after a step. It is ended.
fn left_running() -> Vec<String> {
    let gone = testkit::Deadline::after(AFTERMATH).poll(&testkit::StopFlag::default(), || {
        tree::descendants(std::process::id())
            .is_empty()
            .then_some(())
    });
    match gone {
        Some(()) => {
            process::reap_orphans();
            Vec::new()
        }
        None => process::end_everything(),
    }
}

fn begin(step: &Step) {
    if std::io::stdout().is_terminal() {
        print!("{:20} …", step.name);
        let _ = std::io::stdout().flush();
    }
}

fn report(workspace: &Workspace, step: &Step, outcome: &Outcome, elapsed: Duration) {
    if std::io::stdout().is_terminal() {
        print!("\r");
    }
    let (word, note) = match outcome {
        Outcome::Passed(note) => ("ok", note),
        Outcome::Failed(note) => ("FAILED", note),
        Outcome::Skipped(note) => ("SKIPPED", note),
    };
    println!(
        "{:20} {word:7} {:7.1} s  {note}",
        step.name,
        elapsed.as_secs_f64()
    );
    if let Outcome::Failed(_) = outcome
        && let Ok(log) = workspace.work(&format!("logs/{}.log", step.name))
        && log.is_file()
    {
        println!("  the end of {}:", log.display());
        for line in process::tail(&log, TAIL_LINES).lines() {
            println!("  | {line}");
        }
    }
}

fn sum_up(steps: &[&Step], outcomes: &[Outcome], elapsed: Duration) -> ExitCode {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    println!();
    for (step, outcome) in steps.iter().zip(outcomes) {
        match outcome {
            Outcome::Passed(_) => passed += 1,
            Outcome::Failed(note) => {
                failed += 1;
                println!(
                    "failed:  {}: {}",
                    step.name,
                    note.lines().next().unwrap_or("")
                );
            }
            Outcome::Skipped(note) => {
                skipped += 1;
                println!("SKIPPED: {}: NOTHING WAS CHECKED: {note}", step.name);
            }
        }
    }
    let seconds = elapsed.as_secs();
    println!(
        "steps of cargo xtask test, in {} min {} s:",
        seconds / 60,
        seconds % 60
    );
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ExitCode::from(u8::from(failed > 0 || passed == 0))
}
