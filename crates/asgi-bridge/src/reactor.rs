//! Connections on the thread of an asyncio loop: no hand-over between threads, whatever the loop is.
//!
//! The loop (asyncio's or uvloop's) sleeps; tokio's descriptors wait in an epoll instance, and that instance is itself a descriptor
//! which the loop watches. When it becomes readable, a *turn* is taken: tokio looks for events without waiting, which wakes
//! [jobs](Reactor::spawn), and these run until none is left that could. A job that is woken by Python code, on the loop's thread,
//! needs no event: a turn is taken at once, or at the loop's next opportunity.
//!
//! ```text
//! loop.run_forever() ─ epoll_wait ─► tokio's epoll is readable ─► turn: events ─► jobs ─► application's first step ─► write
//!                         ▲                                                                       │ it waits
//!                         └──── other callbacks, tasks ◄──────────────────────────────────────────┘
//! ```
//!
//! Time: nobody can ask tokio when its next timer is due. Connections tell of the timers that they set ([`proxy_core::timers`]), and
//! the loop is woken for the nearest ([`Deadlines`]); for any other it is woken twice a second.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use proxy_core::timers;
use pyo3::intern;
use pyo3::prelude::*;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;

use crate::deadlines::Deadlines;
use crate::jobs::Jobs;

/// How often the loop is woken for timers that nobody told of, in seconds.
const TICK: f64 = 0.5;
/// So many jobs run in a turn before the loop gets to its other work.
const TURN_JOBS: usize = 512;

