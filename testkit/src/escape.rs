//! Bytes as text and back: the escapes of scenario files, and how bytes are shown in a failure.

use std::fmt::Write as _;

/// Why a text with escapes is no byte string.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EscapeError {
    /// A backslash at the end of the text.
    #[error("the text ends in a single backslash; write \\\\ for the character itself")]
    Unfinished,
    /// A letter after a backslash that has no meaning.
    #[error("unknown escape \"\\{0}\"; known are \\r \\n \\t \\0 \\s (a space) \\\\ and \\xHH")]
    Unknown(char),
    /// `\x` without two hexadecimal digits.
    #[error("\\x takes two hexadecimal digits, got \"{0}\"")]
    Hex(String),
}

/// Reads `\r \n \t \0 \s \\ \xHH`; everything else stands for its UTF-8 bytes.
///
/// # Errors
/// [`EscapeError`] names what is wrong with a backslash.
pub fn unescape(text: &str) -> Result<Vec<u8>, EscapeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next().ok_or(EscapeError::Unfinished)? {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            's' => bytes.push(b' '),
            '0' => bytes.push(0),
            '\\' => bytes.push(b'\\'),
            'x' => {
                let digits: String = chars.by_ref().take(2).collect();
                let whole = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                match u8::from_str_radix(&digits, 16) {
                    Ok(byte) if whole => bytes.push(byte),
                    _ => return Err(EscapeError::Hex(digits)),
                }
            }
            other => return Err(EscapeError::Unknown(other)),
        }
    }
    Ok(bytes)
}

/// Bytes for a person: line ends and controls as escapes, long data shortened in the middle.
pub fn show(bytes: &[u8]) -> String {
    const HEAD: usize = 1200;
    const TAIL: usize = 100;
    if bytes.len() <= HEAD + TAIL {
        return escape(bytes);
    }
    let hidden = bytes.len() - HEAD - TAIL;
    format!(
        "{} …{hidden} bytes… {}",
        escape(&bytes[..HEAD]),
        escape(&bytes[bytes.len() - TAIL..])
    )
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7e => text.push(byte as char),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

/// One character per byte, so that a pattern over characters can look at any bytes.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| b as char).collect()
}

/// A size as nginx writes it: digits with an optional `k` or `m` (1024, 1024²).
pub fn parse_size(text: &str) -> Option<usize> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1024),
        b'm' | b'M' => (&text[..text.len() - 1], 1024 * 1024),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_bytes() {
        assert_eq!(unescape(r"a\r\n\t\0\s\\\xfF").unwrap(), b"a\r\n\t\0 \\\xff");
        assert_eq!(unescape("é").unwrap(), "é".as_bytes());
    }

    #[test]
    fn wrong_escapes_are_named() {
        assert_eq!(unescape("a\\"), Err(EscapeError::Unfinished));
        assert_eq!(unescape("\\q"), Err(EscapeError::Unknown('q')));
        assert_eq!(unescape("\\x1"), Err(EscapeError::Hex("1".into())));
        assert_eq!(unescape("\\x+1"), Err(EscapeError::Hex("+1".into())));
    }

    #[test]
    fn shown_bytes_read_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&show(&bytes)).unwrap(), bytes);
    }

    #[test]
    fn long_data_is_shortened() {
        let text = show(&[b'a'; 5000]);
        assert!(text.len() < 1500 && text.contains("…3700 bytes…"), "{text}");
    }

    #[test]
    fn sizes_have_nginx_units() {
        assert_eq!(parse_size("12"), Some(12));
        assert_eq!(parse_size("2k"), Some(2048));
        assert_eq!(parse_size("1M"), Some(1024 * 1024));
        assert_eq!(parse_size("k"), None);
        assert_eq!(parse_size(""), None);
    }
}
