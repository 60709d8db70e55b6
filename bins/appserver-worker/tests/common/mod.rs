//! A small master: starts a template with the extension that Cargo has just built, gives orders, holds the sockets.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use appserver_protocol::{
    BOOTSTRAP, Fork, FromTemplate, FromWorker, HOOKS, Hook, MODULE_FILE, ReadConfig, Settings,
    Settled, TEMPLATE, ToTemplate, ToWorker,
};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use supervisor::{Board, Channel, Order, Report};

/// The answer to settings that ask nothing of Python's logging.
pub const SETTLED: FromTemplate = FromTemplate::Settled {
    python_logging: false,
    titles: false,
};

/// The extension, where Cargo put it: beside the test's own executable, or one folder up.
pub fn module() -> PathBuf {
    let here = std::env::current_exe().expect("has a path");
    let folder = here.parent().expect("has a folder");
    let found = [
        folder.join(MODULE_FILE),
        folder.parent().expect("has a parent").join(MODULE_FILE),
    ];
    let newest = found
        .iter()
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max();
    newest
        .unwrap_or_else(|| panic!("{MODULE_FILE} is not built; run cargo test -p appserver-worker"))
        .1
        .clone()
}

/// A folder with files, and a template that works in it.
pub struct Master {
    pub folder: tempfile::TempDir,
    pub template: Child,
    channel: Option<Channel>,
    next_age: u64,
}

/// A worker as its master sees it.
pub struct Worker {
    pub pid: Pid,
    pub age: u64,
    pub channel: Channel,
    pub board: Board,
}

/// An order for a worker that listens on nothing.
pub const FIRST: Fork = Fork {
    age: 1,
    listeners: Vec::new(),
};

