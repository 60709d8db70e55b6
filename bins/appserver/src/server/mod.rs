//! The master at work: what signals mean, how workers come into being, what is said about them.
//!
//! [`Server`] is the supervisor's `Program`. It never waits for a template: orders go out, answers come in as sources of the
//! master, so signals and dying workers are attended to at any time.

mod events;
mod orders;
mod release;
mod reload;
mod signals;
mod upgrade;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use appserver_protocol::{FromWorker, Hook, ToTemplate, ToWorker};
use supervisor::process::Waiting;
use supervisor::socket_activation::{Notifier, Watchdog};
use supervisor::{
    Config, Death, Ending, Event, Exit, Generation, Master, Outcome, Pid, PidFile, Predecessor,
    Program, Signal, Signals, SpawnOrder, Spawned, WorkerId,
};

pub(crate) use release::{Manner, Release};

use crate::control::{self, Control, Reason, Tally};
use crate::doors::Doors;
use crate::log::Log;
use crate::python::Interpreter;
use crate::start::Start;
use reload::Reload;
use upgrade::Upgrade;

/// Signals that mean something, beside those that end the server.
pub(crate) const OTHER_SIGNALS: [Signal; 6] = [
    Signal::HUP,
    Signal::TTIN,
    Signal::TTOU,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];
/// The source that is the predecessor; templates have their own numbers, from 1.
const PREDECESSOR: u64 = 0;
/// How often StatsD is told how many connections wait.
const BACKLOG_EVERY: Duration = Duration::from_secs(1);
/// How long the last hook may take.
const LAST_HOOK: Duration = Duration::from_secs(10);

/// What a server is made of.
pub(crate) struct Parts {
    pub start: Start,
    pub interpreter: Interpreter,
    pub log: Log,
    pub doors: Doors,
    pub pid_file: Option<PidFile>,
    pub release: Release,
    pub daemon: Option<Waiting>,
    pub control: Control,
}

/// See the module.
pub(crate) struct Server {
    start: Start,
    interpreter: Interpreter,
    log: Log,
    notifier: Notifier,
    watchdog: Option<(Watchdog, Instant)>,
    doors: Doors,
    pid_file: Option<PidFile>,
    /// What each generation of workers is made from.
    releases: BTreeMap<Generation, Release>,
    /// The generation of each worker.
    workers: BTreeMap<WorkerId, Generation>,
    /// Why the latest worker that did not boot did not, as it says.
    complaint: Option<(WorkerId, String)>,
    reload: Reload,
    upgrade: Upgrade,
    is_daemon: bool,
    /// As StatsD knows it.
    counted_workers: usize,
    /// When StatsD is told how many connections wait, where it is.
    backlog_due: Option<Instant>,
    pub(crate) control: Control,
    pub(crate) tally: Tally,
    /// Why workers that are on their way out are.
    reasons: BTreeMap<WorkerId, Reason>,
    /// Who waits for the daemon.
    waiting: Option<Waiting>,
    templates: u64,
}

