//! HUP and USR1: a new configuration, new log files, under a worker that serves on.

use proxy_core::engine::logs::Level;
use socket_activation::Message;
use supervisor::{Master, Pid, WorkerId};

use super::Edge;
use crate::orders::{Order, Rights};
use crate::start;

impl Edge {
    /// Reads the configuration afresh and hands it to the worker. A fault leaves everything as it is.
    pub(super) fn reload(&mut self, master: &mut Master) {
        self.log(Level::Notice, format_args!("reconfiguring"));
        self.note(self.manager.reloading());
        if master.fleet().stopping().is_some() {
            return;
        }
        match self.take_new(master) {
            Ok(()) => {}
            Err(words) => {
                if !words.is_empty() {
                    self.log(Level::Emerg, format_args!("{words}"));
                }
                self.log(
                    Level::Error,
                    format_args!("the new configuration is not used; the old one serves on"),
                );
                let words = "the last reload failed (see the error log); the configuration before it is served";
                self.note(self.manager.send(&Message::new().ready().status(words)));
            }
        }
    }

    /// # Errors
    /// Why there is no new configuration; empty when all has been said.
    fn take_new(&mut self, master: &mut Master) -> Result<(), String> {
        let errors = self.blueprint.errors.clone();
        let (blueprint, opened) = start::read_anew(
            &self.origin,
            &self.features,
            &errors,
            &mut self.listening,
            // That of a daemon is its log.
            !self.daemon,
        )
        .ok_or_else(String::new)?;
        let rights = Rights::of(&blueprint.process)?;
        if blueprint.process.pid != self.blueprint.process.pid {
            let renamed = self.pid_file.rename(&blueprint.process.pid);
            renamed.map_err(|error| error.to_string())?;
        }
        self.listening.commit(opened);
        self.blueprint = blueprint;
        self.redirect_if_served();
        master.set_policy(super::policy(&self.blueprint));
        let other_process = rights != self.rights;
        self.rights = rights;
        if master.fleet().target() == 0 {
            // After WINCH there is no worker.
            master.scale(1);
        } else if other_process {
            // What a process can't change about itself.
            master.reload();
        } else {
            self.hand_to_workers(master);
        }
        Ok(())
    }

    fn redirect_if_served(&self) {
        if self.served {
            self.redirect_stderr();
        }
    }

    /// A worker that is only being started gets it, too: its first order may be older. One that is to come begins with it.
    fn hand_to_workers(&mut self, master: &mut Master) {
        for worker in workers(master) {
            match self.send(worker, Order::Reload, master) {
                Ok(serial) => self.reloading = Some(serial),
                Err(error) => self.log(
                    Level::Alert,
                    format_args!("the configuration can't be handed to the worker: {error}"),
                ),
            }
        }
    }

    /// A worker serves what it was handed.
    pub(super) fn reloaded(&mut self, serial: u64) {
        self.log(
            Level::Notice,
            format_args!("the new configuration is served"),
        );
        if self.reloading.is_some_and(|awaited| awaited <= serial) {
            self.reloading = None;
            self.tell_manager();
        }
    }

    /// A worker can't serve what it was handed. The master could read it, so this is rare: limits of the system, mostly.
    pub(super) fn refused(&mut self, serial: u64, words: &str, pid: Option<Pid>) {
        let pid = pid.map_or(0, Pid::as_raw_pid);
        for line in words.lines() {
            self.say(
                Level::Emerg,
                &format!("worker process {pid} can't serve the configuration: {line}"),
            );
        }
        if self.reloading.is_some_and(|awaited| awaited <= serial) {
            self.reloading = None;
            self.note(self.manager.ready());
        }
    }

    /// Opens the logs anew and hands them to the worker.
    pub(super) fn reopen(&mut self, master: &mut Master) {
        self.log(Level::Notice, format_args!("reopening logs"));
        let reopened = self.blueprint.logs.reopen(self.rights.owner());
        for words in reopened.err().into_iter().flatten() {
            self.log(Level::Emerg, format_args!("{words}"));
        }
        self.redirect_if_served();
        for worker in workers(master) {
            if let Err(error) = self.send(worker, Order::Reopen, master) {
                self.log(
                    Level::Alert,
                    format_args!("the logs can't be handed to the worker: {error}"),
                );
            }
        }
    }
}

fn workers(master: &Master) -> Vec<WorkerId> {
    master.workers().map(|worker| worker.id).collect()
}
