//! Turns of the runtime: what the connections do that were found ready together.

/// Lets the tasks go on that are ready now, has the runtime look for what became ready meanwhile, and returns when those had
/// their turn, too.
///
/// Whoever has something to write does this first: what all of them write then leaves one after the other, and a peer on the
/// same machine is woken once for all of it. A wake-up costs the writer, not the peer: in a virtual machine, where it leaves the
/// guest, as much as several small responses. Measured with 64 connections on loopback, a small file: 7.9 µs without it, 6.9 µs
/// when only those that are ready go first, 6.0 µs so.
pub(crate) async fn others_first() {
    tokio::task::yield_now().await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Write;
    use std::rc::Rc;

    use tokio::io::AsyncReadExt;
    use tokio::task::LocalSet;

    type Seen = Rc<RefCell<Vec<&'static str>>>;

    #[tokio::test]
    async fn all_that_are_ready_make_before_the_first_writes() {
        let seen = Seen::default();
        let local = LocalSet::new();
        for _ in 0..3 {
            let seen = Rc::clone(&seen);
            local.spawn_local(async move {
                seen.borrow_mut().push("makes");
                super::others_first().await;
                seen.borrow_mut().push("writes");
            });
        }
        local.await;
        let expected = ["makes", "makes", "makes", "writes", "writes", "writes"];
        assert_eq!(*seen.borrow(), expected);
    }

    #[tokio::test]
    async fn what_became_ready_meanwhile_goes_first_too() {
        let (mut far, near) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut near = tokio::net::UnixStream::from_std(near).unwrap();
        let seen = Seen::default();
        let local = LocalSet::new();
        let (reader, writer) = (Rc::clone(&seen), Rc::clone(&seen));
        local.spawn_local(async move {
            near.read_u8().await.unwrap();
            reader.borrow_mut().push("reads");
        });
        local.spawn_local(async move {
            // The reader waits by now.
            far.write_all(b"x").unwrap();
            super::others_first().await;
            writer.borrow_mut().push("writes");
        });
        local.await;
        assert_eq!(*seen.borrow(), ["reads", "writes"]);
    }
}
