//! Origin servers of a scenario: they listen, expect requests and answer as their script says.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::file::Line;
use super::message::{Context, Talk};
use super::run::Failure;
use super::step::Step;
use super::vars::Vars;
use crate::{Deadline, PATIENCE, StopFlag, Transcript, Wire};

/// The connection a script speaks on when it names none.
pub(crate) const MAIN: &str = "main";

/// What all parts of a running scenario share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) prefix: PathBuf,
    pub(crate) transcript: Transcript,
    /// Raised by the first failure: everybody gives up.
    pub(crate) stop: StopFlag,
    /// Raised when the client has said its last word: servers that answer always may go.
    pub(crate) over: StopFlag,
    marks: Arc<Mutex<HashSet<String>>>,
    failures: Arc<Mutex<Vec<Failure>>>,
}

impl Shared {
    pub(crate) fn new(prefix: &Path) -> Self {
        Shared {
            prefix: prefix.to_owned(),
            transcript: Transcript::new(),
            stop: StopFlag::default(),
            over: StopFlag::default(),
            marks: Arc::default(),
            failures: Arc::default(),
        }
    }

    /// Notes a failure and ends everybody's waits. What fails after that is a consequence and not noted.
    pub(crate) fn fail(&self, line: usize, message: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.stop.raised() || failures.is_empty() {
            self.transcript.note(
                "FAILED",
                &format!(
                    "line {line}: {}",
                    message.lines().next().unwrap_or_default()
                ),
            );
            failures.push(Failure { line, message });
        }
        self.stop.raise();
        self.over.raise();
    }

    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn mark(&self, name: &str) {
        self.transcript.note("mark", name);
        self.marks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned());
    }

    pub(crate) fn wait(&self, name: &str) -> Result<(), String> {
        let marked = || {
            self.marks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(name)
                .then_some(())
        };
        // Longer than any other wait, so that what keeps the mark from being reached is told first.
        Deadline::after(PATIENCE * 3 / 2)
            .poll(&self.stop, marked)
            .ok_or_else(|| format!("nobody marked \"{name}\""))
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The listening socket of an origin server.
#[derive(Debug)]
pub(crate) struct Listener {
    name: String,
    line: usize,
    socket: Socket,
    /// What `{origin.NAME}` stands for.
    pub(crate) address: String,
}

impl Listener {
    /// Listens on a free port, or on a unix socket below the prefix that anyone may connect to.
    pub(crate) fn bind(name: &str, unix: bool, line: usize, prefix: &Path) -> io::Result<Self> {
        let (socket, address) = if unix {
            let path = prefix.join(format!("{name}.sock"));
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
            listener.set_nonblocking(true)?;
            (Socket::Unix(listener), format!("unix:{}", path.display()))
        } else {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?.to_string();
            (Socket::Tcp(listener), address)
        };
        Ok(Listener {
            name: name.to_owned(),
            line,
            socket,
            address,
        })
    }

    /// A connection that is waiting, if any.
    fn accept(&self, name: &str, transcript: &Transcript, stop: &StopFlag) -> Option<Talk> {
        let wire = match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().ok()?;
                stream.set_nonblocking(false).ok()?;
                Wire::from_tcp(stream)
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().ok()?;
                stream.set_nonblocking(false).ok()?;
                Wire::from_unix(stream)
            }
        };
        let who = format!("origin {}/{name}", self.name);
        transcript.note(&who, "accepted");
        Some(Talk::new(wire.observed(&who, transcript, stop)))
    }
}

/// A running origin server.
#[derive(Debug)]
pub(crate) struct Origin {
    line: usize,
    thread: JoinHandle<Played>,
}

/// What is left when a script has ended: connections stay open until the whole scenario is over.
#[derive(Debug)]
struct Played {
    listener: Listener,
    connections: BTreeMap<String, Talk>,
}

impl Origin {
    /// Plays `script` on `listener` in a thread of its own.
    pub(crate) fn start(listener: Listener, script: Vec<Line>, vars: Vars, shared: Shared) -> Self {
        let line = listener.line;
        let always = script.iter().any(|line| line.step == Step::Always);
        let thread = std::thread::spawn(move || {
            if always {
                serve(listener, &script, &vars, &shared)
            } else {
                play(listener, &script, &vars, &shared)
            }
        });
        Origin { line, thread }
    }

