//! The application on the connection's own thread: one request at a time, no hand-over between threads.
//!
//! Applications keep things by thread (database connections, request contexts), so on one thread they must never see a second
//! request before the first is over. A response that is still being made (a [`Run`]) therefore holds the [`Turn`]. While nobody
//! else wants it, the next item is made when the client has taken the one before. When another request comes, the run is brought
//! to its end first, item by item, and what the client has not taken waits in memory or in a file.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use proxy_core::body::BodyError;
use pyo3::prelude::*;
use tokio::sync::Notify;

use crate::call::Call;
use crate::core::Core;
use crate::outlet::{Fill, Next, Outlet, Pushed};

/// Who has the application.
#[derive(Default)]
pub(crate) struct Turn {
    current: Mutex<Option<Arc<Run>>>,
    /// Whether there is a current run, for those who only want to know that.
    taken: AtomicBool,
    waiting: AtomicUsize,
    changed: Notify,
}

impl Turn {
    /// Waits until the application can be called; brings a run that is in the way to its end.
    pub async fn free(&self) {
        if !self.is_taken() {
            return;
        }
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let changed = self.changed.notified();
            let Some(run) = self.current().clone() else {
                return;
            };
            match run.advance(Fill::Spool) {
                Advanced::Over => {}
                // Others go on between two items: the client of this run is one of them.
                Advanced::Some => tokio::task::yield_now().await,
                Advanced::Full => changed.await,
            }
        }
    }

    /// Whether a run holds the turn.
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    /// Requests that wait for it.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits until no run holds the turn, without hurrying it.
    pub async fn idle(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.is_taken() {
                return;
            }
            changed.await;
        }
    }

    fn take(&self, run: &Arc<Run>) {
        *self.current() = Some(run.clone());
        self.taken.store(true, Ordering::Relaxed);
    }

    fn give_back(&self, run: &Run) {
        let mut current = self.current();
        if current
            .as_ref()
            .is_some_and(|current| std::ptr::eq(Arc::as_ptr(current), run))
        {
            let over = current.take();
            self.taken.store(false, Ordering::Relaxed);
            drop(current);
            drop(over);
            self.changed.notify_waiters();
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Run>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response that the application has begun and not ended.
pub(crate) struct Run {
    core: Arc<Core>,
    turn: Arc<Turn>,
    outlet: Arc<Outlet>,
    /// Absent while it is being used, and at the end.
    call: Mutex<Option<Call>>,
    /// An item that did not fit.
    held: Mutex<Option<Bytes>>,
}

/// What an attempt to go on came to.
enum Advanced {
    /// Another item was made.
    Some,
    /// There is no room for another.
    Full,
    /// The application is done.
    Over,
}

impl Run {
    /// Takes the turn. Content that was written before is in `outlet`; `first` follows it.
    pub fn new(
        core: Arc<Core>,
        turn: Arc<Turn>,
        call: Call,
        outlet: Option<Arc<Outlet>>,
        first: Bytes,
    ) -> Arc<Self> {
        let outlet = outlet.unwrap_or_else(|| Arc::new(Outlet::new(core.room())));
        let run = Arc::new(Self {
            core,
            turn: turn.clone(),
            outlet,
            call: Mutex::new(Some(call)),
            held: Mutex::new(Some(first).filter(|first| !first.is_empty())),
        });
        turn.take(&run);
        run
    }

    /// Makes another item and puts it out.
    fn advance(&self, fill: Fill) -> Advanced {
        let held = self.held().take();
        let piece = match held {
            Some(piece) => piece,
            None => match self.make() {
                Some(piece) => piece,
                None => return Advanced::Over,
            },
        };
        match self.outlet.push(&piece, fill) {
            Ok(Pushed::Taken) => Advanced::Some,
            Ok(Pushed::Full) => {
                *self.held() = Some(piece);
                Advanced::Full
            }
            Ok(Pushed::Gone) => {
                self.abandon();
                Advanced::Over
            }
            Err(error) => {
                self.outlet.finish(Err(error.into()));
                self.abandon();
                Advanced::Over
            }
        }
    }

    /// The next item; at the end finishes the outlet and gives the turn back.
    fn make(&self) -> Option<Bytes> {
        // Taken out, so that nothing is locked while Python runs.
        let mut call = self.call().take()?;
        let made = Python::attach(|py| call.next(&self.core, py));
        if let Ok(Some(piece)) = made {
            *self.call() = Some(call);
            return Some(piece);
        }
        self.outlet.finish(made.map(|_| ()));
        drop(call);
        self.turn.give_back(self);
        None
    }

    /// Brings the application to its end after all content has been sent: what follows the last item, and `close()`.
    pub fn complete(&self) {
        while let Advanced::Some = self.advance(Fill::Memory) {}
        self.abandon();
    }

    /// Ends the application's work on a response that nobody reads.
    pub fn abandon(&self) {
        self.outlet.abandon();
        let call = self.call().take();
        if let Some(mut call) = call {
            Python::attach(|py| call.abandon(&self.core, py));
            self.turn.give_back(self);
        }
    }

    /// Where the content goes out.
    pub fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }

    fn call(&self) -> MutexGuard<'_, Option<Call>> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The content of a [`Run`]'s response.
pub(crate) struct RunBody {
    run: Arc<Run>,
    /// An item was just handed on and is to be sent before the next is made.
    gave: bool,
}

impl RunBody {
    pub fn new(run: Arc<Run>) -> Self {
        Self { run, gave: false }
    }
}

impl http_body::Body for RunBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.run.outlet.pop() {
                Next::Bytes(bytes) => {
                    self.gave = true;
                    if self.run.turn.waiting() > 0 {
                        self.run.turn.changed.notify_waiters();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Next::End => return Poll::Ready(None),
                Next::Failed(error) => return Poll::Ready(Some(Err(error))),
                Next::Nothing if std::mem::take(&mut self.gave) => {
                    // The connection sends what it has while we say that there is nothing; then it is asked again.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Next::Nothing => {
                    let _ = self.run.advance(Fill::Memory);
                }
            }
        }
    }
}

impl Drop for RunBody {
    fn drop(&mut self) {
        self.run.abandon();
    }
}
