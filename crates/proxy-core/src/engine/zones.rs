//! What lives on from one configuration to the next, by name: limits, caches, the state of upstreams.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared state by kind and name. A zone that no configuration uses any more is forgotten by [`Zones::forget_unused`].
#[derive(Default)]
pub struct Zones(Mutex<HashMap<(&'static str, String), Zone>>);

type Zone = Arc<dyn Any + Send + Sync>;

impl Zones {
    /// The state of that kind and name, made where there is none, or where what there is has another type.
    pub fn entry<T: Any + Send + Sync>(
        &self,
        kind: &'static str,
        name: &str,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut zones = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = zones.get(&(kind, name.to_owned())).cloned();
        if let Some(Ok(known)) = known.map(Arc::downcast) {
            return known;
        }
        let made = Arc::new(make());
        zones.insert((kind, name.to_owned()), Arc::clone(&made) as Zone);
        made
    }

    /// Drops what only this table still holds: called after a reload.
    pub fn forget_unused(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, zone| Arc::strong_count(zone) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_stays_the_same_while_somebody_holds_it() {
        let zones = Zones::default();
        let first = zones.entry("limit", "one", || 1_u32);
        assert_eq!(*zones.entry("limit", "one", || 2_u32), 1);
        assert_eq!(*zones.entry("cache", "one", || 3_u32), 3);
        zones.forget_unused();
        assert_eq!(*zones.entry("limit", "one", || 4_u32), 1);
        drop(first);
        zones.forget_unused();
        assert_eq!(*zones.entry("limit", "one", || 5_u32), 5);
    }
}