    /// Waits for the script's end and looks for what it did not expect.
    pub(crate) fn finish(self, shared: &Shared) {
        let Ok(mut played) = self.thread.join() else {
            return shared.fail(self.line, "the origin server's thread panicked".to_owned());
        };
        if shared.stop.raised() {
            return;
        }
        if played
            .listener
            .accept("unexpected", &shared.transcript, &shared.stop)
            .is_some()
        {
            shared.fail(
                self.line,
                format!(
                    "origin {} got a connection that its script doesn't have",
                    played.listener.name
                ),
            );
        }
        for (name, talk) in &mut played.connections {
            let left = talk.leftover();
            if !left.is_empty() {
                let what = crate::show(left);
                shared.fail(
                    self.line,
                    format!("connection {name} has unread bytes: \"{what}\""),
                );
            }
        }
    }
}

/// Plays the script once, from top to bottom.
fn play(listener: Listener, script: &[Line], vars: &Vars, shared: &Shared) -> Played {
    let mut played = Played {
        listener,
        connections: BTreeMap::new(),
    };
    let mut current = MAIN.to_owned();
    for line in script {
        if let Err(message) = play_line(&mut played, &mut current, &line.step, vars, shared) {
            shared.fail(line.number, message);
            break;
        }
    }
    played
}

fn play_line(
    played: &mut Played,
    current: &mut String,
    step: &Step,
    vars: &Vars,
    shared: &Shared,
) -> Result<(), String> {
    match step {
        Step::Mark(name) => {
            shared.mark(name);
            return Ok(());
        }
        Step::Wait(name) => return shared.wait(name),
        Step::Connection(name) => {
            current.clone_from(name);
            return accept(played, current, shared);
        }
        Step::On(name) => {
            current.clone_from(name);
            return match played.connections.contains_key(name) {
                true => Ok(()),
                false => Err(format!("there is no connection \"{name}\"")),
            };
        }
        _ => {}
    }
    if !played.connections.contains_key(current) {
        accept(played, current, shared)?;
    }
    match played.connections.get_mut(current) {
        Some(talk) => talk_step(talk, step, vars, shared),
        None => Ok(()),
    }
}

fn accept(played: &mut Played, name: &str, shared: &Shared) -> Result<(), String> {
    let accepted = Deadline::after(PATIENCE).poll(&shared.stop, || {
        played
            .listener
            .accept(name, &shared.transcript, &shared.stop)
    });
    let talk = accepted.ok_or_else(|| match shared.stop.raised() {
        true => "no connection came before something else failed".to_owned(),
        false => format!(
            "origin {}: no connection came within {PATIENCE:?}",
            played.listener.name
        ),
    })?;
    played.connections.insert(name.to_owned(), talk);
    Ok(())
}

fn talk_step(talk: &mut Talk, step: &Step, vars: &Vars, shared: &Shared) -> Result<(), String> {
    let context = Context {
        vars,
        prefix: &shared.prefix,
    };
    match step {
        Step::Request(want) => talk.begin_request(want, &context),
        step => talk
            .step(step, &context)
            .unwrap_or_else(|| Err(format!("an origin server can't do {step:?}"))),
    }
}

/// Plays the script for every request of every connection until the scenario is over.
fn serve(listener: Listener, script: &[Line], vars: &Vars, shared: &Shared) -> Played {
    std::thread::scope(|scope| {
        let mut count = 0;
        while !shared.over.raised() {
            let patience = Deadline::after(PATIENCE);
            let name = format!("{count}");
            let talk = patience.poll(&shared.over, || {
                listener.accept(&name, &shared.transcript, &shared.over)
            });
            if let Some(talk) = talk {
                count += 1;
                scope.spawn(move || serve_connection(talk, script, vars, shared));
            }
        }
    });
    Played {
        listener,
        connections: BTreeMap::new(),
    }
}

fn serve_connection(mut talk: Talk, script: &[Line], vars: &Vars, shared: &Shared) {
    while let Ok(false) = talk.idle_until_end() {
        for line in script {
            let done = match &line.step {
                Step::Always => Ok(()),
                Step::Mark(name) => {
                    shared.mark(name);
                    Ok(())
                }
                Step::Wait(name) => shared.wait(name),
                step => talk_step(&mut talk, step, vars, shared),
            };
            if let Err(message) = done {
                if !shared.over.raised() {
                    shared.fail(line.number, message);
                }
                return;
            }
        }
    }
}
