//! How a [`Fleet`] decides: what follows after every event.

use std::collections::BTreeSet;
use std::time::Instant;

use super::line::Line;
use super::{
    Action, Death, Ending, Fleet, Generation, KillReason, Notice, Outcome, Phase, Policy, Worker,
    WorkerId,
};
use crate::Exit;

impl Fleet {
    pub(super) fn tell(&mut self, notice: Notice) {
        self.actions.push_back(Action::Tell(notice));
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        std::iter::once(&self.current).chain(&self.next)
    }

    pub(super) fn line_of(&mut self, generation: Generation) -> Option<&mut Line> {
        std::iter::once(&mut self.current)
            .chain(&mut self.next)
            .find(|line| line.generation == generation)
    }

    /// After every event: fills seats, completes generations, disbands old ones, notices the end.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.stopping.is_none() {
            self.fill(now);
            self.complete(now);
        }
        self.disband();
        if let (Some((_, outcome)), true, false) =
            (self.stopping, self.workers.is_empty(), self.stopped)
        {
            self.stopped = true;
            self.actions.push_back(Action::Stopped(outcome));
        }
    }

    /// Orders a worker for each empty seat, and a successor for each worker that asked for one, if the time has come.
    fn fill(&mut self, now: Instant) {
        let leaving: BTreeSet<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.leaving && worker.phase == Phase::Serving)
            .map(|(id, _)| *id)
            .collect();
        let deadline = self.policy.ready_timeout.map(|timeout| now + timeout);
        for line in std::iter::once(&mut self.current).chain(&mut self.next) {
            for seat in &mut line.seats {
                seat.due = seat.due.filter(|due| *due > now);
                let place = match seat.worker {
                    None => &mut seat.worker,
                    Some(id) if leaving.contains(&id) => &mut seat.successor,
                    Some(_) => continue,
                };
                if place.is_some() || seat.due.is_some() {
                    continue;
                }
                self.last_worker += 1;
                let (worker, generation) = (WorkerId(self.last_worker), line.generation);
                *place = Some(worker);
                self.workers
                    .insert(worker, Worker::new(generation, deadline));
                let seat = seat.number;
                self.actions.push_back(Action::Spawn {
                    worker,
                    generation,
                    seat,
                });
            }
        }
    }

    /// Notices generations of which every seat is ready for the first time.
    fn complete(&mut self, now: Instant) {
        if !self.current.complete && self.started && self.serves(&self.current) {
            self.current.complete = true;
            let (generation, workers) = (self.current.generation, self.current.seats.len());
            self.tell(Notice::Started {
                generation,
                workers,
            });
        }
        if self.next.as_ref().is_some_and(|line| self.serves(line)) {
            self.commit(now);
        }
    }

    /// Does every seat have a worker that accepts requests?
    fn serves(&self, line: &Line) -> bool {
        line.seats.iter().all(|seat| {
            let worker = seat.worker.and_then(|id| self.workers.get(&id));
            worker.is_some_and(|worker| worker.phase == Phase::Serving)
        })
    }

    /// The new generation takes over.
    fn commit(&mut self, now: Instant) {
        let Some(mut line) = self.next.take() else {
            return;
        };
        line.complete = true;
        let (generation, workers) = (line.generation, line.seats.len());
        self.current = line;
        self.tell(Notice::Reloaded {
            generation,
            workers,
        });
        self.end_where(Ending::Graceful, now, |worker| {
            worker.generation != generation
        });
        self.next_reload(now);
    }

    fn next_reload(&mut self, now: Instant) {
        if let Some(workers) = self.reload_again.take() {
            self.reload_to(workers, now);
        }
    }

    /// A ready worker sits down for good; returns the one that it replaces.
    pub(super) fn promote(&mut self, generation: Generation, worker: WorkerId) -> Option<WorkerId> {
        let seat = self.line_of(generation)?.seat_of(worker)?;
        if seat.successor != Some(worker) {
            return None;
        }
        seat.successor = None;
        seat.worker.replace(worker)
    }

    /// A worker is gone: books its death on its seat and judges its generation.
    pub(super) fn lose(&mut self, id: WorkerId, death: Death, now: Instant) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        let was_good = worker
            .serving_since
            .is_some_and(|since| now.duration_since(since) >= self.policy.stable_after);
        let expected = worker.leaving || matches!(worker.phase, Phase::Ending(_) | Phase::Killed);
        let stopping = self.stopping.is_some();
        let policy = self.policy.clone();
        let mut failed = false;
        let mut respawn_in = None;
        if let Some(line) = self.line_of(worker.generation).filter(|_| !stopping) {
            let complete = line.complete;
            if let Some(seat) = line.seat_of(id) {
                seat.strikes = if was_good {
                    0
                } else {
                    seat.strikes.saturating_add(1)
                };
                let pause = policy.pause(seat.strikes);
                if seat.successor == Some(id) {
                    seat.successor = None;
                    // Its predecessor serves on, so there is no hurry.
                    seat.due = Some(now + pause.max(policy.backoff_first));
                } else {
                    seat.worker = seat.successor.take();
                    seat.due =
                        Some(now + pause).filter(|_| seat.worker.is_none() && !pause.is_zero());
                    respawn_in = seat.worker.is_none().then_some(pause);
                }
                failed = !complete && !was_good && policy.is_hopeless(death, seat.strikes);
            }
        }
        if failed {
            respawn_in = None;
        }
        let (generation, was_ready) = (worker.generation, worker.serving_since.is_some());
        self.tell(Notice::Gone {
            worker: id,
            generation,
            death,
            was_ready,
            expected,
            respawn_in,
        });
        if failed {
            self.fail(worker.generation, Some(id), death, now);
        }
    }

    /// A generation that was never complete cannot be brought up.
    pub(super) fn fail(
        &mut self,
        generation: Generation,
        worker: Option<WorkerId>,
        death: Death,
        now: Instant,
    ) {
        match self.next.take() {
            Some(next) if next.generation == generation => {
                self.target = self.current.seats.len();
                self.tell(Notice::ReloadFailed {
                    generation,
                    worker,
                    death,
                });
                self.end_where(Ending::Quick, now, |worker| worker.generation == generation);
                self.next_reload(now);
            }
            // The first generation fails, but its replacement is on the way.
            Some(next) => {
                self.current = next;
                self.end_where(Ending::Quick, now, |worker| worker.generation == generation);
                self.next_reload(now);
            }
            None => self.stop_with(Ending::Quick, Outcome::GaveUp(death), now),
        }
    }

    pub(super) fn stop_with(&mut self, ending: Ending, outcome: Outcome, now: Instant) {
        match &mut self.stopping {
            Some((before, _)) => *before = ending.max(*before),
            none => *none = Some((ending, outcome)),
        }
        self.next = None;
        self.reload_again = None;
        self.current.seats.clear();
        self.end_where(ending, now, |_| true);
        if ending == Ending::Graceful {
            self.shorten_retirement(now);
        }
        self.settle(now);
    }

    /// Who retires since before the stop has no longer than the others.
    fn shorten_retirement(&mut self, now: Instant) {
        let Some(timeout) = self.policy.graceful_timeout else {
            return;
        };
        for worker in self.workers.values_mut() {
            if worker.phase == Phase::Ending(Ending::Graceful) {
                let latest = now + timeout;
                worker.deadline = Some(worker.deadline.map_or(latest, |set| set.min(latest)));
            }
        }
    }

    fn end_where(&mut self, ending: Ending, now: Instant, which: impl Fn(&Worker) -> bool) {
        let ids: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| which(worker))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.end(id, ending, now);
        }
    }

    /// Tells one worker to go, if it was not told as clearly before.
    pub(super) fn end(&mut self, id: WorkerId, ending: Ending, now: Instant) {
        let graceful = match self.stopping {
            Some(_) => self.policy.graceful_timeout,
            None => self.policy.retire_timeout,
        };
        let quick = self.policy.quick_timeout;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let ending = match (worker.phase, ending) {
            (Phase::Spawning, _) => {
                self.workers.remove(&id);
                return self.cancel(id);
            }
            (Phase::Killed, _) => return,
            (_, Ending::Kill) => return self.kill(id, KillReason::Asked),
            (Phase::Aborted, _) => return,
            (Phase::Ending(told), ending) if told >= ending => return,
            // It has no requests to finish.
            (Phase::Booting, Ending::Graceful) => Ending::Quick,
            (_, ending) => ending,
        };
        worker.phase = Phase::Ending(ending);
        worker.deadline = match ending {
            Ending::Graceful => graceful.map(|timeout| now + timeout),
            _ => Some(now + quick),
        };
        self.actions.push_back(Action::End { worker: id, ending });
    }

    /// Takes an order to spawn back, or has it undone when it is out already.
    pub(super) fn cancel(&mut self, id: WorkerId) {
        let before = self.actions.len();
        self.actions
            .retain(|action| !matches!(action, Action::Spawn { worker, .. } if *worker == id));
        if self.actions.len() == before {
            self.actions.push_back(Action::Cancel { worker: id });
        }
    }

    pub(super) fn kill(&mut self, worker: WorkerId, reason: KillReason) {
        if let Some(known) = self.workers.get_mut(&worker) {
            known.phase = Phase::Killed;
            known.deadline = None;
            self.actions.push_back(Action::Kill { worker, reason });
        }
    }

    /// Lets go of generations that are over.
    fn disband(&mut self) {
        let needed: BTreeSet<_> = self
            .workers
            .values()
            .map(|worker| worker.generation)
            .chain(self.lines().map(|line| line.generation))
            .collect();
        for generation in self.generations.difference(&needed) {
            self.actions.push_back(Action::Disband {
                generation: *generation,
            });
        }
        self.generations
            .retain(|generation| needed.contains(generation));
    }
}

impl Policy {
    /// Does this death mean that a generation that was never complete will not be?
    fn is_hopeless(&self, death: Death, strikes: u32) -> bool {
        let fatal =
            matches!(death, Death::Exited(Exit::Code(code)) if self.fatal_codes.contains(&code));
        fatal
            || self
                .boot_attempts
                .is_some_and(|attempts| strikes >= attempts)
    }
}
