//! What makes a socket encrypted: a session of TLS between its bytes and those of the connection.
//!
//! A session holds a buffer only while something is in it: what came and is not decrypted, what is encrypted and not sent. At most
//! [`SEND_MAX`] bytes are taken before the last of them has gone, so a slow client costs no more than that.

use std::io::{self, BufRead, IoSlice, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::{ServerConfig, ServerConnection};

use super::{Plain, Readable};
use crate::buffers;

/// What is taken to be encrypted before the last of it has gone, in bytes.
const SEND_MAX: usize = 64 * 1024;

/// See the module.
pub(super) struct Session {
    state: Mutex<State>,
}

struct State {
    tls: ServerConnection,
    /// Came, and has not been looked at.
    received: Vec<u8>,
    looked_at: usize,
    /// The peer says or does nothing more.
    ended: bool,
    /// We have said that we say nothing more, or must not say so.
    closed: bool,
}

/// Why a connection could not be encrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The client closed before the end of the handshake.
    #[error("the client closed the connection during the TLS handshake")]
    Closed,
    /// The socket failed.
    #[error("the connection failed during the TLS handshake: {0}")]
    Io(#[from] io::Error),
    /// The two sides do not agree, or the client broke the protocol.
    #[error("TLS handshake: {0}")]
    Handshake(#[source] rustls::Error),
}

impl Session {
    /// Makes the handshake.
    pub async fn accept(plain: &Plain, config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        let mut tls = ServerConnection::new(config).map_err(TlsError::Handshake)?;
        tls.set_buffer_limit(Some(SEND_MAX));
        let mut state = State {
            tls,
            received: Vec::new(),
            looked_at: 0,
            ended: false,
            closed: false,
        };
        std::future::poll_fn(|cx| state.poll_handshake(plain, cx)).await?;
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    /// What was agreed on by ALPN.
    pub fn protocol(&self) -> Option<Vec<u8>> {
        self.state().tls.alpn_protocol().map(<[u8]>::to_vec)
    }

    pub fn poll_read(
        &self,
        plain: &Plain,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let room = buf.capacity() - buf.len();
        self.poll_take(plain, cx, room, |bytes| buf.extend_from_slice(bytes))
    }

    pub fn poll_read_slice(
        &self,
        plain: &Plain,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut at = 0;
        self.poll_take(plain, cx, buf.len(), |bytes| {
            buf[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        })
    }

    /// Gives up to `room` decrypted bytes to `take`.
    fn poll_take(
        &self,
        plain: &Plain,
        cx: &mut Context<'_>,
        room: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let mut taken = 0;
        loop {
            while let Some(bytes) = state.decrypted().filter(|_| taken < room) {
                let now = bytes.len().min(room - taken);
                take(&bytes[..now]);
                state.tls.reader().consume(now);
                taken += now;
            }
            if taken == room || (state.ended && state.looked_at == state.received.len()) {
                return Poll::Ready(Ok(taken));
            }
            match state.poll_receive(plain, cx) {
                Poll::Ready(Ok(())) => {}
                // What is there is good; the rest is told next time.
                _ if taken > 0 => return Poll::Ready(Ok(taken)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    pub fn poll_readable(&self, plain: &Plain, cx: &mut Context<'_>) -> Poll<io::Result<Readable>> {
        let mut state = self.state();
        loop {
            if state.decrypted().is_some() {
                return Poll::Ready(Ok(Readable::Bytes));
            }
            if state.ended {
                return Poll::Ready(Ok(Readable::PeerClosed));
            }
            ready!(state.poll_receive(plain, cx))?;
        }
    }

    /// Nothing was read that nobody has asked for.
    pub fn is_quiet(&self) -> bool {
        let mut state = self.state();
        !state.ended && state.decrypted().is_none()
    }

    pub fn poll_write(
        &self,
        plain: &Plain,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        ready!(state.poll_send(plain, cx))?;
        let taken = state.tls.writer().write_vectored(parts)?;
        // What does not go now goes with the next write, or the flush.
        match state.poll_send(plain, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    pub fn poll_flush(&self, plain: &Plain, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().poll_send(plain, cx)
    }

    /// Says that nothing more will be said, as far as that can be done without waiting.
    pub fn close(&self, plain: &Plain) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.closed, true) {
            state.tls.send_close_notify();
            state.send_now(plain);
        }
    }

    /// Sees to it that the end of the connection is not taken for that of what was said.
    pub fn break_off(&self) {
        self.state().closed = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn poll_handshake(
        &mut self,
        plain: &Plain,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TlsError>> {
        loop {
            ready!(self.poll_send(plain, cx))?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(Err(TlsError::Closed));
            }
            if self.looked_at == self.received.len()
                && ready!(self.poll_fill(plain, cx)).map_err(|error| match error.kind() {
                    io::ErrorKind::ConnectionReset => TlsError::Closed,
                    _ => error.into(),
                })? == 0
            {
                self.ended = true;
                continue;
            }
            if let Err(error) = self.look() {
                self.send_now(plain);
                return Poll::Ready(Err(TlsError::Handshake(error)));
            }
        }
    }

    /// What is decrypted and was not taken.
    fn decrypted(&mut self) -> Option<&[u8]> {
        // Its errors say that there is nothing, or nothing more.
        match self.tls.reader().into_first_chunk() {
            Ok(bytes) if !bytes.is_empty() => Some(bytes),
            _ => None,
        }
    }

    /// Takes something in; ready when it is worth another look.
    fn poll_receive(&mut self, plain: &Plain, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.looked_at == self.received.len() && ready!(self.poll_fill(plain, cx))? == 0 {
            // A peer that says nothing of its end has ended all the same (gunicorn's suppress_ragged_eofs); what ends where is a
            // matter of what is inside.
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        let looked = self.look();
        // An alert, or the answer to a new key.
        self.send_now(plain);
        Poll::Ready(looked.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    fn poll_fill(&mut self, plain: &Plain, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = buffers::small();
        let read = plain.poll_read(cx, &mut buffer);
        if matches!(read, Poll::Ready(Ok(1..))) {
            self.received = buffer;
            self.looked_at = 0;
        } else {
            buffers::give_back(buffer);
        }
        read
    }

    /// Decrypts of what has come as much as can be held.
    fn look(&mut self) -> Result<(), rustls::Error> {
        while self.looked_at < self.received.len() {
            let mut rest = &self.received[self.looked_at..];
            let before = rest.len();
            let taken = self.tls.read_tls(&mut rest);
            self.looked_at += before - rest.len();
            let state = self.tls.process_new_packets()?;
            if state.peer_has_closed() {
                self.ended = true;
                self.looked_at = self.received.len();
            }
            let full = state.plaintext_bytes_to_read() > 0;
            match taken {
                Ok(1..) if !full => {}
                // What is decrypted has to be taken first.
                _ if full => break,
                Ok(_) => break,
                Err(error) => return Err(rustls::Error::General(error.to_string())),
            }
        }
        if self.looked_at == self.received.len() {
            buffers::give_back(std::mem::take(&mut self.received));
            self.looked_at = 0;
        }
        Ok(())
    }

    /// Sends all that is encrypted.
    fn poll_send(&mut self, plain: &Plain, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut way = Way {
                write: |parts: &[IoSlice<'_>]| match plain.poll_write(cx, parts) {
                    Poll::Ready(result) => result,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                },
            };
            match self.tls.write_tls(&mut way) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what goes without waiting.
    fn send_now(&mut self, plain: &Plain) {
        let mut way = Way {
            write: |parts: &[IoSlice<'_>]| match parts.iter().find(|part| !part.is_empty()) {
                Some(part) => plain.write_now(part),
                None => Ok(0),
            },
        };
        while self.tls.wants_write() && self.tls.write_tls(&mut way).is_ok_and(|sent| sent > 0) {}
    }
}

/// A way to the socket, as rustls wants it.
struct Way<F> {
    write: F,
}

impl<F: FnMut(&[IoSlice<'_>]) -> io::Result<usize>> Write for Way<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.write)(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        (self.write)(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
