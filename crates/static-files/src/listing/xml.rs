//! A listing as XML, in the shape of nginx's `autoindex_format xml`.

use super::json::type_of;
use super::text::{self, Time};
use super::{Entry, Listing};
use crate::opened::Kind;

impl Listing {
    /// `<list><file mtime="2026-11-21T07:42:05Z" size="3">a.txt</file></list>`, one entry to a line. Bytes of names that XML
    /// can't have (no UTF-8, control characters) are written as `\xE9`.
    pub fn to_xml(&self) -> Vec<u8> {
        let mut out = b"<?xml version=\"1.0\"?>\r\n<list>\r\n".to_vec();
        for entry in &self.entries {
            push_entry(&mut out, entry);
        }
        out.extend_from_slice(b"</list>\r\n");
        out
    }
}

fn push_entry(out: &mut Vec<u8>, entry: &Entry) {
    let element = type_of(entry.kind).as_bytes();
    let time = Time::of(entry.modified);
    let date = [
        time.year(),
        b"-",
        &time.month_number(),
        b"-",
        time.day(),
        b"T",
        time.clock(),
        b"Z",
    ];
    out.push(b'<');
    out.extend_from_slice(element);
    out.extend_from_slice(b" mtime=\"");
    out.extend(date.into_iter().flatten());
    out.push(b'"');
    if entry.kind == Kind::File {
        out.extend_from_slice(format!(" size=\"{}\"", entry.len).as_bytes());
    }
    out.push(b'>');
    text::push_markup(out, &text::shown(&entry.name));
    out.extend_from_slice(b"</");
    out.extend_from_slice(element);
    out.extend_from_slice(b">\r\n");
}
