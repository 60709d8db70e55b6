//! Buffers that go round: whoever reads or writes at the moment has one, and nobody else.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Room in a new buffer.
const ROOM: usize = 64 << 10;
/// So many wait to be used again, none larger than this.
const KEPT: usize = 2;
const KEPT_BYTES: usize = 2 * ROOM;

/// Empty buffers.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty one, with room for 64 KiB or more.
    pub fn take(&self) -> Vec<u8> {
        let kept = self.kept().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(ROOM))
    }

    /// Gives one back.
    pub fn give(&self, mut buffer: Vec<u8>) {
        if !(ROOM..=KEPT_BYTES).contains(&buffer.capacity()) {
            return;
        }
        buffer.clear();
        let mut kept = self.kept();
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_taken_again_unless_it_is_too_large() {
        let buffers = Buffers::default();
        let mut first = buffers.take();
        first.extend_from_slice(b"content");
        let place = first.as_ptr();
        buffers.give(first);
        let again = buffers.take();
        assert!(again.is_empty() && again.capacity() >= ROOM);
        assert_eq!(again.as_ptr(), place);
        buffers.give(Vec::with_capacity(KEPT_BYTES * 2));
        buffers.give(Vec::new());
        assert!(buffers.kept().is_empty());
        for _ in 0..=KEPT {
            buffers.give(Vec::with_capacity(ROOM));
        }
        assert_eq!(buffers.kept().len(), KEPT);
    }
}
