//! Names and times as text: escaped for where they are written.

use http_wire::date::HttpDate;

/// The name for people: bytes that are no UTF-8, and control characters, as `\xE9`.
pub(super) fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() {
                let mut bytes = [0; 4];
                letter
                    .encode_utf8(&mut bytes)
                    .bytes()
                    .for_each(|byte| push_byte(&mut text, byte));
            } else {
                text.push(letter);
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|&byte| push_byte(&mut text, byte));
    }
    text
}

fn push_byte(text: &mut String, byte: u8) {
    text.push_str("\\x");
    text.push(hex(byte >> 4));
    text.push(hex(byte & 15));
}

/// Appends text for HTML or XML, in an element or a quoted attribute.
pub(super) fn push_markup(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            _ => out.push(byte),
        }
    }
}

pub(super) fn hex(digit: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(digit & 15)])
}

/// A time in the parts that the formats put together: `21`, `Nov`, `2026`, `07:42:05`.
pub(super) struct Time([u8; 29]);

impl Time {
    pub(super) fn of(seconds: i64) -> Self {
        Time(HttpDate::from_unix(seconds).text())
    }

    /// `Sat, 21 Nov 2026 07:42:05 GMT`.
    pub(super) fn imf(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn day(&self) -> &[u8] {
        &self.0[5..7]
    }

    pub(super) fn month(&self) -> &[u8] {
        &self.0[8..11]
    }

    pub(super) fn month_number(&self) -> [u8; 2] {
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let at = MONTHS
            .chunks(3)
            .position(|month| month == self.month())
            .unwrap_or(0) as u8
            + 1;
        [b'0' + at / 10, b'0' + at % 10]
    }

    pub(super) fn year(&self) -> &[u8] {
        &self.0[12..16]
    }

    /// `07:42:05`.
    pub(super) fn clock(&self) -> &[u8] {
        &self.0[17..25]
    }
}
