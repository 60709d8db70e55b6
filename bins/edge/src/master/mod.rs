//! The master: holds the sockets, the logs and the pid file, watches the worker, obeys signals. It never reads from the network.
//!
//! - HUP: the configuration is read afresh and handed to the *running* worker; a fault leaves everything as it is. Only what a
//!   process can't change about itself (`user`, `worker_rlimit_nofile`, `worker_priority`, `working_directory`) brings up a
//!   new worker beside the old one, which then finishes.
//! - A worker that dies is started again at once; the sockets are the master's and were never closed.
//! - USR1: logs are opened anew. USR2: a new binary gets the sockets. WINCH: the worker finishes, the master stays.
//! - QUIT: end when the last connection has ended; TERM and INT: end now.

mod notices;
mod reload;
mod rights;
mod upgrade;

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use proxy_core::engine::compile::Features;
use proxy_core::engine::logs::Level;
use socket_activation::{Message, Notifier, Successor, Watchdog};
use supervisor::process::Waiting;
use supervisor::{
    Config, Ending, Event, Exit, Launch, Master, Outcome, Pid, PidFile, Policy, Predecessor,
    Program, Signal, SpawnOrder, Spawned, WorkerId,
};

use crate::configuration::{Blueprint, Origin};
use crate::listening::Listening;
use crate::orders::{Manifest, Order, Report, Rights, descriptors};
use crate::worker::Goods;
use crate::{NAME, exit, features, start, worker};

pub use rights::warning;

/// The number of the predecessor among the sources.
const PREDECESSOR: u64 = 1;

/// Everything that the master knows.
pub struct Edge {
    origin: Origin,
    features: Features,
    blueprint: Blueprint,
    listening: Listening,
    pid_file: PidFile,
    rights: Rights,
    launch: Launch,
    /// The number of the manifest that was handed over last.
    serial: u64,
    daemon: bool,
    /// The process that was started and waits to hear how it went.
    waiting: Option<Waiting>,
    /// Whether a worker has ever accepted requests.
    served: bool,
    /// The manifest whose acceptance the service manager waits for.
    reloading: Option<u64>,
    successor: Option<Pid>,
    predecessor: Option<Predecessor>,
    manager: Notifier,
    watchdog: Option<(Watchdog, Instant)>,
}

/// What a master begins with.
pub struct Beginning {
    /// Where the configuration comes from.
    pub origin: Origin,
    /// The configuration.
    pub blueprint: Blueprint,
    /// Its sockets.
    pub listening: Listening,
    /// How this process was started.
    pub launch: Launch,
    /// The process that this one is to replace.
    pub predecessor: Option<Predecessor>,
    /// The process that was started, when this one is a daemon.
    pub waiting: Option<Waiting>,
    /// Whether this process has left the terminal, or was started by one that has.
    pub daemon: bool,
}

/// Serves until a signal ends it. `early` are signals that came before there was a master.
///
/// # Errors
/// What keeps it from serving, in words.
pub fn run(beginning: Beginning, early: impl FnOnce() -> Vec<Signal>) -> Result<ExitCode, String> {
    let rights = Rights::of(&beginning.blueprint.process)?;
    let mut master = Master::new(Config {
        policy: policy(&beginning.blueprint),
        workers: 1,
        lanes: 1,
        signals: start::SIGNALS.to_vec(),
    })
    .map_err(|error| format!("signals can't be heard: {error}"))?;
    let manager = Notifier::from_env().map_err(|error| error.to_string())?;
    let watchdog = Watchdog::from_env().map_err(|error| error.to_string())?;
    let mut edge = Edge {
        features: features::all(),
        pid_file: start::write_pid(&beginning.origin, &beginning.blueprint)?,
        origin: beginning.origin,
        blueprint: beginning.blueprint,
        listening: beginning.listening,
        rights,
        launch: beginning.launch,
        serial: 0,
        daemon: beginning.daemon,
        waiting: beginning.waiting,
        served: false,
        reloading: None,
        successor: None,
        predecessor: beginning.predecessor,
        manager,
        watchdog: watchdog.map(|watchdog| (watchdog, Instant::now())),
    };
    edge.greet();
    for signal in early() {
        edge.on_signal(signal, &mut master);
    }
    let outcome = master
        .run(&mut edge)
        .map_err(|error| format!("the master can't wait for its worker: {error}"))?;
    Ok(edge.leave(outcome))
}

