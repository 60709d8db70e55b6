//! What the tests share: a directory with a configuration, and the server that runs with it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::process::{Pid, Signal, kill_process};
use testkit::http::{Client, Head, Response};
use testkit::{Child, Deadline, FreePort, PATIENCE, ScriptedPeer, StopFlag, TempPrefix};

/// edge, with an environment that nothing leaks into.
pub fn edge() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge"));
    for leaking in [
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "SUPERVISOR_PREDECESSOR",
    ] {
        command.env_remove(leaking);
    }
    command.env("TZ", "UTC");
    command
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().expect("edge can be started")
}

/// What a command wrote to standard error.
pub fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits for something that another process does.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    Deadline::after(PATIENCE)
        .poll(&StopFlag::default(), probe)
        .unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}"))
}

/// A directory in which a server has its files, and a port for it.
pub struct House {
    pub prefix: TempPrefix,
    pub port: u16,
    /// Kept for this server.
    _reserved: FreePort,
}

impl House {
    pub fn new() -> Self {
        let reserved = FreePort::find().expect("a free port");
        Self {
            prefix: TempPrefix::new().expect("a temporary directory"),
            port: reserved.number(),
            _reserved: reserved,
        }
    }

    /// Writes `nginx.conf`: the lines for `http`, behind those that every test needs. `{port}` and `{prefix}` stand for
    /// themselves.
    pub fn configure(&self, http: &str) {
        self.configure_all("", http);
    }

    /// As [`House::configure`], with lines for the top of the file.
    pub fn configure_all(&self, top: &str, http: &str) {
        let text = format!(
            "pid nginx.pid; error_log error.log info; {top}\nevents {{ }}\nhttp {{ access_log access.log;\n{http}\n}}\n"
        );
        self.write("nginx.conf", &text);
    }

    /// Writes a file, with `{port}` and `{prefix}` filled in.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let text = text
            .replace("{port}", &self.port.to_string())
            .replace("{prefix}", &self.prefix.path().display().to_string());
        self.prefix.write(path, text).expect("a writable directory")
    }

    /// edge with this directory and configuration.
    pub fn command(&self) -> Command {
        let mut command = edge();
        command.current_dir(self.prefix.path()).args([
            "-p",
            &format!("{}/", self.prefix.path().display()),
            "-c",
            "nginx.conf",
        ]);
        command
    }

    /// Starts the server in the foreground and waits until it accepts connections.
    pub fn start(self) -> Server {
        self.start_with(|command| command.args(["-g", "daemon off;"]))
    }

    /// As [`House::start`]; `arrange` adds to the command.
    pub fn start_with(self, arrange: impl Fn(&mut Command) -> &mut Command) -> Server {
        let stderr = File::create(self.prefix.join("stderr.log")).expect("a writable directory");
        let mut command = self.command();
        let child =
            Child::spawn(arrange(&mut command).stderr(stderr)).expect("edge can be started");
        let mut server = Server { house: self, child };
        assert!(
            server.comes_up(),
            "edge did not start: {}",
            server.house.read("stderr.log")
        );
        server
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A file's text; empty when it is not there.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.prefix.join(path)).unwrap_or_default()
    }

    /// Waits until a file has this in it.
    pub fn await_text(&self, path: &str, text: &str) {
        let found = Deadline::after(PATIENCE).poll(&StopFlag::default(), || {
            self.read(path).contains(text).then_some(())
        });
        assert!(
            found.is_some(),
            "\"{text}\" does not appear in {path}:\n{}",
            self.read(path)
        );
    }

    /// The process that the pid file names.
    pub fn pid(&self) -> Pid {
        let number = self
            .read("nginx.pid")
            .trim()
            .parse()
            .expect("a number in the pid file");
        Pid::from_raw(number).expect("the number of a process")
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address()).expect("edge accepts connections")
    }

    /// Asks on a new connection.
    pub fn get(&self, target: &str) -> Response {
        self.connect()
            .get(target)
            .unwrap_or_else(|error| panic!("GET {target}: {error}"))
    }

    /// Asks on new connections until the answer is this.
    pub fn await_answer(&self, target: &str, body: &str) {
        eventually(&format!("{target} answers \"{body}\""), || {
            let answer = Client::connect(self.address()).ok()?.get(target).ok()?;
            (answer.text() == body).then_some(())
        });
    }

    pub fn await_refusal(&self) {
        eventually("connections are refused", || {
            Client::connect(self.address()).is_err().then_some(())
        });
    }
}

