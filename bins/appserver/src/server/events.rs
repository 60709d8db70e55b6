//! What is said about workers, in gunicorn's words where it has some.

use std::time::Duration;

use appserver_protocol::{ToTemplate, exit};
use supervisor::exit::signal_name;
use supervisor::{
    Death, Event, Exit, Generation, Level as EventLevel, Master, Notice, Outcome, Pid, Signal,
    Stuck, WorkerId, WorkerInfo,
};

use super::{Server, not_a_process};
use crate::control::{self, Reason};
use crate::log::Level;
use crate::template::Asked;

/// What is added to an end that the kernel's OOM killer brought.
pub(super) const OUT_OF_MEMORY: &str = " Out of memory: the kernel's OOM killer ended it (oom_kill of this cgroup has risen); allow more \
     memory (systemd: MemoryMax=), run fewer workers, or replace them in time (--worker-max-rss).";

impl Server {
    /// Counts what metrics and the control socket tell.
    fn tally(&mut self, event: &Event) {
        match event {
            Event::Spawned { .. } => self.tally.spawned += 1,
            Event::Stuck { worker, .. } => self.ending_for(*worker, Reason::Timeout),
            Event::Fleet(Notice::Reloaded { .. }) => self.tally.reloads += 1,
            Event::Gone {
                worker,
                death,
                was_ready,
                expected,
                out_of_memory,
                board,
                ..
            } => {
                board.iter().for_each(|board| self.tally.before.add(board));
                let known = self.reasons.remove(worker);
                let reason = match death {
                    _ if *out_of_memory => Reason::OutOfMemory,
                    _ if known.is_some() => known.unwrap_or(Reason::Exit),
                    _ if *expected => Reason::Asked,
                    _ if !was_ready => Reason::Boot,
                    Death::Exited(Exit::Signal { .. }) => Reason::Signal,
                    _ => Reason::Exit,
                };
                self.tally.bury(reason);
            }
            _ => {}
        }
    }

    pub(crate) fn ending_for(&mut self, worker: WorkerId, reason: Reason) {
        self.reasons.insert(worker, reason);
    }

    pub(super) fn hear(&mut self, event: &Event, master: &mut Master) {
        self.tally(event);
        match event {
            Event::Stuck {
                pid, stuck, note, ..
            } => {
                let note = note.as_deref();
                self.log
                    .line(Level::Critical, stuck_words(*pid, *stuck, note));
            }
            Event::Gone {
                worker,
                pid,
                death,
                was_ready,
                expected,
                respawn_in,
                out_of_memory,
                ..
            } => {
                self.buried(*worker, *pid);
                if !expected || not_a_process(*death) {
                    let complaint = self.complaint(*worker);
                    let words = gone_words(*pid, *death, *out_of_memory);
                    self.log.line(gone_level(*death), words);
                    if let (false, Some(why)) = (was_ready, complaint) {
                        self.log.error(boot_words(&why, *respawn_in));
                    }
                }
            }
            Event::Fleet(Notice::Started { workers, .. }) => self.started(*workers),
            Event::Fleet(Notice::Reloading { generation }) => self.reloading(*generation, master),
            Event::Fleet(Notice::Reloaded {
                generation,
                workers,
            }) => self.reloaded(*generation, *workers),
            Event::Fleet(Notice::ReloadFailed { worker, death, .. }) => {
                let complaint = worker.and_then(|worker| self.complaint(worker));
                let why = complaint.unwrap_or_else(|| format!("a new worker {death}"));
                self.generation_failed(&why);
                self.restore_policy(master);
            }
            event => {
                let level = match event.level() {
                    EventLevel::Debug | EventLevel::Info => Level::Debug,
                    EventLevel::Warning => Level::Warning,
                    EventLevel::Error => Level::Error,
                };
                self.log.line(level, event);
            }
        }
    }

    /// Tells StatsD how many workers there are, when that has changed.
    pub(super) fn count_workers(&mut self, master: &Master) {
        let workers = master.workers().filter(WorkerInfo::is_serving).count();
        if let (Some(statsd), true) = (self.log.statsd(), workers != self.counted_workers) {
            statsd.gauge("gunicorn.workers", workers);
            statsd.flush();
            self.counted_workers = workers;
        }
    }

    /// Tells StatsD how many connections wait to be accepted.
    pub(super) fn count_backlog(&mut self) {
        let waiting = control::backlog(self.listening());
        if let (Some(statsd), Some(waiting)) = (self.log.statsd(), waiting) {
            statsd.histogram("gunicorn.backlog", waiting);
            statsd.flush();
        }
    }

    /// What a worker said when it could not boot.
    fn complaint(&self, worker: WorkerId) -> Option<String> {
        let (complained, words) = self.complaint.as_ref()?;
        (*complained == worker).then(|| words.clone())
    }

    /// Every worker answers for the first time.
    fn started(&mut self, workers: usize) {
        if let (Some(waiting), Some(release)) = (self.waiting.take(), self.releases.values().next())
        {
            crate::boot::let_go(waiting, 0, &release.resolved);
        }
        self.tell_ready(workers);
    }

    /// Tells the service manager.
    pub(super) fn tell_ready(&mut self, workers: usize) {
        let told = self
            .notifier
            .ready()
            .and_then(|()| self.notifier.status(&format!("{workers} workers serve")));
        self.tell(told);
    }

