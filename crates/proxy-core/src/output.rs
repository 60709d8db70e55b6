//! Bytes on their way to a socket: copied small things and shared large ones, in order, written with as few calls as can be.
//!
//! Used for responses to clients and for requests to origin servers. Everything is counted, so that whoever asks later can
//! tell how much of a message was written.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use crate::buffers;
use crate::socket::Socket;

/// Shared bytes up to this length are copied: cheaper than a slice of their own in `sendmsg`.
const COPY_MAX: usize = 4 * 1024;
/// Most slices of one `sendmsg`.
const SLICES: usize = 32;

/// See the module. Holds no buffer while it is empty.
#[derive(Default)]
pub(crate) struct Output {
    copied: Vec<u8>,
    /// How much of `copied` is written.
    copied_written: usize,
    shared: SmallVec<[Shared; 1]>,
    /// How many of `shared` are written.
    shared_written: usize,
    pending: usize,
    queued_total: u64,
}

struct Shared {
    /// How many copied bytes go before it.
    at: usize,
    bytes: Bytes,
}

impl Output {
    /// Bytes that are not yet written.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// All bytes that were ever put in, or written past it.
    pub(crate) fn queued_total(&self) -> u64 {
        self.queued_total
    }

    /// All bytes that were ever written.
    pub(crate) fn written_total(&self) -> u64 {
        self.queued_total - self.pending as u64
    }

    /// Gives the buffer back if nothing is in it.
    pub(crate) fn release(&mut self) {
        if self.pending == 0 && self.copied.capacity() > 0 {
            buffers::give_back(std::mem::take(&mut self.copied));
        }
    }

    /// Counts bytes that went to the socket by another way (`sendfile`), after all that is here.
    pub(crate) fn count_direct(&mut self, bytes: u64) {
        self.queued_total += bytes;
    }

    /// Lets `write` append to the copied bytes.
    pub(crate) fn write_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if self.copied.capacity() == 0 {
            self.copied = buffers::small();
        }
        let before = self.copied.len();
        let result = write(&mut self.copied);
        let more = self.copied.len() - before;
        self.pending += more;
        self.queued_total += more as u64;
        result
    }

    /// Appends a copy.
    pub(crate) fn push_slice(&mut self, bytes: &[u8]) {
        self.write_with(|out| out.extend_from_slice(bytes));
    }

    /// Appends shared bytes; copies them when they are few.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_MAX {
            return self.push_slice(&bytes);
        }
        self.pending += bytes.len();
        self.queued_total += bytes.len() as u64;
        self.shared.push(Shared {
            at: self.copied.len(),
            bytes,
        });
    }

    /// Writes all there is.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
    ) -> Poll<io::Result<()>> {
        while self.pending > 0 {
            let written = ready!(self.poll_write(cx, socket))?;
            self.advance(written);
        }
        socket.poll_flush(cx)
    }

    fn poll_write(&self, cx: &mut Context<'_>, socket: &Socket) -> Poll<io::Result<usize>> {
        let mut at = self.copied_written;
        if self.shared_written == self.shared.len() {
            return socket.poll_write(cx, &[IoSlice::new(&self.copied[at..])]);
        }
        let mut slices: SmallVec<[IoSlice<'_>; SLICES]> = SmallVec::new();
        for shared in &self.shared[self.shared_written..] {
            if shared.at > at {
                slices.push(IoSlice::new(&self.copied[at..shared.at]));
                at = shared.at;
            }
            slices.push(IoSlice::new(&shared.bytes));
            if slices.len() >= SLICES - 2 {
                return socket.poll_write(cx, &slices);
            }
        }
        if at < self.copied.len() {
            slices.push(IoSlice::new(&self.copied[at..]));
        }
        socket.poll_write(cx, &slices)
    }

    fn advance(&mut self, mut written: usize) {
        self.pending -= written;
        if self.pending == 0 {
            return self.clear();
        }
        while written > 0 {
            let end = self
                .shared
                .get(self.shared_written)
                .map_or(self.copied.len(), |shared| shared.at);
            let copied = written.min(end - self.copied_written);
            self.copied_written += copied;
            written -= copied;
            if written == 0 {
                break;
            }
            let Some(shared) = self.shared.get_mut(self.shared_written) else {
                break;
            };
            let step = written.min(shared.bytes.len());
            shared.bytes.advance(step);
            written -= step;
            if shared.bytes.is_empty() {
                self.shared_written += 1;
            }
        }
    }

    fn clear(&mut self) {
        self.copied.clear();
        self.copied_written = 0;
        self.shared.clear();
        self.shared_written = 0;
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        buffers::give_back(std::mem::take(&mut self.copied));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn drained(output: &mut Output, steps: &[usize]) -> Vec<u8> {
        let mut seen = Vec::new();
        let mut steps = steps.iter().cycle();
        while output.pending() > 0 {
            let mut flat = Vec::new();
            let mut at = output.copied_written;
            for shared in &output.shared[output.shared_written..] {
                flat.extend_from_slice(&output.copied[at..shared.at]);
                flat.extend_from_slice(&shared.bytes);
                at = shared.at;
            }
            flat.extend_from_slice(&output.copied[at..]);
            assert_eq!(flat.len(), output.pending());
            let step = (*steps.next().unwrap()).clamp(1, flat.len());
            seen.extend_from_slice(&flat[..step]);
            output.advance(step);
        }
        seen
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order_however_it_is_written(
            parts in proptest::collection::vec((0usize..9000, any::<bool>()), 0..12),
            steps in proptest::collection::vec(1usize..9000, 1..8),
        ) {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for (index, (len, shared)) in parts.iter().enumerate() {
                let bytes = vec![index as u8; *len];
                expected.extend_from_slice(&bytes);
                if *shared { output.push(bytes.into()) } else { output.push_slice(&bytes) }
            }
            let total = output.queued_total();
            prop_assert_eq!(drained(&mut output, &steps), expected);
            prop_assert_eq!(output.written_total(), total);
        }
    }

    #[tokio::test]
    async fn many_parts_reach_the_socket_in_order() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into()).unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all
        });
        let mut output = Output::default();
        let mut expected = Vec::new();
        for part in 0..200u8 {
            let bytes = vec![part; if part % 2 == 0 { 10 } else { 5000 }];
            expected.extend_from_slice(&bytes);
            output.push(bytes.into());
        }
        poll_fn(|cx| output.poll_flush(cx, &socket)).await.unwrap();
        drop(socket);
        assert_eq!(reader.join().unwrap(), expected);
    }
}
