//! What a connection has read and not used.

use std::io;
use std::task::{Context, Poll};

use crate::buffers;
use crate::socket::Socket;

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
        self.make_room(1024);
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