impl Server {
    /// Puts the parts together, with a master that has not started yet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(parts: Parts) -> io::Result<(Self, Master)> {
        let Parts {
            start,
            interpreter,
            log,
            doors,
            pid_file,
            release,
            daemon,
            control,
        } = parts;
        let master = Master::new(Config {
            policy: release.policy(),
            workers: release.workers(),
            lanes: release.lanes(),
            signals: [&crate::boot::ENDING[..], &OTHER_SIGNALS].concat(),
        })?;
        let notifier = Notifier::from_env().unwrap_or_else(|error| {
            log.warning(error);
            Notifier::nobody()
        });
        let watchdog = Watchdog::from_env()
            .ok()
            .flatten()
            .map(|dog| (dog, Instant::now()));
        let backlog_due = release
            .resolved
            .is_on("enable_backlog_metric")
            .then(Instant::now);
        let is_daemon = release.resolved.is_on("daemon");
        let server = Self {
            start,
            interpreter,
            log,
            notifier,
            watchdog,
            doors,
            pid_file,
            releases: BTreeMap::from([(master.fleet().generation(), release)]),
            workers: BTreeMap::new(),
            complaint: None,
            reload: Reload::default(),
            upgrade: Upgrade::new(),
            is_daemon,
            counted_workers: 0,
            backlog_due,
            control,
            tally: Tally::new(),
            reasons: BTreeMap::new(),
            waiting: daemon,
            templates: 1,
        };
        Ok((server, master))
    }

    /// Serves until the end, after it has obeyed the signals that came before; the result is the exit status.
    pub fn run(mut self, mut master: Master, early: &[Signal]) -> u8 {
        self.show_title();
        for signal in early {
            self.handle(*signal, &mut master);
        }
        let outcome = match master.run(&mut self) {
            Ok(outcome) => outcome,
            Err(error) => {
                self.log
                    .error(format_args!("the master cannot go on: {error}"));
                return crate::boot::FAILURE;
            }
        };
        self.finish(outcome, &master)
    }

    fn finish(mut self, outcome: Outcome, master: &Master) -> u8 {
        let status = outcome.exit_code();
        let level = if status == 0 {
            crate::log::Level::Info
        } else {
            crate::log::Level::Error
        };
        self.log.line(level, "Shutting down: Master");
        if let Some(reason) = events::reason(outcome) {
            self.log.line(level, format_args!("Reason: {reason}"));
        }
        self.close_doors();
        self.run_last_hook(master);
        drop(self.pid_file.take());
        if let Some(waiting) = self.waiting.take() {
            waiting.release(status);
        }
        status
    }

    /// Names this process as the newest release wants it.
    fn show_title(&self) {
        let mark = match self.upgrade.predecessor() {
            Some(_) => crate::boot::SUCCESSOR_SUFFIX,
            None => "",
        };
        let newest = self.releases.values().next_back();
        let title = newest.and_then(|release| release.title(mark));
        if let Some(Err(error)) = title.map(|title| supervisor::title::set_title(&title)) {
            let words = format_args!("the master has no title (proc_name): {error}");
            self.log.line(crate::log::Level::Debug, words);
        }
    }

    /// `on_exit`, in the newest template that is left.
    fn run_last_hook(&mut self, master: &Master) {
        let generation = master.fleet().generation();
        let Some(release) = self.releases.get_mut(&generation) else {
            return;
        };
        let Ok(mut signals) = Signals::listen(&[Signal::ALARM]) else {
            return;
        };
        let order = ToTemplate::Hook(Hook::OnExit);
        if let Err(crate::template::Broken::Failed(failure)) =
            release.template.ask_within(&order, &mut signals, LAST_HOOK)
        {
            self.log.error(crate::boot::words(&failure));
        }
    }

    /// Nobody is to be let in any more.
    fn close_doors(&mut self) {
        self.doors.close();
        for release in self.releases.values_mut() {
            release.close_doors();
        }
    }

    /// The listening sockets.
    pub(crate) fn listening(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.doors.fds()
    }

    /// Address, kind and descriptor of each.
    pub(crate) fn listener_names(&self) -> Vec<(String, &'static str, i32)> {
        let newest = self.releases.values().next_back();
        let tls = newest.is_some_and(|release| release.resolved.is_encrypted());
        self.doors.described(tls)
    }

    /// The settings of the current release, by name.
    pub(crate) fn settings_in_force(
        &self,
        master: &Master,
    ) -> Option<&serde_json::Map<String, serde_json::Value>> {
        let release = self.releases.get(&master.fleet().generation())?;
        Some(&release.resolved.settings.0)
    }

    /// The current release.
    fn current(&mut self, master: &Master) -> Option<&mut Release> {
        self.releases.get_mut(&master.fleet().generation())
    }

    fn tell(&self, told: Result<(), supervisor::socket_activation::NotifyError>) {
        if let Err(error) = told {
            self.log.warning(error);
        }
    }
}

