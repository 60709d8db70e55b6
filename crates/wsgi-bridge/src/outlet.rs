//! Between an application that makes response content and the connection that sends it.
//!
//! What the client has not taken yet waits in memory up to a limit. Beyond that the application waits too, unless somebody
//! needs it for another request: then what it makes goes to an unlinked file, so that it can come to its end at once while a slow
//! client takes its time.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use proxy_core::body::BodyError;

use crate::spool;

/// So much is read back from a file at a time.
const READ: usize = 64 << 10;

/// Limits of an [`Outlet`].
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub memory_bytes: usize,
    pub spool_bytes: u64,
    pub spool_dir: PathBuf,
}

/// Content on its way out. One side pushes and finishes, the other polls and may go away.
pub(crate) struct Outlet {
    room: Arc<Room>,
    state: Mutex<State>,
    taken: Condvar,
}

#[derive(Default)]
struct State {
    memory: VecDeque<Bytes>,
    memory_bytes: usize,
    spool: Option<spool::Queue>,
    end: Option<Result<(), BodyError>>,
    reader_gone: bool,
    reader: Option<Waker>,
    delivered_bytes: u64,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is on its way.
    Taken,
    /// There is no room now; nothing was taken.
    Full,
    /// Nobody reads any more.
    Gone,
}

/// How full an outlet may become by a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// As far as memory goes.
    Memory,
    /// As far as the file goes.
    Spool,
}

impl Outlet {
    pub fn new(room: Arc<Room>) -> Self {
        Self {
            room,
            state: Mutex::default(),
            taken: Condvar::new(),
        }
    }

    /// Adds content.
    ///
    /// # Errors
    /// The file's.
    pub fn push(&self, bytes: &Bytes, fill: Fill) -> io::Result<Pushed> {
        self.put(&mut self.state(), bytes, fill)
    }

