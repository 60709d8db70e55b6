//! A listing as a page for people.

use http_wire::path::{Escape, escape};

use super::text::{self, Time};
use super::{Entry, Listing};
use crate::opened::Kind;

/// How a listing is shown to people.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Page<'a> {
    path: &'a [u8],
    exact_size: bool,
    utc_offset_secs: i64,
}

impl<'a> Page<'a> {
    /// A page about the directory that clients know as `path` (decoded, with its slashes). Exact sizes, times in UTC.
    pub fn new(path: &'a [u8]) -> Self {
        Page {
            path,
            exact_size: true,
            utc_offset_secs: 0,
        }
    }

    /// Whether sizes are in bytes or rounded to K, M and G. Default in bytes.
    pub fn exact_size(mut self, exact: bool) -> Self {
        self.exact_size = exact;
        self
    }

    /// Seconds that the clock shown is ahead of UTC. Default 0.
    pub fn utc_offset_secs(mut self, seconds: i64) -> Self {
        self.utc_offset_secs = seconds;
        self
    }

    /// The page, in UTF-8: a link, the time and the size for each entry, and a link to the directory above.
    pub fn to_html(&self, listing: &Listing) -> Vec<u8> {
        let mut title = Vec::new();
        text::push_markup(&mut title, &text::shown(self.path));
        let mut out = Vec::with_capacity(1500 + 150 * listing.entries.len());
        out.extend_from_slice(BEFORE_TITLE);
        out.extend_from_slice(&title);
        out.extend_from_slice(BEFORE_HEADING);
        out.extend_from_slice(&title);
        out.extend_from_slice(BEFORE_ENTRIES);
        for entry in &listing.entries {
            self.push_row(&mut out, entry);
        }
        out.extend_from_slice(b"</tbody>\n</table>\n");
        if listing.is_cut {
            let shown = listing.entries.len();
            out.extend_from_slice(
                format!("<p>Only {shown} entries are shown; there are more.</p>\n").as_bytes(),
            );
        }
        out.extend_from_slice(b"</body>\n</html>\n");
        out
    }

    fn push_row(&self, out: &mut Vec<u8>, entry: &Entry) {
        let slash: &[u8] = if entry.kind == Kind::Directory {
            b"/"
        } else {
            b""
        };
        out.extend_from_slice(b"<tr><td><a href=\"");
        // Nothing in it needs to be escaped once more.
        out.extend_from_slice(&escape(&entry.name, Escape::Component));
        out.extend_from_slice(slash);
        out.extend_from_slice(b"\">");
        text::push_markup(out, &text::shown(&entry.name));
        out.extend_from_slice(slash);
        out.extend_from_slice(b"</a></td><td>");
        let time = Time::of(entry.modified.saturating_add(self.utc_offset_secs));
        let time = [
            time.day(),
            b"-",
            time.month(),
            b"-",
            time.year(),
            b" ",
            &time.clock()[..5],
        ];
        out.extend(time.into_iter().flatten());
        out.extend_from_slice(b"</td><td>");
        out.extend_from_slice(self.size(entry).as_bytes());
        out.extend_from_slice(b"</td></tr>\n");
    }

    fn size(&self, entry: &Entry) -> String {
        match entry.kind {
            Kind::Directory => "-".to_owned(),
            _ if self.exact_size => entry.len.to_string(),
            _ => rounded(entry.len),
        }
    }
}

/// As nginx rounds with `autoindex_exact_size off`: to the nearest K from 10,000 bytes on, M and G from one on.
fn rounded(len: u64) -> String {
    const UNITS: [(u64, u64, char); 3] = [
        (1 << 30, 1 << 30, 'G'),
        (1 << 20, 1 << 20, 'M'),
        (10_000, 1 << 10, 'K'),
    ];
    match UNITS.iter().find(|(from, _, _)| len >= *from) {
        Some((_, unit, letter)) => {
            format!("{}{letter}", len / unit + u64::from(len % unit >= unit / 2))
        }
        None => len.to_string(),
    }
}

const BEFORE_TITLE: &[u8] = b"<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>Index of ";

const BEFORE_HEADING: &[u8] = b"</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .2rem .6rem; text-align: left; }
th { border-bottom: 1px solid; }
td:first-child { overflow-wrap: anywhere; }
th:nth-child(n+2), td:nth-child(n+2) { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
tbody tr:hover { background: color-mix(in srgb, currentColor 8%, transparent); }
a { text-decoration: none; }
a:hover { text-decoration: underline; }
</style>
</head>
<body>
<h1>Index of ";

const BEFORE_ENTRIES: &[u8] = b"</h1>
<table>
<thead><tr><th>Name</th><th>Last modified</th><th>Size</th></tr></thead>
<tbody>
<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>
";
