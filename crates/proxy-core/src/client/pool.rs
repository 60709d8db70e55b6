//! Idle connections to origin servers, kept by each thread for itself: no lock on the way of a request.
//!
//! A thread's reaper task closes connections that were idle for too long and those that the origin server closes.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::origin::Origin;
use crate::server::Address;

/// What nginx's `keepalive…` directives of an `upstream` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// `keepalive`: the most idle connections that a thread keeps; the one that was idle longest makes room. 0 keeps none.
    pub idle_max: usize,
    /// `keepalive_timeout`: how long a connection may be idle. Default 60 s.
    pub idle_timeout: Duration,
    /// `keepalive_requests`: how many requests a connection may carry. Default 1000.
    pub requests_max: u64,
    /// `keepalive_time`: how old a connection may become and still be used for another request. Default 1 h.
    pub time_max: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            idle_max: 32,
            idle_timeout: Duration::from_secs(60),
            requests_max: 1000,
            time_max: Duration::from_secs(3600),
        }
    }
}

/// A pool of idle connections. Clones are the same pool; each thread has its own connections in it.
#[derive(Clone, Debug)]
pub struct Pool {
    id: u64,
    settings: Arc<PoolSettings>,
}

/// A connection in a pool.
struct Idle {
    pool: u64,
    origin: Box<Origin>,
    until: Instant,
}

#[derive(Default)]
struct Store {
    /// In the order in which they became idle.
    idle: Vec<Idle>,
    /// Wakes the reaper, when there is one.
    reaper: Option<Waker>,
}

thread_local! {
    static STORE: RefCell<Store> = RefCell::default();
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(PoolSettings::default())
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(settings: PoolSettings) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self {
            id: LAST.fetch_add(1, Ordering::Relaxed),
            settings: Arc::new(settings),
        }
    }

    /// The same connections under other settings: for a configuration that was read again.
    pub fn with_settings(&self, settings: PoolSettings) -> Self {
        Self {
            id: self.id,
            settings: Arc::new(settings),
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// How many idle connections this thread has in it.
    pub fn idle(&self) -> usize {
        STORE.with_borrow(|store| {
            store
                .idle
                .iter()
                .filter(|idle| idle.pool == self.id)
                .count()
        })
    }

    /// Closes the idle connections of this thread.
    pub fn clear(&self) {
        let closed: Vec<Idle> = STORE.with_borrow_mut(|store| {
            store
                .idle
                .extract_if(.., |idle| idle.pool == self.id)
                .collect()
        });
        drop(closed);
    }

    /// The connection to `address` that became idle last and is still good.
    pub(super) fn take(&self, address: &Address) -> Option<Box<Origin>> {
        loop {
            let origin = STORE.with_borrow_mut(|store| {
                let fits = |idle: &Idle| idle.pool == self.id && idle.origin.address == *address;
                store
                    .idle
                    .iter()
                    .rposition(fits)
                    .map(|at| store.idle.remove(at).origin)
            })?;
            if origin.is_alive() {
                return Some(origin);
            }
        }
    }

    /// Takes a connection whose last response was read to its end, or closes it.
    pub(super) fn put(&self, mut origin: Box<Origin>, now: std::time::Instant) {
        let settings = &*self.settings;
        if settings.idle_max == 0
            || origin.requests >= settings.requests_max
            || origin.age(now) >= settings.time_max
            || settings.idle_timeout.is_zero()
        {
            return;
        }
        origin.rest();
        let Some(until) = Instant::from_std(now).checked_add(settings.idle_timeout) else {
            return;
        };
        let idle = Idle {
            pool: self.id,
            origin,
            until,
        };
        // Dropped outside of the borrow: closing a socket runs foreign code.
        let displaced = STORE.with_borrow_mut(|store| store.put(idle, settings.idle_max));
        drop(displaced);
    }
}

impl Store {
    fn put(&mut self, idle: Idle, idle_max: usize) -> Option<Idle> {
        match &self.reaper {
            Some(waker) => {
                // The reaper hears of the origin server's close.
                if idle
                    .origin
                    .socket
                    .poll_disturbed(&mut Context::from_waker(waker))
                    .is_ready()
                {
                    return Some(idle);
                }
            }
            None => {
                self.reaper = Some(Waker::noop().clone());
                tokio::spawn(reap(Reaper));
            }
        }
        let pool = idle.pool;
        self.idle.push(idle);
        let of_pool = |idle: &Idle| idle.pool == pool;
        let full = self.idle.len() > idle_max
            && self.idle.iter().filter(|idle| of_pool(idle)).count() > idle_max;
        full.then(|| self.idle.iter().position(of_pool))
            .flatten()
            .map(|oldest| self.idle.remove(oldest))
    }
}

impl Store {
    /// Takes out what can't be used any more; says when the next connection will have been idle for too long.
    fn sift(&mut self, cx: &mut Context<'_>, now: Instant) -> (Vec<Idle>, Option<Instant>) {
        self.reaper = Some(cx.waker().clone());
        let spent =
            |idle: &mut Idle| idle.until <= now || idle.origin.socket.poll_disturbed(cx).is_ready();
        let dead = self.idle.extract_if(.., spent).collect();
        (dead, self.idle.iter().map(|idle| idle.until).min())
    }
}

/// While it lives, the thread has a reaper.
struct Reaper;

impl Drop for Reaper {
    fn drop(&mut self) {
        let _ = STORE.try_with(|store| {
            let mut store = store.borrow_mut();
            store.reaper = None;
            std::mem::take(&mut store.idle)
        });
    }
}

/// How long the reaper waits for work before it ends.
const REAPER_STAYS: Duration = Duration::from_secs(10);

/// Closes what was idle for too long or was closed by its origin server; ends when there was nothing for a while.
async fn reap(_reaper: Reaper) {
    let mut sleep = pin!(tokio::time::sleep(REAPER_STAYS));
    let mut was_empty = false;
    poll_fn(|cx| {
        loop {
            let fired = sleep.as_mut().poll(cx).is_ready();
            let now = Instant::now();
            let (dead, next) = STORE.with_borrow_mut(|store| store.sift(cx, now));
            drop(dead);
            match next {
                Some(next) if fired || next < sleep.deadline() => sleep.as_mut().reset(next),
                None if fired && was_empty => return Poll::Ready(()),
                None if fired => sleep.as_mut().reset(now + REAPER_STAYS),
                _ => return Poll::Pending,
            }
            was_empty = next.is_none();
        }
    })
    .await;
}
