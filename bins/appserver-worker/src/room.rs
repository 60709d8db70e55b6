//! How many connections a worker has open at most (`worker_connections`), and which of them it lets go for others.

use std::sync::Arc;

use appserver_protocol::WorkerSettings;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for connections; see the module.
pub(crate) struct Room {
    places: Arc<Semaphore>,
    /// So many are left for new connections when others come to rest.
    spare: usize,
}

impl Room {
    /// The room that these settings give; `None` where there is no limit.
    ///
    /// gunicorn's `sync` workers have one connection at a time, whatever the setting says; ours keep theirs, which costs nobody
    /// anything.
    pub fn of(settings: &WorkerSettings) -> Option<Arc<Self>> {
        let several = settings.threads > 1 || settings.is_asgi() || settings.has_both();
        let limited = several && settings.worker_connections > 0;
        limited.then(|| {
            Arc::new(Self {
                places: Arc::new(Semaphore::new(settings.worker_connections as usize)),
                spare: settings.threads.max(1) as usize,
            })
        })
    }

    /// Waits for a place.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// Whether a connection should rather end with its response than be kept: it would hold a place that new ones need.
    pub fn is_short(&self) -> bool {
        self.places.available_permits() < self.spare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_places_of_threads_are_not_given_to_idle_connections() {
        let settings = WorkerSettings {
            threads: 2,
            worker_connections: 3,
            ..WorkerSettings::default()
        };
        let room = Room::of(&settings).unwrap();
        let one = room.enter().await;
        assert!(!room.is_short());
        let two = room.enter().await;
        assert!(room.is_short());
        drop(one);
        assert!(!room.is_short());
        drop(two);
    }

    #[test]
    fn workers_of_one_thread_have_no_limit() {
        assert!(Room::of(&WorkerSettings::default()).is_none());
    }
}