    /// The template learns of a worker's end.
    fn buried(&mut self, worker: WorkerId, pid: Option<Pid>) {
        let generation = self.workers.remove(&worker);
        let release = generation.and_then(|generation| self.releases.get_mut(&generation));
        if let (Some(release), Some(pid)) = (release, pid) {
            let order = ToTemplate::ChildExit {
                age: worker.0,
                pid: pid.as_raw_pid().unsigned_abs(),
            };
            release
                .template
                .order(&order, Asked::Hook("child_exit"), &[]);
        }
    }

    /// After a reload that failed, the limits of the release that serves on count again.
    fn restore_policy(&mut self, master: &mut Master) {
        let generation: Generation = master.fleet().generation();
        if let Some(release) = self.releases.get(&generation) {
            master.set_policy(release.policy());
            master.set_lanes(release.lanes());
        }
    }
}

/// Why the server ended by itself.
pub(super) fn reason(outcome: Outcome) -> Option<String> {
    let Outcome::GaveUp(death) = outcome else {
        return None;
    };
    Some(match death {
        Death::Exited(Exit::Code(exit::WORKER_BOOT)) => "Worker failed to boot.".to_owned(),
        Death::Exited(Exit::Code(exit::APP_LOAD)) => "App failed to load.".to_owned(),
        death => format!("no worker came up: the last one {death}"),
    })
}

fn number(pid: Option<Pid>) -> String {
    pid.map_or_else(|| "none".to_owned(), |pid| pid.as_raw_pid().to_string())
}

/// Somebody may have told a worker to go, which is no error.
fn gone_level(death: Death) -> Level {
    match death {
        Death::Exited(Exit::Code(0)) => Level::Info,
        Death::Exited(Exit::Signal { number, .. }) if number == Signal::TERM.as_raw() => {
            Level::Info
        }
        _ => Level::Error,
    }
}

fn gone_words(pid: Option<Pid>, death: Death, out_of_memory: bool) -> String {
    let pid = number(pid);
    match death {
        Death::Exited(Exit::Code(0)) => format!("Worker (pid:{pid}) ended by itself."),
        Death::Exited(Exit::Code(code)) => format!("Worker (pid:{pid}) exited with code {code}."),
        Death::Exited(exit @ Exit::Signal { number, .. }) => {
            let name =
                signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned);
            let hint = match (exit.was_killed(), out_of_memory) {
                (_, true) => OUT_OF_MEMORY,
                (true, false) => " Perhaps out of memory?",
                _ => "",
            };
            format!("Worker (pid:{pid}) was sent {name}!{hint}")
        }
        death => format!("A worker {death}."),
    }
}

fn boot_words(why: &str, respawn_in: Option<Duration>) -> String {
    let next = respawn_in.map(|pause| format!("; the next try is in {pause:?}"));
    format!("Worker failed to boot: {why}{}", next.unwrap_or_default())
}

fn stuck_words(pid: Option<Pid>, stuck: Stuck, note: Option<&str>) -> String {
    let pid = number(pid);
    match stuck {
        Stuck::Busy { waited, .. } => format!(
            "WORKER TIMEOUT (pid:{pid}): {} has been running for {} s (timeout); its stack follows, then the worker is replaced",
            note.unwrap_or("a request"),
            waited.as_secs()
        ),
        Stuck::Quiet { waited, .. } => {
            let last = note
                .map(|note| format!(", last request: {note}"))
                .unwrap_or_default();
            format!(
                "WORKER TIMEOUT (pid:{pid}): no sign of life for {} s{last}; its stack follows, then the worker is replaced",
                waited.as_secs()
            )
        }
        _ => format!("WORKER TIMEOUT (pid:{pid})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_told_in_gunicorns_words() {
        let pid = Pid::from_raw(7);
        let killed = Death::Exited(Exit::Signal {
            number: 9,
            core_dumped: false,
        });
        assert_eq!(
            gone_words(pid, killed, false),
            "Worker (pid:7) was sent SIGKILL! Perhaps out of memory?"
        );
        assert!(
            gone_words(pid, killed, true)
                .contains("SIGKILL! Out of memory: the kernel's OOM killer ended it")
        );
        assert_eq!(
            gone_words(pid, Death::Exited(Exit::Code(3)), false),
            "Worker (pid:7) exited with code 3."
        );
        assert_eq!(
            gone_words(None, Death::NotSpawned, false),
            "A worker could not be started."
        );
    }

    #[test]
    fn a_stuck_worker_is_told_with_its_request_and_the_time() {
        let stuck = Stuck::Busy {
            lane: 0,
            waited: Duration::from_secs(31),
        };
        let words = stuck_words(Pid::from_raw(7), stuck, Some("GET /report"));
        assert!(
            words.starts_with("WORKER TIMEOUT (pid:7): GET /report has been running for 31 s"),
            "{words}"
        );
    }

    #[test]
    fn the_reason_of_an_end_is_gunicorns() {
        let gave_up = |code| reason(Outcome::GaveUp(Death::Exited(Exit::Code(code))));
        assert_eq!(gave_up(3).as_deref(), Some("Worker failed to boot."));
        assert_eq!(gave_up(4).as_deref(), Some("App failed to load."));
        assert_eq!(reason(Outcome::Asked), None);
    }
}
