//! The seats of one generation: who sits where, who takes over, who is awaited.

use std::time::Instant;

use super::{Generation, WorkerId};

/// One place among the workers of a generation. It outlives its workers.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    /// From 0; the lowest free one is used first.
    pub(super) number: u32,
    /// Who sits there, in whatever phase.
    pub(super) worker: Option<WorkerId>,
    /// Who is to sit there next, while the present one asked to be replaced.
    pub(super) successor: Option<WorkerId>,
    /// Early deaths in a row.
    pub(super) strikes: u32,
    /// Not before this may the empty seat, or the place of the successor, be filled.
    pub(super) due: Option<Instant>,
}

impl Seat {
    fn new(number: u32) -> Self {
        Self {
            number,
            worker: None,
            successor: None,
            strikes: 0,
            due: None,
        }
    }

    /// Everyone who belongs to this seat.
    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        self.worker.into_iter().chain(self.successor)
    }
}

/// A generation that is meant to serve: the current one, or the one that a reload brings up.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) generation: Generation,
    pub(super) seats: Vec<Seat>,
    /// Was every seat ready at one moment?
    pub(super) complete: bool,
}

impl Line {
    pub(super) fn new(generation: Generation, seats: usize) -> Self {
        let mut line = Self {
            generation,
            seats: Vec::new(),
            complete: false,
        };
        line.grow(seats);
        line
    }

    /// Adds empty seats until there are `count`.
    pub(super) fn grow(&mut self, count: usize) {
        while self.seats.len() < count {
            let free = (0..).find(|number| self.seats.iter().all(|seat| seat.number != *number));
            self.seats
                .push(Seat::new(free.expect("numbers do not run out")));
        }
    }

    /// Removes seats until there are `count`: empty ones first, then those with the oldest workers.
    pub(super) fn shrink(&mut self, count: usize) -> Vec<Seat> {
        let mut removed = Vec::new();
        while self.seats.len() > count {
            let (place, _) = self
                .seats
                .iter()
                .enumerate()
                .min_by_key(|(_, seat)| seat.worker)
                .expect("more seats than wanted");
            removed.push(self.seats.remove(place));
        }
        removed
    }

    /// The seat that this worker sits on or is to take over.
    pub(super) fn seat_of(&mut self, worker: WorkerId) -> Option<&mut Seat> {
        self.seats
            .iter_mut()
            .find(|seat| seat.workers().any(|sitting| sitting == worker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_takes_the_empty_seat_then_the_oldest_worker_and_numbers_are_used_again() {
        let mut line = Line::new(Generation(1), 3);
        line.seats[0].worker = Some(WorkerId(5));
        line.seats[1].worker = Some(WorkerId(4));
        let numbers = |seats: &[Seat]| seats.iter().map(|seat| seat.number).collect::<Vec<_>>();
        assert_eq!(numbers(&line.shrink(1)), [2, 1]);
        line.grow(3);
        assert_eq!(numbers(&line.seats), [0, 1, 2]);
    }
}
