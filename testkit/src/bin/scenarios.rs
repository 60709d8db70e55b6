//! `scenarios`: runs scenario files against a program and says which hold.
//!
//! `scenarios --subject nginx|edge|gunicorn|appserver [--program PATH] [options] [PATH…]`
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use testkit::scenario::{Family, Outcome, Scenario, Settings, Subject, find, run};

const USAGE: &str = "usage: scenarios --subject nginx|edge|gunicorn|appserver [options] [PATH...]

  PATH            a scenario file or a folder of them; default scenarios/edge or scenarios/appserver
  --program FILE  the program; default /usr/sbin/nginx, gunicorn of the venv, or the binary beside this one
  --venv DIR      the Python environment of gunicorn and appserver; default $VIADUCT_VENV
  --filter TEXT   only scenarios with TEXT in their name; may be repeated
  --jobs N        how many at a time; default 3
  --report FILE   also write the outcomes as JSON
  --list          print names and titles, run nothing
  --keep          leave the prefixes behind
  --brief         no transcripts
";

struct Options {
    settings: Settings,
    paths: Vec<PathBuf>,
    filters: Vec<String>,
    jobs: usize,
    report: Option<PathBuf>,
    list: bool,
    brief: bool,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("scenarios: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let scenarios = match load(&options) {
        Ok(scenarios) => scenarios,
        Err(messages) => {
            eprintln!("{}", messages.join("\n"));
            return ExitCode::from(2);
        }
    };
    if options.list {
        for scenario in &scenarios {
            println!("{:45} {}", scenario.name, scenario.title);
        }
        return ExitCode::SUCCESS;
    }
    report(&options, &scenarios)
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut subject = None;
    let mut program = None;
    let mut venv = std::env::var_os("VIADUCT_VENV").map(PathBuf::from);
    let (mut paths, mut filters, mut report) = (Vec::new(), Vec::new(), None);
    let (mut jobs, mut list, mut keep, mut brief) = (3, false, false, false);
    while let Some(argument) = arguments.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                (name.to_owned(), Some(value.to_owned()))
            }
            _ => (argument, None),
        };
        let mut value = || {
            inline
                .clone()
                .or_else(|| arguments.next())
                .ok_or_else(|| format!("\"{name}\" takes a value"))
        };
        match name.as_str() {
            "--subject" => {
                let name = value()?;
                subject = Some(
                    Subject::named(&name).ok_or_else(|| format!("unknown subject \"{name}\""))?,
                );
            }
            "--program" => program = Some(PathBuf::from(value()?)),
            "--venv" => venv = Some(PathBuf::from(value()?)),
            "--filter" => filters.push(value()?),
            "--jobs" => {
                jobs = value()?
                    .parse()
                    .map_err(|_| "\"--jobs\" takes a number".to_owned())?;
            }
            "--report" => report = Some(PathBuf::from(value()?)),
            "--list" => list = true,
            "--keep" => keep = true,
            "--brief" => brief = true,
            "--help" | "-h" => return Ok(None),
            _ if name.starts_with('-') => return Err(format!("unknown option \"{name}\"")),
            _ => paths.push(PathBuf::from(name)),
        }
    }
    let subject = subject.ok_or("say which program with --subject")?;
    // The subject runs in a directory of its own: relative paths are of the directory this was called in.
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let venv = venv.map(absolute);
    let program = program.map(|path| {
        if path.components().count() > 1 {
            absolute(path)
        } else {
            path
        }
    });
    let program = program.unwrap_or_else(|| subject.default_program(venv.as_deref()));
    if !list && !exists(&program) {
        let hint = if subject.family() == Family::Python {
            " or --venv DIR"
        } else {
            ""
        };
        return Err(format!(
            "no program \"{}\"; say where it is with --program FILE{hint}",
            program.display()
        ));
    }
    if paths.is_empty() {
        let folder = if subject.family() == Family::Web {
            "scenarios/edge"
        } else {
            "scenarios/appserver"
        };
        paths.push(PathBuf::from(folder));
    }
    let settings = Settings {
        subject,
        program,
        venv,
        keep,
    };
    Ok(Some(Options {
        settings,
        paths,
        filters,
        jobs: jobs.max(1),
        report,
        list,
        brief,
    }))
}

