//! `cargo xtask soak`: the servers under load while they are reloaded, killed, flooded and drained.
//!
//! Each phase says what it did and fails when a promise was broken. None measures time: what is promised is that
//! nothing is lost, that memory stays, and that nobody waits for somebody else. `trickle` compares a server with itself.

mod encrypted;
mod kills;
mod large;
mod malformed;
mod reloads;
mod slow;
mod stops;
mod trickle;
mod witness;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::install::Venv;
use crate::load::{Content, Failure, Load, Want};
use crate::options::Options;
use crate::process;
use crate::shop::{Kind, Shop};
use crate::workspace::{Profile, Workspace};
use trickle::Crowd;

const USAGE: &str = "usage: cargo xtask soak [options] [PHASE…]

The shop under load from a client that counts every lost, short or wrong response, while:

  reloads    edge -s reload, again and again: nothing is lost, and each takes effect
  code       HUP to appserver, again and again: nothing is lost, all workers are new ones
  kills      kill -9 of edge's worker and appserver's in turn: only what was in flight there fails
  slow       clients that send a byte a second: all of them are answered, and nobody waits for them
  trickle    5000 clients send and 1000 read a byte a second, straight to appserver: others lose a tenth at most
  large      200 MB up and 500 MB down: memory stays
  encrypted  the same over TLS, by HTTP/1.1 and HTTP/2, straight to appserver
  malformed  requests that are none: the application never hears of them
  stops      TERM and QUIT: what runs is finished, then the programs end with code 0

  --short          fewer rounds and smaller files, as in `cargo xtask test`
  --front PROGRAM  another program in edge's place, e.g. /usr/sbin/nginx
  --app PROGRAM    another program in appserver's place, e.g. `gunicorn`, of the environment
";

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Plan {
    phases: Vec<String>,
    kind: Option<Kind>,
    reloads: usize,
    code_reloads: usize,
    kills: usize,
    slow_clients: usize,
    /// Bytes that each of them sends one a second.
    slow_bytes: usize,
    crowd: Crowd,
    upload_mb: usize,
    download_mb: usize,
    encrypted: encrypted::Sizes,
}

impl Plan {
    /// The promises of the first release.
    pub fn full() -> Self {
        Plan {
            phases: Vec::new(),
            kind: None,
            reloads: 100,
            code_reloads: 20,
            kills: 10,
            slow_clients: 2000,
            slow_bytes: 40,
            crowd: Crowd {
                senders: 5000,
                readers: 1000,
                slice: Duration::from_secs(1),
                pairs: 20,
                loss_max: 0.1,
            },
            upload_mb: 200,
            download_mb: 500,
            encrypted: encrypted::Sizes {
                upload_mb: 200,
                download_mb: 500,
            },
        }
    }

    /// For every change: under two minutes.
    pub fn short() -> Self {
        Plan {
            reloads: 20,
            code_reloads: 4,
            kills: 3,
            slow_bytes: 8,
            slow_clients: 500,
            crowd: Crowd {
                slice: Duration::from_millis(300),
                pairs: 8,
                // Figures of moments spread more.
                loss_max: 0.15,
                ..Plan::full().crowd
            },
            encrypted: encrypted::Sizes {
                upload_mb: 60,
                download_mb: 100,
            },
            ..Plan::full()
        }
    }

    fn has(&self, phase: &str) -> bool {
        self.phases.is_empty() || self.phases.iter().any(|chosen| chosen == phase)
    }
}

const PHASES: [&str; 9] = [
    "reloads",
    "code",
    "kills",
    "slow",
    "large",
    "malformed",
    "stops",
    "trickle",
    "encrypted",
];

