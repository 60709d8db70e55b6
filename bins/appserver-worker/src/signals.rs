//! What signals ask of a worker. Python catches them, so that applications may have handlers too; its handlers leave a note here,
//! and its wakeup descriptor ends the runtime's sleep.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::pipe::{PipeFlags, pipe_with};

/// Finish what runs, then end.
pub(crate) const GRACEFUL: u32 = 1;
/// End now.
pub(crate) const QUICK: u32 = 2;
/// End now, with failure: a request is stuck.
pub(crate) const ABORTED: u32 = 4;
/// Open the logs again.
pub(crate) const REOPEN: u32 = 8;
/// Ask the master for a successor.
pub(crate) const RETIRE: u32 = 16;
/// Look whether it is time to go: the requests that a worker is for have been served.
pub(crate) const SERVED: u32 = 32;

static ASKED: AtomicU32 = AtomicU32::new(0);
static LAST_WORDS: AtomicBool = AtomicBool::new(false);

/// Leaves a note, and ends the runtime's sleep: an event loop may have put its own wakeup descriptor in the place of ours.
pub(crate) fn ask(what: u32) {
    ASKED.fetch_or(what, Ordering::SeqCst);
    if let Ok((_, writer)) = wakeup() {
        let _ = rustix::io::write(writer, &[0]);
    }
}

/// Takes the notes; those that end the worker stay.
pub(crate) fn asked() -> u32 {
    ASKED.fetch_and(
        GRACEFUL | QUICK | ABORTED | RETIRE | SERVED,
        Ordering::SeqCst,
    )
}

/// Is this worker to be replaced?
pub(crate) fn retiring() -> bool {
    ASKED.load(Ordering::SeqCst) & RETIRE != 0
}

/// Has this worker served its share, or is it to be replaced?
pub(crate) fn over() -> bool {
    ASKED.load(Ordering::SeqCst) & (RETIRE | SERVED) != 0
}

/// Is this worker on its way out, whether or not it has noticed yet?
pub(crate) fn ending() -> bool {
    ASKED.load(Ordering::SeqCst) & (GRACEFUL | QUICK | ABORTED) != 0
}

/// From here on no signal breaks off what runs in Python: it is the hook for the end, and what is registered for it.
pub(crate) fn begin_last_words() {
    LAST_WORDS.store(true, Ordering::SeqCst);
}

/// Has [`begin_last_words`] been called?
pub(crate) fn last_words_have_begun() -> bool {
    LAST_WORDS.load(Ordering::SeqCst)
}

/// Both ends of the pipe that Python writes to when a signal comes, reading end first.
pub(crate) fn wakeup() -> io::Result<&'static (OwnedFd, OwnedFd)> {
    static PIPE: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();
    if let Some(pipe) = PIPE.get() {
        return Ok(pipe);
    }
    let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    Ok(PIPE.get_or_init(|| pipe))
}

/// Empties the pipe.
pub(crate) fn drain() {
    let mut bytes = [0_u8; 256];
    if let Ok((reader, _)) = wakeup() {
        while rustix::io::read(reader, &mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }
}
