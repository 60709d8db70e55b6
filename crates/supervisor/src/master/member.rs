//! The workers as the engine knows them: process, channel, board.

use std::collections::{BTreeMap, VecDeque};

use rustix::process::Pid;
use serde::de::DeserializeOwned;

use super::AdmitError;
use crate::board::Board;
use crate::channel::{Channel, ChannelError, Packet, Received};
use crate::fleet::{Generation, Phase, WorkerId};
use crate::link::{Kit, Report};

/// Most orders that wait for a worker that does not read; then it cannot be spoken to any more.
const OUTBOX_MAX: usize = 1024;

/// What is known about a worker.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WorkerInfo<'a> {
    /// Its identity.
    pub id: WorkerId,
    /// Its process, when it has one.
    pub pid: Option<Pid>,
    /// Its generation.
    pub generation: Generation,
    /// Its place, from 0.
    pub seat: u32,
    /// Where it stands.
    pub phase: Phase,
    /// Its numbers.
    pub board: &'a Board,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) pid: Option<Pid>,
    pub(super) generation: Generation,
    pub(super) seat: u32,
    pub(super) channel: Channel,
    pub(super) board: Board,
    /// By its master.
    pub(super) killed: bool,
    outbox: VecDeque<Packet>,
    closed: bool,
}

impl Member {
    /// Sends now, or queues behind what waits already.
    pub(super) fn send(&mut self, packet: Packet) -> Result<(), ChannelError> {
        if self.closed || self.outbox.len() >= OUTBOX_MAX {
            return Err(ChannelError::Closed);
        }
        self.outbox.push_back(packet);
        self.flush()
    }

    /// Sends as much of what waits as there is room for.
    pub(super) fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some(packet) = self.outbox.front() {
            match self.channel.try_send_packet(packet) {
                Ok(true) => drop(self.outbox.pop_front()),
                Ok(false) => return Ok(()),
                Err(error) => {
                    self.outbox.clear();
                    self.closed = true;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    pub(super) fn receive<R: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<Received<Report<R>>>, ChannelError> {
        let received = self.channel.try_receive();
        if matches!(received, Err(ChannelError::Closed | ChannelError::Io(_))) {
            self.closed = true;
        }
        received
    }

    /// Is it worth waiting for this channel, and also for room in it?
    pub(super) fn interest(&self) -> Option<bool> {
        (!self.closed).then_some(!self.outbox.is_empty())
    }

    pub(super) fn info(&self, id: WorkerId, phase: Option<Phase>) -> WorkerInfo<'_> {
        WorkerInfo {
            id,
            pid: self.pid,
            generation: self.generation,
            seat: self.seat,
            phase: phase.unwrap_or(Phase::Killed),
            board: &self.board,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Members {
    members: BTreeMap<WorkerId, Member>,
}

impl Members {
    /// Prepares for a worker and returns what it will need.
    pub(super) fn admit(
        &mut self,
        worker: WorkerId,
        generation: Generation,
        seat: u32,
        lanes: usize,
    ) -> Result<Kit, AdmitError> {
        let (channel, theirs) = Channel::pair()?;
        let (board, fd) = Board::create(lanes)?;
        let (outbox, closed) = (VecDeque::new(), false);
        let member = Member {
            pid: None,
            generation,
            seat,
            channel,
            board,
            killed: false,
            outbox,
            closed,
        };
        self.members.insert(worker, member);
        Ok(Kit {
            channel: theirs,
            board: fd,
        })
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&Member> {
        self.members.get(&worker)
    }

    pub(super) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Member> {
        self.members.get_mut(&worker)
    }

    pub(super) fn remove(&mut self, worker: WorkerId) -> Option<Member> {
        self.members.remove(&worker)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    pub(super) fn with_pid(&self, pid: Pid) -> Option<WorkerId> {
        self.iter()
            .find(|(_, member)| member.pid == Some(pid))
            .map(|(id, _)| id)
    }

    /// Is there a worker whose process is still to be reported?
    pub(super) fn awaits_pid(&self) -> bool {
        self.members.values().any(|member| member.pid.is_none())
    }
}
