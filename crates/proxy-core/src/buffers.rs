//! Read and write buffers, lent by the thread while there is something in them.
//!
//! Connections take a buffer when bytes move and give it back when it is empty, so that an idle connection holds none.
//! What a thread keeps in store is bounded: [`SMALL_KEPT`] and [`LARGE_KEPT`].

use std::cell::RefCell;

use bytes::Bytes;

/// Capacity of a buffer for heads and small content, in bytes.
pub const SMALL: usize = 16 * 1024;
/// Capacity of a buffer for content, in bytes.
pub const LARGE: usize = 128 * 1024;
/// How many small buffers a thread keeps.
pub const SMALL_KEPT: usize = 256;
/// How many large buffers a thread keeps.
pub const LARGE_KEPT: usize = 16;

/// A small buffer that grew beyond this is not kept.
const MEDIUM: usize = 2 * SMALL;
/// A large buffer that grew beyond this is not kept.
const HUGE: usize = 2 * LARGE;

#[derive(Default)]
struct Store {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

thread_local! {
    static STORE: RefCell<Store> = RefCell::default();
}

/// An empty buffer of at least [`SMALL`] bytes.
pub fn small() -> Vec<u8> {
    STORE
        .with_borrow_mut(|store| store.small.pop())
        .unwrap_or_else(|| Vec::with_capacity(SMALL))
}

/// An empty buffer of at least [`LARGE`] bytes.
pub fn large() -> Vec<u8> {
    STORE
        .with_borrow_mut(|store| store.large.pop())
        .unwrap_or_else(|| Vec::with_capacity(LARGE))
}

/// Takes a buffer back. Odd sizes and what exceeds the store are freed.
pub fn give_back(mut buffer: Vec<u8>) {
    buffer.clear();
    // A thread that is ending has no store any more; the buffer is then simply freed.
    let _ = STORE.try_with(|store| {
        let mut store = store.borrow_mut();
        let (shelf, kept) = match buffer.capacity() {
            SMALL..=MEDIUM => (&mut store.small, SMALL_KEPT),
            LARGE..=HUGE => (&mut store.large, LARGE_KEPT),
            _ => return,
        };
        if shelf.len() < kept {
            shelf.push(buffer);
        }
    });
}

/// Turns a filled buffer into shared bytes without copying; the last of its holders gives the buffer back.
pub fn into_bytes(buffer: Vec<u8>) -> Bytes {
    Bytes::from_owner(Lent(buffer))
}

struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_bytes_are_dropped() {
        let mut buffer = large();
        let address = buffer.as_ptr();
        buffer.extend_from_slice(b"content");
        let bytes = into_bytes(buffer);
        let part = bytes.slice(3..);
        drop(bytes);
        assert_eq!(&part[..], b"tent");
        drop(part);
        let again = large();
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty());
    }

    #[test]
    fn the_store_is_bounded_and_takes_no_odd_sizes() {
        for _ in 0..SMALL_KEPT * 2 {
            give_back(Vec::with_capacity(SMALL));
        }
        give_back(Vec::with_capacity(10));
        give_back(Vec::with_capacity(10 << 20));
        STORE.with_borrow(|store| {
            assert_eq!(store.small.len(), SMALL_KEPT);
            assert!(
                store
                    .small
                    .iter()
                    .chain(&store.large)
                    .all(|buffer| (SMALL..=HUGE).contains(&buffer.capacity()))
            );
        });
    }
}
