//! Reads the lines of a field section, in a head or behind the last chunk.
//!
//! An ordinary line that is complete is read in one pass ([`ordinary_line`]). Everything else, lines that are cut off, too long, oddly spaced or wrong,
//! goes the long way: find the line's end, check its length, then look at its parts one by one. Both ways give the same result for the lines
//! that the first one takes.

use super::error::SectionError;
use super::limits::{Handling, HeadLimits, HeadPolicy};
use super::line::{self, Find};
use crate::fields::{Entry, Fields};
use crate::known::Known;
use crate::scan;

/// A section as far as it has been read. The caller shows it the same buffer again and again, with more at its end.
#[derive(Debug, Default)]
pub(crate) struct Section {
    entries: Vec<Entry>,
    start: usize,
    at: usize,
    scanned: usize,
    lines: usize,
    dropped: usize,
    present: u128,
    /// The entries whose values have line ends in them.
    folded: Vec<usize>,
}

/// Room for so many fields is made at once: most heads have no more.
const USUAL_FIELDS: usize = 16;

/// The parts of one line, counted from its beginning.
struct Parts {
    name_len: usize,
    value_start: usize,
    value_end: usize,
    /// Bytes to the beginning of the next line.
    len: usize,
    framed: bool,
    keep: bool,
}

impl Section {
    /// Starts a section at this place of the buffer.
    pub fn begin(&mut self, at: usize) {
        self.entries.clear();
        self.entries.reserve(USUAL_FIELDS);
        self.start = at;
        self.at = at;
        self.scanned = at;
        self.lines = 0;
        self.dropped = 0;
        self.present = 0;
        self.folded.clear();
    }

    /// The number of lines that were left out.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Reads what is there. `Some` with the place behind the empty line once the section is complete; its fields are then in `fields`.
    pub fn advance(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        fields: &mut Fields,
    ) -> Result<Option<usize>, SectionError> {
        loop {
            let rest = &buf[self.at..];
            // A line that was seen incomplete before is not read from its start again.
            let fresh = self.scanned <= self.at;
            if fresh
                && let Some(parts) = ordinary_line(rest, limits.field_bytes)
                && self.at + parts.len <= limits.head_bytes_honoured()
                && (!limits.policy.folding
                    || rest.get(parts.len).is_some_and(|byte| !is_blank(byte)))
            {
                self.admit(rest, &parts, limits)?;
                self.at += parts.len;
                continue;
            }
            let find = Find {
                limit: limits.field_bytes,
                room: limits.head_bytes_honoured().saturating_sub(self.at),
                bare_lf: limits.policy.bare_lf,
            };
            let scanned = self.scanned.saturating_sub(self.at);
            let found = if limits.policy.folding {
                find.folded_line(rest, scanned)
            } else {
                find.line(rest, scanned).map(|line| line.ok_or(rest.len()))
            };
            let line = match found.map_err(|error| error.in_section(limits))? {
                Ok(line) => line,
                Err(scanned) => {
                    self.scanned = self.at + scanned;
                    return Ok(None);
                }
            };
            if line.text.is_empty() {
                fields.replace_parsed(&buf[self.start..self.at], &mut self.entries, self.present);
                for entry in self.folded.drain(..) {
                    fields.unfold(entry);
                }
                return Ok(Some(self.at + line.len));
            }
            let parts = any_line(line.text, line.len, &limits.policy)?;
            self.admit(rest, &parts, limits)?;
            if parts.keep && is_folded(&line.text[parts.value_start..parts.value_end]) {
                self.folded.push(self.entries.len() - 1);
            }
            self.at += line.len;
        }
    }

    #[inline]
    fn admit(
        &mut self,
        rest: &[u8],
        parts: &Parts,
        limits: &HeadLimits,
    ) -> Result<(), SectionError> {
        if self.lines == limits.fields {
            return Err(SectionError::TooManyFields {
                limit: limits.fields,
            });
        }
        self.lines += 1;
        if !parts.keep {
            self.dropped += 1;
            return Ok(());
        }
        let known = Known::find(&rest[..parts.name_len]);
        if let Some(known) = known {
            if self.present & limits.policy.single.0 & known.bit() != 0 {
                return Err(SectionError::Repeated(known));
            }
            self.present |= known.bit();
        }
        // No head is longer than `HeadLimits::head_bytes_honoured()`, so that none of these numbers loses digits.
        let base = self.at - self.start;
        self.entries.push(Entry {
            name_start: base as u32,
            value_start: (base + parts.value_start) as u32,
            value_len: (parts.value_end - parts.value_start) as u32,
            name_len: parts.name_len as u16,
            known,
            framed: parts.framed,
        });
        Ok(())
    }
}

/// Reads a complete line as nearly all are: plain name, colon, at most one space, value without odd bytes or spaces at its end, CR LF.
#[inline]
fn ordinary_line(rest: &[u8], limit: usize) -> Option<Parts> {
    let name_len = scan::run(rest, scan::PLAIN_NAME);
    let (b':', after) = rest.get(name_len..)?.split_first()? else {
        return None;
    };
    let (spaced, after) = match after {
        [b' ', after @ ..] => (true, after),
        _ => (false, after),
    };
    let value_len = scan::value_end(after);
    let (value, [b'\r', b'\n', ..]) = after.split_at(value_len) else {
        return None;
    };
    if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = value {
        return None;
    }
    let value_start = name_len + 1 + usize::from(spaced);
    let value_end = value_start + value_len;
    if name_len == 0 || name_len > NAME_LEN_MAX || value_end > limit {
        return None;
    }
    Some(Parts {
        name_len,
        value_start,
        value_end,
        len: value_end + 2,
        framed: spaced,
        keep: true,
    })
}