/// Whether a program can be started by this name or path.
fn exists(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The scenarios of the subject that the filters let through, or every fault of every file.
fn load(options: &Options) -> Result<Vec<Scenario>, Vec<String>> {
    let mut scenarios = Vec::new();
    let mut faults = Vec::new();
    for root in &options.paths {
        let files =
            find(root).map_err(|error| vec![format!("scenarios: {}: {error}", root.display())])?;
        for (path, name) in files {
            match Scenario::load(&path, &name) {
                Ok(scenario) => scenarios.push(scenario),
                Err(fault) => faults.push(format!("scenarios: {fault}")),
            }
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    scenarios.retain(|scenario| {
        let chosen = options.filters.is_empty()
            || options
                .filters
                .iter()
                .any(|filter| scenario.name.contains(filter));
        chosen && scenario.is_for(options.settings.subject)
    });
    match scenarios.is_empty() {
        true => Err(vec![
            "scenarios: no scenario for this subject matches".to_owned(),
        ]),
        false => Ok(scenarios),
    }
}

fn report(options: &Options, scenarios: &[Scenario]) -> ExitCode {
    let start = Instant::now();
    let outcomes = run_all(options, scenarios);
    let failed: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| !outcome.passed())
        .collect();
    for (scenario, outcome) in &failed {
        explain(scenario, outcome, options.brief);
    }
    println!(
        "\n{}: {} passed, {} failed of {} in {:.1} s ({})",
        options.settings.subject,
        outcomes.len() - failed.len(),
        failed.len(),
        outcomes.len(),
        start.elapsed().as_secs_f64(),
        options.settings.program.display()
    );
    for (scenario, _) in &failed {
        println!("  failed: {}", scenario.name);
    }
    if let Some(path) = &options.report
        && let Err(error) = write_report(path, &outcomes)
    {
        eprintln!("scenarios: {}: {error}", path.display());
        return ExitCode::from(2);
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs them, `jobs` at a time, with a line for each as it ends; the outcomes in the order of the scenarios.
fn run_all<'a>(options: &Options, scenarios: &'a [Scenario]) -> Vec<(&'a Scenario, Outcome)> {
    let waiting: Mutex<VecDeque<(usize, &Scenario)>> =
        Mutex::new(scenarios.iter().enumerate().collect());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.min(scenarios.len()) {
            scope.spawn(|| {
                loop {
                    let next = waiting
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some((at, scenario)) = next else { break };
                    let outcome = run(scenario, &options.settings);
                    let word = if outcome.passed() { "ok  " } else { "FAIL" };
                    println!(
                        "{word} {:45} {:5} ms",
                        scenario.name,
                        outcome.elapsed.as_millis()
                    );
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((at, scenario, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, ..)| *at);
    done.into_iter()
        .map(|(_, scenario, outcome)| (scenario, outcome))
        .collect()
}

fn explain(scenario: &Scenario, outcome: &Outcome, brief: bool) {
    println!("\n==== {}: {}", scenario.name, scenario.title);
    for failure in &outcome.failures {
        println!(
            "{}:{}: {}",
            scenario.path.display(),
            failure.line,
            failure.message
        );
    }
    if let Some(path) = &outcome.kept {
        println!("prefix: {}", path.display());
    }
    if brief {
        return;
    }
    println!("-- transcript");
    outcome
        .transcript
        .iter()
        .for_each(|line| println!("{line}"));
    for (name, text) in &outcome.logs {
        println!("-- {name}");
        text.lines().for_each(|line| println!("  {line}"));
    }
}

fn write_report(path: &Path, outcomes: &[(&Scenario, Outcome)]) -> std::io::Result<()> {
    #[derive(serde::Serialize)]
    struct Row<'a> {
        name: &'a str,
        title: &'a str,
        passed: bool,
        outcome: &'a Outcome,
    }
    let rows: Vec<_> = outcomes
        .iter()
        .map(|(scenario, outcome)| Row {
            name: &scenario.name,
            title: &scenario.title,
            passed: outcome.passed(),
            outcome,
        })
        .collect();
    std::fs::write(path, serde_json::to_vec_pretty(&rows)?)
}
