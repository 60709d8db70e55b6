//! A worker that the kernel kills for lack of memory, in a cgroup made for it: the log and the metrics name the reason.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testkit::http::Client;
use testkit::{Address, Deadline, StopFlag, TempPrefix};

use super::Context;
use crate::process::{self, Guarded};
use crate::workspace::Profile;

/// Enough for the server, not for what `/grow` wants.
const LIMIT_BYTES: u64 = 192 << 20;
const PATIENCE: Duration = Duration::from_secs(60);
const APP: &str = "
import os

def application(environ, start_response):
    if environ['PATH_INFO'] == '/grow':
        kept = []
        while True:
            kept.append(b'x' * (16 << 20))
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";
const OUT_OF_MEMORY: &str = "was sent SIGKILL! Out of memory: the kernel's OOM killer ended it";

/// The step.
pub fn run(context: &Context<'_>) -> Result<String, String> {
    let group = match Group::make() {
        Ok(group) => group,
        Err(reason) => return context.cannot(reason),
    };
    let prefix = TempPrefix::new().map_err(|error| error.to_string())?;
    prefix
        .write("app.py", APP)
        .map_err(|error| error.to_string())?;
    let mut server = start(context, &group, &prefix)?;
    let checked = check(&prefix).and_then(|()| {
        server.signal(Signal::TERM);
        process::success(server.wait(PATIENCE)?, "appserver")
    });
    let log = std::fs::read_to_string(prefix.join("log")).unwrap_or_default();
    checked.map_err(|problem| format!("{problem}\n{log}"))?;
    Ok(format!("cgroup {}", group.version))
}

fn start(context: &Context<'_>, group: &Group, prefix: &TempPrefix) -> Result<Guarded, String> {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""])
        .arg(&group.folder)
        .arg(context.workspace.program(Profile::Debug, "appserver"))
        .args(["app:application", "--bind", "unix:app.sock"])
        .args(["--metrics-bind", "unix:metrics.sock"])
        .current_dir(prefix.path())
        .env("PWD", prefix.path())
        .env("XDG_RUNTIME_DIR", prefix.path())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Guarded::spawn_logged(&mut shell, &prefix.join("log"))
}

fn check(prefix: &TempPrefix) -> Result<(), String> {
    let (app, metrics) = (prefix.join("app.sock"), prefix.join("metrics.sock"));
    let log = || std::fs::read_to_string(prefix.join("log")).unwrap_or_default();
    await_that("the first answer", || get(&app, "/").ok())?;
    if let Ok(text) = get(&app, "/grow") {
        return Err(format!("a request for more memory than there is: {text}"));
    }
    await_that("the reason in the log", || {
        log().contains(OUT_OF_MEMORY).then_some(())
    })?;
    let next = await_that("an answer of the next worker", || get(&app, "/").ok())?;
    let page = get(&metrics, "/metrics")?;
    let count = "appserver_worker_ends_total{reason=\"out_of_memory\"} 1";
    if !page.contains(count) {
        return Err(format!("{count:?} is not in the metrics:\n{page}"));
    }
    // Killed by somebody, in the same cgroup: that is another reason.
    let pid = next.parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| format!("{next:?} is no process"))?;
    kill_process(pid, Signal::KILL).map_err(|error| error.to_string())?;
    await_that("the second end in the log", || {
        (log().matches("was sent SIGKILL!").count() == 2).then_some(())
    })?;
    match log().matches(OUT_OF_MEMORY).count() {
        1 => await_that("another answer", || get(&app, "/").ok()).map(drop),
        _ => Err("kill -9 was put down to the OOM killer".to_owned()),
    }
}

fn get(socket: &Path, target: &str) -> Result<String, String> {
    let mut client =
        Client::connect(Address::Unix(socket.to_owned())).map_err(|error| error.to_string())?;
    client.wire().set_patience(PATIENCE);
    client
        .ask("GET", target, &[("Connection", "close")])
        .and_then(|()| client.response())
        .map(|response| response.text())
        .map_err(|error| error.to_string())
}

fn await_that<T>(what: &str, probe: impl FnMut() -> Option<T>) -> Result<T, String> {
    Deadline::after(PATIENCE)
        .poll(&StopFlag::default(), probe)
        .ok_or_else(|| format!("{what} did not come within {} s", PATIENCE.as_secs()))
}

/// A cgroup with little memory, gone when dropped.
struct Group {
    folder: PathBuf,
    version: &'static str,
}

impl Group {
    fn make() -> Result<Self, String> {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = std::fs::read_to_string(root.join("cgroup.subtree_control"));
        let unified =
            controllers.is_ok_and(|names| names.split(' ').any(|it| it.trim() == "memory"));
        let (parent, version) = if unified {
            (root.to_path_buf(), "v2")
        } else {
            (root.join("memory"), "v1")
        };
        let group = Group {
            folder: parent.join(format!("viaduct-oom-{}", std::process::id())),
            version,
        };
        let told = |what: &Path, error: std::io::Error| {
            format!(
                "no memory cgroup can be made here, so nothing can be killed for lack of memory: \"{}\": {error}",
                what.display()
            )
        };
        if !parent.join("cgroup.procs").exists() {
            return Err(told(&parent, std::io::ErrorKind::NotFound.into()));
        }
        std::fs::create_dir(&group.folder).map_err(|error| told(&group.folder, error))?;
        let (limit, swap) = match unified {
            true => ("memory.max", ("memory.swap.max", 0)),
            false => (
                "memory.limit_in_bytes",
                ("memory.memsw.limit_in_bytes", LIMIT_BYTES),
            ),
        };
        let limit = group.folder.join(limit);
        std::fs::write(&limit, LIMIT_BYTES.to_string()).map_err(|error| told(&limit, error))?;
        // Not every kernel counts swap.
        let _ = std::fs::write(group.folder.join(swap.0), swap.1.to_string());
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes are gone, but perhaps only just.
        let _ = Deadline::after(PATIENCE).poll(&StopFlag::default(), || {
            std::fs::remove_dir(&self.folder).ok()
        });
    }
}