/// What is to be done on the loop's thread.
pub(crate) type Errand = Box<dyn FnOnce(Python<'_>) + Send>;

/// See the module.
pub struct Reactor {
    runtime: Runtime,
    event_loop: Py<PyAny>,
    jobs: Arc<Jobs>,
    errands: Mutex<Vec<Errand>>,
    /// What was put off until the loop's next opportunity.
    put_off: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
    thread: ThreadId,
    in_turn: AtomicBool,
    /// A turn will be taken soon.
    scheduled: AtomicBool,
    /// Wakes the loop from another thread.
    alarm: OnceLock<Waker>,
    /// What the loop calls for a turn without events.
    soon: OnceLock<Py<PyAny>>,
    /// What it calls when a deadline is due.
    due: OnceLock<Py<PyAny>>,
    deadlines: Mutex<Deadlines>,
    watched: OnceLock<RawFd>,
    before_sleep: Box<dyn Fn() + Send + Sync>,
    ended: AtomicBool,
}

thread_local! {
    /// Python code of an application is being run by a step that we called for.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Reactor {
    /// Makes a runtime and has `event_loop` watch it. Call it on the thread that will run the loop. `before_sleep` is called at the
    /// end of each turn (to write out logs, say).
    ///
    /// # Errors
    /// The system's, and Python's.
    pub fn new(
        py: Python<'_>,
        event_loop: Py<PyAny>,
        before_sleep: impl Fn() + Send + Sync + 'static,
    ) -> PyResult<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let reactor = Arc::new_cyclic(|this| Self {
            runtime,
            event_loop,
            jobs: Arc::new(Jobs::new(this.clone())),
            errands: Mutex::default(),
            put_off: Mutex::default(),
            thread: thread::current().id(),
            in_turn: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            alarm: OnceLock::new(),
            soon: OnceLock::new(),
            due: OnceLock::new(),
            deadlines: Mutex::new(Deadlines::new(Instant::now())),
            watched: OnceLock::new(),
            before_sleep: Box::new(before_sleep),
            ended: AtomicBool::new(false),
        });
        reactor.install_alarm();
        let soon = Py::new(py, Callback(reactor.clone(), Kind::Soon))?;
        let _ = reactor.soon.set(soon.into_any());
        let due = Py::new(py, Callback(reactor.clone(), Kind::Due))?;
        let _ = reactor.due.set(due.into_any());
        let this = Arc::downgrade(&reactor);
        timers::listen(move |deadline| {
            if let Some(this) = this.upgrade() {
                lock(&this.deadlines).add(Instant::now(), deadline.into_std());
            }
        });
        let descriptor = reactor.epoll()?;
        let _ = reactor.watched.set(descriptor);
        let event_loop = reactor.event_loop.bind(py);
        let ready = Callback(reactor.clone(), Kind::Ready);
        event_loop.call_method1("add_reader", (descriptor, Py::new(py, ready)?))?;
        let tick = Callback(reactor.clone(), Kind::Tick);
        event_loop.call_method1("call_later", (TICK, Py::new(py, tick)?))?;
        Ok(reactor)
    }

    /// Runs a future on the loop's thread, from the next turn on.
    pub fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + Send + 'static) {
        self.jobs.add(future);
    }

    /// Runs the loop until `future` is ready.
    ///
    /// # Errors
    /// What came out of the loop before: `SystemExit` of a signal handler, say.
    pub fn run_until<T: Send + 'static>(
        self: &Arc<Self>,
        py: Python<'_>,
        future: impl Future<Output = T> + Send + 'static,
    ) -> PyResult<Option<T>> {
        let result = Arc::new(Mutex::new(None));
        let (out, reactor) = (result.clone(), self.clone());
        self.spawn(async move {
            let value = future.await;
            *lock(&out) = Some(value);
            reactor.errand(|reactor, py| {
                let _ = reactor.event_loop.bind(py).call_method0("stop");
            });
        });
        let run = self.event_loop.bind(py).call_method0("run_forever");
        let value = lock(&result).take();
        match (value, run) {
            (None, Err(error)) => Err(error),
            (value, _) => Ok(value),
        }
    }

    /// Has the loop forget this reactor. Jobs that are left are dropped.
    pub fn end(&self, py: Python<'_>) {
        self.ended.store(true, Ordering::Relaxed);
        timers::stop_listening();
        if let Some(descriptor) = self.watched.get() {
            let _ = self
                .event_loop
                .bind(py)
                .call_method1("remove_reader", (*descriptor,));
        }
        let _inside = self.runtime.enter();
        self.jobs.clear();
    }

    /// Looks for events and timers after so long, and not only when it is time for it again. For short waits.
    pub fn look_after(self: &Arc<Self>, span: Duration) {
        let this = self.clone();
        self.errand(move |_, py| {
            // A millisecond more: tokio's timers are no finer.
            let seconds = span.as_secs_f64() + 0.001;
            let event_loop = this.event_loop.bind(py);
            let _ = Py::new(py, Callback(this.clone(), Kind::Ready))
                .and_then(|look| event_loop.call_method1("call_later", (seconds, look)));
        });
    }

    /// The loop.
    pub fn event_loop(&self) -> &Py<PyAny> {
        &self.event_loop
    }

    /// The runtime, for what is registered with it from outside of a job.
    pub fn handle(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    /// Whether this is the loop's thread.
    pub(crate) fn is_here(&self) -> bool {
        thread::current().id() == self.thread
    }

    /// Whether an application's code can be run at once: nothing of Python's is under way but the turn.
    pub(crate) fn may_step(&self) -> bool {
        self.in_turn.load(Ordering::Relaxed) && !INSIDE.get()
    }

    pub(crate) fn in_turn(&self) -> bool {
        self.is_here() && self.in_turn.load(Ordering::Relaxed)
    }

    /// Does something with Python on the loop's thread: now where this is it.
    pub(crate) fn errand(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>, Python<'_>) + Send + 'static,
    ) {
        if self.is_here() {
            return Python::attach(|py| work(self, py));
        }
        let this = self.clone();
        lock(&self.errands).push(Box::new(move |py| work(&this, py)));
        self.wake_from_elsewhere();
    }

    /// Runs the jobs that were woken, if this is the loop's thread and no turn is being taken. For Python code that has just given
    /// a job something to do.
    pub(crate) fn flush(&self) {
        if self.is_here() && !self.in_turn.load(Ordering::Relaxed) && self.jobs.are_ready() {
            let before = INSIDE.replace(true);
            self.turn(false);
            Python::attach(|py| self.arm(py));
            INSIDE.set(before);
        }
    }

    /// Runs a step of Python code from within a turn.
    pub(crate) fn inside<T>(&self, f: impl FnOnce() -> T) -> T {
        let before = INSIDE.replace(true);
        let result = f();
        INSIDE.set(before);
        result
    }

    /// A job was woken.
    pub(crate) fn woken(&self) {
        if !self.is_here() {
            self.wake_from_elsewhere();
        } else if !self.in_turn.load(Ordering::Relaxed) {
            self.schedule();
        }
    }

    /// Has a turn be taken at the loop's next opportunity.
    pub(crate) fn schedule(&self) {
        if self.scheduled.swap(true, Ordering::Relaxed) || self.ended.load(Ordering::Relaxed) {
            return;
        }
        if let Some(soon) = self.soon.get() {
            Python::attach(|py| {
                let event_loop = self.event_loop.bind(py);
                let asked = event_loop.call_method1(pyo3::intern!(py, "call_soon"), (soon,));
                if asked.is_err() {
                    self.scheduled.store(false, Ordering::Relaxed);
                }
            });
        }
    }

    fn wake_from_elsewhere(&self) {
        if let Some(alarm) = self.alarm.get() {
            alarm.wake_by_ref();
        }
    }

    /// Waking this task makes the epoll instance readable.
    fn install_alarm(self: &Arc<Self>) {
        let this = Arc::downgrade(self);
        self.runtime.spawn(poll_fn(move |cx| {
            if let Some(this) = this.upgrade() {
                let _ = this.alarm.set(cx.waker().clone());
            }
            Poll::<()>::Pending
        }));
        self.runtime.block_on(tokio::task::yield_now());
    }

    /// Runs jobs until none is ready; with `events` looks for events first.
    fn turn(&self, events: bool) {
        if self.in_turn.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut looked = !events;
        self.runtime.block_on(poll_fn(|cx: &mut Context<'_>| {
            let all = self.jobs.run(TURN_JOBS);
            if std::mem::replace(&mut looked, true) {
                return Poll::Ready(all);
            }
            // The runtime looks for events when this cannot go on, and does not sleep, for it has been woken.
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        self.in_turn.store(false, Ordering::Relaxed);
        if self.jobs.are_ready() {
            self.schedule();
        }
    }

    /// Has the loop be woken for the nearest deadline, if it will not be in time already.
    fn arm(&self, py: Python<'_>) {
        let Some(wait) = lock(&self.deadlines).wait(Instant::now()) else {
            return;
        };
        if let Some(due) = self.due.get() {
            let event_loop = self.event_loop.bind(py);
            let _ = event_loop.call_method1(intern!(py, "call_later"), (wait.as_secs_f64(), due));
        }
    }

    /// Does something at the loop's next opportunity. Call it on the loop's thread.
    pub(crate) fn put_off(&self, work: impl FnOnce() + Send + 'static) {
        lock(&self.put_off).push(Box::new(work));
        self.schedule();
    }

    fn do_put_off(&self) {
        let work = std::mem::take(&mut *lock(&self.put_off));
        work.into_iter().for_each(|work| work());
    }

    fn run_errands(&self, py: Python<'_>) {
        let errands = std::mem::take(&mut *lock(&self.errands));
        errands.into_iter().for_each(|errand| errand(py));
    }

    /// The descriptor of tokio's epoll instance, which tokio does not tell: the one that knows a descriptor of ours.
    fn epoll(&self) -> io::Result<RawFd> {
        let _inside = self.runtime.enter();
        let (probe, _other) = rustix::pipe::pipe()?;
        // SAFETY: the descriptor lives in the registration, which nobody changes before it is dropped.
        let probe = unsafe { AsyncFd::register(probe) }.map_err(io::Error::from)?;
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .current
            .unwrap_or(4096)
            .min(1 << 20);
        for number in 3..most as RawFd {
            if number == probe.as_raw_fd() {
                continue;
            }
            // SAFETY: the number is only asked about. Where it is no epoll instance, or one that does not know the probe, nothing
            // happens but an error.
            let candidate = unsafe { BorrowedFd::borrow_raw(number) };
            if rustix::event::epoll::delete(candidate, probe.get_ref()).is_ok() {
                return Ok(number);
            }
        }
        Err(io::Error::other(
            "the runtime's epoll instance was not found among the descriptors",
        ))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the loop calls.
#[pyclass(frozen, name = "turn", module = "viaduct")]
struct Callback(Arc<Reactor>, Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// There are events.
    Ready,
    /// Jobs were woken.
    Soon,
    /// Time has passed.
    Tick,
    /// A deadline has been reached.
    Due,
}

#[pymethods]
impl Callback {
    fn __call__(this: &Bound<'_, Self>) -> PyResult<()> {
        let (py, Self(reactor, kind)) = (this.py(), this.get());
        if reactor.ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        match kind {
            Kind::Soon => reactor.scheduled.store(false, Ordering::Relaxed),
            Kind::Due => lock(&reactor.deadlines).woken(Instant::now()),
            Kind::Ready | Kind::Tick => {}
        }
        reactor.do_put_off();
        reactor.turn(*kind != Kind::Soon);
        if *kind != Kind::Soon {
            reactor.run_errands(py);
        }
        (reactor.before_sleep)();
        reactor.arm(py);
        if *kind == Kind::Tick {
            let event_loop = reactor.event_loop.bind(py);
            event_loop.call_method1("call_later", (TICK, this))?;
        }
        Ok(())
    }
}

/// Lets the jobs that are ready run before this one goes on.
pub async fn step_aside() {
    let mut stepped = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop that notes what it is asked for, and does it when it is told to.
    const LOOP: &std::ffi::CStr = c"
class Loop:
    def __init__(self):
        self.later, self.now = [], []
    def add_reader(self, descriptor, callback):
        pass
    def remove_reader(self, descriptor):
        pass
    def call_soon(self, callback):
        self.now.append(callback)
    def call_later(self, seconds, callback):
        self.later.append((seconds, callback))
    def run(self):
        now, self.now = self.now, []
        for callback in now:
            callback()
loop = Loop()
";

    #[test]
    fn the_loop_is_woken_for_the_nearest_timer_that_it_was_told_of() {
        Python::initialize();
        Python::attach(|py| {
            let module = pyo3::types::PyDict::new(py);
            py.run(LOOP, Some(&module), None).expect("runs");
            let fake = module.get_item("loop").expect("looks").expect("is there");
            let asked = || -> Vec<(f64, Py<PyAny>)> {
                let later = fake.getattr("later").expect("is there");
                later.extract().expect("is a list")
            };
            let reactor = Reactor::new(py, fake.clone().unbind(), || ()).expect("is made");
            assert_eq!(asked()[0].0, TICK);
            let done = Arc::new(AtomicBool::new(false));
            let begun = Instant::now();
            for millis in [8_000, 300_000, 1] {
                let done = done.clone();
                reactor.spawn(async move {
                    timers::sleep(Duration::from_millis(millis)).await;
                    done.store(true, Ordering::Relaxed);
                });
                fake.call_method0("run").expect("runs");
            }
            let waits: Vec<f64> = asked()
                .iter()
                .skip(1)
                .map(|(seconds, _)| *seconds)
                .collect();
            let passed = begun.elapsed().as_secs_f64();
            assert_eq!(waits.len(), 2, "{waits:?}");
            assert!(waits[0] <= 8.02 && waits[0] > 8.0 - passed, "{waits:?}");
            assert!(waits[1] <= 0.02, "{waits:?}");
            // The alarm goes off. When it was due, the timer has fired, and the next one in line is armed.
            while asked().len() < 4 {
                asked()[2].1.call0(py).expect("is called");
            }
            assert!(done.load(Ordering::Relaxed));
            reactor.end(py);
        });
    }
}
