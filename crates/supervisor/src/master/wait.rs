//! Waiting for whatever happens next.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};

use super::{Master, Program};
use crate::fleet::WorkerId;

/// Who has something to say.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) workers: Vec<WorkerId>,
    pub(super) sources: Vec<u64>,
}

impl Master {
    /// Waits for a signal, a worker, a source of the program or the next deadline.
    pub(super) fn wait<P: Program>(&mut self, program: &P) -> io::Result<Ready> {
        let timeout = self.timeout(program);
        let mut fds: Vec<PollFd<'_>> = self
            .signals
            .fds()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let signals = fds.len();
        let mut workers = Vec::new();
        for (id, member) in self.members.iter() {
            let Some(full) = member.interest() else {
                continue;
            };
            let also = if full {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            fds.push(PollFd::new(member, PollFlags::IN | also));
            workers.push(id);
        }
        let sources = program.sources();
        for (_, fd) in &sources {
            fds.push(PollFd::from_borrowed_fd(*fd, PollFlags::IN));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno.into()),
        }
        let happened: Vec<PollFlags> = fds[signals..].iter().map(PollFd::revents).collect();
        let (of_workers, of_sources) = happened.split_at(workers.len());
        let ready = Ready {
            sources: sources
                .iter()
                .zip(of_sources)
                .filter(|(_, flags)| !flags.is_empty())
                .map(|((number, _), _)| *number)
                .collect(),
            workers: workers
                .iter()
                .zip(of_workers)
                .filter(|(_, flags)| {
                    flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
                })
                .map(|(worker, _)| *worker)
                .collect(),
        };
        for (worker, flags) in workers.iter().zip(of_workers) {
            if let (true, Some(member)) = (
                flags.contains(PollFlags::OUT),
                self.members.get_mut(*worker),
            ) {
                // A channel that fails is closed; its worker's end comes by its process.
                let _ = member.flush();
            }
        }
        Ok(ready)
    }

    /// Those of the program's sources that have something to say at this moment.
    pub(super) fn ready_sources<P: Program>(&self, program: &P) -> io::Result<Vec<u64>> {
        let sources = program.sources();
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))?;
        let ready = sources.iter().zip(&fds);
        Ok(ready
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((number, _), _)| *number)
            .collect())
    }

    fn timeout<P: Program>(&self, program: &P) -> Option<Timespec> {
        let tick = self
            .fleet
            .policy()
            .tick()
            .filter(|_| self.members.iter().next().is_some());
        let look = tick.map(|tick| {
            self.looked
                .map_or_else(Instant::now, |looked| looked + tick)
        });
        let deadlines = [self.fleet.deadline(), program.deadline(), look];
        let next = deadlines.into_iter().flatten().min()?;
        let left = next.saturating_duration_since(Instant::now());
        // Rounded up, so that the deadline has passed when we wake up.
        Timespec::try_from(left + Duration::from_micros(100)).ok()
    }
}
