//! Shares the thread with others: a service may work where it is polled, and the requests of a connection are polled in one task. When
//! they have held the thread for a while, those that are left wait until everything else that is ready had its turn, sockets and
//! timers too.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// How long requests go on in one turn of their connection; the one that reaches it is the last.
const TURN: Duration = Duration::from_millis(1);

/// See the module.
pub(super) struct Pace {
    state: Mutex<State>,
}

struct State {
    /// When the turn began.
    begun: Instant,
    /// It is over.
    over: bool,
    late: Vec<Waker>,
}

impl Pace {
    pub fn new() -> Self {
        let state = State {
            begun: Instant::now(),
            over: false,
            late: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// The connection's turn begins.
    pub fn begin(&self) {
        let mut state = self.state();
        state.begun = Instant::now();
        state.over = false;
    }

    /// The connection's turn ends: those who came too late are woken after everybody else.
    pub fn end(&self) {
        let late = std::mem::take(&mut self.state().late);
        if !late.is_empty() {
            let late = Waker::from(Arc::new(Late(Mutex::new(late))));
            // Keeps the waker until the runtime has looked at sockets and timers; waking the task at once would come before them.
            let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&late));
        }
    }

    /// Polls a request, or has it wait for the next turn.
    pub fn poll<T>(
        &self,
        request: Pin<&mut impl Future<Output = T>>,
        cx: &mut Context<'_>,
    ) -> Poll<T> {
        let mut state = self.state();
        if state.over {
            state.late.push(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        let polled = request.poll(cx);
        let mut state = self.state();
        state.over = state.begun.elapsed() >= TURN;
        polled
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes all of these, in their order.
struct Late(Mutex<Vec<Waker>>);

impl Wake for Late {
    fn wake(self: Arc<Self>) {
        let mut late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *late).into_iter().for_each(Waker::wake);
    }
}