/// How long a worker may take. Connections end in their own time, unless `worker_shutdown_timeout` says otherwise; the worker
/// obeys that itself, and the master only sees to it that it did.
fn policy(blueprint: &Blueprint) -> Policy {
    let standard = Policy::default();
    let shutdown = blueprint
        .process
        .shutdown_timeout
        .map(|timeout| timeout + standard.quick_timeout);
    Policy {
        heartbeat_timeout: None,
        graceful_timeout: shutdown,
        retire_timeout: shutdown,
        fatal_codes: vec![i32::from(exit::UNFIT)],
        ..standard
    }
}

impl Edge {
    fn greet(&self) {
        self.log(
            Level::Notice,
            format_args!(
                "edge/{} begins to serve {}",
                crate::version::EDGE,
                self.origin.paths.conf.display()
            ),
        );
        self.log(Level::Notice, format_args!("start worker processes"));
    }

    fn leave(self, outcome: Outcome) -> ExitCode {
        let code = match outcome {
            Outcome::Asked => ExitCode::SUCCESS,
            Outcome::GaveUp(death) => {
                self.say(
                    Level::Emerg,
                    &format!("the worker {death} before it could serve; edge gives up"),
                );
                ExitCode::FAILURE
            }
        };
        self.log(Level::Notice, format_args!("exit"));
        if let Some(waiting) = self.waiting {
            waiting.release(u8::from(code != ExitCode::SUCCESS));
        }
        code
    }

    fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        self.blueprint.errors.write(level, None, message);
    }

    /// To the log, and to standard error as long as somebody waits there to hear how the start went.
    fn say(&self, level: Level, words: &str) {
        self.log(level, format_args!("{words}"));
        if !self.served
            && self
                .blueprint
                .errors
                .files()
                .all(|log| log.path() != std::path::Path::new(crate::paths::STDERR))
        {
            let _ = writeln!(io::stderr(), "{NAME}: [{}] {words}", level.word());
        }
    }

    /// What a worker needs to serve the configuration in force.
    fn goods(&self) -> io::Result<Goods> {
        Ok(Goods {
            sources: self.blueprint.sources.clone(),
            paths: self.origin.paths.clone(),
            listens: self.listening.hand_over()?,
            logs: self.blueprint.logs.hand_over()?,
        })
    }

    /// Sends the configuration in force to a worker.
    fn send(
        &mut self,
        worker: WorkerId,
        order: impl FnOnce(Manifest) -> Order,
        master: &mut Master,
    ) -> Result<u64, Box<dyn Error>> {
        self.serial += 1;
        let goods = self.goods()?;
        let order = order(Manifest::of(self.serial, &goods));
        master.send(worker, &order, &descriptors(&goods))?;
        Ok(self.serial)
    }

    /// A worker's standard error: the master's, but for a daemon, whose terminal is not to be written to any more.
    fn worker_stderr(&self) -> Stdio {
        let file: Option<File> = self
            .daemon
            .then(|| self.blueprint.logs.file_of(&self.blueprint.errors))
            .flatten();
        file.map_or_else(Stdio::inherit, Stdio::from)
    }

    /// The first worker serves: whoever waits is told, and a daemon's standard error becomes its log.
    fn on_serving(&mut self) {
        self.tell_manager();
        if self.served {
            return;
        }
        self.served = true;
        if let Some(waiting) = self.waiting.take() {
            waiting.release(0);
        }
        self.redirect_stderr();
    }

    fn redirect_stderr(&self) {
        if !self.daemon {
            return;
        }
        if let Some(file) = self.blueprint.logs.file_of(&self.blueprint.errors) {
            let _ = rustix::stdio::dup2_stderr(&file);
        }
    }

    fn tell_manager(&self) {
        let addresses: Vec<String> = self
            .blueprint
            .listens
            .iter()
            .map(|listen| listen.address.to_string())
            .collect();
        let status = format!("serving {}", addresses.join(", "));
        let message = Message::new().ready().status(&status);
        // A new binary speaks up before the manager knows it as the main process.
        let message = match &self.predecessor {
            Some(_) => message.main_pid(std::process::id()),
            None => message,
        };
        let told = self.manager.send(&message);
        self.note(told);
    }

    /// A service manager that can't be told is no reason to stop.
    fn note(&self, told: Result<(), socket_activation::NotifyError>) {
        if let Err(error) = told {
            self.log(Level::Warn, format_args!("{error}"));
        }
    }

    fn stop(&mut self, ending: Ending, master: &mut Master) {
        match self.successor {
            Some(pid) => self.note(self.manager.main_pid(pid.as_raw_pid().unsigned_abs())),
            None => self.note(self.manager.stopping()),
        }
        // Whoever comes now is to be refused at once, not to wait for an end that may take long.
        self.listening.close();
        master.stop(ending);
    }
}

