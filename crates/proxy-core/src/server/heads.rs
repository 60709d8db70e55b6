//! Heads of requests that are over, whose memory the next request of the thread uses again.
//!
//! Without that a request costs four allocations for its target and its fields. Heads are only given back by services that
//! care to; what a thread keeps is bounded: [`KEPT`] heads of at most [`BYTES_MAX`] each.

use std::cell::RefCell;

use http_wire::head::RequestHead;

/// How many heads a thread keeps.
const KEPT: usize = 64;
/// The target and the fields of a head that is kept have at most so many bytes on the wire.
const BYTES_MAX: usize = 8 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<RequestHead>> = const { RefCell::new(Vec::new()) };
}

/// A head as it is by default, perhaps with memory.
pub(super) fn spare() -> RequestHead {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Takes the head of a request that is over, so that its memory can be used again.
pub fn give_head_back(mut head: RequestHead) {
    if head.fields.wire_len() + head.target.as_bytes().len() > BYTES_MAX {
        return;
    }
    head.clear();
    // A thread that is ending has no store any more; the head is then simply freed.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < KEPT {
            spare.push(head);
        }
    });
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http_wire::Known;

    use super::*;

    #[test]
    fn a_head_that_comes_back_says_nothing_of_its_request() {
        let mut head = RequestHead {
            method: Method::POST,
            ..RequestHead::default()
        };
        head.fields
            .append(Known::Cookie, "secret")
            .expect("is a field");
        give_head_back(head);
        assert_eq!(spare(), RequestHead::default());
    }

    #[test]
    fn large_heads_and_more_than_enough_are_freed() {
        let mut large = RequestHead::default();
        large
            .fields
            .append(Known::Cookie, vec![b'x'; BYTES_MAX])
            .expect("is a field");
        give_head_back(large);
        SPARE.with_borrow(|spare| assert_eq!(spare.len(), 0));
        for _ in 0..2 * KEPT {
            give_head_back(RequestHead::default());
        }
        SPARE.with_borrow(|spare| assert_eq!(spare.len(), KEPT));
    }
}
