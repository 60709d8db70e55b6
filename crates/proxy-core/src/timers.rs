//! Timers that are heard of. tokio tells nobody when its next timer is due; a program that drives a runtime from an event loop of its
//! own has to know, and [listens](listen) to what is set on its thread. Where nobody listens this costs a look at a thread's variable.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::{Instant, Sleep, Timeout};

type Listener = Box<dyn Fn(Instant)>;

thread_local! {
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Has `hear` be called with the deadline of every timer that is set on this thread from now on, in the place of who listened before. It
/// is called from within tasks, and must not set timers itself.
pub fn listen(hear: impl Fn(Instant) + 'static) {
    LISTENER.with_borrow_mut(|listener| *listener = Some(Box::new(hear)));
}

/// Nobody listens on this thread any more.
pub fn stop_listening() {
    LISTENER.with_borrow_mut(|listener| *listener = None);
}

/// Tells of a timer.
pub fn tell(deadline: Instant) {
    LISTENER.with_borrow(|listener| {
        if let Some(hear) = listener {
            hear(deadline);
        }
    });
}

/// [`tokio::time::sleep`], heard of.
pub fn sleep(span: Duration) -> Sleep {
    let sleep = tokio::time::sleep(span);
    tell(sleep.deadline());
    sleep
}

/// [`tokio::time::timeout`], heard of.
pub fn timeout<F: Future>(span: Duration, future: F) -> Timeout<F> {
    if let Some(deadline) = Instant::now().checked_add(span) {
        tell(deadline);
    }
    tokio::time::timeout(span, future)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::alarm::Alarm;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_is_heard_of_when_it_sets_a_timer_and_only_then() {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let told = heard.clone();
        listen(move |deadline| told.borrow_mut().push(deadline));
        let now = Instant::now();
        let seconds = |count| now + Duration::from_secs(count);
        let mut alarm = Alarm::default();
        let poll = |alarm: &mut Alarm, span| {
            alarm.set_after(Duration::from_secs(span));
            let _ = alarm.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        };
        poll(&mut alarm, 10);
        assert_eq!(*heard.borrow(), [seconds(10)]);
        // Later: the timer stays, and is set anew when it fires.
        poll(&mut alarm, 20);
        assert_eq!(heard.borrow().len(), 1);
        // Earlier: it moves.
        poll(&mut alarm, 5);
        assert_eq!(heard.borrow()[1..], [seconds(5)]);
        poll(&mut alarm, 20);
        tokio::time::advance(Duration::from_secs(6)).await;
        let _ = alarm.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert_eq!(heard.borrow()[2..], [seconds(20)]);
        stop_listening();
        drop(sleep(Duration::from_secs(1)));
        assert_eq!(heard.borrow().len(), 3);
    }
}