impl Master {
    /// Writes the files and starts a template among them. Its error output goes to `stderr.txt`.
    pub fn start(files: &[(&str, &str)]) -> Self {
        let subreaper = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        subreaper.expect("adopts grandchildren");
        let folder = tempfile::tempdir().expect("makes a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("writes");
        }
        let (channel, theirs) = Channel::pair().expect("makes a channel");
        let stderr = std::fs::File::create(folder.path().join("stderr.txt")).expect("makes a file");
        let stdout = std::fs::File::create(folder.path().join("stdout.txt")).expect("makes a file");
        let number = std::os::fd::AsRawFd::as_raw_fd(&theirs);
        let mut command =
            Command::new(std::env::var_os("PYO3_PYTHON").unwrap_or_else(|| "python3".into()));
        command
            .arg("-c")
            .arg(BOOTSTRAP)
            .arg(module())
            .arg(TEMPLATE)
            .arg(number.to_string());
        command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("TZ", "UTC")
            .env_remove("SCRIPT_NAME");
        // SAFETY: only fcntl is called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let inherited = std::os::fd::BorrowedFd::borrow_raw(number);
                rustix::io::fcntl_setfd(inherited, rustix::io::FdFlags::empty()).map_err(Into::into)
            });
        }
        let template = command.spawn().expect("python3 starts");
        Self {
            folder,
            template,
            channel: Some(channel),
            next_age: 1,
        }
    }

    /// With the application in `app.py`, settled and ready to fork.
    pub fn with_app(source: &str, settings: serde_json::Value) -> Self {
        let mut master = Self::start(&[("app.py", source)]);
        assert_eq!(master.settle("app:app", settings), SETTLED);
        master
    }

    pub fn order(&mut self, order: &ToTemplate) -> FromTemplate {
        let stderr = self.path("stderr.txt");
        let channel = self.channel.as_mut().expect("is open");
        channel.send(order, &[]).expect("sends");
        let answer = channel.receive();
        answer
            .unwrap_or_else(|error| panic!("{error}: {:?}", std::fs::read_to_string(stderr)))
            .message
    }

    /// Closes the channel: the template is to end.
    pub fn close(&mut self) {
        self.channel = None;
    }

    /// Reads the configuration file, as a master does.
    pub fn read_config(&mut self, location: Option<&str>, names: &[&str]) -> FromTemplate {
        let hooks: Vec<String> = HOOKS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut all: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        all.extend(hooks.clone());
        self.order(&ToTemplate::ReadConfig(ReadConfig {
            location: location.map(str::to_owned),
            names: all,
            hooks,
        }))
    }

    pub fn settle(&mut self, application: &str, settings: serde_json::Value) -> FromTemplate {
        let mut all = serde_json::json!({"workers": 1, "timeout": 30});
        for (name, value) in settings.as_object().expect("is an object") {
            all[name] = value.clone();
        }
        let settings: Settings = serde_json::from_value(all).expect("are settings");
        self.order(&ToTemplate::Settle(Settled {
            application: application.to_owned(),
            arguments: vec!["appserver".into(), application.to_owned()],
            settings,
        }))
    }

    pub fn hook(&mut self, hook: Hook) -> FromTemplate {
        self.order(&ToTemplate::Hook(hook))
    }

    /// Forks a worker that accepts from this socket.
    pub fn fork(&mut self, listener: &impl AsFd, lanes: usize) -> Worker {
        let (channel, theirs) = Channel::pair().expect("makes a channel");
        let (board, board_fd) = Board::create(lanes).expect("makes a board");
        let age = self.next_age;
        self.next_age += 1;
        let fds = [theirs.as_fd(), board_fd.as_fd(), listener.as_fd()];
        let control = self.channel.as_mut().expect("is open");
        control
            .send(
                &ToTemplate::Fork(Fork {
                    age,
                    listeners: Vec::new(),
                }),
                &fds,
            )
            .expect("sends");
        match control.receive().expect("answers").message {
            FromTemplate::Forked { age: same, pid } => {
                assert_eq!(same, age);
                let pid = Pid::from_raw(pid.try_into().expect("is a pid")).expect("is not 0");
                Worker {
                    pid,
                    age,
                    channel,
                    board,
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// A worker that is ready, and where it serves.
    pub fn serve(&mut self, lanes: usize) -> (Worker, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let mut worker = self.fork(&listener, lanes);
        let report = worker.report();
        assert!(
            matches!(report, Some(Report::Ready)),
            "{report:?}: {}",
            self.stderr()
        );
        (worker, listener.local_addr().expect("has an address"))
    }

    pub fn stderr(&self) -> String {
        self.file("stderr.txt")
    }

    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Waits until a file has these words.
    pub fn await_words(&self, name: &str, words: &str) -> String {
        for _ in 0..2000 {
            let text = self.file(name);
            if text.contains(words) {
                return text;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!(
            "{words:?} was to be in {name}: {}\nstderr: {}",
            self.file(name),
            self.stderr()
        );
    }

    pub fn path(&self, name: &str) -> String {
        Path::new(self.folder.path())
            .join(name)
            .display()
            .to_string()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.template.kill();
        let _ = self.template.wait();
    }
}

impl Worker {
    /// The next report; `None` when the worker is gone.
    pub fn report(&mut self) -> Option<Report<FromWorker>> {
        self.channel.receive().ok().map(|received| received.message)
    }

    pub fn tell(&self, order: Order<ToWorker>) {
        self.channel.send(&order, &[]).expect("sends");
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("signals");
    }

    /// Waits for its end: the exit status, or the signal with a minus.
    pub fn wait(&self) -> i32 {
        let (_, status) = waitpid(Some(self.pid), WaitOptions::empty())
            .expect("waits")
            .expect("ends");
        let status = std::process::ExitStatus::from_raw(status.as_raw());
        status
            .code()
            .or(status.signal().map(|signal| -signal))
            .expect("ended")
    }
}

/// One `GET`, until the server closes; the whole answer as text.
pub fn get(address: SocketAddr, target: &str) -> String {
    ask(
        address,
        &format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"),
    )
}

pub fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("sets");
    stream.write_all(request.as_bytes()).expect("sends");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .unwrap_or_else(|error| panic!("{error}: {answer}"));
    answer
}

/// What follows the head.
pub fn body(answer: &str) -> &str {
    answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"))
        .1
}
