//! Writes the chunked coding.

use crate::encode;
use crate::fields::Fields;

/// The end of chunked content without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What follows the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The line before the data of a chunk, in a small buffer of its own, for gathered writes.
///
/// ```
/// assert_eq!(http_wire::chunked::size_line(255).as_ref(), b"ff\r\n");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SizeLine {
    text: [u8; 18],
    start: usize,
}

impl AsRef<[u8]> for SizeLine {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

/// The line before the data of a chunk of this size. Zero would end the content.
#[inline]
pub fn size_line(len: u64) -> SizeLine {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = SizeLine {
        text: [b'\n'; 18],
        start: 16,
    };
    line.text[16] = b'\r';
    let mut rest = len;
    loop {
        line.start -= 1;
        line.text[line.start] = DIGITS[(rest & 15) as usize];
        rest >>= 4;
        if rest == 0 {
            return line;
        }
    }
}

/// Appends the line before the data of a chunk. Data of that length and [`CHUNK_END`] must follow.
#[inline]
pub fn write_size(len: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(size_line(len).as_ref());
}

/// Appends a whole chunk. Appends nothing for no data, since an empty chunk would end the content.
///
/// ```
/// use http_wire::chunked;
///
/// let mut out = Vec::new();
/// chunked::write_chunk(b"hello", &mut out);
/// chunked::write_chunk(b"", &mut out);
/// out.extend_from_slice(chunked::LAST_CHUNK);
/// assert_eq!(out, b"5\r\nhello\r\n0\r\n\r\n");
/// ```
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    write_size(data.len() as u64, out);
    out.extend_from_slice(data);
    out.extend_from_slice(CHUNK_END);
}

/// Appends the last chunk, the trailers and the empty line. With no trailers that is [`LAST_CHUNK`].
pub fn finish(trailers: &Fields, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    encode::fields(trailers, out);
    out.extend_from_slice(CHUNK_END);
}
