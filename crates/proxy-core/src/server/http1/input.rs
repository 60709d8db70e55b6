//! What a connection has read and not used.

use std::io;
use std::task::{Context, Poll};

use crate::buffers;
use crate::socket::Socket;

/// Room for each read, and what may be moved when more is slow to come.
const SLOW_BYTES: usize = 1024;

/// Bytes read from a client. Holds no buffer while it is empty.
#[derive(Default)]
pub(super) struct Input {
    buffer: Vec<u8>,
    used: usize,
}

impl Input {
    /// What is there.
    pub(super) fn unused(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == self.buffer.len()
    }

    /// Takes bytes off the front.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.used += bytes;
        if self.is_empty() {
            self.buffer.clear();
            self.used = 0;
        }
    }

    /// Moves a little that came slowly into a buffer of its size: two thousand clients that send a byte a second should not
    /// hold as many full buffers.
    pub(super) fn settle(&mut self) {
        let few = self.unused().len() <= SLOW_BYTES && self.buffer.capacity() >= buffers::SMALL;
        if few && !self.is_empty() {
            let mut own = Vec::with_capacity(self.unused().len() + SLOW_BYTES);
            own.extend_from_slice(self.unused());
            buffers::give_back(std::mem::replace(&mut self.buffer, own));
            self.used = 0;
        }
    }

    /// Gives the buffer back if nothing is in it.
    pub(super) fn release(&mut self) {
        if self.is_empty() && self.buffer.capacity() > 0 {
            buffers::give_back(std::mem::take(&mut self.buffer));
        }
    }

    /// Takes everything off.
    pub(super) fn take(&mut self) -> bytes::Bytes {
        let rest = bytes::Bytes::copy_from_slice(self.unused());
        self.consume(rest.len());
        rest
    }

    /// Puts bytes behind what is there.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.make_room(bytes.len());
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Reads more; 0 is the end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
    ) -> Poll<io::Result<usize>> {
        self.make_room(SLOW_BYTES);
        socket.poll_read(cx, &mut self.buffer)
    }

    fn make_room(&mut self, bytes: usize) {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers::small();
        }
        if self.buffer.capacity() - self.buffer.len() < bytes {
            self.buffer.drain(..self.used);
            self.used = 0;
            self.buffer.reserve(bytes.max(self.buffer.len()));
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        buffers::give_back(std::mem::take(&mut self.buffer));
    }
}
