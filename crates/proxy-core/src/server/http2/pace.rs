//! Shares the thread with others: a service may work where it is polled, and the requests of a connection are polled in one task. When
//! they have held the thread for a while, those that are left wait until everything else that is ready had its turn, sockets and
//! timers too.

use std::future::{Future, poll_fn};
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
            wake_later(late);
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

/// Lets everything else run that is ready, sockets and timers too.
pub(super) async fn step_aside() {
    let mut they_went = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut they_went, true) {
            return Poll::Ready(());
        }
        wake_later(vec![cx.waker().clone()]);
        Poll::Pending
    })
    .await;
}

/// Wakes these when the runtime has looked at sockets and timers; woken at once, they would come before them.
///
/// A runtime that stops first drops what it was to wake, as one does that another loop runs for a moment at a time: then it is now.
fn wake_later(late: Vec<Waker>) {
    let late = Waker::from(Arc::new(Late(Mutex::new(late))));
    let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&late));
}

/// Wakes all of these, in their order, when it is woken or dropped: nobody else knows that they wait.
struct Late(Mutex<Vec<Waker>>);

impl Late {
    fn wake_all(&self) {
        let late = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        late.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Late {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_woken_also_when_the_runtime_stops_before() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("is made");
        let mut waiting = Box::pin(step_aside());
        let woken = Arc::new(Flag::default());
        let waker = Waker::from(woken.clone());
        runtime.block_on(poll_fn(|_| {
            let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            assert!(!woken.is_set(), "the others have not had their turn");
            Poll::Ready(())
        }));
        assert!(woken.is_set());
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        );
    }

    #[derive(Default)]
    struct Flag(std::sync::atomic::AtomicBool);

    impl Flag {
        fn is_set(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::SeqCst)
        }
    }

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
}