/// The command.
pub fn main(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode, String> {
    let mut options = Options::new(arguments);
    if options.flag("--help") || options.flag("-h") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut plan = if options.flag("--short") {
        Plan::short()
    } else {
        Plan::full()
    };
    let (front, app) = (options.value("--front")?, options.value("--app")?);
    plan.phases = options.words()?;
    if let Some(unknown) = plan
        .phases
        .iter()
        .find(|phase| !PHASES.contains(&phase.as_str()))
    {
        return Err(format!(
            "there is no phase \"{unknown}\"; the phases are {}",
            PHASES.join(", ")
        ));
    }
    if front.is_none() || app.is_none() {
        workspace.build(Profile::Release)?;
    }
    let venv = Venv::for_demo(workspace, true)?;
    let ours = Kind::ours(workspace);
    plan.kind = Some(Kind {
        front: front.map_or(ours.front, Into::into),
        app: match app {
            Some(name) if !name.contains('/') => venv.program(&name),
            Some(path) => path.into(),
            None => ours.app,
        },
    });
    let log = workspace.work("logs/soak.log")?;
    let _ = std::fs::remove_file(&log);
    match run(workspace, &plan, &log) {
        Ok(note) => {
            println!("soak: passed ({note})");
            Ok(ExitCode::SUCCESS)
        }
        Err(problem) => {
            println!("soak: FAILED\n{problem}\nsee {}", log.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Runs the phases; their sum, or every promise that was broken.
pub fn run(workspace: &Workspace, plan: &Plan, log: &Path) -> Result<String, String> {
    raise_file_limit();
    let venv = Venv::for_demo(workspace, true)?;
    let kind = plan.kind.clone().unwrap_or_else(|| Kind::ours(workspace));
    let mut report = Report::new(log);
    if PHASES[..5].iter().any(|phase| plan.has(phase)) {
        let mut shop = Shop::open(workspace, &venv, &kind, &[])?;
        with_shop(&mut shop, plan, &mut report, log);
        report.phase("close", || {
            shop.close().map(|()| "all servers ended".to_owned())
        });
        if report.failed() {
            shop.add_logs(log);
        }
    }
    if plan.has("malformed") {
        report.phase("malformed", || malformed::run(workspace, &venv, &kind));
    }
    if plan.has("stops") {
        report.phase("stops", || stops::run(workspace, &venv, &kind));
    }
    if plan.has("trickle") {
        report.phase("trickle", || trickle::run(&venv, &kind, &plan.crowd));
    }
    if plan.has("encrypted") {
        report.phase("encrypted", || encrypted::run(&venv, &kind, plan.encrypted));
    }
    report.result()
}

fn with_shop(shop: &mut Shop, plan: &Plan, report: &mut Report<'_>, log: &Path) {
    if ["reloads", "code", "kills"]
        .iter()
        .any(|phase| plan.has(phase))
    {
        report.phase("under load", || under_load(shop));
        match wants(shop) {
            Err(problem) => report.phase("load", || Err(problem)),
            Ok(wants) => {
                let load = Load::start(shop.address, wants);
                if plan.has("reloads") {
                    report.phase("reloads", || reloads::front(shop, &load, plan.reloads));
                }
                if plan.has("code") {
                    report.phase("code", || reloads::code(shop, &load, plan.code_reloads));
                }
                if plan.has("kills") {
                    report.phase("kills", || kills::run(shop, &load, plan.kills));
                }
            }
        }
    }
    if plan.has("slow") {
        report.phase("slow", || {
            slow::run(shop, plan.slow_clients, plan.slow_bytes)
        });
    }
    if plan.has("large") {
        report.phase("large", || {
            large::run(shop, plan.upload_mb, plan.download_mb, log)
        });
    }
    report.phase("alive", || {
        shop.alive().map(|()| "no server ended".to_owned())
    });
}

/// The load itself loses nothing while nothing happens: what a phase counts comes from what the phase did.
fn under_load(shop: &Shop) -> Result<String, String> {
    let load = Load::start(shop.address, wants(shop)?);
    for _ in 0..3 {
        load.settle()?;
    }
    none_lost(&load.take_failures())?;
    Ok(format!("{} responses, none lost", load.finished()))
}

/// Static files and pages, on connections that stay and on new ones.
fn wants(shop: &Shop) -> Result<Vec<Want>, String> {
    let home = shop.get("/")?.text();
    let (_, rest) = home
        .split_once("<link rel=\"stylesheet\" href=\"")
        .ok_or("the home page has no stylesheet")?;
    let (sheet, _) = rest.split_once('"').ok_or("the stylesheet has no end")?;
    let same = |target: &str| -> Result<Content, String> {
        let response = shop.get(target)?;
        match response.status {
            200 => Ok(Content::Same(response.body.into())),
            status => Err(format!("GET {target}: status {status}")),
        }
    };
    let mut wants = Vec::new();
    for (target, content, lengths) in [
        (sheet, same(sheet)?, &[1000, 7, 1][..]),
        ("/healthz", same("/healthz")?, &[100, 1]),
        ("/search/?q=garabit", Content::Ends("</html>"), &[5]),
    ] {
        for &requests_per_connection in lengths {
            wants.push(Want {
                target: target.to_owned(),
                content: content.clone(),
                requests_per_connection,
            });
        }
    }
    Ok(wants)
}

/// An error that names the first few.
fn none_lost(failures: &[Failure]) -> Result<(), String> {
    if failures.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = failures.iter().take(5).map(Failure::to_string).collect();
    Err(format!(
        "{} requests failed:\n  {}",
        failures.len(),
        shown.join("\n  ")
    ))
}

/// Thousands of connections need as many descriptors, here and in the servers that we start.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// What came of the phases.
struct Report<'a> {
    log: &'a Path,
    passed: Vec<String>,
    problems: Vec<String>,
}

impl<'a> Report<'a> {
    fn new(log: &'a Path) -> Self {
        Report {
            log,
            passed: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn failed(&self) -> bool {
        !self.problems.is_empty()
    }

    fn phase(&mut self, name: &str, run: impl FnOnce() -> Result<String, String>) {
        use std::io::Write;
        let start = Instant::now();
        let result = process::check_interrupted().and_then(|()| run());
        let seconds = start.elapsed().as_secs_f64();
        let line = match &result {
            Ok(note) => format!("ok    {name}: {note} ({seconds:.1} s)"),
            Err(problem) => format!("FAIL  {name}: {problem} ({seconds:.1} s)"),
        };
        if let Ok(mut log) = process::append(self.log) {
            let _ = writeln!(log, "{line}");
        }
        match result {
            Ok(_) => self.passed.push(name.to_owned()),
            Err(problem) => self.problems.push(format!("{name}: {problem}")),
        }
        // `cargo xtask test` has one line a step; whoever called `soak` wants to see it go on.
        if std::env::args().nth(1).as_deref() == Some("soak") {
            println!("{line}");
        }
    }

    fn result(self) -> Result<String, String> {
        if self.problems.is_empty() {
            Ok(format!("phases {}", self.passed.join(", ")))
        } else {
            Err(self.problems.join("\n"))
        }
    }
}