    /// Adds content and waits for room where there is none; `crowded` says whether others wait for the one who pushes, so that a
    /// file is better than waiting.
    ///
    /// # Errors
    /// The file's.
    pub fn push_waiting(&self, bytes: &Bytes, crowded: impl Fn() -> bool) -> io::Result<Pushed> {
        let mut state = self.state();
        loop {
            let fill = if crowded() { Fill::Spool } else { Fill::Memory };
            match self.put(&mut state, bytes, fill)? {
                Pushed::Full => {}
                done => return Ok(done),
            }
            let waited = self
                .taken
                .wait_timeout(state, std::time::Duration::from_millis(250));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn put(&self, state: &mut State, bytes: &Bytes, fill: Fill) -> io::Result<Pushed> {
        if state.reader_gone {
            return Ok(Pushed::Gone);
        }
        let spooled = state.spool.as_ref().map_or(0, spool::Queue::len);
        // An outlet that is empty takes a piece of any size: it is in memory already.
        let fits =
            state.memory_bytes == 0 || state.memory_bytes + bytes.len() <= self.room.memory_bytes;
        if spooled == 0 && fits {
            state.memory_bytes += bytes.len();
            state.memory.push_back(bytes.clone());
        } else if fill == Fill::Memory || spooled + bytes.len() as u64 > self.room.spool_bytes {
            return Ok(Pushed::Full);
        } else {
            let spool = match &mut state.spool {
                Some(spool) => spool,
                None => state.spool.insert(spool::Queue::new(&self.room.spool_dir)?),
            };
            spool.push(bytes)?;
        }
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Ok(Pushed::Taken)
    }

    /// Says that nothing follows; an error cuts the connection.
    pub fn finish(&self, end: Result<(), BodyError>) {
        let mut state = self.state();
        if state.end.is_none() {
            state.end = Some(end);
        }
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// What comes next; `None` at the end.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut state = self.state();
        match state.next() {
            Next::Nothing => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Next::Bytes(bytes) => {
                drop(state);
                self.taken.notify_all();
                Poll::Ready(Some(Ok(bytes)))
            }
            Next::End => Poll::Ready(None),
            Next::Failed(error) => Poll::Ready(Some(Err(error))),
        }
    }

    /// Takes the next piece, if there is one.
    pub fn pop(&self) -> Next {
        let next = self.state().next();
        self.taken.notify_all();
        next
    }

    /// Nobody reads any more: pushes say so from now on.
    pub fn abandon(&self) {
        let mut state = self.state();
        state.reader_gone = true;
        state.memory.clear();
        state.memory_bytes = 0;
        state.spool = None;
        drop(state);
        self.taken.notify_all();
    }

    /// Bytes that were taken out.
    pub fn delivered_bytes(&self) -> u64 {
        self.state().delivered_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Next {
        let spooled = self.spool.as_mut().filter(|spool| spool.len() > 0);
        let bytes = match (self.memory.pop_front(), spooled) {
            (Some(bytes), _) => {
                self.memory_bytes -= bytes.len();
                bytes
            }
            (None, Some(spool)) => match spool.pop(READ) {
                Ok(bytes) => bytes.into(),
                Err(error) => return Next::Failed(error.into()),
            },
            (None, None) => return self.end(),
        };
        self.delivered_bytes += bytes.len() as u64;
        Next::Bytes(bytes)
    }

    fn end(&mut self) -> Next {
        match self.end.replace(Ok(())) {
            None => {
                self.end = None;
                Next::Nothing
            }
            Some(Ok(())) => Next::End,
            Some(Err(error)) => Next::Failed(error),
        }
    }
}

/// What an [`Outlet`] gives.
pub(crate) enum Next {
    /// Content.
    Bytes(Bytes),
    /// None yet.
    Nothing,
    /// No more.
    End,
    /// The content broke off; told once.
    Failed(BodyError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlet(memory_bytes: usize, spool_bytes: u64) -> Outlet {
        Outlet::new(Arc::new(Room {
            memory_bytes,
            spool_bytes,
            spool_dir: std::env::temp_dir(),
        }))
    }

    fn push(outlet: &Outlet, text: &'static str, fill: Fill) -> Pushed {
        outlet
            .push(&Bytes::from_static(text.as_bytes()), fill)
            .expect("pushes")
    }

    fn drain(outlet: &Outlet) -> (String, bool) {
        let mut text = String::new();
        loop {
            match outlet.pop() {
                Next::Bytes(bytes) => text.push_str(std::str::from_utf8(&bytes).expect("is text")),
                Next::Nothing => return (text, false),
                Next::End => return (text, true),
                Next::Failed(error) => return (format!("{text}!{error}"), true),
            }
        }
    }

    #[test]
    fn memory_is_limited_and_the_order_is_kept_through_the_file() {
        let outlet = outlet(4, 6);
        assert_eq!(push(&outlet, "abc", Fill::Memory), Pushed::Taken);
        assert_eq!(push(&outlet, "de", Fill::Memory), Pushed::Full);
        assert_eq!(push(&outlet, "de", Fill::Spool), Pushed::Taken);
        assert_eq!(
            push(&outlet, "f", Fill::Spool),
            Pushed::Taken,
            "goes behind what is in the file"
        );
        assert_eq!(push(&outlet, "ghij", Fill::Spool), Pushed::Full);
        assert_eq!(drain(&outlet), ("abcdef".into(), false));
        assert_eq!(
            push(&outlet, "much more than the limit", Fill::Memory),
            Pushed::Taken
        );
        outlet.finish(Ok(()));
        assert_eq!(drain(&outlet), ("much more than the limit".into(), true));
        assert_eq!(outlet.delivered_bytes(), 30);
    }

    #[test]
    fn a_failure_is_told_after_what_came_before_it() {
        let outlet = outlet(10, 0);
        push(&outlet, "abc", Fill::Memory);
        outlet.finish(Err(BodyError::Incomplete("gone".into())));
        outlet.finish(Ok(()));
        assert_eq!(
            drain(&outlet),
            ("abc!content ended early: gone".into(), true)
        );
    }

    #[test]
    fn the_reader_is_woken_and_a_writer_without_room_waits_for_it() {
        let outlet = std::sync::Arc::new(outlet(3, 0));
        let writer = std::thread::spawn({
            let outlet = outlet.clone();
            move || {
                for _ in 0..50 {
                    assert_eq!(
                        outlet
                            .push_waiting(&Bytes::from_static(b"abc"), || false)
                            .expect("pushes"),
                        Pushed::Taken
                    );
                }
                outlet.finish(Ok(()));
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("builds");
        let read = runtime.block_on(async {
            let mut read = 0;
            while let Some(bytes) = std::future::poll_fn(|cx| outlet.poll(cx)).await {
                read += bytes.expect("reads").len();
            }
            read
        });
        writer.join().expect("ends");
        assert_eq!(read, 150);
    }

    #[test]
    fn a_writer_learns_that_nobody_reads() {
        let outlet = std::sync::Arc::new(outlet(3, 0));
        push(&outlet, "abc", Fill::Memory);
        let writer = std::thread::spawn({
            let outlet = outlet.clone();
            move || {
                outlet
                    .push_waiting(&Bytes::from_static(b"abc"), || false)
                    .expect("pushes")
            }
        });
        outlet.abandon();
        assert_eq!(writer.join().expect("ends"), Pushed::Gone);
    }
}
