//! Children that ended, and becoming the parent of orphans.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, wait};

use crate::Exit;

/// Collects every child that has ended, without waiting. Also those that this process never started itself: as PID 1 of
/// a container, or as a subreaper, it is the parent of every orphan.
#[must_use]
pub fn reap() -> Vec<(Pid, Exit)> {
    let mut gone = Vec::new();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => gone.extend(Exit::from_wait(status).map(|exit| (pid, exit))),
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return gone,
        }
    }
}

/// Makes this process the parent of orphans below it (`PR_SET_CHILD_SUBREAPER`): a process whose parent forked twice
/// becomes our child, and [`reap`] learns of its end.
///
/// # Errors
/// The kernel's.
pub fn become_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}
