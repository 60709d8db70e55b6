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
use crate::handover::Offer;
use crate::hooks::Facts;
use crate::outlet::{Outlet, Pushed};
use crate::response_head::Head;

/// A request that waits for a thread.
struct Job {
    facts: Arc<Facts>,
    input: Option<Collected>,
    reply: oneshot::Sender<Reply>,
    interim: Interim,
    offer: Option<Offer>,
}

/// What a thread answers, once.
pub(crate) enum Reply {
    /// The response is complete (or failed).
    Whole(Begun, Told),
    /// Content follows through the outlet; the application hears when nobody takes it.
    Streams(Head, OutletBody, Told),
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

    /// Puts a request in line and waits for its answer; `None` when its thread failed. Who stops waiting before a thread has come
    /// to the request takes it back.
    pub async fn ask(
        &self,
        facts: Arc<Facts>,
        input: Option<Collected>,
        interim: Interim,
        offer: Option<Offer>,
    ) -> Option<Reply> {
        self.queue.ask(facts, input, interim, offer).await
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.state().closed = true;
        self.queue.ready.notify_all();
    }
}

/// Somebody who waits for an answer.
struct Waiting<'a> {
    queue: &'a Queue,
    answer: oneshot::Receiver<Reply>,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.answer.close();
            self.queue.forget();
        }
    }
}

impl Queue {
    async fn ask(
        &self,
        facts: Arc<Facts>,
        input: Option<Collected>,
        interim: Interim,
        offer: Option<Offer>,
    ) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = Waiting {
            queue: self,
            answer,
            answered: false,
        };
        self.put(Job {
            facts,
            input,
            reply,
            interim,
            offer,
        });
        let reply = (&mut waiting.answer).await;
        waiting.answered = true;
        reply.ok()
    }

    fn put(&self, job: Job) {
        let mut state = self.state();
        state.jobs.push_back(job);
        self.waiting.store(state.jobs.len(), Ordering::Relaxed);
        drop(state);
        self.ready.notify_one();
    }

    /// Throws a request away that nobody waits for any more.
    fn forget(&self) {
        let mut state = self.state();
        let unwanted = state.jobs.iter().position(|job| job.reply.is_closed());
        let job = unwanted.and_then(|place| state.jobs.remove(place));
        self.waiting.store(state.jobs.len(), Ordering::Relaxed);
        drop(state);
        drop(job);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a request that somebody still wants; `None` when there will be no more.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                self.waiting.store(state.jobs.len(), Ordering::Relaxed);
                // From here on the application has the request, and finishes it whoever leaves.
                job.facts.connection.ignore_client_abort(true);
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
                Reply::Streams(head, OutletBody(outlet), Told { fields, logged }),
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
        job.offer,
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
                let content = OutletBody(outlet.clone());
                send(&reply, Reply::Streams(head, content, told));
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use proxy_core::server::{Address, Connection, Content, Request};

    use super::*;

    fn request(memory: &Bytes) -> (Arc<Facts>, Option<Collected>, Interim) {
        let unix = Address::Unix(None);
        let request = Request {
            head: Default::default(),
            content: Content::empty(),
            connection: Arc::new(Connection::new(unix.clone(), unix, false)),
            ordinal: 1,
            received: std::time::Instant::now(),
            head_bytes: 0,
        };
        let interim = request.interim();
        let facts = Facts {
            head: request.head,
            connection: request.connection,
            ordinal: request.ordinal,
            received: request.received,
            secure: false,
            trusted: false,
            script_told: false,
            queued_us: Default::default(),
            ends_connection: Default::default(),
            trailers: None,
        };
        let input = Collected {
            memory: [memory.clone()].into(),
            file: None,
        };
        (Arc::new(facts), Some(input), interim)
    }

    #[test]
    fn who_stops_waiting_takes_the_request_back() {
        let queue = Queue::default();
        let mut cx = Context::from_waker(Waker::noop());
        let contents = [Bytes::from(vec![1; 9]), Bytes::from(vec![2; 9])];
        let (facts, input, interim) = request(&contents[0]);
        let mut stays = pin!(queue.ask(facts, input, interim, None));
        assert!(stays.as_mut().poll(&mut cx).is_pending());
        {
            let (facts, input, interim) = request(&contents[1]);
            let mut leaves = pin!(queue.ask(facts.clone(), input, interim, None));
            assert!(leaves.as_mut().poll(&mut cx).is_pending());
            assert_eq!(queue.state().jobs.len(), 2);
        }
        // No thread has come by.
        assert_eq!(queue.waiting.load(Ordering::Relaxed), 1);
        assert!(contents[1].is_unique());
        assert!(!contents[0].is_unique());
        let job = queue.next().expect("waits");
        assert!(
            job.reply
                .send(Reply::Whole(Begun::Failed, Told::default()))
                .is_ok()
        );
        assert!(stays.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn an_application_whose_client_left_as_it_began_is_not_left_waiting() {
        let room = crate::outlet::Room {
            memory_bytes: 1,
            spool_bytes: 0,
            spool_dir: std::env::temp_dir(),
        };
        let outlet = Arc::new(Outlet::new(Arc::new(room)));
        let (reply, answer) = oneshot::channel();
        drop(answer);
        let content = OutletBody(outlet.clone());
        send(
            &Mutex::new(Some(reply)),
            Reply::Streams(Head::default(), content, Told::default()),
        );
        let pushed = outlet.push_waiting(&Bytes::from_static(b"some"), || false);
        assert_eq!(pushed.expect("pushes"), Pushed::Gone);
    }
}
