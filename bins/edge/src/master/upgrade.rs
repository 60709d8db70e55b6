//! USR2: another binary takes over, with the same sockets. As in nginx, both serve until the old one is told QUIT; the old one's
//! pid file is called `.oldbin` meanwhile, and gets its name back when the new one ends first.

use std::error::Error;

use proxy_core::engine::logs::Level;
use supervisor::{Exit, Pid};

use super::Edge;

/// The name of every socket on its way; they are told apart by their addresses.
const SOCKET_NAME: &str = "listen";

impl Edge {
    /// Starts the file that this program was started from, whatever it is by now.
    pub(super) fn upgrade(&mut self) {
        if let Some(pid) = self.successor {
            return self.log(
                Level::Error,
                format_args!(
                    "the new binary runs already as process {}; end one of the two first",
                    pid.as_raw_pid()
                ),
            );
        }
        if let Some(old) = &self.predecessor {
            return self.log(
                Level::Error,
                format_args!(
                    "the old binary still runs as process {}; end one of the two first",
                    old.pid().as_raw_pid()
                ),
            );
        }
        let path = self.blueprint.process.pid.clone();
        let beside = supervisor::pidfile::with_suffix(&path, ".oldbin");
        if let Err(error) = self.pid_file.rename(&beside) {
            return self.log(Level::Alert, format_args!("no upgrade: {error}"));
        }
        match self.start_successor() {
            Ok(pid) => {
                self.listening.listeners().give_files_away();
                self.successor = Some(pid);
                self.log(
                    Level::Notice,
                    format_args!("start new binary process {}", pid.as_raw_pid()),
                );
            }
            Err(error) => {
                self.log(
                    Level::Alert,
                    format_args!("the new binary can't be started: {error}"),
                );
                self.restore_pid_file();
            }
        }
    }

    fn start_successor(&mut self) -> Result<Pid, Box<dyn Error>> {
        // The watchdog's period holds for whoever is the main process; the variable names this one.
        let mut successor = self.launch.successor().env_remove("WATCHDOG_PID");
        for listener in self.listening.listeners().iter() {
            for socket in listener.fds() {
                successor = successor.socket(SOCKET_NAME, socket)?;
            }
        }
        Ok(Pid::from_child(&successor.spawn()?))
    }

    /// The new binary has ended first: this one is the server again.
    pub(super) fn take_back(&mut self, exit: Exit) {
        self.successor = None;
        self.log(
            Level::Alert,
            format_args!("the new binary {exit}; this one serves on"),
        );
        self.listening.listeners().take_files_back();
        self.restore_pid_file();
    }

    /// The old binary has ended: what it left is ours.
    pub(super) fn predecessor_is_gone(&mut self) {
        if let Some(old) = self.predecessor.take() {
            self.log(
                Level::Notice,
                format_args!(
                    "the old binary (process {}) has ended",
                    old.pid().as_raw_pid()
                ),
            );
            self.listening.listeners().adopt_files(|_| true);
        }
    }

    fn restore_pid_file(&mut self) {
        if let Err(error) = self.pid_file.rename(self.blueprint.process.pid.clone()) {
            self.log(Level::Alert, format_args!("{error}"));
        }
    }
}
