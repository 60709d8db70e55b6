//! A listing as JSON, in the shape of nginx's `autoindex_format json`.

use super::text::{self, Time};
use super::{Entry, Listing};
use crate::opened::Kind;

impl Listing {
    /// `[ { "name":"a.txt", "type":"file", "mtime":"Sat, 21 Nov 2026 07:42:05 GMT", "size":3 } ]`, one entry to a line.
    /// Types are `directory`, `file` and `other`; only files have a size. Names that are no UTF-8 have those bytes written as
    /// `\xE9` (JSON has no other way; nginx's output is then no JSON).
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = b"[".to_vec();
        for (at, entry) in self.entries.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"\r\n" } else { b",\r\n" });
            push_entry(&mut out, entry);
        }
        out.extend_from_slice(b"\r\n]");
        out
    }

    /// [`to_json`](Self::to_json) as a call of a function, as with `autoindex_format jsonp`. The caller vouches for the
    /// function's name.
    pub fn to_jsonp(&self, callback: &[u8]) -> Vec<u8> {
        [callback, b"(", &self.to_json(), b");"].concat()
    }
}

fn push_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.extend_from_slice(b"{ \"name\":\"");
    push_string(out, &entry.name);
    out.extend_from_slice(b"\", \"type\":\"");
    out.extend_from_slice(type_of(entry.kind).as_bytes());
    out.extend_from_slice(b"\", \"mtime\":\"");
    out.extend_from_slice(Time::of(entry.modified).imf());
    out.push(b'"');
    if entry.kind == Kind::File {
        out.extend_from_slice(format!(", \"size\":{}", entry.len).as_bytes());
    }
    out.extend_from_slice(b" }");
}

/// The words that nginx's formats use.
pub(super) fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Directory => "directory",
        Kind::File => "file",
        Kind::Symlink | Kind::Other => "other",
    }
}

fn push_string(out: &mut Vec<u8>, name: &[u8]) {
    for chunk in name.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 | 0x7f => out.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
                _ => out.push(byte),
            }
        }
        for &byte in chunk.invalid() {
            out.extend_from_slice(b"\\\\x");
            out.extend([byte >> 4, byte].map(|digit| text::hex(digit) as u8));
        }
    }
}
