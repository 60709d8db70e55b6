//! The client of a scenario: it starts the subject, speaks to it, and looks at what it leaves behind.

mod evidence;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::process::{Signal, kill_process};

use super::expect::capture;
use super::file::Line;
use super::message::{Context, Talk};
use super::origin::{MAIN, Shared};
use super::run::Settings;
use super::stage::Stage;
use super::step::{Saved, Step};
use super::subject::words;
use super::vars::Vars;
use crate::{Address, Child, Deadline, PATIENCE, Wire, show};

/// The client's state.
pub(crate) struct Player<'a> {
    stage: &'a Stage,
    settings: &'a Settings,
    shared: &'a Shared,
    vars: Vars,
    server: Option<Child>,
    talks: BTreeMap<String, Talk>,
    current: String,
    /// Addresses that answered once: from then on, a refused connection is final.
    reached: HashSet<String>,
    /// The exit code of the last `command`.
    result: Option<i32>,
}

impl<'a> Player<'a> {
    pub(crate) fn new(stage: &'a Stage, settings: &'a Settings, shared: &'a Shared) -> Self {
        Player {
            stage,
            settings,
            shared,
            vars: stage.vars.clone(),
            server: None,
            talks: BTreeMap::new(),
            current: MAIN.to_owned(),
            reached: HashSet::new(),
            result: None,
        }
    }

    /// Starts the subject and waits until it listens; a conversation that begins with `exit` expects that it never does.
    pub(crate) fn start(&mut self, script: &[Line]) -> Result<(), String> {
        let mut server = self
            .stage
            .start(self.settings)
            .map_err(|error| error.to_string())?;
        self.vars.set("pid", server.id().to_string());
        let ends = matches!(script.first().map(|line| &line.step), Some(Step::Exit(_)));
        if !ends && self.stage.listens_on_port {
            let address = self.address(None)?;
            let ready = Deadline::after(PATIENCE).poll(&self.shared.stop, || {
                match Wire::connect(&address) {
                    Ok(_) => Some(Ok(())),
                    Err(_) => match server.ended() {
                        Ok(Some(status)) => Some(Err(format!(
                            "the server ended with {} at once",
                            Child::code(status)
                        ))),
                        _ => None,
                    },
                }
            });
            ready.unwrap_or_else(|| Err(format!("the server doesn't listen on {address}")))?;
            self.reached.insert(address.to_string());
        }
        self.server = Some(server);
        Ok(())
    }

    /// Speaks the whole script; the first failure ends it.
    pub(crate) fn play(&mut self, script: &[Line]) {
        for line in script {
            if self.shared.stop.raised() {
                return;
            }
            if let Err(message) = self.step(&line.step) {
                return self.shared.fail(line.number, message);
            }
        }
        for (name, talk) in &mut self.talks {
            let left = talk.leftover();
            if !left.is_empty() {
                let last = script.last().map_or(0, |line| line.number);
                let what = show(left);
                return self.shared.fail(
                    last,
                    format!("connection {name} has bytes that nobody expected: \"{what}\""),
                );
            }
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Mark(name) => {
                self.shared.mark(name);
                Ok(())
            }
            Step::Wait(name) => self.shared.wait(name),
            Step::Connect { name, to } => self.connect(name, to.as_deref()),
            Step::On(name) => {
                self.current.clone_from(name);
                self.talks
                    .contains_key(name)
                    .then_some(())
                    .ok_or_else(|| format!("there is no connection \"{name}\""))
            }
            Step::Signal(name) => self.signal(name),
            Step::SignalTo { name, pid } => self.signal_to(name, pid),
            Step::SignalChildren(name) => self.signal_children(name),
            Step::Exit(code) => self.exit(*code),
            Step::Log(want) => self.log(want),
            Step::NoLog(want) => self.no_log(want),
            Step::File { path, want } => self.file(path, want),
            Step::NoFile(path) => self.no_file(path),
            Step::Write { path, text } => self.write(path, text),
            Step::Rename { from, to } => {
                let (from, to) = (self.below(from), self.below(to));
                fs::rename(&from, &to).map_err(|error| format!("{}: {error}", from.display()))
            }
            Step::Eventually {
                target,
                status,
                want,
            } => self.eventually(target, *status, want.as_ref()),
            Step::Insist { target, line } => self.insist(target, line),
            Step::Refused(to) => self.refused(to.as_deref()),
            Step::Command(arguments) => self.command(arguments),
            Step::Result(code) => match self.result {
                Some(got) if got == *code => Ok(()),
                Some(got) => Err(format!(
                    "exit code {code} was expected, got {got}{}",
                    self.output()
                )),
                None => Err("no command was run".to_owned()),
            },
            Step::Stdout(want) => self.file("command.out", want),
            Step::Stderr(want) => self.file("command.err", want),
            Step::Save { name, from } => self.save(name, from),
            step => self.talk(step),
        }
    }

