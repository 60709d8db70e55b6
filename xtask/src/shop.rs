//! A running shop for tests: `demo/serve.py` with its servers, in a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use testkit::http::{Client, Response};
use testkit::{Deadline, StopFlag, TempPrefix};

use crate::install::Venv;
use crate::process::{self, Guarded};
use crate::tree;
use crate::workspace::{Profile, Workspace};

/// How long everything may take to come up: migrations, pictures and static files included.
const START_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(90);
const CHECK_LIMIT: Duration = Duration::from_secs(600);

/// The programs in the two places.
#[derive(Clone, Debug)]
pub struct Kind {
    pub front: PathBuf,
    pub app: PathBuf,
}

impl Kind {
    /// edge and appserver as people run them.
    pub fn ours(workspace: &Workspace) -> Self {
        Kind {
            front: workspace.program(Profile::Release, "edge"),
            app: workspace.program(Profile::Release, "appserver"),
        }
    }
}

/// A shop that answers. Dropping it ends its servers.
pub struct Shop {
    serve: Guarded,
    python: PathBuf,
    demo: PathBuf,
    front: PathBuf,
    output: PathBuf,
    /// Its folder: configuration, logs, sockets, data.
    pub state: TempPrefix,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Shop {
    /// Starts it and waits until it answers.
    pub fn open(
        workspace: &Workspace,
        venv: &Venv,
        kind: &Kind,
        more: &[&str],
    ) -> Result<Self, String> {
        let state = TempPrefix::new().map_err(|error| format!("can't make a folder: {error}"))?;
        let output = state.join("serve.log");
        let python = venv.program("python");
        let demo = workspace.join("demo");
        let mut command = Command::new(&python);
        command
            .arg(demo.join("serve.py"))
            .arg("--state")
            .arg(state.path())
            .arg("--front")
            .arg(&kind.front)
            .arg("--app")
            .arg(&kind.app)
            .args(more)
            .env("PYTHONUNBUFFERED", "1");
        let mut serve = Guarded::spawn_logged(&mut command, &output)?;
        let opened = Deadline::after(START_LIMIT).poll(&StopFlag::default(), || {
            let ended = serve.ended().is_some() || process::interrupted();
            address(&output)
                .map(Ok)
                .or_else(|| ended.then_some(Err(())))
        });
        let Some(Ok(address)) = opened else {
            let said = process::tail(&output, 60);
            return Err(format!("the shop did not open\n{said}"));
        };
        Ok(Shop {
            serve,
            python,
            demo,
            front: kind.front.clone(),
            output,
            state,
            address,
        })
    }

    /// The address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks for a page on a connection of its own.
    pub fn get(&self, target: &str) -> Result<Response, String> {
        let ask = || {
            let mut client = Client::connect(self.address)?;
            client.ask("GET", target, &[("Connection", "close")])?;
            client.response()
        };
        ask().map_err(|error: testkit::WireError| format!("GET {target}: {error}"))
    }

    /// Which process of the application answers now.
    pub fn worker(&self) -> Result<u32, String> {
        let text = self.get("/behind/request.json")?.text();
        serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|facts| u32::try_from(facts.get("process")?.as_u64()?).ok())
            .ok_or_else(|| format!("/behind/request.json names no process: {text}"))
    }

    /// The process that serve.py started for the front.
    pub fn front_master(&self) -> Result<u32, String> {
        self.master("conf/nginx.conf")
    }

    /// The process that serve.py started for the application.
    pub fn app_master(&self) -> Result<u32, String> {
        self.master("my_shop.wsgi:application")
    }

    fn master(&self, word: &str) -> Result<u32, String> {
        tree::children(self.serve.id())
            .into_iter()
            .find(|process| process.command_line().contains(word))
            .map(|process| process.pid)
            .ok_or_else(|| format!("no process of the shop has \"{word}\" among its arguments"))
    }

    /// The front's own command for `-s SIGNAL`.
    pub fn front_signal(&self, word: &str) -> Command {
        let mut command = Command::new(&self.front);
        command
            .arg("-p")
            .arg(format!("{}/", self.state.path().display()))
            .arg("-c")
            .arg(self.state.join("conf/nginx.conf"))
            .args(["-s", word]);
        command
    }

    /// An error when one of the servers has ended.
    pub fn alive(&mut self) -> Result<(), String> {
        match self.serve.ended() {
            None => Ok(()),
            Some(_) => Err(format!(
                "a server of the shop ended:\n{}",
                process::tail(&self.output, 40)
            )),
        }
    }

    /// Runs check.py against it.
    pub fn check(&self, log: &Path, more: &[&str]) -> Result<(), String> {
        self.script("check.py", log, more)
    }

    /// Runs browser_test.py against it.
    pub fn browse(&self, log: &Path) -> Result<(), String> {
        self.script("browser_test.py", log, &[])
    }

    fn script(&self, name: &str, log: &Path, more: &[&str]) -> Result<(), String> {
        let mut command = Command::new(&self.python);
        command
            .arg(self.demo.join(name))
            .arg(self.url())
            .args(more)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        process::run(&mut command, log, CHECK_LIMIT)
    }

    /// Ends its servers in order; an error when they don't end or one had ended before.
    pub fn close(&mut self) -> Result<(), String> {
        self.alive()?;
        self.serve.signal(Signal::TERM);
        let status = self.serve.wait(STOP_LIMIT)?;
        process::success(status, "serve.py")?;
        let said = process::tail(&self.output, 20);
        if said.contains("ignored SIGTERM") {
            return Err(said);
        }
        Ok(())
    }

    /// Adds the ends of all its logs to a file, for whoever looks for what went wrong.
    pub fn add_logs(&self, to: &Path) {
        use std::io::Write;
        let Ok(mut to) = process::append(to) else {
            return;
        };
        let entries = std::fs::read_dir(self.state.join("logs"));
        let logs = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        for log in std::iter::once(self.output.clone()).chain(logs) {
            let _ = writeln!(to, "--- {}\n{}", log.display(), process::tail(&log, 30));
        }
    }
}

/// The address in serve.py's announcement.
fn address(output: &Path) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(output).ok()?;
    let (_, rest) = text.split_once("the shop is open: http://")?;
    let (address, _) = rest.split_once('\n')?;
    address.trim().parse().ok()
}
