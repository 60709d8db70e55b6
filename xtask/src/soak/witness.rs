//! A front and an application server with `witness.py`, which notes every request that reaches it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::http::Client;
use testkit::{Address, Deadline, FreePort, StopFlag, TempPrefix};

use crate::install::Venv;
use crate::process::{self, Guarded};
use crate::shop::Kind;
use crate::workspace::Workspace;

const PROGRAM: &str = include_str!("witness.py");
const START_LIMIT: Duration = Duration::from_secs(30);
/// Both, running.
pub struct Witness {
    pub app: Guarded,
    pub front: Guarded,
    /// The front's address.
    pub address: SocketAddr,
    prefix: TempPrefix,
    _port: FreePort,
}

impl Witness {
    /// Starts both and waits until they serve.
    pub fn start(workspace: &Workspace, venv: &Venv, kind: &Kind) -> Result<Self, String> {
        let prefix = TempPrefix::new().map_err(|error| error.to_string())?;
        let told = |error: std::io::Error| error.to_string();
        let port = FreePort::find().map_err(told)?;
        prefix.write("witness.py", PROGRAM).map_err(told)?;
        prefix
            .write(
                "nginx.conf",
                configuration(&prefix, port.address(), &kind.front),
            )
            .map_err(told)?;
        std::fs::create_dir_all(prefix.join("tmp")).map_err(told)?;
        let mut app = Guarded::spawn_logged(
            Command::new(&kind.app)
                .arg("witness:application")
                .arg("--chdir")
                .arg(prefix.path())
                .arg("--bind")
                .arg(format!("unix:{}", prefix.join("app.sock").display()))
                .args(["--workers", "2"])
                .current_dir(&workspace.root)
                .env("VIRTUAL_ENV", &venv.path)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("WITNESS_FOLDER", prefix.path()),
            &prefix.join("app.log"),
        )?;
        let user = if rustix::process::geteuid().is_root() {
            " user root;"
        } else {
            ""
        };
        let mut front = Guarded::spawn_logged(
            Command::new(&kind.front)
                .arg("-p")
                .arg(format!("{}/", prefix.path().display()))
                .arg("-c")
                .arg(prefix.join("nginx.conf"))
                .arg("-g")
                .arg(format!("daemon off;{user}")),
            &prefix.join("front.log"),
        )?;
        let serving = Deadline::after(START_LIMIT).poll(&StopFlag::default(), || {
            if app.ended().is_some() || front.ended().is_some() || process::interrupted() {
                return Some(false);
            }
            let whole = ask(&Address::from(port.address()), "/ready").is_ok();
            whole.then_some(true)
        });
        let witness = Witness {
            app,
            front,
            address: port.address(),
            prefix,
            _port: port,
        };
        if serving == Some(true) {
            Ok(witness)
        } else {
            Err(format!(
                "the servers with witness.py did not start\n{}",
                witness.logs()
            ))
        }
    }

    /// Where the application server listens.
    pub fn app_address(&self) -> Address {
        Address::Unix(self.prefix.join("app.sock"))
    }

    /// The targets that the application was called with.
    pub fn seen(&self) -> Vec<String> {
        let text = std::fs::read(self.prefix.join("requests")).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Waits until the application has been called with `target` so often.
    pub fn await_seen(&self, target: &str, count: usize) -> Result<(), String> {
        let times = || self.seen().iter().filter(|seen| *seen == target).count();
        Deadline::after(START_LIMIT)
            .poll(&StopFlag::default(), || (times() >= count).then_some(()))
            .ok_or_else(|| {
                format!(
                    "{} requests for {target} reached the application, not {count}\n{}",
                    times(),
                    self.logs()
                )
            })
    }

    /// Lets requests for `/hold` go on.
    pub fn go_on(&self) -> Result<(), String> {
        self.prefix
            .write("go-on", "")
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// The ends of their logs.
    pub fn logs(&self) -> String {
        ["app.log", "front.log", "error.log"]
            .map(|name| format!("--- {name}\n{}", process::tail(&self.path(name), 8)))
            .join("\n")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.prefix.join(name)
    }
}

/// One request for `target` and its whole answer.
pub fn ask(address: &Address, target: &str) -> Result<(), String> {
    let answer = Client::connect(address.clone())
        .map_err(|error| error.to_string())
        .and_then(|mut client| client.get(target).map_err(|error| error.to_string()))?;
    let whole = b"whole\n".repeat(2000);
    match (answer.status, answer.body == whole) {
        (200, true) => Ok(()),
        (status, _) => Err(format!(
            "GET {target}: status {status}, {} bytes",
            answer.body.len()
        )),
    }
}

fn configuration(prefix: &TempPrefix, address: SocketAddr, front: &Path) -> String {
    let folders = if front.file_name().is_some_and(|name| name == "nginx") {
        // Debian's are of another user.
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path tmp/{kind};"))
            .join(" ")
    } else {
        String::new()
    };
    format!(
        "worker_processes 1;\npid front.pid;\nerror_log error.log info;\nevents {{ worker_connections 512; }}\n\
         http {{\n  access_log access.log;\n  {folders}\n  upstream app {{ server unix:{}; }}\n  server {{\n    listen {};\n    \
         location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n  }}\n}}\n",
        prefix.join("app.sock").display(),
        address
    )
}
