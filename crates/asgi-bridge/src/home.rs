//! Where the application's loop runs, seen from a connection: on the same thread, or on another.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use pyo3::intern;
use pyo3::prelude::*;
use tokio::runtime::Handle;

use crate::inbox::Inbox;
use crate::reactor::Reactor;

/// See the module.
pub(crate) enum Home {
    /// Connections run on the loop's thread.
    Here(Arc<Reactor>),
    /// They run in a runtime of another thread; what has to do with Python goes into the loop's inbox.
    There(Arc<Inbox>, OnceLock<Handle>),
}

impl Home {
    pub fn event_loop(&self) -> &Py<PyAny> {
        match self {
            Self::Here(reactor) => reactor.event_loop(),
            Self::There(inbox, _) => inbox.event_loop(),
        }
    }

    /// Says where connections run; of use only where that is another thread.
    pub fn set_runtime(&self, runtime: Handle) {
        if let Self::There(_, place) = self {
            let _ = place.set(runtime);
        }
    }

    /// Whether connections run on another thread: what they bring may come at any moment.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, Self::There(..))
    }

    /// Runs a future beside the connections.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Here(reactor) => reactor.spawn(future),
            Self::There(_, runtime) => {
                if let Some(runtime) = runtime.get() {
                    runtime.spawn(future);
                }
            }
        }
    }

    /// Whether the application can be called at once. Ask on the loop's thread.
    pub fn may_step(&self) -> bool {
        match self {
            Self::Here(reactor) => reactor.may_step(),
            Self::There(inbox, _) => inbox.in_turn(),
        }
    }

    /// Whether the application's code that runs now does so in its first step. Ask on the loop's thread.
    pub fn in_turn(&self) -> bool {
        match self {
            Self::Here(reactor) => reactor.in_turn(),
            Self::There(inbox, _) => inbox.in_turn(),
        }
    }

    /// Runs a step of Python code.
    pub fn inside<T>(&self, f: impl FnOnce() -> T) -> T {
        match self {
            Self::Here(reactor) => reactor.inside(f),
            Self::There(..) => f(),
        }
    }

    /// Does something with Python on the loop's thread.
    pub fn errand(&self, work: impl FnOnce(Python<'_>) + Send + 'static) {
        match self {
            Self::Here(reactor) => reactor.errand(move |_, py| work(py)),
            Self::There(inbox, _) => inbox.errand(Box::new(work)),
        }
    }

    /// Lets the connections that Python code has just given something to do get to it.
    pub fn flush(&self) {
        if let Self::Here(reactor) = self {
            reactor.flush();
        }
    }

    /// Does something at the loop's next opportunity. Call it on the loop's thread.
    pub fn soon(&self, work: impl FnOnce() + Send + 'static) {
        match self {
            Self::Here(reactor) => reactor.put_off(work),
            Self::There(inbox, _) => inbox.put_off(Box::new(|_| work())),
        }
    }

    /// Ends the waiting of these futures.
    pub fn resolve(&self, futures: Vec<Py<PyAny>>) {
        if futures.is_empty() {
            return;
        }
        self.errand(move |py| {
            for future in futures {
                let future = future.bind(py);
                let done = future
                    .call_method0(intern!(py, "done"))
                    .and_then(|done| done.is_truthy());
                if done.is_ok_and(|done| !done) {
                    let _ = future.call_method1(intern!(py, "set_result"), (py.None(),));
                }
            }
        });
    }
}
