//! Frames of RFC 6455, without I/O: bytes in, messages out, and the other way round.

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// The head of a frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    fin: bool,
    compressed: bool,
    opcode: Opcode,
    mask: [u8; 4],
    length: u64,
    /// Its own size.
    bytes: usize,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A whole message, as it was sent: compressed, perhaps.
    Message {
        text: bool,
        compressed: bool,
        content: Vec<u8>,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// With code and reason, where it has them.
    Close(Option<(u16, String)>),
}

/// Why a client's bytes are not understood; the connection fails with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub code: u16,
    pub reason: &'static str,
}

const fn protocol(reason: &'static str) -> Fault {
    Fault { code: 1002, reason }
}

const TOO_LARGE: Fault = Fault {
    code: 1009,
    reason: "message too big",
};

/// Takes bytes apart into frames, and puts these together to messages.
pub(crate) struct Decoder {
    limit_bytes: usize,
    /// RSV1 means something.
    deflate: bool,
    /// Bytes of a head that is not complete.
    start: Vec<u8>,
    frame: Option<(Head, u64)>,
    /// The message that is being put together: text, compressed.
    message: Option<(bool, bool)>,
    content: Vec<u8>,
    control: Vec<u8>,
}

/// Longest head: two bytes, eight of length, four of mask.
const HEAD_MAX: usize = 14;
const CONTROL_MAX: u64 = 125;
/// Room is made for so many bytes of a frame that have not come yet.
const AHEAD: usize = 16 << 10;

impl Decoder {
    pub fn new(limit_bytes: usize, deflate: bool) -> Self {
        Self {
            limit_bytes,
            deflate,
            start: Vec::new(),
            frame: None,
            message: None,
            content: Vec::new(),
            control: Vec::new(),
        }
    }

    /// Uses bytes from the front of `bytes` until something has come; `None` when all are used up.
    ///
    /// # Errors
    /// [`Fault`]; nothing that follows can be understood.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, Fault> {
        loop {
            let (head, done) = match self.frame {
                Some(frame) => frame,
                None => match self.head(bytes)? {
                    Some(head) => (head, 0),
                    None => return Ok(None),
                },
            };
            let left = head.length - done;
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(now);
            *bytes = rest;
            let target = if is_control(head.opcode) {
                &mut self.control
            } else {
                &mut self.content
            };
            let from = target.len();
            if now < left_in_memory(left) {
                // More of this frame follows; but a head alone must not cost memory.
                target.reserve(left_in_memory(left));
            }
            target.extend_from_slice(piece);
            unmask(&mut target[from..], head.mask, done as usize);
            let done = done + now as u64;
            if done < head.length {
                self.frame = Some((head, done));
                return Ok(None);
            }
            self.frame = None;
            if let Some(event) = self.frame_ends(head)? {
                return Ok(Some(event));
            }
        }
    }

    /// The next head, if it is complete.
    fn head(&mut self, bytes: &mut &[u8]) -> Result<Option<Head>, Fault> {
        let head = if self.start.is_empty() {
            // The common case: nothing is copied.
            match read_head(bytes)? {
                Some(head) => {
                    *bytes = &bytes[head.bytes..];
                    head
                }
                None => {
                    self.start.extend_from_slice(bytes);
                    *bytes = &[];
                    return Ok(None);
                }
            }
        } else {
            let had = self.start.len();
            let more = (HEAD_MAX - had).min(bytes.len());
            self.start.extend_from_slice(&bytes[..more]);
            match read_head(&self.start)? {
                Some(head) => {
                    *bytes = &bytes[head.bytes - had..];
                    self.start.clear();
                    head
                }
                None => {
                    *bytes = &bytes[more..];
                    return Ok(None);
                }
            }
        };
        self.admit(head)?;
        Ok(Some(head))
    }

    fn admit(&mut self, head: Head) -> Result<(), Fault> {
        if is_control(head.opcode) {
            if !head.fin || head.length > CONTROL_MAX || head.compressed {
                return Err(protocol("malformed control frame"));
            }
            return Ok(());
        }
        match (head.opcode, self.message) {
            (Opcode::Continuation, None) => {
                return Err(protocol("continuation without a beginning"));
            }
            (Opcode::Continuation, Some(_)) if head.compressed => {
                return Err(protocol("reserved bits in a continuation"));
            }
            (Opcode::Continuation, Some(_)) => {}
            (_, Some(_)) => return Err(protocol("a message within a message")),
            (opcode, None) => {
                if head.compressed && !self.deflate {
                    return Err(protocol("reserved bits without an extension"));
                }
                self.message = Some((opcode == Opcode::Text, head.compressed));
            }
        }
        let total = (self.content.len() as u64).saturating_add(head.length);
        if total > self.limit_bytes as u64 {
            return Err(TOO_LARGE);
        }
        Ok(())
    }

    fn frame_ends(&mut self, head: Head) -> Result<Option<Event>, Fault> {
        let control = |content: &mut Vec<u8>| std::mem::take(content);
        Ok(Some(match head.opcode {
            Opcode::Ping => Event::Ping(control(&mut self.control)),
            Opcode::Pong => Event::Pong(control(&mut self.control)),
            Opcode::Close => Event::Close(read_close(&control(&mut self.control))?),
            _ if !head.fin => return Ok(None),
            _ => {
                let Some((text, compressed)) = self.message.take() else {
                    return Ok(None);
                };
                Event::Message {
                    text,
                    compressed,
                    content: std::mem::take(&mut self.content),
                }
            }
        }))
    }
}

