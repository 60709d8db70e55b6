//! `cargo xtask test`: every step in turn, in two lanes, a line for each, a sum at the end.

mod oom;
mod steps;
mod units;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
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
/// Of [`Lane::Beside`]: the others get ten times as much of a processor.
const BESIDE_NICE: i32 = 10;

/// Where a step runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// One after the other.
    Front,
    /// One after the other too, beside those in front and at a lower priority: what only prepares and compiles, or has time.
    Beside,
}

/// One thing that must hold.
pub struct Step {
    name: &'static str,
    about: &'static str,
    lane: Lane,
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
    while let Some(needed) = STEPS
        .iter()
        .filter(|step| chosen.contains(&step.name))
        .flat_map(|step| step.after)
        .find(|name| !chosen.contains(name))
    {
        chosen.push(needed);
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
    let run = Run {
        workspace,
        missing: install::tools(workspace, &wanted),
        left_out,
        board: Board::new(steps),
    };
    let (beside, front): (Vec<&Step>, Vec<&Step>) =
        steps.iter().partition(|step| step.lane == Lane::Beside);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Of this thread, and of what it starts.
            let _ = rustix::process::nice(BESIDE_NICE);
            run.lane(&beside);
        });
        run.lane(&front);
    });
    run.board.into_outcomes(steps)
}

/// What both lanes know.
struct Run<'a> {
    workspace: &'a Workspace,
    missing: Vec<(Tool, String)>,
    left_out: &'a [&'a str],
    board: Board,
}

impl Run<'_> {
    fn lane(&self, steps: &[&Step]) {
        for step in steps {
            let failed = self.board.await_all(step.after);
            begin(step);
            let start = Instant::now();
            let outcome = if process::interrupted() {
                Outcome::Failed("interrupted before it began".to_owned())
            } else if self.left_out.contains(&step.name) {
                Outcome::Skipped("left out by --skip".to_owned())
            } else if let Some(first) = failed {
                Outcome::Failed(format!("not run, because step \"{first}\" failed"))
            } else {
                // Whoever waits for a step that panics would wait for ever.
                let attempt = || attempt(self.workspace, step, &self.missing);
                catch_unwind(AssertUnwindSafe(attempt))
                    .unwrap_or_else(|_| Outcome::Failed("it panicked".to_owned()))
            };
            report(self.workspace, step, &outcome, start.elapsed());
            self.board.note(step.name, outcome);
        }
    }
}

/// How the steps ended that have.
struct Board {
    outcomes: Mutex<BTreeMap<&'static str, Option<Outcome>>>,
    changed: Condvar,
}

impl Board {
    fn new(steps: &[&Step]) -> Self {
        let outcomes = steps.iter().map(|step| (step.name, None)).collect();
        Board {
            outcomes: Mutex::new(outcomes),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<Outcome>>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, name: &'static str, outcome: Outcome) {
        self.lock().insert(name, Some(outcome));
        self.changed.notify_all();
    }

    /// Waits for steps; the first of them that failed.
    fn await_all(&self, names: &[&'static str]) -> Option<&'static str> {
        let outcomes = self
            .changed
            .wait_while(self.lock(), |outcomes| {
                names.iter().any(|name| outcomes[name].is_none())
            })
            .unwrap_or_else(PoisonError::into_inner);
        let failed = |name: &&&str| matches!(outcomes[**name], Some(Outcome::Failed(_)));
        names.iter().find(failed).copied()
    }

    fn into_outcomes(self, steps: &[&Step]) -> Vec<Outcome> {
        let mut outcomes = self
            .outcomes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let never = || Outcome::Failed("it was never run".to_owned());
        let of = |step: &&Step| outcomes.remove(step.name).flatten().unwrap_or_else(never);
        steps.iter().map(of).collect()
    }
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
    let left = match step.lane {
        Lane::Front => left_running(),
        Lane::Beside => Vec::new(),
    };
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

/// What still runs a while after a step in front. It is ended.
fn left_running() -> Vec<String> {
    let ours = tree::Process::read(std::process::id()).map_or(0, |this| this.nice);
    let beside = (ours + i64::from(BESIDE_NICE)).min(19);
    let of_front = || {
        let mut left = tree::descendants(std::process::id());
        left.retain(|process| process.nice < beside);
        left
    };
    let gone = testkit::Deadline::after(AFTERMATH).poll(&testkit::StopFlag::default(), || {
        of_front().is_empty().then_some(())
    });
    match gone {
        Some(()) => {
            process::reap_orphans();
            Vec::new()
        }
        None => process::end(&of_front()),
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