const NAME_LEN_MAX: usize = u16::MAX as usize;

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_folded(text: &[u8]) -> bool {
    memchr::memchr(b'\n', text).is_some()
}

/// Reads any line, whose end has been found and taken off.
fn any_line(line: &[u8], len: usize, policy: &HeadPolicy) -> Result<Parts, SectionError> {
    let (name_len, keep) = name(line, policy)?;
    let after = &line[name_len + 1..];
    if policy.folding && is_folded(after) {
        return folded_line(after, name_len, len, keep, policy);
    }
    let value = scan::trim(after);
    check_value(value, policy.control_bytes)?;
    let leading = if value.is_empty() {
        0
    } else {
        after
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count()
    };
    let value_start = name_len + 1 + leading;
    Ok(Parts {
        name_len,
        value_start,
        value_end: value_start + value.len(),
        len,
        framed: false,
        keep,
    })
}

/// The same where the value has line ends in it: each of its lines is checked.
fn folded_line(
    after: &[u8],
    name_len: usize,
    len: usize,
    keep: bool,
    policy: &HeadPolicy,
) -> Result<Parts, SectionError> {
    for piece in after.split(|&byte| byte == b'\n') {
        let piece = piece.strip_suffix(b"\r").unwrap_or(piece);
        check_value(scan::trim(piece), policy.control_bytes)?;
    }
    let outer = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let leading = after.iter().take_while(outer).count();
    let value = &after[leading..];
    let value_len = value.len() - value.iter().rev().take_while(outer).count();
    let value_start = name_len + 1 + if value_len == 0 { 0 } else { leading };
    Ok(Parts {
        name_len,
        value_start,
        value_end: value_start + value_len,
        len,
        framed: false,
        keep,
    })
}

/// The length of the name, and whether the line is to be kept.
fn name(line: &[u8], policy: &HeadPolicy) -> Result<(usize, bool), SectionError> {
    if let [b' ' | b'\t', ..] = line {
        return Err(SectionError::Fold);
    }
    let token_len = scan::run(line, scan::TOKEN);
    match line.get(token_len) {
        Some(b':') if token_len == 0 => Err(SectionError::NoName),
        Some(b':') if token_len > NAME_LEN_MAX => Err(SectionError::FieldTooLong {
            limit: NAME_LEN_MAX,
        }),
        Some(b':') => Ok((token_len, keep_name(&line[..token_len], policy)?)),
        Some(b'\r') => Err(SectionError::BareCr),
        Some(&byte) => odd_name(line, byte, policy),
        None => Err(SectionError::NoColon),
    }
}

/// A line with a byte that no name may have before its colon, if it has one.
fn odd_name(line: &[u8], byte: u8, policy: &HeadPolicy) -> Result<(usize, bool), SectionError> {
    let colon = memchr::memchr(b':', line).ok_or(SectionError::NoColon)?;
    let name = &line[..colon];
    if scan::is_token(name.trim_ascii_end()) {
        return Err(SectionError::SpaceBeforeColon);
    }
    if policy.drop_invalid_names && name.iter().all(|&byte| byte > b' ' && byte != 0x7f) {
        return Ok((colon, false));
    }
    Err(SectionError::Name { byte })
}

/// What the policy has to say about a name that is a token.
fn keep_name(name: &[u8], policy: &HeadPolicy) -> Result<bool, SectionError> {
    if policy.underscores == Handling::Keep && policy.unusual_names == Handling::Keep {
        return Ok(true);
    }
    let mut keep = true;
    for &byte in name {
        let handling = match byte {
            b'_' => policy.underscores,
            _ if scan::is(byte, scan::PLAIN_NAME) => continue,
            _ => policy.unusual_names,
        };
        match handling {
            Handling::Keep => {}
            Handling::Drop => keep = false,
            Handling::Refuse => return Err(SectionError::Name { byte }),
        }
    }
    Ok(keep)
}

fn check_value(value: &[u8], control_bytes: bool) -> Result<(), SectionError> {
    let fault = if control_bytes {
        memchr::memchr2(b'\r', 0, value)
    } else {
        Some(scan::value_end(value)).filter(|&end| end < value.len())
    };
    match fault.map(|at| value[at]) {
        None => Ok(()),
        Some(b'\r') => Err(SectionError::BareCr),
        Some(byte) => Err(SectionError::Value { byte }),
    }
}

impl line::LineError {
    pub(super) fn in_section(self, limits: &HeadLimits) -> SectionError {
        match self {
            line::LineError::TooLong => SectionError::FieldTooLong {
                limit: limits.field_bytes,
            },
            line::LineError::TooLarge => SectionError::TooLarge {
                limit: limits.head_bytes_honoured(),
            },
            line::LineError::BareLf => SectionError::BareLf,
        }
    }
}
