//! `permessage-deflate` (RFC 7692), without context takeover in either direction: no connection holds a window, and one message
//! costs no more than its own size. What a client sends is unpacked only as far as a message may be long.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::Fault;

/// What ends every block, and is left out on the wire.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Shorter messages are not worth it.
pub(crate) const WORTH_BYTES: usize = 256;

/// What was agreed on with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The window that its inflater has, if it told: 9 to 15 bits.
    window_bits: Option<u8>,
}

impl Agreed {
    /// The first offer in `Sec-WebSocket-Extensions` that can be met.
    pub fn on<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        values
            .flat_map(http_wire::list::elements)
            .find_map(Self::offer)
    }

    fn offer(offer: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(offer).ok()?.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
            return None;
        }
        let mut agreed = Self { window_bits: None };
        let mut names = Vec::new();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                None => (part, None),
            };
            if names.contains(&name) {
                return None;
            }
            names.push(name);
            match (name, value) {
                ("server_no_context_takeover" | "client_no_context_takeover", None)
                | ("client_max_window_bits", None) => {}
                ("client_max_window_bits", Some(bits)) => {
                    bits.parse::<u8>()
                        .ok()
                        .filter(|bits| (8..=15).contains(bits))?;
                }
                ("server_max_window_bits", Some(bits)) => {
                    let bits = bits
                        .parse::<u8>()
                        .ok()
                        .filter(|bits| (9..=15).contains(bits))?;
                    agreed.window_bits = Some(bits);
                }
                _ => return None,
            }
        }
        Some(agreed)
    }

    /// The value of the response's `Sec-WebSocket-Extensions`.
    pub fn answer(self) -> String {
        let mut answer =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
        if let Some(bits) = self.window_bits {
            answer.push_str("; server_max_window_bits=");
            answer.push_str(itoa::Buffer::new().format(bits));
        }
        answer
    }
}

/// Packs and unpacks messages, one after the other, of any connection.
pub(crate) struct Deflate {
    packers: Vec<(u8, Compress)>,
    unpacker: Decompress,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            packers: Vec::new(),
            unpacker: Decompress::new(false),
        }
    }
}

impl Deflate {
    /// Packs a message; `None` where that does not make it shorter.
    pub fn pack(&mut self, agreed: Agreed, content: &[u8]) -> Option<Vec<u8>> {
        let bits = agreed.window_bits.unwrap_or(15);
        let at = match self.packers.iter().position(|(known, _)| *known == bits) {
            Some(at) => at,
            None => {
                let made = Compress::new_with_window_bits(Compression::fast(), false, bits);
                self.packers.push((bits, made));
                self.packers.len() - 1
            }
        };
        let packer = &mut self.packers[at].1;
        packer.reset();
        let mut packed = Vec::with_capacity(content.len() + 64);
        loop {
            let done = packer.total_in() as usize;
            packer
                .compress_vec(&content[done..], &mut packed, FlushCompress::Sync)
                .ok()?;
            // With room left, all that there was has been put out.
            if packer.total_in() as usize == content.len() && packed.len() < packed.capacity() {
                break;
            }
            packed.reserve(packed.len().max(64));
        }
        if !packed.ends_with(&TAIL) {
            return None;
        }
        packed.truncate(packed.len() - TAIL.len());
        (packed.len() < content.len()).then_some(packed)
    }

    /// Unpacks a message.
    ///
    /// # Errors
    /// It is broken, or longer than `limit_bytes`.
    pub fn unpack(&mut self, content: &[u8], limit_bytes: usize) -> Result<Vec<u8>, Fault> {
        const BROKEN: Fault = Fault {
            code: 1007,
            reason: "broken compression",
        };
        self.unpacker.reset(false);
        let mut unpacked = Vec::with_capacity((content.len() * 4).clamp(64, 64 << 10));
        for (part, last) in [(content, false), (&TAIL[..], true)] {
            let start = self.unpacker.total_in();
            loop {
                let done = usize::try_from(self.unpacker.total_in() - start).unwrap_or(usize::MAX);
                let before = unpacked.len();
                if unpacked.len() == unpacked.capacity() {
                    unpacked.reserve(unpacked.len());
                }
                let status = self
                    .unpacker
                    .decompress_vec(&part[done..], &mut unpacked, FlushDecompress::Sync)
                    .map_err(|_| BROKEN)?;
                if unpacked.len() > limit_bytes {
                    return Err(Fault {
                        code: 1009,
                        reason: "message too big",
                    });
                }
                let used = usize::try_from(self.unpacker.total_in() - start).unwrap_or(usize::MAX);
                let has_room = unpacked.len() < unpacked.capacity();
                match status {
                    // A final block: what follows it is no part of the message.
                    Status::StreamEnd => return Ok(fitted(unpacked)),
                    _ if used == part.len() && has_room => break,
                    _ if used == done && unpacked.len() == before && has_room => {
                        return Err(BROKEN);
                    }
                    _ => {}
                }
            }
            if last {
                break;
            }
        }
        Ok(fitted(unpacked))
    }
}

/// A large message may wait for the application for long: it has no more memory than it needs.
fn fitted(mut unpacked: Vec<u8>) -> Vec<u8> {
    if unpacked.capacity() > 64 << 10 {
        unpacked.shrink_to_fit();
    }
    unpacked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agreed(offer: &str) -> Option<String> {
        Agreed::on([offer.as_bytes()].into_iter()).map(Agreed::answer)
    }

    #[test]
    fn offers_are_met_or_passed_over() {
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
        ] {
            assert_eq!(agreed(offer).as_deref(), Some(plain), "{offer}");
        }
        let small = agreed("permessage-deflate; server_max_window_bits=10");
        assert_eq!(small, Some(format!("{plain}; server_max_window_bits=10")));
        for offer in ["", "deflate", "permessage-deflate; more=1"] {
            assert_eq!(agreed(offer), None, "{offer}");
        }
    }

    #[test]
    fn a_bomb_is_unpacked_no_further_than_its_limit() {
        let mut deflate = Deflate::default();
        let agreed = Agreed { window_bits: None };
        let packed = deflate
            .pack(agreed, &vec![0; 10 << 20])
            .expect("is shorter");
        assert!(packed.len() < 200_000, "{}", packed.len());
        let fault = deflate.unpack(&packed, 1 << 20).expect_err("is refused");
        assert_eq!(fault.code, 1009);
        assert_eq!(
            deflate.unpack(&packed, 10 << 20).map(|it| it.len()),
            Ok(10 << 20)
        );
    }

    #[test]
    fn what_is_no_deflate_is_refused() {
        let fault = Deflate::default().unpack(&[0xff; 40], 1000);
        assert_eq!(fault.expect_err("is refused").code, 1007);
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            content in proptest::collection::vec(0_u8..4, 0..5000), bits in 9_u8..=15,
        ) {
            let mut deflate = Deflate::default();
            for _ in 0..2 {
                let agreed = Agreed { window_bits: Some(bits) };
                if let Some(packed) = deflate.pack(agreed, &content) {
                    prop_assert_eq!(deflate.unpack(&packed, content.len()), Ok(content.clone()));
                }
            }
        }
    }
}