impl Program for Server {
    type Order = ToWorker;
    type Report = FromWorker;

    fn spawn(
        &mut self,
        order: SpawnOrder,
        master: &mut Master,
    ) -> Result<Spawned, Box<dyn std::error::Error>> {
        self.workers.insert(order.worker, order.generation);
        let release = self
            .releases
            .get_mut(&order.generation)
            .ok_or("its release is gone")?;
        if release.fork(order.worker, &order.kit) {
            return Ok(Spawned::Later);
        }
        let gone = release.template.is_closed();
        if gone {
            self.replace_template(master);
            return Err("the template is gone; a new one is started".into());
        }
        Err("the template does not listen".into())
    }

    fn on_signal(&mut self, signal: Signal, master: &mut Master) {
        self.handle(signal, master);
    }

    fn on_report(
        &mut self,
        worker: WorkerId,
        report: FromWorker,
        _: Vec<OwnedFd>,
        master: &mut Master,
    ) {
        match report {
            FromWorker::Failed { message, .. } => {
                self.complaint = Some((worker, message));
            }
            FromWorker::Retires { why } => self.ending_for(worker, why.into()),
            FromWorker::Changed { file } => {
                self.log.info(format_args!("Reloading: {file} changed"));
                if master.fleet().stopping().is_none() {
                    self.files_changed();
                }
            }
        }
    }

    fn on_event(&mut self, event: &Event, master: &mut Master) {
        self.hear(event, master);
        self.count_workers(master);
    }

    fn on_disband(&mut self, generation: Generation, _: &mut Master) {
        if let Some(release) = self.releases.remove(&generation) {
            release.template.dismiss();
        }
    }

    fn on_child(&mut self, pid: Pid, exit: Exit, master: &mut Master) {
        if self.upgrade_ended(pid, exit) {
            return;
        }
        self.template_ended(pid, exit, master);
    }

    fn sources(&self) -> Vec<(u64, BorrowedFd<'_>)> {
        let predecessor = self
            .upgrade
            .predecessor()
            .map(|it| (PREDECESSOR, it.as_fd()));
        let templates = self
            .releases
            .values()
            .map(|release| &release.template)
            .chain(self.reload.templates())
            .filter(|template| !template.is_closed())
            .map(|template| (template.number, template.as_fd()));
        let side = self.control.sources();
        predecessor
            .into_iter()
            .chain(templates)
            .chain(side)
            .collect()
    }

    fn on_source(&mut self, number: u64, master: &mut Master) {
        match number {
            PREDECESSOR => self.predecessor_ended(),
            number if number >= control::SOURCES => self.on_control(number, master),
            number => self.listen_to_template(number, master),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let watchdog = self.watchdog.as_ref().map(|(_, due)| *due);
        let reload = self.reload.deadline();
        watchdog
            .into_iter()
            .chain(self.backlog_due)
            .chain(reload)
            .min()
    }

    fn on_deadline(&mut self, now: Instant, _: &mut Master) {
        if let Some(due) = self.backlog_due.filter(|due| *due <= now) {
            self.backlog_due = Some(due.max(now) + BACKLOG_EVERY);
            self.count_backlog();
        }
        if self.reload.deadline().is_some_and(|due| due <= now) {
            self.reload_again();
        }
        if let Some((dog, due)) = &mut self.watchdog
            && *due <= now
        {
            *due = now + dog.period();
            let told = self.notifier.watchdog();
            self.tell(told);
        }
    }

    fn end(&mut self, worker: WorkerId, ending: Ending, master: &mut Master) {
        master.order_end(worker, ending);
        if ending != Ending::Graceful {
            // An order waits until the application returns; a signal does not.
            master.signal_worker(worker, Signal::QUIT);
        }
    }
}

/// The predecessor of this process, where it is an upgrade.
fn predecessor() -> Option<Predecessor> {
    Predecessor::from_env()
}

/// A death without a process.
fn not_a_process(death: Death) -> bool {
    !matches!(death, Death::Exited(_))
}
