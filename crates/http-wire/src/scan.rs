//! Classes of bytes and the search loops of the parsers. Everything here works on bytes in memory and can't fail.

/// May stand in a token, RFC 9110 §5.6.2.
pub(crate) const TOKEN: u8 = 1;
/// Letters, digits and hyphen: what an ordinary field name is made of.
pub(crate) const PLAIN_NAME: u8 = 1 << 1;
/// Visible ASCII but `#`: what a request target may be made of. Wider than RFC 3986, because browsers send `{`, `|` or `"` as they are.
pub(crate) const TARGET: u8 = 1 << 2;
/// May stand in a registered name, IPv4 address or the inside of an IP literal, RFC 3986 §3.2.2 (`%` included, hex digits not checked).
pub(crate) const HOST: u8 = 1 << 3;
/// May stand in a field value: tab, space, visible ASCII, and the bytes from 0x80 up. RFC 9110 §5.5.
pub(crate) const VALUE: u8 = 1 << 4;
/// Token characters but small letters and `#`.
pub(crate) const TOKEN_NOT_SMALL: u8 = 1 << 5;
/// Capital letter, `-` or `_`.
pub(crate) const CAPITAL: u8 = 1 << 6;

static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = class_of(i as u8);
        i += 1;
    }
    table
};

const fn class_of(byte: u8) -> u8 {
    let mut class = 0;
    if byte.is_ascii_alphanumeric() || byte == b'-' {
        class |= PLAIN_NAME;
    }
    if byte.is_ascii_alphanumeric() || among(byte, b"!#$%&'*+-.^_`|~") {
        class |= TOKEN;
    }
    if byte.is_ascii_graphic() && byte != b'#' {
        class |= TARGET;
    }
    if byte.is_ascii_alphanumeric() || among(byte, b"-._~%!$&'()*+,;=") {
        class |= HOST;
    }
    if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
        class |= VALUE;
    }
    if class & TOKEN != 0 && !byte.is_ascii_lowercase() && byte != b'#' {
        class |= TOKEN_NOT_SMALL;
    }
    if byte.is_ascii_uppercase() || byte == b'-' || byte == b'_' {
        class |= CAPITAL;
    }
    class
}

const fn among(byte: u8, list: &[u8]) -> bool {
    let mut i = 0;
    while i < list.len() {
        if list[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether the byte is in one of the given classes.
#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// The number of leading bytes that are of the class.
#[inline]
pub(crate) fn run(bytes: &[u8], class: u8) -> usize {
    bytes
        .iter()
        .position(|&byte| !is(byte, class))
        .unwrap_or(bytes.len())
}

/// Whether all bytes are of the class. True for none.
#[inline]
pub(crate) fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().all(|&byte| is(byte, class))
}

/// Whether the bytes form a token: not empty, token characters only.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks the high bit of the first control byte (below space, or DEL) in a word; bits above the first mark may be wrong.
#[inline]
const fn controls(word: u64) -> u64 {
    let del = word ^ (ONES * 0x7f);
    (word.wrapping_sub(ONES * 0x20) & !word | del.wrapping_sub(ONES) & !del) & HIGHS
}

/// Where the first byte stands that is a control other than tab, or the length when there is none.
///
/// This is where a field value ends, for better (CR, LF) or worse (all others).
#[inline]
pub(crate) fn value_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let found = controls(u64::from_le_bytes(*word));
            if found != 0 {
                at += found.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            None => return bytes.len(),
            Some(&byte) if is(byte, VALUE) => at += 1,
            Some(_) => return at,
        }
    }
}

/// Whether a value has none of the bytes that could end its line or cut it short for a careless reader: CR, LF, NUL.
#[inline]
pub(crate) fn is_safe(value: &[u8]) -> bool {
    let end = value_end(value);
    end == value.len() || memchr::memchr3(b'\r', b'\n', 0, &value[end..]).is_none()
}

/// Spaces and tabs off both ends.
#[inline]
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A number of decimal digits and nothing else. `None` when empty, not a number, or above `u64::MAX`.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Appends a number in decimal.
pub(crate) fn push_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_end_agrees_with_a_plain_search() {
        for length in 0..40 {
            for at in 0..length {
                for byte in 0..=255u8 {
                    let mut bytes = vec![b'x'; length];
                    bytes[at] = byte;
                    bytes[length / 2] = if byte % 3 == 0 { 0xfe } else { b'\t' };
                    let plain = bytes
                        .iter()
                        .position(|&b| (b < b' ' && b != b'\t') || b == 0x7f)
                        .unwrap_or(length);
                    assert_eq!(value_end(&bytes), plain, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn decimal_takes_digits_only_and_knows_its_limit() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for refused in [
            "",
            "18446744073709551616",
            "99999999999999999999999",
            "+1",
            "-1",
            "1 ",
            "0x1",
            "1_0",
        ] {
            assert_eq!(decimal(refused.as_bytes()), None, "{refused}");
        }
    }

    #[test]
    fn push_decimal_writes_what_to_string_writes() {
        for number in [0, 7, 10, 99, 100, 12_345, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
