//! A stream of HTTP/2 that carries another protocol (RFC 8441): both directions as bytes.

use std::io::{self, IoSlice};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};

/// See the module. Each direction may be used by one task at a time.
pub struct Duplex {
    receive: Mutex<Receive>,
    send: Mutex<Send>,
}

struct Receive {
    stream: RecvStream,
    /// Came, and was not taken.
    held: Bytes,
}

struct Send {
    stream: SendStream<Bytes>,
    ended: bool,
}

impl Duplex {
    pub(super) fn new(receive: RecvStream, send: SendStream<Bytes>) -> Self {
        Self {
            receive: Mutex::new(Receive {
                stream: receive,
                held: Bytes::new(),
            }),
            send: Mutex::new(Send {
                stream: send,
                ended: false,
            }),
        }
    }

    pub(in crate::server) fn poll_read_with(
        &self,
        cx: &mut Context<'_>,
        room: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let mut receive = lock(&self.receive);
        let receive = &mut *receive;
        while receive.held.is_empty() {
            match ready!(receive.stream.poll_data(cx)) {
                Some(Ok(bytes)) => receive.held = bytes,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(0)),
            }
        }
        let now = room.min(receive.held.len());
        take(&receive.held[..now]);
        receive.held.advance(now);
        let _ = receive.stream.flow_control().release_capacity(now);
        Poll::Ready(Ok(now))
    }

    pub(in crate::server) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted: usize = parts.iter().map(|part| part.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut send = lock(&self.send);
        let stream = &mut send.stream;
        stream.reserve_capacity(wanted);
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let now = wanted.min(stream.capacity());
        let mut piece = Vec::with_capacity(now);
        for part in parts {
            let more = part.len().min(now - piece.len());
            piece.extend_from_slice(&part[..more]);
        }
        stream.send_data(piece.into(), false).map_err(broken)?;
        Poll::Ready(Ok(now))
    }

    /// Says that nothing more comes from here.
    pub(in crate::server) fn end(&self) {
        let mut send = lock(&self.send);
        if !std::mem::replace(&mut send.ended, true) {
            // Where the stream is gone there is nobody to tell.
            let _ = send.stream.send_data(Bytes::new(), true);
        }
    }
}

impl std::fmt::Debug for Duplex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Duplex").finish_non_exhaustive()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
