//! The application on Python threads beside the connections' thread (`--threads`).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use http_wire::fields::Fields;
use proxy_core::body::BodyError;
use proxy_core::server::Interim;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};
use tokio::sync::oneshot;

use crate::answer::Route;
use crate::call::{Begun, Call, Logged, Whole};
use crate::content::Collected;
use crate::core::Core;
use crate::hooks::Facts;
use crate::outlet::{Outlet, Pushed};
use crate::response_head::Head;

/// A request that waits for a thread.
pub(crate) struct Job {
    pub facts: Arc<Facts>,
    pub input: Option<Collected>,
    pub reply: oneshot::Sender<Reply>,
    pub interim: Interim,
}

/// What a thread answers, once.
pub(crate) enum Reply {
    /// The response is complete (or failed).
    Whole(Begun, Told),
    /// Content follows through the outlet.
    Streams(Head, Arc<Outlet>, Told),
}

/// What the access log wants of a response.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub fields: Option<Arc<Fields>>,
    pub logged: Option<Arc<Logged>>,
}

impl Told {
    pub fn of(core: &Core, call: &Call) -> Self {
        if !core.settings.log_fields {
            return Self {
                fields: None,
                logged: call.logged(),
            };
        }
        Self {
            fields: call.answer.lock().fields.clone(),
            logged: call.logged(),
        }
    }
}

/// Threads and the requests that wait for them. Dropping it lets the threads end when they are idle.
pub(crate) struct Pool {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    /// Requests that wait: more than none makes a thread write to a file rather than wait for a slow client.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Pool {
    /// Starts `threads` Python threads.
    ///
    /// # Errors
    /// Python's, when a thread cannot be started.
    pub fn start(py: Python<'_>, core: &Arc<Core>, threads: usize) -> PyResult<Self> {
        let queue = Arc::new(Queue::default());
        let thread_class = py.import("threading")?.getattr("Thread")?;
        for slot in 0..threads {
            let (core, queue) = (core.clone(), queue.clone());
            let work = move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
                work(arguments.py(), &core, &queue, slot);
            };
            let target = PyCFunction::new_closure(py, None, None, work)?;
            let named = PyDict::new(py);
            named.set_item("target", target)?;
            named.set_item("name", format!("worker-{slot}"))?;
            named.set_item("daemon", true)?;
            thread_class.call((), Some(&named))?.call_method0("start")?;
        }
        Ok(Self { queue })
    }

    /// Puts a request in line.
    pub fn put(&self, job: Job) {
        let mut state = self.queue.state();
        state.jobs.push_back(job);
        self.queue
            .waiting
            .store(state.jobs.len(), Ordering::Relaxed);
        drop(state);
        self.queue.ready.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.state().closed = true;
        self.queue.ready.notify_all();
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a request that somebody still wants; `None` when there will be no more.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                self.waiting.store(state.jobs.len(), Ordering::Relaxed);
                if !job.reply.is_closed() {
                    return Some(job);
                }
            }
            if state.closed {
                return None;
            }
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The life of a thread.
fn work(py: Python<'_>, core: &Arc<Core>, queue: &Arc<Queue>, slot: usize) {
    while let Some(job) = py.detach(|| queue.next()) {
        serve(py, core, queue, slot, job);
    }
}

fn serve(py: Python<'_>, core: &Arc<Core>, queue: &Arc<Queue>, slot: usize, job: Job) {
    let reply = Arc::new(Mutex::new(Some(job.reply)));
    let logged = (!core.settings.log_environ.is_empty()).then(Arc::default);
    let begin = {
        let (reply, logged) = (reply.clone(), logged.clone());
        Box::new(move |head, outlet, fields| {
            send(
                &reply,
                Reply::Streams(head, outlet, Told { fields, logged }),
            );
        })
    };
    let route = Route::Across(core.room(), Some(begin));
    let (mut call, begun) = Call::begin(
        core,
        py,
        job.facts,
        job.input,
        logged,
        slot,
        route,
        job.interim,
    );
    let told = Told::of(core, &call);
    match begun {
        Begun::More(Some(head), first) if call.answer.lock().is_complete() => {
            // Nothing but the application's own affairs is left to be done; the client need not wait for them.
            send(
                &reply,
                Reply::Whole(Begun::Whole(head, Whole::Bytes(first)), told),
            );
            while let Ok(Some(_)) = call.next(core, py) {}
        }
        Begun::More(head, first) => {
            let outlet = call
                .answer
                .lock()
                .outlet
                .clone()
                .unwrap_or_else(|| Arc::new(Outlet::new(core.room())));
            if let Some(head) = head {
                send(&reply, Reply::Streams(head, outlet.clone(), told));
            }
            stream(py, core, queue, &mut call, first, &outlet);
        }
        whole => send(&reply, Reply::Whole(whole, told)),
    }
}

fn send(reply: &Mutex<Option<oneshot::Sender<Reply>>>, what: Reply) {
    let sender = reply.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(sender) = sender {
        let _ = sender.send(what);
    }
}

/// Brings the application to its end, item by item; waits for the client where there is no room.
fn stream(
    py: Python<'_>,
    core: &Core,
    queue: &Queue,
    call: &mut Call,
    first: Bytes,
    outlet: &Outlet,
) {
    let crowded = || queue.waiting.load(Ordering::Relaxed) > 0;
    let mut piece = first;
    loop {
        if !piece.is_empty() {
            match py.detach(|| outlet.push_waiting(&piece, crowded)) {
                Ok(Pushed::Taken | Pushed::Full) => {}
                Ok(Pushed::Gone) => return call.abandon(core, py),
                Err(error) => {
                    outlet.finish(Err(error.into()));
                    return call.abandon(core, py);
                }
            }
        }
        match call.next(core, py) {
            Ok(Some(next)) => piece = next,
            Ok(None) => return outlet.finish(Ok(())),
            Err(error) => return outlet.finish(Err(error)),
        }
    }
}

/// The content of a response that a thread makes.
pub(crate) struct OutletBody(pub Arc<Outlet>);

impl http_body::Body for OutletBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0
            .poll(cx)
            .map(|next| next.map(|next| next.map(Frame::data)))
    }
}

impl Drop for OutletBody {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
