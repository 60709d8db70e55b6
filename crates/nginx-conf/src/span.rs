//! Places in configuration text. Every word, statement and fault carries one; [`Sources`](crate::Sources) turns it into words.

/// One opening of one file: a file that is included twice is two inclusions, so that the chain of includes is never ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(crate) u32);

impl FileId {
    /// The position of this opening in [`Sources::openings`](crate::Sources::openings).
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A stretch of text in one opened file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Span {
    /// Which opening of which file.
    pub file: FileId,
    /// Bytes before the stretch.
    pub start: u32,
    /// Bytes in the stretch.
    pub len: u32,
    /// Line of the first byte, from 1.
    pub line: u32,
    /// Column of the first byte in characters, from 1.
    pub column: u32,
}

impl Span {
    /// The stretch from the start of `self` to the end of `last`; `self` when `last` lies elsewhere or before it.
    pub fn to(self, last: Span) -> Span {
        let end = last.start + last.len;
        if last.file != self.file || end < self.start + self.len {
            return self;
        }
        Span {
            len: end - self.start,
            ..self
        }
    }

    /// The place just behind the stretch, one byte wide, given the `text` of the stretch.
    pub(crate) fn after(self, text: &[u8]) -> Span {
        self.inner(text, self.len as usize, 1)
    }

    /// `len` bytes from `offset` on, counted from the start of the stretch whose bytes are `text`.
    pub(crate) fn inner(self, text: &[u8], offset: usize, len: usize) -> Span {
        let before = &text[..offset.min(text.len())];
        let newlines = before.iter().filter(|&&byte| byte == b'\n').count() as u32;
        let tail = before
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(before, |at| &before[at + 1..]);
        let characters = tail.iter().filter(|&&byte| starts_character(byte)).count() as u32;
        Span {
            file: self.file,
            start: self.start + offset as u32,
            len: len as u32,
            line: self.line + newlines,
            column: if newlines == 0 {
                self.column + characters
            } else {
                1 + characters
            },
        }
    }
}

/// Whether a byte begins a character in UTF-8 (is no continuation byte).
pub(crate) fn starts_character(byte: u8) -> bool {
    byte & 0xC0 != 0x80
}
