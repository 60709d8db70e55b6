//! Starting the built server in a folder of its own, asking it, reading its logs.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use appserver_protocol::MODULE_FILE;
use rustix::process::{Pid, Signal, kill_process};
use testkit::http::{Client, Response};
use testkit::{Address, Child, Deadline, StopFlag, TempPrefix};

pub mod tls;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_appserver");
/// Longer than anything takes, even when the machine is busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An application that tells its process.
pub const PID_APP: &str = "
import os

def application(environ, start_response):
    text = str(os.getpid()).encode()
    start_response('200 OK', [('Content-Length', str(len(text)))])
    return [text]
";

/// An application that answers with a text.
pub fn saying(text: &str) -> String {
    format!(
        "def application(environ, start_response):\n    start_response('200 OK', [('Content-Length', '{}')])\n    return [b'{text}']\n",
        text.len()
    )
}

/// The extension that Cargo built for this test: beside the test's own executable, or one folder up.
pub fn module() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let folder = here.parent().unwrap();
    let places = [
        folder.join(MODULE_FILE),
        folder.parent().unwrap().join(MODULE_FILE),
    ];
    let found = places
        .iter()
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)));
    found
        .max()
        .unwrap_or_else(|| {
            panic!("{MODULE_FILE} is not built; run cargo build -p appserver-worker")
        })
        .1
        .clone()
}

/// A server that is not started yet.
pub struct Setup {
    pub prefix: TempPrefix,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    without_bind: bool,
}

impl Setup {
    /// With this `app.py`; it will listen on the unix socket `app.sock`.
    pub fn new(app: &str) -> Self {
        let prefix = TempPrefix::new().unwrap();
        prefix.write("app.py", app).unwrap();
        Self {
            prefix,
            arguments: vec!["app:application".into()],
            variables: Vec::new(),
            without_bind: false,
        }
    }

    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|it| (*it).to_owned()));
        self
    }

    /// Instead of everything else on the command line.
    pub fn only_args(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        self.without_bind = true;
        self
    }

    pub fn file(self, name: &str, text: &str) -> Self {
        self.prefix.write(name, text).unwrap();
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The command, in the folder, with nothing of the environment that settings read.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.prefix.path())
            .env("PWD", self.prefix.path());
        for leaking in [
            "GUNICORN_CMD_ARGS",
            "WEB_CONCURRENCY",
            "PORT",
            "FORWARDED_ALLOW_IPS",
            "SENDFILE",
            "SCRIPT_NAME",
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "LISTEN_PID",
            "LISTEN_FDNAMES",
            "WATCHDOG_USEC",
            "VIRTUAL_ENV",
            "PYTHONPATH",
        ] {
            command.env_remove(leaking);
        }
        command
            .env("VIADUCT_WORKER", module())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // Its control socket.
            .env("XDG_RUNTIME_DIR", self.prefix.path())
            .env("TZ", "UTC")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(self.prefix.join("stdout.log")).unwrap())
            .stderr(std::fs::File::create(self.prefix.join("stderr.log")).unwrap());
        command
    }

    fn all_arguments(&self) -> Vec<String> {
        let mut arguments = self.arguments.clone();
        if !self.without_bind {
            arguments.extend(["--bind".to_owned(), "unix:app.sock".to_owned()]);
        }
        arguments
    }

    /// Starts it, and does not wait for anything.
    pub fn spawn(self) -> Server {
        let mut command = self.command(PROGRAM);
        command.args(self.all_arguments());
        self.spawn_as(&mut command)
    }

    /// Starts a command that [`Setup::command`] made.
    pub fn spawn_as(self, command: &mut Command) -> Server {
        let child = Child::spawn(command).unwrap();
        Server {
            prefix: self.prefix,
            child,
        }
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Server {
        let mut server = self.spawn();
        server.until_it_answers();
        server
    }

    /// Starts it and waits until it answers this.
    pub fn start_when(self, target: &str) -> Server {
        let mut server = self.spawn();
        server.until_it_answers_to(target);
        server
    }

    /// Another path for the unix socket.
    pub fn only_bind(mut self, path: &str) -> Self {
        self.without_bind = true;
        self.arguments
            .extend(["--bind".to_owned(), format!("unix:{path}")]);
        self
    }

    /// Runs it to its end: exit code, standard output, standard error.
    pub fn run(self) -> (i32, String, String) {
        let mut server = self.spawn();
        let code = server.wait();
        (code, server.read("stdout.log"), server.read("stderr.log"))
    }
}

/// A server that was started; ended with all its processes when dropped.
pub struct Server {
    pub prefix: TempPrefix,
    pub child: Child,
}

