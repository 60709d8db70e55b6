//! Starting the probe, reading what it says, asking its workers.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use supervisor::{Pid, Signal};

pub const PROBE: &str = env!("CARGO_BIN_EXE_supervisor-probe");

/// After this long something that should have happened will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// A master with its folder; ended when dropped.
pub struct Server {
    pub folder: tempfile::TempDir,
    child: Child,
    lines: Receiver<String>,
    /// The master's process; another one than the child's in a pid namespace.
    pub master: Pid,
}

impl Server {
    pub fn start(settings: &[&str]) -> Self {
        Self::start_as(&mut Command::new(PROBE), settings)
    }

    /// Starts with the socket `listen`, the pid file `pid` and the file of manners `manners` in a folder of its own.
    pub fn start_as(command: &mut Command, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| format!("{name}={}", folder.path().join(name).display());
        let mut child = command
            .arg("master")
            .args([place("listen"), place("pid"), place("manners")])
            .args(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = read_lines(child.stdout.take().unwrap());
        let master = Pid::from_child(&child);
        Self {
            folder,
            child,
            lines,
            master,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn set_manners(&self, manners: &str) {
        std::fs::write(self.path("manners"), manners).unwrap();
    }

    /// Waits for a line with these words and returns it.
    pub fn until(&self, words: &str) -> String {
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => heard.push(line),
                Err(_) => panic!("{words:?} never came; heard: {heard:#?}"),
            }
        }
    }

    /// Every line to the end of the output.
    pub fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok()).collect()
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.master, signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn connect(&self) -> Client {
        Client::to(&self.path("listen"))
    }

    /// One question, one answer.
    pub fn ask(&self, question: &str) -> String {
        self.connect().ask(question)
    }

    /// Process and generation of a worker.
    pub fn who(&self) -> (Pid, u32) {
        parse_who(&self.ask("who"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A master of its own pid namespace takes its workers with it; others notice their closed channels.
        let _ = rustix::process::kill_process(self.master, Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn parse_who(answer: &str) -> (Pid, u32) {
    let (pid, generation) = answer
        .split_once(' ')
        .unwrap_or_else(|| panic!("{answer:?}"));
    (
        Pid::from_raw(pid.parse().unwrap()).unwrap(),
        generation.parse().unwrap(),
    )
}

pub struct Client(BufReader<UnixStream>);

impl Client {
    pub fn to(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub fn say(&mut self, line: &str) {
        self.0
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }

    /// The next line; empty when the connection was closed.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) => line.trim().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn ask(&mut self, question: &str) -> String {
        self.say(question);
        self.hear()
    }
}

fn read_lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Keeps asking from several threads, and counts what was not answered.
pub struct Load {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<std::thread::JoinHandle<(usize, Vec<String>)>>,
}

impl Load {
    pub fn on(path: &Path) -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let threads = (0..3).map(|_| {
            let (stop, path) = (stop.clone(), path.to_path_buf());
            std::thread::spawn(move || {
                let (mut answered, mut faults) = (0, Vec::new());
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    match ask_once(&path) {
                        Ok(()) => answered += 1,
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
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
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

fn ask_once(path: &Path) -> Result<(), String> {
    let stream = UnixStream::connect(path).map_err(|error| format!("connect: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (&stream)
        .write_all(b"who\n")
        .map_err(|error| format!("write: {error}"))?;
    let mut line = String::new();
    match BufReader::new(stream).read_line(&mut line) {
        Ok(count) if count > 0 => Ok(()),
        Ok(_) => Err("closed without an answer".to_owned()),
        Err(error) => Err(format!("read: {error}")),
    }
}
