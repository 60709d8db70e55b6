//! Files that stay open between requests, and are closed soon after the last.

use std::cell::Cell;
use std::time::Duration;

use static_files::{Opened, Root, forget_old};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::timers;

const EVERY: Duration = Duration::from_secs(1);

thread_local! {
    static CLOSES: Cell<bool> = const { Cell::new(false) };
}

/// Keeps a file open for the requests that follow, if it is one that can be. Only on a runtime of one thread, which is the one that has to close it.
pub fn keep(root: &Root, path: &[u8], opened: &Opened) {
    let alone = || {
        Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread)
    };
    if (CLOSES.get() || alone()) && root.keep_open(path, opened) && !CLOSES.replace(true) {
        tokio::spawn(close_old(Closing));
    }
}

/// While it lives, files are closed.
struct Closing;

impl Drop for Closing {
    /// Perhaps with the runtime; the next file starts it anew.
    fn drop(&mut self) {
        let _ = CLOSES.try_with(|closes| closes.set(false));
    }
}

async fn close_old(_closing: Closing) {
    loop {
        timers::sleep(EVERY).await;
        if !forget_old() {
            return;
        }
    }
}