/// How much of what is left of a frame room is made for at once.
fn left_in_memory(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(AHEAD)
}

fn is_control(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong)
}

/// Reads a head from the front of some bytes, if all of it is there.
fn read_head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0b0011_0000 != 0 {
        return Err(protocol("reserved bits"));
    }
    let opcode = match first & 0b1111 {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(protocol("unknown opcode")),
    };
    if second & 0b1000_0000 == 0 {
        return Err(protocol("a client's frames have to be masked"));
    }
    let (length, size) = match second & 0b0111_1111 {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 8),
            None => return Ok(None),
        },
        short => (u64::from(short), 0),
    };
    let minimal = match size {
        2 => length > 125,
        8 => length > u64::from(u16::MAX) && length < 1 << 63,
        _ => true,
    };
    if !minimal {
        return Err(protocol("a length that could be shorter"));
    }
    let Some(mask) = rest[size..].first_chunk::<4>() else {
        return Ok(None);
    };
    Ok(Some(Head {
        fin: first & 0b1000_0000 != 0,
        compressed: first & 0b0100_0000 != 0,
        opcode,
        mask: *mask,
        length,
        bytes: 2 + size + 4,
    }))
}

/// Code and reason of a close frame (RFC 6455 §5.5.1, §7.4).
fn read_close(content: &[u8]) -> Result<Option<(u16, String)>, Fault> {
    let Some((code, reason)) = content.split_first_chunk::<2>() else {
        return match content {
            [] => Ok(None),
            _ => Err(protocol("half a close code")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !is_close_code(code) {
        return Err(protocol("a close code that cannot be sent"));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Some((code, reason.to_owned()))),
        Err(_) => Err(Fault {
            code: 1007,
            reason: "a reason that is no UTF-8",
        }),
    }
}

/// Codes that may stand in a close frame.
pub(crate) fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Takes the mask off, or puts it on; `offset` is the place of the first byte in its frame.
fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut turned = mask;
    turned.rotate_left(offset % 4);
    let wide = u64::from_ne_bytes([
        turned[0], turned[1], turned[2], turned[3], turned[0], turned[1], turned[2], turned[3],
    ]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    for (byte, mask) in chunks
        .into_remainder()
        .iter_mut()
        .zip(turned.iter().cycle())
    {
        *byte ^= mask;
    }
}

/// Appends a whole message, or a control frame, as a server sends it.
pub(crate) fn encode(opcode: Opcode, compressed: bool, content: &[u8], out: &mut Vec<u8>) {
    out.reserve(10 + content.len());
    out.push(0b1000_0000 | (u8::from(compressed) << 6) | opcode as u8);
    match content.len() {
        short @ ..=125 => out.push(short as u8),
        middle @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(content);
}

/// Appends a close frame.
pub(crate) fn encode_close(code: Option<u16>, reason: &str, out: &mut Vec<u8>) {
    let mut content = Vec::new();
    if let Some(code) = code {
        content.extend_from_slice(&code.to_be_bytes());
        let mut end = reason.len().min(CONTROL_MAX as usize - 2);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        content.extend_from_slice(&reason.as_bytes()[..end]);
    }
    encode(Opcode::Close, false, &content, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a client sends it.
    fn masked(first: u8, content: &[u8]) -> Vec<u8> {
        let mask = [7, 99, 200, 1];
        let mut frame = Vec::new();
        encode(Opcode::Text, false, content, &mut frame);
        let head = frame.len() - content.len();
        frame[0] = first;
        frame[1] |= 0b1000_0000;
        let mut content = frame.split_off(head);
        frame.extend_from_slice(&mask);
        unmask(&mut content, mask, 0);
        frame.extend_from_slice(&content);
        frame
    }

    fn all(decoder: &mut Decoder, mut bytes: &[u8]) -> Result<Vec<Event>, Fault> {
        let mut events = Vec::new();
        while let Some(event) = decoder.next(&mut bytes)? {
            events.push(event);
        }
        assert!(bytes.is_empty());
        Ok(events)
    }

    fn text(content: &str) -> Event {
        Event::Message {
            text: true,
            compressed: false,
            content: content.as_bytes().to_vec(),
        }
    }

    #[test]
    fn fragments_become_a_message_and_control_frames_come_between() {
        let bytes = [
            masked(0x01, b"Hel"),
            masked(0x89, b"are you there"),
            masked(0x00, b"l"),
            masked(0x80, b"o"),
            masked(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
        ]
        .concat();
        let expected = vec![
            Event::Ping(b"are you there".to_vec()),
            text("Hello"),
            Event::Close(Some((1000, "bye".to_owned()))),
        ];
        assert_eq!(all(&mut Decoder::new(100, false), &bytes), Ok(expected));
    }

    #[test]
    fn what_breaks_the_rules_is_refused_with_its_code() {
        let long = vec![b'x'; 126];
        for (bytes, code) in [
            (masked(0x80, b"x"), 1002),
            (masked(0x83, b"x"), 1002),
            (masked(0xc1, b"x"), 1002),
            (masked(0xa1, b"x"), 1002),
            (masked(0x09, b"x"), 1002),
            (masked(0x89, &long), 1002),
            ([masked(0x01, b"x"), masked(0x81, b"x")].concat(), 1002),
            (vec![0x81, 0x01, b'x'], 1002),
            (vec![0x81, 0xfe, 0, 5, 0, 0, 0, 0], 1002),
            (masked(0x88, &[3]), 1002),
            (masked(0x88, &1005_u16.to_be_bytes()), 1002),
            (masked(0x88, &[0x03, 0xe8, 0xff]), 1007),
            (masked(0x81, &[b'x'; 101]), 1009),
            (
                [masked(0x01, &[b'x'; 60]), masked(0x80, &[b'x'; 60])].concat(),
                1009,
            ),
        ] {
            let fault = all(&mut Decoder::new(100, false), &bytes).expect_err("is refused");
            assert_eq!(fault.code, code, "{bytes:?}: {}", fault.reason);
        }
        assert!(all(&mut Decoder::new(100, true), &masked(0xc1, b"x")).is_ok());
        assert!(all(&mut Decoder::new(100, false), &masked(0x81, &[b'x'; 100])).is_ok());
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        encode_close(Some(1000), &"\u{20ac}".repeat(50), &mut out);
        assert_eq!(out[1], 125);
        assert!(std::str::from_utf8(&out[4..]).is_ok_and(|reason| reason.chars().count() == 41));
    }

    proptest! {
        #[test]
        fn however_bytes_are_cut_the_same_comes_out(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..6),
            cuts in proptest::collection::vec(1_usize..50, 1..40),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| masked(0x82, message)).collect();
            let mut decoder = Decoder::new(1000, false);
            let mut got = Vec::new();
            let mut rest = &bytes[..];
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                got.extend(all(&mut decoder, piece).expect("is understood"));
                rest = after;
            }
            let expected: Vec<_> = messages
                .into_iter()
                .map(|content| Event::Message { text: false, compressed: false, content })
                .collect();
            prop_assert_eq!(got, expected);
        }
    }
}