impl Server {
    pub fn socket(&self) -> Address {
        Address::Unix(self.prefix.join("app.sock"))
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32).unwrap()
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.prefix.join(name)).unwrap_or_default()
    }

    pub fn log(&self) -> String {
        self.read("stderr.log")
    }

    pub fn write(&self, name: &str, text: &str) {
        // Whole at once, and never with the time of the file before.
        let beside = self.prefix.write(format!("{name}.new"), text).unwrap();
        std::fs::rename(beside, self.prefix.join(name)).unwrap();
    }

    /// Asks until there is something.
    pub fn until<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        Deadline::after(PATIENCE)
            .poll(&StopFlag::default(), &mut probe)
            .unwrap_or_else(|| panic!("{what} did not happen; the log:\n{}", self.log()))
    }

    /// Waits until the log has these words so many times.
    pub fn until_log(&self, words: &str, times: usize) {
        self.until(&format!("{words:?} in the log, {times} times"), || {
            (self.log().matches(words).count() >= times).then_some(())
        });
    }

    pub fn until_it_answers(&mut self) {
        self.until_it_answers_to("/");
    }

    pub fn until_it_answers_to(&mut self, target: &str) {
        Deadline::after(PATIENCE)
            .poll(&StopFlag::default(), || {
                let ended = self.child.ended().unwrap();
                assert!(
                    ended.is_none(),
                    "the server ended: {ended:?}\n{}",
                    self.log()
                );
                self.try_get(target).ok()
            })
            .unwrap_or_else(|| panic!("the server never answered:\n{}", self.log()));
    }

    pub fn client(&self) -> Client {
        let mut client = Client::connect(self.socket())
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        client.wire().set_patience(PATIENCE);
        client
    }

    /// One request on a connection of its own.
    pub fn get(&self, target: &str) -> Response {
        self.try_get(target)
            .unwrap_or_else(|error| panic!("{target}: {error}\n{}", self.log()))
    }

    pub fn try_get(&self, target: &str) -> Result<Response, String> {
        get_from(&self.socket(), target)
    }

    pub fn text(&self, target: &str) -> String {
        self.get(target).text()
    }

    pub fn signal(&mut self, signal: Signal) {
        self.child.signal(signal).unwrap();
    }

    /// Waits for its end; the exit code.
    pub fn wait(&mut self) -> i32 {
        match self.child.wait(Deadline::after(PATIENCE)) {
            Ok(status) => Child::code(status),
            Err(error) => panic!("{error}\n{}", self.log()),
        }
    }

    /// TERM, and the exit code.
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// The workers, as the log names them.
    pub fn booted(&self) -> Vec<Pid> {
        let log = self.log();
        let after = |line: &str| {
            line.split_once("Booting worker with pid: ")
                .map(|(_, pid)| pid.trim().to_owned())
        };
        log.lines()
            .filter_map(after)
            .map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap())
            .collect()
    }
}

pub fn get_from(address: &Address, target: &str) -> Result<Response, String> {
    let mut client =
        Client::connect(address.clone()).map_err(|error| format!("connect: {error}"))?;
    client.wire().set_patience(PATIENCE);
    client
        .ask("GET", target, &[("Connection", "close")])
        .and_then(|()| client.response())
        .map_err(|error| error.to_string())
}

pub fn kill(pid: Pid, signal: Signal) {
    kill_process(pid, signal).unwrap();
}

pub fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Keeps asking from several threads, on new connections and on kept ones, and counts what was not answered.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(usize, Vec<String>)>>,
}

impl Load {
    pub fn on(address: Address) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..4).map(|number| {
            let (stop, address) = (stop.clone(), address.clone());
            std::thread::spawn(move || {
                let (mut answered, mut faults) = (0, Vec::new());
                let mut kept = None;
                while !stop.load(Ordering::Relaxed) {
                    let asked = if number % 2 == 0 {
                        get_from(&address, "/")
                    } else {
                        ask_on(&mut kept, &address)
                    };
                    match asked {
                        Ok(response) if response.status == 200 => answered += 1,
                        Ok(response) => faults.push(format!("status {}", response.status)),
                        Err(fault) => faults.push(fault),
                    }
                }
                (answered, faults)
            })
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }

    /// How many were answered, and what happened to the others.
    pub fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let results = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap());
        results.fold((0, Vec::new()), |(count, mut all), (answered, faults)| {
            all.extend(faults);
            (count + answered, all)
        })
    }
}

/// Asks on a connection that is kept until the server says that it closes it.
fn ask_on(kept: &mut Option<Client>, address: &Address) -> Result<Response, String> {
    let mut client = match kept.take() {
        Some(client) => client,
        None => {
            let mut client =
                Client::connect(address.clone()).map_err(|error| format!("connect: {error}"))?;
            client.wire().set_patience(PATIENCE);
            client
        }
    };
    let response = client
        .get("/")
        .map_err(|error| format!("kept connection: {error}"))?;
    if response.field("Connection").as_deref() != Some("close") {
        *kept = Some(client);
    }
    Ok(response)
}
