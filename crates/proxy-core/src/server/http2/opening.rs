//! The first bytes of a client whose request of HTTP/1.1 became stream 1 (RFC 7540 §3.2).
//!
//! The protocol's crate knows nothing of that: it is shown a connection that began with HTTP/2. What the request said in
//! `HTTP2-Settings` goes ahead of what the client's own SETTINGS frame says, in that frame, so that it is acknowledged once; behind it
//! stream 1 is opened by a head that nobody reads. Knows nothing of sockets.

use bytes::Bytes;

use super::PREFACE;

const FRAME_HEAD: usize = 9;
const SETTINGS: u8 = 4;
/// The longest SETTINGS frame that is waited for: longer ones are refused for their length.
const FRAME_MAX: usize = 16_384;
/// HEADERS with END_STREAM and END_HEADERS, on stream 1: `:method` GET, `:scheme` http, `:path` /.
const STREAM: [u8; 12] = [0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84];

/// See the module.
#[derive(Debug)]
pub(super) struct Opening {
    /// What `HTTP2-Settings` said: the content of a SETTINGS frame.
    settings: Bytes,
    /// Came already.
    held: Vec<u8>,
}

impl Opening {
    pub fn new(settings: Bytes) -> Self {
        Self {
            settings,
            held: Vec::new(),
        }
    }

    /// How many bytes have to come next, at most.
    pub fn wanted(&self) -> usize {
        let start = PREFACE.len() + FRAME_HEAD;
        match self.frame_len() {
            None => start - self.held.len(),
            Some(length) => start + length - self.held.len(),
        }
    }

    /// Takes what came; then, when that is all, what is to be read instead. No more than [`Opening::wanted`] bytes.
    pub fn receive(&mut self, bytes: &[u8]) -> Option<Bytes> {
        self.held.extend_from_slice(bytes);
        if self.is_foreign() {
            // Whoever reads it will say so.
            return Some(std::mem::take(&mut self.held).into());
        }
        (self.wanted() == 0).then(|| self.opened())
    }

    /// It is not how a connection of HTTP/2 begins.
    fn is_foreign(&self) -> bool {
        let preface = self.held.len().min(PREFACE.len());
        let frame = self.held.get(PREFACE.len()..PREFACE.len() + FRAME_HEAD);
        let is_settings = |head: &[u8]| head[3] == SETTINGS && head[4] & 1 == 0;
        self.held[..preface] != PREFACE[..preface]
            || frame.is_some_and(|head| !is_settings(head))
            || self.frame_len().is_some_and(|length| length > FRAME_MAX)
    }

    fn frame_len(&self) -> Option<usize> {
        let frame = self.held.get(PREFACE.len()..)?;
        frame.get(..FRAME_HEAD).map(length)
    }

    fn opened(&mut self) -> Bytes {
        let (preface, frame) = self.held.split_at(PREFACE.len());
        let (head, said) = frame.split_at(FRAME_HEAD);
        let all = said.len() + self.settings.len();
        let parts = [
            preface,
            &(all as u32).to_be_bytes()[1..],
            &head[3..],
            &self.settings,
            said,
            &STREAM,
        ];
        let opened = parts.concat().into();
        self.held = Vec::new();
        opened
    }
}

fn length(head: &[u8]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: [u8; 6] = [0, 4, 0, 0, 0, 9];

    fn beginning(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let head = [0, 0, content.len() as u8, kind, flags, 0, 0, 0, 0];
        [PREFACE, &head, content].concat()
    }

    /// What is read instead when the bytes come one by one.
    fn shown(bytes: &[u8]) -> Option<Bytes> {
        let mut opening = Opening::new(Bytes::from_static(&[0, 3, 0, 0, 0, 7]));
        let (last, first) = bytes.split_last().expect("something");
        for byte in first {
            assert!(opening.wanted() > 0);
            assert_eq!(opening.receive(&[*byte]), None);
        }
        opening.receive(&[*last])
    }

    #[test]
    fn settings_of_the_request_come_first_and_the_stream_follows() {
        let shown = shown(&beginning(SETTINGS, 0, &SAID)).expect("all came");
        let mut told = beginning(SETTINGS, 0, &[&[0, 3, 0, 0, 0, 7][..], &SAID].concat());
        told.extend_from_slice(&STREAM);
        assert_eq!(shown, told);
    }

    #[test]
    fn an_empty_frame_is_all_that_has_to_come() {
        let shown = shown(&beginning(SETTINGS, 0, &[])).expect("all came");
        assert_eq!(shown.len(), PREFACE.len() + FRAME_HEAD + 6 + STREAM.len());
    }

    #[test]
    fn what_is_something_else_is_passed_on_as_it_is() {
        for other in [
            beginning(6, 0, &[]),
            beginning(SETTINGS, 1, &[]),
            [PREFACE, &[1, 0, 0, SETTINGS, 0, 0, 0, 0, 0]].concat(),
            b"GET".to_vec(),
        ] {
            let mut opening = Opening::new(Bytes::new());
            assert_eq!(opening.receive(&other).as_deref(), Some(&other[..]));
        }
    }
}
