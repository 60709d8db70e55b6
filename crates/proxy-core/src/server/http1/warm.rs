//! How many connections of a thread may keep their box while they wait for another request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a connection may wait like that.
pub(super) const SPAN: Duration = Duration::from_secs(1);
/// How many of a thread's connections may at a time.
const MAX: usize = 256;

thread_local! {
    static TAKEN: Arc<AtomicUsize> = Arc::default();
}

/// The right of one connection to wait with its box.
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    /// A place, if one is free.
    pub(super) fn take() -> Option<Self> {
        let taken = TAKEN.with(Arc::clone);
        // Only its own thread adds, so the limit holds without a stronger operation.
        let free = taken.load(Ordering::Relaxed) < MAX;
        free.then(|| {
            taken.fetch_add(1, Ordering::Relaxed);
            Self(taken)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let mut places: Vec<Place> = std::iter::from_fn(Place::take).take(MAX + 1).collect();
        assert_eq!(places.len(), MAX);
        places.pop();
        assert!(Place::take().is_some());
    }
}
