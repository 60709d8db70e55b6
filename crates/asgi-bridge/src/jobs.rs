//! Futures that run in turns: a list of those that were woken.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use crate::reactor::Reactor;

/// All jobs of a [`Reactor`].
pub(crate) struct Jobs {
    reactor: Weak<Reactor>,
    ready: Mutex<VecDeque<Arc<Job>>>,
    /// Keeps jobs alive that nobody will wake any more, until the end.
    all: Mutex<HashMap<usize, Arc<Job>>>,
}

/// A future with its place in the list.
pub(crate) struct Job {
    jobs: Weak<Jobs>,
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    queued: AtomicBool,
}

impl Jobs {
    pub fn new(reactor: Weak<Reactor>) -> Self {
        Self {
            reactor,
            ready: Mutex::default(),
            all: Mutex::default(),
        }
    }

    /// Adds a future; it runs in the next turn.
    pub fn add(self: &Arc<Self>, future: impl Future<Output = ()> + Send + 'static) {
        // Unconstrained: the runtime sees all jobs as one task, and would otherwise stop all of them when one has done much.
        let future = tokio::task::unconstrained(future);
        let job = Arc::new(Job {
            jobs: Arc::downgrade(self),
            future: Mutex::new(Some(Box::pin(future))),
            queued: AtomicBool::new(false),
        });
        lock(&self.all).insert(Arc::as_ptr(&job) as usize, job.clone());
        job.wake();
    }

    /// Whether a turn would find something to do.
    pub fn are_ready(&self) -> bool {
        !lock(&self.ready).is_empty()
    }

    /// Runs jobs until none is ready, at most so many; true when none is left.
    pub fn run(&self, most: usize) -> bool {
        for _ in 0..most {
            let Some(job) = lock(&self.ready).pop_front() else {
                return true;
            };
            job.queued.store(false, Ordering::Release);
            self.poll(&job);
        }
        !self.are_ready()
    }

    fn poll(&self, job: &Arc<Job>) {
        let waker = Waker::from(job.clone());
        // Only the loop's thread polls, and never a job from within itself: turns do not nest.
        let mut future = lock(&job.future);
        let Some(running) = future.as_mut() else {
            return;
        };
        if let Poll::Ready(()) = running.as_mut().poll(&mut Context::from_waker(&waker)) {
            let over = future.take();
            drop(future);
            lock(&self.all).remove(&(Arc::as_ptr(job) as usize));
            drop(over);
        }
    }

    /// Drops all jobs.
    pub fn clear(&self) {
        lock(&self.ready).clear();
        let all = std::mem::take(&mut *lock(&self.all));
        for job in all.into_values() {
            let over = lock(&job.future).take();
            drop(over);
        }
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(jobs) = self.jobs.upgrade() else {
            return;
        };
        lock(&jobs.ready).push_back(self.clone());
        if let Some(reactor) = jobs.reactor.upgrade() {
            reactor.woken();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