    /// A step on the current connection, which is opened now if it is the first one.
    fn talk(&mut self, step: &Step) -> Result<(), String> {
        if !self.talks.contains_key(&self.current) {
            self.connect(&self.current.clone(), None)?;
        }
        let talk = self.talks.get_mut(&self.current).ok_or("no connection")?;
        let context = Context {
            vars: &self.vars,
            prefix: &self.shared.prefix,
        };
        match step {
            Step::Status { code, reason } => talk.begin_response(*code, reason.as_deref()),
            step => talk
                .step(step, &context)
                .unwrap_or_else(|| Err(format!("a client can't do {step:?}"))),
        }
    }

    fn connect(&mut self, name: &str, to: Option<&str>) -> Result<(), String> {
        self.talks.values_mut().for_each(Talk::close_when_over);
        let address = self.address(to)?;
        let final_refusal = self.reached.contains(&address.to_string());
        let server = &mut self.server;
        let connected =
            Deadline::after(PATIENCE).poll(&self.shared.stop, || match Wire::connect(&address) {
                Ok(wire) => Some(Ok(wire)),
                Err(error) if final_refusal => Some(Err(error.to_string())),
                Err(_) => match server.as_mut().map(Child::ended) {
                    Some(Ok(Some(status))) => Some(Err(format!(
                        "the server has ended with {}",
                        Child::code(status)
                    ))),
                    _ => None,
                },
            });
        let wire = connected.unwrap_or_else(|| Err(format!("nobody listens on {address}")))?;
        let who = format!("client {name}");
        self.reached.insert(address.to_string());
        self.shared
            .transcript
            .note(&who, &format!("connected to {address}"));
        self.talks.insert(
            name.to_owned(),
            Talk::new(wire.observed(&who, &self.shared.transcript, &self.shared.stop)),
        );
        name.clone_into(&mut self.current);
        Ok(())
    }

    /// `{port}`, a port of 127.0.0.1, or an address.
    fn address(&self, to: Option<&str>) -> Result<Address, String> {
        let text = self.vars.fill(to.unwrap_or("{port}"));
        let whole = if text.bytes().all(|b| b.is_ascii_digit()) {
            format!("127.0.0.1:{text}")
        } else {
            text
        };
        Address::parse(&whole).ok_or_else(|| format!("\"{whole}\" is no address"))
    }

    fn refused(&mut self, to: Option<&str>) -> Result<(), String> {
        let address = self.address(to)?;
        let refused =
            || matches!(Wire::connect(&address), Err(error) if is_refusal(&error)).then_some(());
        Deadline::after(PATIENCE)
            .poll(&self.shared.stop, refused)
            .ok_or_else(|| format!("{address} still accepts"))
    }

    fn signal(&mut self, name: &str) -> Result<(), String> {
        let signal = signal_named(name).ok_or_else(|| format!("unknown signal \"{name}\""))?;
        self.shared
            .transcript
            .note("client", &format!("signal {name}"));
        let server = self.server.as_mut().ok_or("no server was started")?;
        server.signal(signal).map_err(|error| error.to_string())
    }