/// A running server. It ends with the test.
pub struct Server {
    pub house: House,
    pub child: Child,
}

impl std::ops::Deref for Server {
    type Target = House;

    fn deref(&self) -> &House {
        &self.house
    }
}

impl Server {
    pub fn signal(&mut self, signal: Signal) {
        if let Err(error) = self.child.signal(signal) {
            let (log, stderr) = (self.read("error.log"), self.read("stderr.log"));
            panic!("{error}; error.log:\n{log}\nstderr:\n{stderr}");
        }
    }

    /// Reloads, and waits until the worker has the new configuration.
    pub fn reload(&mut self) {
        let words = "the new configuration is served";
        let before = self.read("error.log").matches(words).count();
        self.signal(Signal::HUP);
        eventually("the new configuration is served", || {
            (self.read("error.log").matches(words).count() > before).then_some(())
        });
    }

    /// Waits for the end and gives the exit code.
    pub fn end(&mut self) -> i32 {
        let status = self
            .child
            .wait(Deadline::after(PATIENCE))
            .expect("edge ends");
        Child::code(status)
    }

    /// The processes whose parent is the master: its workers.
    pub fn workers(&self) -> Vec<Pid> {
        children_of(self.child.id())
    }

    /// The one worker.
    pub fn worker(&self) -> Pid {
        eventually("there is one worker", || match self.workers()[..] {
            [worker] => Some(worker),
            _ => None,
        })
    }

    fn comes_up(&mut self) -> bool {
        let address = self.house.address();
        eventually("edge serves or ends", || {
            if self.child.ended().expect("it can be waited for").is_some() {
                return Some(false);
            }
            let listens =
                !self.house.read("nginx.pid").is_empty() && Client::connect(address).is_ok();
            listens.then_some(true)
        })
    }
}

/// An origin server that has been asked, and answers `slow` when it is told to.
pub struct SlowOrigin {
    asked: Receiver<()>,
    // Dropped before the peer, whose script waits for it.
    go: Sender<()>,
    peer: ScriptedPeer,
}

impl SlowOrigin {
    /// Takes `connections` connections with a request each.
    pub fn listen(connections: usize) -> Self {
        let ((ask, asked), (go, gone)) = (channel(), channel());
        let peer = ScriptedPeer::listen(move |peer| {
            let mut held = Vec::new();
            for _ in 0..connections {
                let mut connection = peer.accept();
                Head::receive(&mut connection, "a request head").expect("a request");
                held.push(connection);
                let _ = ask.send(());
            }
            for mut connection in held {
                if gone.recv().is_ok() {
                    let _ = connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
                }
            }
        });
        Self { asked, go, peer }
    }

    pub fn address(&self) -> SocketAddr {
        self.peer.address()
    }

    /// Waits until it was asked once more.
    pub fn await_request(&self) {
        self.asked
            .recv_timeout(PATIENCE)
            .expect("the origin is asked");
    }

    /// Answers the oldest request that waits.
    pub fn answer(&self) {
        self.go.send(()).expect("the origin listens");
    }
}

/// The living children of a process.
pub fn children_of(parent: u32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("there is /proc");
    let numbers =
        processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let of_parent = numbers.filter(|number| {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(") ") else {
            return false;
        };
        let mut fields = rest.split(' ');
        let (state, its_parent) = (fields.next(), fields.next());
        state != Some("Z") && its_parent == Some(&parent.to_string())
    });
    of_parent.filter_map(Pid::from_raw).collect()
}

/// Ends a process that is no child of the test, when the test ends.
pub struct Stray(pub Pid);

impl Drop for Stray {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::TERM);
    }
}
