//! Carrying out what the fleet wants, and telling it what happened.

use std::io;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{Event, Master, Program, SpawnOrder, Spawned};
use crate::channel::ChannelError;
use crate::fleet::{Action, Generation, WorkerId};
use crate::link::Report;
use crate::reap::reap;
use crate::{Death, Exit, Lane, Notice, Stuck};

/// Most ends of processes remembered that nobody has claimed yet.
const UNCLAIMED_MAX: usize = 256;

impl Master {
    pub(super) fn carry_out<P: Program>(&mut self, program: &mut P) {
        loop {
            for event in std::mem::take(&mut self.events) {
                program.on_event(&event, self);
            }
            let Some(action) = self.fleet.next_action() else {
                if self.events.is_empty() {
                    return;
                }
                continue;
            };
            match action {
                Action::Spawn {
                    worker,
                    generation,
                    seat,
                } => {
                    self.spawn(worker, generation, seat, program);
                }
                Action::Cancel { worker } => {
                    self.members.remove(worker);
                    program.cancel(worker, self);
                }
                Action::End { worker, ending } => {
                    let pid = self.pid(worker);
                    self.events.push(Event::Told {
                        worker,
                        pid,
                        ending,
                    });
                    program.end(worker, ending, self);
                }
                Action::Abort { worker, stuck } => self.abort(worker, stuck),
                Action::Kill { worker, reason } => {
                    let pid = self.pid(worker);
                    if let Some(member) = self.members.get_mut(worker) {
                        member.killed = true;
                    }
                    self.events.push(Event::Killed {
                        worker,
                        pid,
                        reason,
                    });
                    self.signal(worker, Signal::KILL);
                }
                Action::Disband { generation } => program.on_disband(generation, self),
                Action::Tell(Notice::Gone {
                    worker,
                    death,
                    was_ready,
                    expected,
                    respawn_in,
                    ..
                }) => {
                    let gone = self.members.remove(worker);
                    let by_us = gone.as_ref().is_some_and(|member| member.killed);
                    let out_of_memory = match death {
                        Death::Exited(exit) if !by_us => self.was_out_of_memory(exit),
                        _ => false,
                    };
                    let pid = gone.as_ref().and_then(|member| member.pid);
                    self.events.push(Event::Gone {
                        worker,
                        pid,
                        death,
                        was_ready,
                        expected,
                        respawn_in,
                        out_of_memory,
                        board: gone.map(|member| member.board),
                    });
                }
                Action::Tell(notice) => self.events.push(Event::Fleet(notice)),
                Action::Stopped(outcome) => self.outcome = Some(outcome),
            }
        }
    }

    fn spawn<P: Program>(
        &mut self,
        worker: WorkerId,
        generation: Generation,
        seat: u32,
        program: &mut P,
    ) {
        let kit = match self.members.admit(worker, generation, seat, self.lanes) {
            Ok(kit) => kit,
            Err(error) => return self.spawn_failed(worker, error.to_string()),
        };
        match program.spawn(
            SpawnOrder {
                worker,
                generation,
                seat,
                kit,
            },
            self,
        ) {
            Ok(Spawned::Now(pid)) => self.started(worker, pid),
            Ok(Spawned::Later) => {}
            Err(error) => self.spawn_failed(worker, error.to_string()),
        }
    }

    fn abort(&mut self, worker: WorkerId, stuck: Stuck) {
        let (Stuck::Busy { lane, .. } | Stuck::Quiet { lane, .. }) = stuck;
        let note = self
            .members
            .get(worker)
            .and_then(|member| member.board.lane(lane).note());
        let pid = self.pid(worker);
        self.events.push(Event::Stuck {
            worker,
            pid,
            stuck,
            note,
        });
        self.signal(worker, Signal::ABORT);
    }

    fn pid(&self, worker: WorkerId) -> Option<Pid> {
        self.members.get(worker).and_then(|member| member.pid)
    }

    /// Until its end is collected, the number of a child is not given to another process.
    pub(super) fn signal(&self, worker: WorkerId, signal: Signal) {
        if let Some(pid) = self.pid(worker) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Reads everything that a worker has said.
    pub(super) fn hear<P: Program>(&mut self, worker: WorkerId, program: &mut P) {
        loop {
            let Some(member) = self.members.get_mut(worker) else {
                return;
            };
            let pid = member.pid;
            match member.receive::<P::Report>() {
                Ok(None) => return,
                Ok(Some(received)) => match received.message {
                    Report::Ready => {
                        self.events.push(Event::Ready { worker, pid });
                        self.fleet.ready(worker, Instant::now());
                    }
                    Report::Leaving => {
                        self.events.push(Event::Leaving { worker, pid });
                        self.fleet.leaving(worker, Instant::now());
                    }
                    Report::Program(report) => {
                        program.on_report(worker, report, received.fds, self);
                    }
                },
                Err(ChannelError::Closed) => return,
                Err(error) => {
                    self.events.push(Event::Channel {
                        worker,
                        pid,
                        reason: error.to_string(),
                    });
                    if matches!(error, ChannelError::Io(_)) {
                        return;
                    }
                }
            }
        }
    }

    /// Collects children that ended. What a worker said last is heard before its end, and so is what the program's sources say
    /// before the end of a process that nobody knows yet: whoever forks workers tells of one before it lets it go on, so its
    /// number is there by now, though it was not when this turn's waiting ended.
    pub(super) fn collect<P: Program>(&mut self, program: &mut P) -> io::Result<()> {
        let mut unknown = Vec::new();
        for (pid, exit) in reap() {
            match self.members.with_pid(pid) {
                Some(worker) => self.bury(worker, exit, program),
                None => unknown.push((pid, exit)),
            }
        }
        if !unknown.is_empty() && self.members.awaits_pid() {
            self.unclaimed.splice(0..0, unknown.iter().copied());
            self.unclaimed.truncate(UNCLAIMED_MAX);
            for number in self.ready_sources(program)? {
                program.on_source(number, self);
            }
            unknown.retain(|gone| self.unclaimed.contains(gone));
        }
        for (pid, exit) in unknown {
            program.on_child(pid, exit, self);
        }
        if !self.members.awaits_pid() {
            self.unclaimed.clear();
        }
        Ok(())
    }

    fn bury<P: Program>(&mut self, worker: WorkerId, exit: Exit, program: &mut P) {
        self.hear(worker, program);
        self.fleet.exited(worker, exit, Instant::now());
    }

    /// Looks at the boards, as often as the policy wants.
    pub(super) fn look(&mut self) {
        let Some(tick) = self.fleet.policy().tick() else {
            return;
        };
        let now = Instant::now();
        if self.looked.is_some_and(|looked| now < looked + tick) {
            return;
        }
        self.looked = Some(now);
        self.oom.look(now);
        for (worker, member) in self.members.iter() {
            let lanes = member.board.lanes().iter().map(Lane::sample);
            self.fleet.observe(worker, lanes, now);
        }
    }
}
