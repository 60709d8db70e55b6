//! Ending connections without losing a response.
//!
//! Whoever serves connections holds a [`Drain`]; each connection watches it. After [`Drain::start`] idle connections close
//! at once and busy ones answer the request in hand with `Connection: close`. [`Drain::ended`] resolves when the last is gone.
//!
//! It also keeps the time of connections that are idle for long: one task looks once a second for those whose time is over,
//! so that ten thousand idle connections need not have a timer each.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// Tells connections to end, and knows when they have. Clones are the same drain.
#[derive(Clone, Default)]
pub struct Drain {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    started: AtomicBool,
    watchers: Mutex<Watchers>,
    /// What the seconds of [`Place::until`] are counted from; set when the first is.
    epoch: OnceLock<Instant>,
}

#[derive(Default)]
struct Watchers {
    /// A place per connection; `None` when it has not waited yet.
    places: Vec<Place>,
    free: Vec<usize>,
    live: usize,
    /// Those who wait for the end of all.
    ended: Vec<Waker>,
    /// A task looks for connections whose time is over.
    timed: bool,
}

#[derive(Default)]
struct Place {
    waker: Option<Waker>,
    /// The second in which it is to be woken; 0 for none.
    until: u32,
}

impl Drain {
    /// A drain that has not started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all connections, present and future, to end.
    pub fn start(&self) {
        self.shared.started.store(true, Ordering::SeqCst);
        let wakers: Vec<Waker> = self
            .lock()
            .places
            .iter_mut()
            .filter_map(|place| place.waker.take())
            .collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether [`Drain::start`] was called.
    pub fn started(&self) -> bool {
        self.shared.started.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    pub fn live(&self) -> usize {
        self.lock().live
    }

    /// Waits until there is no connection. (New ones may come later, when somebody still accepts.)
    pub async fn ended(&self) {
        poll_fn(|cx| {
            let mut watchers = self.lock();
            if watchers.live == 0 {
                return Poll::Ready(());
            }
            if !watchers
                .ended
                .iter()
                .any(|waker| waker.will_wake(cx.waker()))
            {
                watchers.ended.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits until [`Drain::start`] is called.
    pub async fn begun(&self) {
        let mut watch = self.unlisted();
        poll_fn(|cx| watch.poll(cx)).await;
    }

    /// A place for one more connection.
    pub fn watch(&self) -> Watch {
        Watch::new(self, true)
    }

    /// Wakes those whose time is over; whether anybody else waits for a time.
    fn wake_late(&self) -> bool {
        let now = self.second(Instant::now());
        let mut late = Vec::new();
        let mut others = false;
        let mut watchers = self.lock();
        for place in watchers.places.iter_mut().filter(|place| place.until > 0) {
            if place.until <= now {
                place.until = 0;
                late.extend(place.waker.clone());
            } else {
                others = true;
            }
        }
        watchers.timed = others;
        drop(watchers);
        late.into_iter().for_each(Waker::wake);
        others
    }

    /// The second after which `time` has come.
    fn second(&self, time: Instant) -> u32 {
        let epoch = *self.shared.epoch.get_or_init(Instant::now);
        let seconds = time.saturating_duration_since(epoch).as_secs() + 1;
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    fn unlisted(&self) -> Watch {
        Watch::new(self, false)
    }

    fn lock(&self) -> MutexGuard<'_, Watchers> {
        self.shared
            .watchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's view of a [`Drain`]; the connection counts as live until it is dropped.
pub struct Watch {
    drain: Drain,
    place: usize,
    counted: bool,
    waker: Option<Waker>,
}

impl Watch {
    fn new(drain: &Drain, counted: bool) -> Self {
        let mut watchers = drain.lock();
        let place = watchers.free.pop().unwrap_or_else(|| {
            watchers.places.push(Place::default());
            watchers.places.len() - 1
        });
        watchers.live += usize::from(counted);
        drop(watchers);
        Self {
            drain: drain.clone(),
            place,
            counted,
            waker: None,
        }
    }

    /// Whether the drain has started.
    pub fn started(&self) -> bool {
        self.drain.shared.started.load(Ordering::Relaxed)
    }

    /// Has the task that polls this woken in the second after `time`, or soon after it. Needs to have been polled.
    pub(super) fn wake_after(&self, time: Instant) {
        let until = self.drain.second(time).saturating_add(1);
        let mut watchers = self.drain.lock();
        watchers.places[self.place].until = until;
        if !std::mem::replace(&mut watchers.timed, true) {
            drop(watchers);
            let drain = self.drain.clone();
            tokio::spawn(keep_time(Timekeeper { drain, done: false }));
        }
    }

    /// Ready when the drain has started. Cheap to call again from the same task.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.started() {
            return Poll::Ready(());
        }
        if !self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            self.waker = Some(cx.waker().clone());
            self.drain.lock().places[self.place].waker = Some(cx.waker().clone());
            // It may have started between the look and the entry.
            if self.drain.started() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watchers = self.drain.lock();
        watchers.places[self.place] = Place::default();
        watchers.free.push(self.place);
        watchers.live -= usize::from(self.counted);
        let ended = if watchers.live == 0 {
            std::mem::take(&mut watchers.ended)
        } else {
            Vec::new()
        };
        drop(watchers);
        ended.into_iter().for_each(Waker::wake);
    }
}

/// While it lives, the drain's time is kept.
struct Timekeeper {
    drain: Drain,
    /// Nobody waits; that was noted, and perhaps somebody has begun anew since.
    done: bool,
}

impl Drop for Timekeeper {
    /// When its runtime ends first, whoever waits next begins anew.
    fn drop(&mut self) {
        if !self.done {
            self.drain.lock().timed = false;
        }
    }
}

/// Wakes connections whose time is over; ends when there is none left.
async fn keep_time(mut keeper: Timekeeper) {
    while !keeper.done {
        tokio::time::sleep(Duration::from_secs(1)).await;
        keeper.done = !keeper.drain.wake_late();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn start_wakes_those_who_wait_and_ended_waits_for_the_last() {
        let drain = Drain::new();
        let mut first = drain.watch();
        let second = drain.watch();
        assert_eq!(drain.live(), 2);
        let waiting = tokio::spawn(async move { poll_fn(|cx| first.poll(cx)).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drain.start();
        waiting.await.unwrap();
        assert!(second.started());
        let ended = tokio::spawn({
            let drain = drain.clone();
            async move { drain.ended().await }
        });
        tokio::task::yield_now().await;
        assert!(!ended.is_finished());
        drop(second);
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_comes_after_the_start_sees_it_at_once() {
        let drain = Drain::new();
        drain.start();
        let mut late = drain.watch();
        poll_fn(|cx| late.poll(cx)).await;
        drain.begun().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_keeps_the_time_of_all() {
        let drain = Drain::new();
        let mut tasks = Vec::new();
        for _ in 0..3 {
            let mut watch = drain.watch();
            tasks.push(tokio::spawn(async move {
                let mut polls = 0;
                poll_fn(|cx| {
                    assert!(watch.poll(cx).is_pending());
                    if polls == 0 {
                        watch.wake_after(Instant::now());
                    }
                    polls += 1;
                    if polls == 2 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                watch
            }));
        }
        tokio::task::yield_now().await;
        assert!(drain.lock().timed);
        for task in tasks {
            task.await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!drain.lock().timed);
    }

    #[test]
    fn places_are_used_again() {
        let drain = Drain::new();
        for _ in 0..10 {
            drop(drain.watch());
        }
        assert_eq!(drain.lock().places.len(), 1);
    }
}
