//! Where the application's loop runs, seen from a connection: on the same thread, or on another.

use std::future::Future;
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;

use crate::reactor::Reactor;

/// See the module.
pub(crate) struct Home {
    reactor: Arc<Reactor>,
}

impl Home {
    pub fn here(reactor: Arc<Reactor>) -> Arc<Self> {
        Arc::new(Self { reactor })
    }

    pub fn event_loop(&self) -> &Py<PyAny> {
        self.reactor.event_loop()
    }

    /// Runs a future beside the connections.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.reactor.spawn(future);
    }

    /// Whether the application can be called at once.
    pub fn may_step(&self) -> bool {
        self.reactor.may_step()
    }

    /// Whether a turn is being taken; an application's code then runs in its first step.
    pub fn in_turn(&self) -> bool {
        self.reactor.in_turn()
    }

    /// Runs a step of Python code.
    pub fn inside<T>(&self, f: impl FnOnce() -> T) -> T {
        self.reactor.inside(f)
    }

    /// Does something with Python on the loop's thread.
    pub fn errand(&self, work: impl FnOnce(Python<'_>) + Send + 'static) {
        self.reactor.errand(move |_, py| work(py));
    }

    /// Lets the connections that Python code has just given something to do get to it.
    pub fn flush(&self) {
        self.reactor.flush();
    }

    /// Does something at the loop's next opportunity. Call it on the loop's thread.
    pub fn soon(&self, work: impl FnOnce() + Send + 'static) {
        self.reactor.put_off(work);
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
