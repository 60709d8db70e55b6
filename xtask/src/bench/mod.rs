//! `cargo xtask bench`: what a request costs, ours beside others', in one run on one machine.
//!
//! Every figure is a pair: the same file or application, the same load, turn and turn about. The servers share one core,
//! the load has another. What counts is the CPU time of the whole process tree for each request.

mod asgi;
pub mod chat;
mod idle;
mod load;
pub mod machine;
mod measure;
mod memory;
mod parts;
mod peers;
pub mod server;
mod table;
mod web;
mod wrk;
mod wsgi;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::install::{self, Tool};
use crate::options::Options;
use crate::release;
use crate::workspace::{Profile, Workspace};
use machine::Cores;
use measure::Effort;
use peers::Peers;
use table::Report;

const USAGE: &str = "usage: cargo xtask bench [options] [NAME…]

Prints Markdown tables, and keeps them in target/xtask/bench.md. Names choose some of:

  parts         criterion, for the parts: heads, chunks, configuration, files, …
  static-1k, static-100k, static-10m       a file, nginx and edge
  proxied-1k, proxied-100k                 a file of an origin server, over connections that stay; nginx and edge
  idle          10,000 connections that wait, nginx and edge: memory
  hello         the smallest WSGI application: gunicorn, granian, bjoern, uWSGI and appserver
  hello-log     the same under appserver, with an access log and without
  post          POST of 10 KiB that is sent back: granian, gunicorn and appserver
  threads       four threads and a view that sleeps 10 ms: granian, gunicorn and appserver; requests a second
  view          a small Django view and a page, asked for directly: bjoern and appserver
  asgi          the smallest ASGI application: granian, uvicorn, gunicorn, daphne and appserver
  websocket-64, websocket-16k              messages that are sent back: granian, uvicorn, daphne and appserver
  memory        the demo project with four workers: gunicorn and appserver
  django        the same two behind a front: nginx and gunicorn, edge and appserver; requests a second

  --quick         short and few runs: whether it works, not what it costs
  --rounds N      runs of each program; default 5
  --seconds N     length of a run; default 6
  --connections N of the load; default 64
  --plain         programs of `cargo build --release`; without it, of `cargo xtask release`
  --edge PROGRAM, --appserver PROGRAM  another program in the place of ours, e.g. nginx itself: how much two equal ones differ
";

const NAMES: [&str; 17] = [
    "parts",
    "static-1k",
    "static-100k",
    "static-10m",
    "proxied-1k",
    "proxied-100k",
    "idle",
    "hello",
    "hello-log",
    "post",
    "threads",
    "view",
    "asgi",
    "websocket-64",
    "websocket-16k",
    "memory",
    "django",
];

/// A bench of application servers.
type Compare = fn(&Peers<'_>, &mut Report) -> Result<(), String>;

const APPLICATIONS: [(&str, Compare); 9] = [
    ("hello", wsgi::hello),
    ("hello-log", wsgi::access_log),
    ("post", wsgi::post),
    ("threads", wsgi::threads),
    ("view", wsgi::view),
    ("django", wsgi::django),
    ("asgi", asgi::hello),
    ("websocket-64", asgi::small_messages),
    ("websocket-16k", asgi::large_messages),
];

/// What every bench works with.
pub struct Bench<'a> {
    pub workspace: &'a Workspace,
    pub cores: Cores,
    pub effort: Effort,
    /// Programs as `cargo build --release` makes them, instead of `cargo xtask release`.
    pub plain: bool,
    pub edge: PathBuf,
    pub appserver: PathBuf,
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
    let plain = options.flag("--plain");
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
    let needless = (edge.is_some() && appserver.is_some()) || names == ["parts"];
    let folder = match (needless, plain) {
        (true, _) => PathBuf::new(),
        (false, false) => release::build(workspace)?.folder,
        (false, true) => {
            workspace.build(Profile::Release)?;
            workspace.folder(Profile::Release)
        }
    };
    let ours = |name| folder.join(name);
    let bench = Bench {
        workspace,
        cores: Cores::choose(),
        effort,
        plain,
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
    applications(&bench, &mut report, &has)?;
    if has("memory") {
        memory::run(&bench, &mut report)?;
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

/// The chosen ones of the benches of application servers.
fn applications(
    bench: &Bench<'_>,
    report: &mut Report,
    has: &impl Fn(&str) -> bool,
) -> Result<(), String> {
    let chosen: Vec<_> = APPLICATIONS.iter().filter(|(name, _)| has(name)).collect();
    if chosen.is_empty() {
        return Ok(());
    }
    let peers = Peers::new(bench, report)?;
    chosen.iter().try_for_each(|(_, run)| run(&peers, report))
}
