//! What signals mean to the master.

use appserver_protocol::{Hook, ToTemplate, ToWorker};
use supervisor::{Ending, Master, Signal};

use super::Server;
use crate::boot::make_logs;
use crate::template::Asked;

impl Server {
    pub(crate) fn handle(&mut self, signal: Signal, master: &mut Master) {
        self.log
            .info(format_args!("Handling signal: {}", name(signal)));
        match signal {
            // Whoever ends begins nothing any more.
            Signal::HUP | Signal::TTIN | Signal::TTOU | Signal::USR2 | Signal::WINCH
                if master.fleet().stopping().is_some() =>
            {
                self.log.debug("ignored: the server is about to end");
            }
            Signal::HUP => {
                self.log.info("Hang up: Master");
                self.log.reopen();
                self.begin_reload();
            }
            Signal::TTIN => self.resize(master, master.fleet().target() + 1),
            Signal::TTOU if master.fleet().target() > 1 => {
                self.resize(master, master.fleet().target() - 1);
            }
            Signal::TTOU => {}
            Signal::USR1 => self.reopen_logs(master),
            Signal::USR2 => self.begin_upgrade(master),
            Signal::WINCH if self.is_daemon => {
                self.log.info("graceful stop of workers");
                master.scale(0);
            }
            Signal::WINCH => self.log.debug("SIGWINCH ignored. Not daemonized"),
            signal => self.stop(signal, master),
        }
    }

    /// TERM drains, INT and QUIT do not wait, and have to be told twice to those who don't hear. More than one TERM comes from
    /// supervisors that send it to a whole group, or to a server that ends already: it takes nothing from the requests that run.
    fn stop(&mut self, signal: Signal, master: &mut Master) {
        let patient = signal == Signal::TERM;
        let ending = match master.fleet().stopping() {
            None if patient => Ending::Graceful,
            Some(_) if patient => return,
            None | Some(Ending::Graceful) => Ending::Quick,
            Some(_) => Ending::Kill,
        };
        let first = master.fleet().stopping().is_none();
        if first {
            // With the sockets, which are still here.
            self.finish_upgrade();
            let told = self.notifier.stopping();
            self.tell(told);
            self.hand_on_main_pid();
            self.reload.abandon();
            self.close_doors();
        }
        master.stop(ending);
    }

    pub(crate) fn resize(&mut self, master: &mut Master, workers: usize) {
        let before = master.fleet().target();
        master.scale(workers);
        let hook = Hook::NworkersChanged {
            new: workers as u32,
            old: Some(before as u32),
        };
        if let Some(release) = self.current(master) {
            release.template.order(
                &ToTemplate::Hook(hook),
                Asked::Hook("nworkers_changed"),
                &[],
            );
        }
    }

    fn reopen_logs(&mut self, master: &mut Master) {
        // Made by root, they would be closed to workers of another user.
        if let Some(Err(why)) = self
            .current(master)
            .map(|release| make_logs(&release.resolved))
        {
            self.log.error(why);
        }
        self.log.reopen();
        for release in self.releases.values_mut() {
            release
                .template
                .order(&ToTemplate::ReopenLogs, Asked::Hook("logs"), &[]);
        }
        let workers: Vec<_> = master.workers().map(|worker| worker.id).collect();
        for worker in workers {
            // A worker that is gone opens nothing.
            let _ = master.send(worker, &ToWorker::ReopenLogs, &[]);
        }
    }
}

/// gunicorn's name of a signal.
fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::TERM => "term",
        Signal::INT => "int",
        Signal::QUIT => "quit",
        Signal::HUP => "hup",
        Signal::TTIN => "ttin",
        Signal::TTOU => "ttou",
        Signal::USR1 => "usr1",
        Signal::USR2 => "usr2",
        Signal::WINCH => "winch",
        _ => "unknown",
    }
}
