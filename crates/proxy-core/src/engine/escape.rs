//! Bytes on their way back into a URI or a field value.

/// Percent-encodes a decoded path as nginx does for redirects and origin servers: controls, spaces, `%`, `?`, `#` and everything above ASCII.
pub fn path(path: &[u8], out: &mut Vec<u8>) {
    for &byte in path {
        if byte <= b' '
            || byte >= 0x7f
            || matches!(
                byte,
                b'%' | b'?' | b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
            )
        {
            percent(byte, out);
        } else {
            out.push(byte);
        }
    }
}

/// An encoded path with its arguments.
pub fn path_and_args(decoded: &[u8], args: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(decoded.len() + args.len() + 1);
    path(decoded, &mut out);
    if !args.is_empty() {
        out.push(b'?');
        out.extend_from_slice(args);
    }
    out
}

/// A text that a template made, as it may stand in a field: what could end the line or forge another one is percent-encoded.
pub fn field_value(text: &[u8]) -> Vec<u8> {
    if !text.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len() + 8);
    for &byte in text {
        if byte < b' ' || byte == 0x7f {
            percent(byte, &mut out);
        } else {
            out.push(byte);
        }
    }
    out
}

fn percent(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[
        b'%',
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_back_as_a_uri() {
        assert_eq!(
            path_and_args(b"/a b/%\xc3\xa9?", b"x=1"),
            b"/a%20b/%25%C3%A9%3F?x=1"
        );
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        assert_eq!(
            field_value(b"/a\r\nSet-Cookie: x"),
            b"/a%0D%0ASet-Cookie: x"
        );
        assert_eq!(field_value(b"/a b"), b"/a b");
    }
}
