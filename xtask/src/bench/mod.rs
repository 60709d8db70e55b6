//! `cargo xtask bench`: what a request costs, ours beside others', in one run on one machine.
//!
//! Every figure is a pair: the same file or application, the same load, turn and turn about. The servers share one core,
//! the load has another. What counts is the CPU time of the whole process tree for each request.

mod idle;
mod machine;
mod measure;
mod parts;
mod python;
mod server;
mod table;
mod web;
mod wrk;

use std::process::ExitCode;

use crate::install::{self, Tool};
use crate::options::Options;
use crate::process;
use crate::workspace::{Profile, Workspace};
use machine::Cores;
use measure::Effort;
use table::Report;

const USAGE: &str = "usage: cargo xtask bench [options] [NAME…]

Prints Markdown tables, and keeps them in target/xtask/bench.md. Names choose some of:

  parts         criterion, for the parts: heads, chunks, configuration, files, …
  static-1k, static-100k, static-10m       a file, nginx and edge
  proxied-1k, proxied-100k                 a file of an origin server, over connections that stay; nginx and edge
  idle          10,000 connections that wait, nginx and edge: memory
  hello         the smallest WSGI application: gunicorn, granian, bjoern, uWSGI and appserver
  django        a small Django view: nginx and gunicorn, edge and appserver

  --quick         short and few runs: whether it works, not what it costs
  --rounds N      runs of each program; default 5
  --seconds N     length of a run; default 6
  --connections N of the load; default 64
  --edge PROGRAM, --appserver PROGRAM  another program in the place of ours, e.g. nginx itself: how much two equal ones differ
";

const NAMES: [&str; 9] = [
    "parts",
    "static-1k",
    "static-100k",
    "static-10m",
    "proxied-1k",
    "proxied-100k",
    "idle",
    "hello",
    "django",
];

/// What every bench works with.
pub struct Bench<'a> {
    pub workspace: &'a Workspace,
    pub cores: Cores,
    pub effort: Effort,
    pub edge: std::path::PathBuf,
    pub appserver: std::path::PathBuf,
}

/// The command.
pub fn main(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode, String> {
    let mut options = Options::new(arguments);
    if options.flag("--help") || options.flag("-h") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut effort = if options.flag("--quick") {
        Effort::quick()
    } else {
        Effort::full()
    };
    if let Some(rounds) = options.number("--rounds")? {
        effort.rounds = rounds.max(1);
    }
    if let Some(seconds) = options.number("--seconds")? {
        effort.seconds = seconds.max(1);
    }
    if let Some(connections) = options.number("--connections")? {
        effort.connections = connections.max(1);
    }
    let (edge, appserver) = (options.value("--edge")?, options.value("--appserver")?);
    let names = options.words()?;
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!(
            "there is no bench \"{unknown}\"; there are {}",
            NAMES.join(", ")
        ));
    }
    let has = |name: &str| names.is_empty() || names.iter().any(|chosen| chosen == name);

    install::require(workspace, &[Tool::Nginx, Tool::Wrk, Tool::UtilLinux])?;
    if edge.is_none() || appserver.is_none() {
        let status = process::run_on_terminal(&mut workspace.build_programs(Profile::Release))?;
        process::success(status, "cargo build --release")?;
    }
    let ours = |name| workspace.program(Profile::Release, name);
    let bench = Bench {
        workspace,
        cores: Cores::choose(),
        effort,
        edge: edge.map_or_else(|| ours("edge"), Into::into),
        appserver: appserver.map_or_else(|| ours("appserver"), Into::into),
    };
    crate::soak::raise_file_limit();
    let mut report = Report::new(machine::describe(&bench));
    if NAMES[1..6].iter().any(|name| has(name)) {
        web::run(&bench, &mut report, &has)?;
    }
    if has("idle") {
        idle::run(&bench, &mut report)?;
    }
    if has("hello") || has("django") {
        python::run(&bench, &mut report, &has)?;
    }
    if has("parts") {
        parts::run(&bench, &mut report)?;
    }
    let text = report.markdown();
    println!("\n{text}");
    let path = workspace.work("bench.md")?;
    std::fs::write(&path, text)
        .map_err(|error| format!("can't write \"{}\": {error}", path.display()))?;
    eprintln!("(also in {})", path.display());
    Ok(ExitCode::SUCCESS)
}
