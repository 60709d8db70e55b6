//! The worker's watch: it beats, listens to signals and to the master, and looks whether it is time to go.

use std::future::pending;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use appserver_protocol::{FromWorker, Retirement, ToWorker, exit};
use pyo3::prelude::*;
use supervisor::{Link, Order};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyMutGuard};
use tokio::time::{MissedTickBehavior, interval};
use wsgi_bridge::Hooks;

use super::Worker;
use super::place::Application;
use crate::retire::Due;
use crate::{logs, signals};

/// How often the heart beats.
const BEAT: Duration = Duration::from_secs(1);

/// How a worker was told to end.
pub(super) enum Ended {
    Gracefully,
    Quickly(i32),
}

impl Worker {
    /// Beats, and listens to signals and the master, until one of them ends the worker; a worker that drains already is ended only by
    /// one that is less patient.
    pub(super) async fn watch<A: Application>(
        &self,
        link: &mut Option<AsyncFd<Link>>,
        service: &A,
        draining: bool,
    ) -> std::io::Result<Ended> {
        let wakeup = wakeup()?;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leaving = draining;
        loop {
            match self.heed() {
                Some(Ended::Gracefully) if draining => {}
                Some(ended) => return Ok(ended),
                None => {}
            }
            tokio::select! {
                _ = beat.tick() => {
                    self.board.lane(0).beat();
                    service.beat();
                    self.peers.beat();
                    if let Some(link) = link {
                        self.look_around(link.get_ref(), &mut leaving);
                    }
                    if let Some(access) = &self.access {
                        access.flush();
                    }
                }
                ready = wakeup.readable() => {
                    signals::drain();
                    ready?.clear_ready();
                    if let (Some(link), true) = (&*link, signals::over()) {
                        self.look_around(link.get_ref(), &mut leaving);
                    }
                }
                ready = readable(link) => {
                    let mut ready = ready?;
                    let next = ready.get_inner_mut().try_next::<ToWorker>();
                    match next {
                        Ok(Some(received)) => self.obey(received.message),
                        Ok(None) => ready.clear_ready(),
                        Err(_) => {
                            *link = None;
                            self.hooks.log(wsgi_bridge::Level::Info, "The master is gone; ending.");
                            signals::ask(signals::GRACEFUL);
                        }
                    }
                }
            }
        }
    }

    /// With every beat: is it time to go, has the code changed?
    fn look_around(&self, link: &Link, leaving: &mut bool) {
        if let (false, Some(due)) = (*leaving, self.due()) {
            *leaving = true;
            self.hooks.log(wsgi_bridge::Level::Info, &due.words);
            let _ = link.report(FromWorker::Retires { why: due.why }, &[]);
            let _ = link.leaving();
            if due.why == Retirement::Hook {
                // Whoever sets `worker.alive` to false wants no more of this worker; connections wait for the successor.
                signals::ask(signals::GRACEFUL);
            }
        }
        if self.settings.reload {
            self.look_for_changes(link);
        }
    }

    fn due(&self) -> Option<Due> {
        let by_hook = signals::retiring().then(Due::by_hook);
        by_hook.or_else(|| self.limits.due(self.hooks.requests()))
    }

    fn obey(&self, order: Order<ToWorker>) {
        match order {
            Order::EndGracefully => signals::ask(signals::GRACEFUL),
            Order::EndQuickly => {
                signals::ask(signals::QUICK);
                Python::attach(|py| {
                    drop(self.python.bind(py).call_method0("interrupted"));
                });
            }
            Order::Program(ToWorker::ReopenLogs) => signals::ask(signals::REOPEN),
        }
    }

    /// Does what signals have asked for.
    fn heed(&self) -> Option<Ended> {
        // Lets Python run its handlers; those that end the worker raise SystemExit, which is of use in an application only.
        Python::attach(|py| drop(py.check_signals()));
        let asked = signals::asked();
        if asked & signals::REOPEN != 0 {
            self.reopen_logs();
        }
        if asked & signals::ABORTED != 0 {
            return Some(Ended::Quickly(exit::ABORTED));
        }
        if asked & signals::QUICK != 0 {
            return Some(Ended::Quickly(exit::NORMAL));
        }
        (asked & signals::GRACEFUL != 0).then_some(Ended::Gracefully)
    }

    fn reopen_logs(&self) {
        let mut outcomes = vec![logs::error().reopen()];
        if self.settings.capture_output {
            outcomes.push(logs::error().capture_output());
        }
        outcomes.extend(self.access.iter().map(|access| access.reopen()));
        for error in outcomes.into_iter().filter_map(Result::err) {
            self.hooks
                .log(wsgi_bridge::Level::Error, &error.to_string());
        }
        Python::attach(|py| {
            drop(self.python.bind(py).call_method0("reopen_files"));
            drop(self.python.bind(py).call_method0("dump_stacks"));
        });
    }

    /// Tells the master of a file that changed. Goes on looking: the new code may not load, and be changed again.
    fn look_for_changes(&self, link: &Link) {
        let file: Option<String> = Python::attach(|py| {
            let changed = self.python.bind(py).call_method0("changed_file");
            changed.and_then(|file| file.extract()).unwrap_or_default()
        });
        if let Some(file) = file {
            // Without a master the worker ends anyway.
            let _ = link.report(FromWorker::Changed { file }, &[]);
        }
    }
}

/// Waits for a word of the master; for ever where there is none any more.
async fn readable(
    link: &mut Option<AsyncFd<Link>>,
) -> std::io::Result<AsyncFdReadyMutGuard<'_, Link>> {
    match link {
        Some(link) => link.readable_mut().await,
        None => pending().await,
    }
}

fn wakeup() -> std::io::Result<AsyncFd<OwnedFd>> {
    register(signals::wakeup()?.0.try_clone()?)
}

/// Registers a descriptor with the runtime.
pub(super) fn register<T: AsRawFd>(owner: T) -> std::io::Result<AsyncFd<T>> {
    // SAFETY: both kinds of owner that are registered here (a link, a descriptor) hold one descriptor, which they neither change nor
    // close before they are dropped.
    unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) }
        .map_err(std::io::Error::from)
}
