//! USR2: a new binary beside this one, with the same sockets; and being that new binary.

use appserver_protocol::{Hook, ToTemplate};
use supervisor::{Exit, Master, Pid, Predecessor};

use super::Server;
use crate::boot::SUCCESSOR_SUFFIX;
use crate::template::Asked;

/// Both sides of an upgrade.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// The new binary that this process started.
    successor: Option<Pid>,
    /// The hook before it runs.
    asked: bool,
    /// The old one that started this process.
    predecessor: Option<Predecessor>,
}

impl Upgrade {
    pub fn new() -> Self {
        Self {
            successor: None,
            asked: false,
            predecessor: super::predecessor(),
        }
    }

    pub fn predecessor(&self) -> Option<&Predecessor> {
        self.predecessor.as_ref()
    }
}

impl Server {
    pub(super) fn begin_upgrade(&mut self, master: &Master) {
        if self.upgrade.successor.is_some() || self.upgrade.asked {
            return self.log.warning("USR2 signal ignored. Child exists.");
        }
        if self.upgrade.predecessor.is_some() {
            return self.log.warning("USR2 signal ignored. Parent exists.");
        }
        let hook = ToTemplate::Hook(Hook::PreExec);
        let asked = self
            .current(master)
            .is_some_and(|release| release.template.order(&hook, Asked::PreExec, &[]));
        if asked {
            self.upgrade.asked = true;
        } else {
            self.start_successor();
        }
    }

    /// The hook before an upgrade is done, or cannot be waited for. Not a second time.
    pub(super) fn finish_upgrade(&mut self) {
        if self.upgrade.asked {
            self.start_successor();
        }
    }

    /// The hook before an upgrade does not want it.
    pub(super) fn forgo_upgrade(&mut self) {
        self.upgrade.asked = false;
    }

    fn start_successor(&mut self) {
        self.upgrade.asked = false;
        let next = self.start.launch.successor();
        let started = self
            .doors
            .hand_over(next)
            .and_then(|next| next.spawn().map_err(|error| error.to_string()));
        match started {
            Ok(child) => {
                self.log.info(format_args!(
                    "Upgrade: the new binary has process {}",
                    child.id()
                ));
                self.upgrade.successor = Some(Pid::from_child(&child));
                self.doors.give_files_away();
            }
            Err(why) => self.log.error(format_args!("Upgrade failed: {why}")),
        }
    }

    /// Was it the new binary that ended?
    pub(super) fn upgrade_ended(&mut self, pid: Pid, exit: Exit) -> bool {
        if self.upgrade.successor != Some(pid) {
            return false;
        }
        self.upgrade.successor = None;
        self.doors.take_files_back();
        let pid = pid.as_raw_pid();
        if exit.is_success() {
            // Somebody has ended it, to go back.
            self.log.warning(format_args!(
                "The new binary (pid:{pid}) has ended; this one serves on"
            ));
        } else {
            self.log.error(format_args!(
                "Upgrade failed, this binary serves on: the new one (pid:{pid}) {exit}"
            ));
        }
        true
    }

    /// The old binary is gone.
    pub(super) fn predecessor_ended(&mut self) {
        self.upgrade.predecessor = None;
        self.show_title();
        self.doors.adopt_files();
        if let Some(file) = &mut self.pid_file {
            let path = file.path().to_string_lossy().into_owned();
            if let Some(path) = path.strip_suffix(SUCCESSOR_SUFFIX)
                && let Err(error) = file.rename(path)
            {
                self.log.error(error);
            }
        }
        if let Some(release) = self.releases.values().next_back() {
            match crate::boot::open_control(&release.resolved, self.doors.given(), &self.log) {
                Ok(control) => self.control = control,
                Err(why) => self.log.error(why),
            }
        }
        let told = self.notifier.main_pid(std::process::id());
        self.tell(told);
        self.log.info("Master has been promoted.");
    }

    /// This process ends, the new binary is the service from now on.
    pub(super) fn hand_on_main_pid(&mut self) {
        if let Some(successor) = self.upgrade.successor {
            let told = self
                .notifier
                .main_pid(successor.as_raw_pid().unsigned_abs());
            self.tell(told);
        }
    }
}
