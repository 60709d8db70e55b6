//! The master: what the two real programs do, in small.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use socket_activation::{Address, Sockets, Successor};
use supervisor::pidfile::{PidFile, with_suffix};
use supervisor::{
    BindOptions, Channel, Config, Ending, Event, Exit, Generation, Kit, Launch, Listeners, Master,
    Pid, Policy, Predecessor, Program, Signal, SpawnOrder, Spawned, Upgrade, Wanted, WorkerId,
};

use super::template::{Fork, Forked};

const PREDECESSOR: u64 = 1;
const TEMPLATES: u64 = 100;

struct Probe {
    launch: Launch,
    listeners: Listeners,
    manners: String,
    templated: bool,
    templates: BTreeMap<Generation, (Channel, Pid)>,
    pid_file: Option<PidFile>,
    pid_path: Option<PathBuf>,
    upgrade: Upgrade,
    predecessor: Option<Predecessor>,
}

struct Settings(BTreeMap<String, String>);

impl Settings {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn millis(&self, name: &str) -> Option<Duration> {
        self.text(name)
            .map(|text| Duration::from_millis(text.parse().unwrap()))
    }
}

pub fn run(arguments: &[String]) -> i32 {
    let launch = Launch::capture().unwrap();
    let mut inherited = Sockets::take().unwrap();
    let settings = Settings(
        arguments
            .iter()
            .filter_map(|argument| argument.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    );
    let predecessor = Predecessor::from_env();
    let mut listeners = Listeners::new();
    let mut wanted = Wanted::new(Address::Path(settings.text("listen").unwrap().into()));
    wanted.options = BindOptions {
        mode: Some(0o600),
        ..BindOptions::default()
    };
    if let Err(faults) = listeners.apply(&[wanted], &mut inherited) {
        faults.iter().for_each(|fault| say(fault));
        return 1;
    }
    let pid_path = settings.text("pid").map(PathBuf::from);
    let pid_file = pid_path.as_ref().map(|path| match predecessor {
        Some(_) => PidFile::create(with_suffix(path, ".2")).unwrap(),
        None => PidFile::create(path).unwrap(),
    });
    supervisor::reap::become_subreaper().unwrap();
    let mut master = Master::new(Config {
        policy: policy(&settings),
        workers: settings
            .text("workers")
            .map_or(2, |text| text.parse().unwrap()),
        lanes: 1,
        signals: vec![
            Signal::TERM,
            Signal::INT,
            Signal::HUP,
            Signal::TTIN,
            Signal::TTOU,
            Signal::USR1,
            Signal::USR2,
        ],
    })
    .unwrap();
    let mut probe = Probe {
        launch,
        listeners,
        manners: settings
            .text("manners")
            .unwrap_or("/nonexistent")
            .to_owned(),
        templated: settings.text("template").is_some(),
        templates: BTreeMap::new(),
        pid_file,
        pid_path,
        upgrade: Upgrade::default(),
        predecessor,
    };
    let outcome = master.run(&mut probe).unwrap();
    say(&format!("stopped with code {}", outcome.exit_code()));
    drop(probe);
    i32::from(outcome.exit_code())
}

fn policy(settings: &Settings) -> Policy {
    let default = Policy::default();
    Policy {
        ready_timeout: settings.millis("ready").or(default.ready_timeout),
        heartbeat_timeout: settings.millis("heartbeat"),
        request_timeout: settings.millis("request"),
        graceful_timeout: settings.millis("graceful").or(default.graceful_timeout),
        fatal_codes: vec![3, 4],
        ..default
    }
}

fn say(words: &dyn std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // The test may have gone away.
    let _ = writeln!(out, "[{}] {words}", std::process::id());
    let _ = out.flush();
}

impl Program for Probe {
    type Order = String;
    type Report = String;

    fn spawn(&mut self, order: SpawnOrder, _: &mut Master) -> Result<Spawned, Box<dyn Error>> {
        let listener = self.listeners.iter().next().expect("one listener");
        let listener = listener.fds().next().expect("one socket");
        if !self.templated {
            let next = Successor::new("/proc/self/exe")
                .arg0("probe")
                .args(["worker", &self.manners, &order.generation.to_string()])
                .silent();
            let child = order
                .kit
                .attach(next)?
                .socket("listener", listener)?
                .spawn()?;
            return Ok(Spawned::Now(Pid::from_child(&child)));
        }
        if !self.templates.contains_key(&order.generation) {
            self.templates
                .insert(order.generation, start_template(&self.manners)?);
        }
        let (template, _) = &self.templates[&order.generation];
        let Kit { channel, board } = &order.kit;
        let fork = Fork {
            worker: order.worker.0,
            generation: order.generation.0,
        };
        template.send(&fork, &[channel.as_fd(), board.as_fd(), listener])?;
        Ok(Spawned::Later)
    }

    fn on_signal(&mut self, signal: Signal, master: &mut Master) {
        match signal {
            Signal::HUP => master.reload(),
            Signal::TTIN => master.scale(master.fleet().target() + 1),
            Signal::TTOU => master.scale(master.fleet().target().saturating_sub(1).max(1)),
            Signal::USR1 => {
                let workers: Vec<_> = master.workers().map(|worker| worker.id).collect();
                for worker in workers {
                    master.send(worker, &"reopen", &[]).unwrap();
                }
            }
            Signal::USR2 => self.begin_upgrade(),
            _ => master.stop(match master.fleet().stopping() {
                None if signal == Signal::TERM => Ending::Graceful,
                None | Some(Ending::Graceful) => Ending::Quick,
                Some(_) => Ending::Kill,
            }),
        }
    }

    fn on_report(&mut self, worker: WorkerId, report: String, _: Vec<OwnedFd>, _: &mut Master) {
        say(&format!("worker {worker} says: {report}"));
    }

    fn on_event(&mut self, event: &Event, _: &mut Master) {
        say(event);
    }

    fn on_disband(&mut self, generation: Generation, _: &mut Master) {
        self.templates.remove(&generation);
        say(&format!("generation {generation} is over"));
    }

    fn on_child(&mut self, pid: Pid, exit: Exit, _: &mut Master) {
        if self.upgrade.ended(pid, &mut self.listeners) {
            if let (Some(file), Some(path)) = (&mut self.pid_file, &self.pid_path) {
                file.rename(path).unwrap();
            }
            say(&format!("the new binary {exit}"));
        } else if self
            .templates
            .values()
            .all(|(_, template)| *template != pid)
        {
            say(&format!("an orphan {exit}"));
        }
    }

    fn sources(&self) -> Vec<(u64, BorrowedFd<'_>)> {
        let predecessor = self.predecessor.iter().map(|it| (PREDECESSOR, it.as_fd()));
        let templates = self.templates.iter().map(|(generation, (channel, _))| {
            (TEMPLATES + u64::from(generation.0), channel.as_fd())
        });
        predecessor.chain(templates).collect()
    }

    fn on_source(&mut self, number: u64, master: &mut Master) {
        if number == PREDECESSOR {
            self.predecessor = None;
            self.listeners.adopt_files(|_| true);
            if let (Some(file), Some(path)) = (&mut self.pid_file, &self.pid_path) {
                file.rename(path).unwrap();
            }
            return say(&"promoted");
        }
        let generation = Generation((number - TEMPLATES) as u32);
        let Some((channel, _)) = self.templates.get_mut(&generation) else {
            return;
        };
        while let Ok(Some(received)) = channel.try_receive::<Forked>() {
            let Forked { worker, pid } = received.message;
            master.started(WorkerId(worker), Pid::from_raw(pid).unwrap());
        }
    }
}

impl Probe {
    fn begin_upgrade(&mut self) {
        match self.upgrade.begin(&self.launch, &mut self.listeners, Ok) {
            Ok(pid) => {
                if let (Some(file), Some(path)) = (&mut self.pid_file, &self.pid_path) {
                    file.rename(with_suffix(path, ".oldbin")).unwrap();
                }
                say(&format!("upgrade: process {}", pid.as_raw_pid()));
            }
            Err(error) => say(&error),
        }
    }
}

fn start_template(manners: &str) -> Result<(Channel, Pid), Box<dyn Error>> {
    let (ours, theirs) = Channel::pair()?;
    let child = Successor::new("/proc/self/exe")
        .arg0("probe")
        .args(["template", manners])
        .silent()
        .socket("template", &theirs)?
        .spawn()?;
    Ok((ours, Pid::from_child(&child)))
}