impl Program for Edge {
    type Order = Order;
    type Report = Report;

    fn spawn(&mut self, order: SpawnOrder, master: &mut Master) -> Result<Spawned, Box<dyn Error>> {
        // The very file that this process runs, also when an upgrade has put another one in its place.
        let program = Successor::new("/proc/self/exe")
            .arg0(worker::TITLE)
            .silent()
            .stderr(self.worker_stderr());
        let child = order.kit.attach(program)?.spawn()?;
        let rights = self.rights.clone();
        self.send(
            order.worker,
            |manifest| Order::Start(rights, manifest),
            master,
        )?;
        Ok(Spawned::Now(Pid::from_child(&child)))
    }

    fn on_signal(&mut self, signal: Signal, master: &mut Master) {
        self.log_signal(signal);
        match signal {
            Signal::TERM | Signal::INT => self.stop(Ending::Quick, master),
            Signal::QUIT => self.stop(Ending::Graceful, master),
            Signal::HUP => self.reload(master),
            Signal::USR1 => self.reopen(master),
            Signal::USR2 => self.upgrade(),
            // Terminals send it whenever their size changes.
            Signal::WINCH if self.daemon => master.scale(0),
            _ => {}
        }
    }

    fn on_report(
        &mut self,
        worker: WorkerId,
        report: Report,
        _: Vec<OwnedFd>,
        master: &mut Master,
    ) {
        match report {
            Report::Serves(serial) => self.reloaded(serial),
            Report::Refuses(serial, words) => {
                let pid = master.worker(worker).and_then(|worker| worker.pid);
                self.refused(serial, &words, pid);
            }
        }
    }

    fn on_event(&mut self, event: &Event, _: &mut Master) {
        self.log_event(event);
        if let Event::Ready { .. } = event {
            self.on_serving();
        }
    }

    fn on_child(&mut self, pid: Pid, exit: Exit, _: &mut Master) {
        if self.successor == Some(pid) {
            self.take_back(exit);
        }
    }

    /// A worker that is not known to serve is to go quickly. It may have begun to serve meanwhile: where the end is to be a
    /// graceful one, it is so for this worker, too, who goes at once when it has nothing to finish.
    fn end(&mut self, worker: WorkerId, ending: Ending, master: &mut Master) {
        let graceful = master.fleet().stopping() != Some(Ending::Quick);
        let ending = if graceful { Ending::Graceful } else { ending };
        master.order_end(worker, ending);
    }

    fn sources(&self) -> Vec<(u64, BorrowedFd<'_>)> {
        let predecessor = self.predecessor.iter();
        predecessor
            .map(|process| (PREDECESSOR, process.as_fd()))
            .collect()
    }

    fn on_source(&mut self, _: u64, _: &mut Master) {
        self.predecessor_is_gone();
    }

    fn deadline(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|(_, due)| *due)
    }

    fn on_deadline(&mut self, now: Instant, _: &mut Master) {
        if let Some((watchdog, due)) = &mut self.watchdog {
            *due = now + watchdog.period();
            self.note(self.manager.watchdog());
        }
    }
}
