//! Looks at the frames of a client as they pass and counts those that bring nothing: a client that sends many of them keeps a server
//! busy at little cost of its own (CVE-2019-9512 to 9518 and their like).
//!
//! Knows nothing of sockets and clocks. What a frame means is the protocol's business; here only types, lengths and flags count.

/// What a connection may spend at first, and at most.
const FULL: i64 = 2000;
/// What it earns by time, a second.
const PER_SECOND: u64 = 20;
/// What it earns by a request.
const PER_REQUEST: i64 = 8;
/// What giving up a request costs: more than it earned, or requests that are given up at once could go on for ever.
const PER_RESET: i64 = PER_REQUEST + 2;
/// What it earns by this many bytes that were sent to it: it has to allow more of them by a frame of its own.
const BYTES_PER_FRAME: u64 = 1024;
const FRAME_HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PREFACE: usize = 24;

/// See the module.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes of the preface that are still to come.
    preface: usize,
    head: [u8; FRAME_HEAD],
    head_len: usize,
    /// Bytes of the frame that are still to come.
    left: usize,
    data: bool,
    /// A head of a request has begun and not ended.
    block: bool,
    credit: i64,
    sent: u64,
}

impl Meter {
    pub fn new() -> Self {
        Self {
            preface: PREFACE,
            head: [0; FRAME_HEAD],
            head_len: 0,
            left: 0,
            data: false,
            block: false,
            credit: FULL,
            sent: 0,
        }
    }

    /// Looks at bytes of the client's.
    pub fn received(&mut self, mut bytes: &[u8]) {
        let preface = self.preface.min(bytes.len());
        self.preface -= preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.left > 0 {
                let now = self.left.min(bytes.len());
                self.left -= now;
                bytes = &bytes[now..];
                continue;
            }
            let now = (FRAME_HEAD - self.head_len).min(bytes.len());
            self.head[self.head_len..self.head_len + now].copy_from_slice(&bytes[..now]);
            self.head_len += now;
            bytes = &bytes[now..];
            if self.head_len == FRAME_HEAD {
                self.head_len = 0;
                self.frame();
            }
        }
    }

    fn frame(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.data = kind == DATA;
        match kind {
            DATA if self.left > 0 || flags & END_STREAM != 0 => {}
            HEADERS => {
                self.block = flags & END_HEADERS == 0;
                self.credit = FULL.min(self.credit + PER_REQUEST);
            }
            CONTINUATION => {
                self.block = flags & END_HEADERS == 0;
                self.credit -= 1;
            }
            RST_STREAM => self.credit -= PER_RESET,
            _ => self.credit -= 1,
        }
    }

    /// Counts bytes that were sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        let earned = self.sent / BYTES_PER_FRAME;
        self.sent %= BYTES_PER_FRAME;
        self.credit = FULL.min(self.credit.saturating_add_unsigned(earned));
    }

    /// Whether more came than was earned; `seconds` is told how long ago that was last asked, and only asked when it matters.
    pub fn is_flooded(&mut self, seconds: impl FnOnce() -> u64) -> bool {
        if self.credit >= 0 {
            return false;
        }
        let earned = seconds().saturating_mul(PER_SECOND);
        self.credit = FULL.min(self.credit.saturating_add_unsigned(earned));
        self.credit < 0
    }

    /// Whether something has begun to come whose rest has to follow soon: anything but content.
    pub fn is_unfinished(&self) -> bool {
        self.head_len > 0 || self.block || (self.left > 0 && !self.data)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;
    const SETTINGS: u8 = 4;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![
            0,
            (length >> 8) as u8,
            length as u8,
            kind,
            flags,
            0,
            0,
            0,
            1,
        ];
        frame.resize(FRAME_HEAD + length, 0);
        frame
    }

    fn started() -> Meter {
        let mut meter = Meter::new();
        meter.received(&[0; PREFACE]);
        meter
    }

    #[test]
    fn frames_that_bring_nothing_are_a_flood_after_a_while() {
        for kind in [PING, SETTINGS, 2, 8, DATA, 200] {
            let mut meter = started();
            for _ in 0..FULL {
                meter.received(&frame(kind, 0, if kind == DATA { 0 } else { 8 }));
            }
            assert!(!meter.is_flooded(|| 0), "{kind}");
            meter.received(&frame(kind, 0, 0));
            assert!(meter.is_flooded(|| 0), "{kind}");
            assert!(!meter.is_flooded(|| 1), "{kind}");
        }
    }

    #[test]
    fn requests_that_are_given_up_are_a_flood_after_many() {
        let mut meter = started();
        let give_up = |meter: &mut Meter| {
            meter.received(&frame(HEADERS, END_HEADERS | END_STREAM, 30));
            meter.received(&frame(RST_STREAM, 0, 4));
        };
        for _ in 0..900 {
            give_up(&mut meter);
        }
        assert!(!meter.is_flooded(|| 0));
        for _ in 0..200 {
            give_up(&mut meter);
        }
        assert!(meter.is_flooded(|| 0));
        assert!(!meter.is_flooded(|| 20), "time makes up for it");
    }

    #[test]
    fn content_requests_and_what_large_responses_need_are_no_flood() {
        let mut meter = started();
        for number in 0..20_000 {
            meter.received(&frame(DATA, 0, 100));
            meter.received(&frame(DATA, END_STREAM, 0));
            meter.received(&frame(HEADERS, END_HEADERS, 30));
            if number % 4 == 0 {
                meter.received(&frame(RST_STREAM, 0, 4));
            }
            meter.sent(2048);
            meter.received(&frame(8, 0, 4));
            meter.received(&frame(8, 0, 4));
            assert!(!meter.is_flooded(|| 0));
        }
    }

    #[test]
    fn what_has_to_go_on_is_known() {
        let mut meter = started();
        assert!(!meter.is_unfinished());
        meter.received(&[0, 0]);
        assert!(meter.is_unfinished());
        meter.received(&[4, HEADERS, 0, 0, 0, 0, 1, 1, 2, 3, 4]);
        assert!(meter.is_unfinished(), "CONTINUATION has to follow");
        meter.received(&frame(CONTINUATION, END_HEADERS, 3));
        assert!(!meter.is_unfinished());
        meter.received(&frame(DATA, 0, 50)[..20]);
        assert!(!meter.is_unfinished(), "content may be slow");
    }

    proptest! {
        #[test]
        fn how_bytes_are_split_makes_no_difference(
            frames in proptest::collection::vec((0u8..12, any::<u8>(), 0usize..400), 1..40),
            steps in proptest::collection::vec(1usize..50, 1..20),
        ) {
            let mut all = vec![0; PREFACE];
            for (kind, flags, length) in frames {
                all.extend(frame(kind, flags, length));
            }
            let mut whole = Meter::new();
            whole.received(&all);
            let mut split = Meter::new();
            let (mut rest, mut steps) = (&all[..], steps.iter().cycle());
            while !rest.is_empty() {
                let now = steps.next().copied().unwrap_or(1).min(rest.len());
                split.received(&rest[..now]);
                rest = &rest[now..];
            }
            prop_assert_eq!(whole.credit, split.credit);
            prop_assert_eq!(whole.is_unfinished(), split.is_unfinished());
        }
    }
}