    /// Only to a process that belongs to this run.
    fn signal_to(&mut self, name: &str, pid: &str) -> Result<(), String> {
        let signal = signal_named(name).ok_or_else(|| format!("unknown signal \"{name}\""))?;
        let text = self.vars.fill(pid);
        let own = Child::running_in(&self.shared.prefix);
        let found = own
            .into_iter()
            .find(|pid| pid.as_raw_nonzero().to_string() == text);
        let pid = found.ok_or_else(|| format!("no process {text} runs in this prefix"))?;
        self.shared
            .transcript
            .note("client", &format!("signal {name} to {text}"));
        kill_process(pid, signal).map_err(|error| error.to_string())
    }

    fn signal_children(&mut self, name: &str) -> Result<(), String> {
        let signal = signal_named(name).ok_or_else(|| format!("unknown signal \"{name}\""))?;
        let server = self.server.as_ref().ok_or("no server was started")?;
        let children = Deadline::after(PATIENCE).poll(&self.shared.stop, || {
            let children = server.children();
            (!children.is_empty()).then_some(children)
        });
        for pid in children.ok_or("the server has no children")? {
            self.shared.transcript.note(
                "client",
                &format!("signal {name} to {}", pid.as_raw_nonzero()),
            );
            kill_process(pid, signal).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn exit(&mut self, code: i32) -> Result<(), String> {
        let server = self.server.as_mut().ok_or("no server was started")?;
        let status = server.wait_unless(Deadline::after(PATIENCE), &self.shared.stop);
        match status.map(Child::code) {
            Ok(got) if got == code => Ok(()),
            Ok(got) => Err(format!(
                "the server should end with {code}, it ended with {got}"
            )),
            Err(error) => Err(format!("the server should end with {code}: {error}")),
        }
    }

    fn command(&mut self, arguments: &str) -> Result<(), String> {
        let arguments: Vec<String> = words(arguments)
            .iter()
            .map(|word| self.vars.fill(word))
            .collect();
        self.shared.transcript.note("command", &arguments.join(" "));
        let mut command = self
            .stage
            .command(self.settings, &arguments, "command.out", "command.err")
            .map_err(|error| error.to_string())?;
        let mut child = Child::spawn(&mut command).map_err(|error| error.to_string())?;
        let status = child.wait_unless(Deadline::after(PATIENCE), &self.shared.stop);
        self.result = Some(Child::code(status.map_err(|error| error.to_string())?));
        Ok(())
    }

    fn output(&self) -> String {
        let read = |name: &str| {
            fs::read(self.below(name))
                .map(|bytes| show(&bytes))
                .unwrap_or_default()
        };
        format!(
            "\n  stdout \"{}\"\n  stderr \"{}\"",
            read("command.out"),
            read("command.err")
        )
    }

    fn save(&mut self, name: &str, from: &Saved) -> Result<(), String> {
        let file = match from {
            Saved::File(path, _) => {
                let path = self.below(path);
                Some(fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?)
            }
            _ => None,
        };
        let talk = || format!("there is no connection \"{}\"", self.current);
        let value = match (from, file) {
            (Saved::Field(field), _) => self
                .talks
                .get_mut(&self.current)
                .ok_or_else(talk)?
                .field(field)?,
            (Saved::Body(pattern), _) => {
                let body = self.talks.get_mut(&self.current).ok_or_else(talk)?.body()?;
                self.captured(pattern.as_deref(), &body)?
            }
            (Saved::File(_, pattern), bytes) => {
                self.captured(pattern.as_deref(), &bytes.unwrap_or_default())?
            }
        };
        self.vars.set(name, value);
        Ok(())
    }

    fn captured(&self, pattern: Option<&str>, bytes: &[u8]) -> Result<String, String> {
        match pattern {
            None => Ok(String::from_utf8_lossy(bytes).trim_end().to_owned()),
            Some(pattern) => capture(&self.vars.pattern(pattern), bytes)?
                .ok_or_else(|| format!("nothing matches ~ {pattern} in \"{}\"", show(bytes))),
        }
    }

    fn below(&self, path: &str) -> PathBuf {
        self.stage.prefix.join(self.vars.fill(path))
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    )
}

fn signal_named(name: &str) -> Option<Signal> {
    Some(match name {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "TERM" => Signal::TERM,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "TTIN" => Signal::TTIN,
        "TTOU" => Signal::TTOU,
        "WINCH" => Signal::WINCH,
        _ => return None,
    })
}
