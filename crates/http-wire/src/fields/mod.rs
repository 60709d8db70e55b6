//! The fields of a message: names and values, in the order and the spelling in which they came or were added.
//!
//! All text lies in one buffer, exactly as it goes on the wire, and each field is a 16-byte entry that points into it. So a parsed
//! section costs one copy, a clone two, and writing an untouched section one again. Lookups of [`Known`] names compare a number;
//! asking for one that is absent is a single test of a bit.

mod convert;
mod name;

use std::borrow::Cow;
use std::fmt;

pub use self::convert::NotAHeaderMap;
pub use self::name::{FieldName, Name};
use crate::known::{Known, KnownSet};
use crate::{list, scan};

/// An ordered list of fields.
///
/// A name parameter is a `&str` or a [`Known`]; names are compared without regard to case. Values are bytes, without white space
/// around them; those added must have no CR, LF or NUL.
///
/// ```
/// use http_wire::{Fields, Known};
///
/// let mut fields = Fields::new();
/// fields.append("Host", "shop.example")?;
/// fields.append("X-Trace", b"a")?;
/// fields.append("x-trace", b"b")?;
/// assert_eq!(fields.get(Known::Host), Some(&b"shop.example"[..]));
/// assert_eq!(fields.get_all("X-TRACE").count(), 2);
///
/// fields.set(Known::Host, "other.example")?;
/// fields.remove("x-trace");
/// let mut wire = Vec::new();
/// http_wire::encode::fields(&fields, &mut wire);
/// assert_eq!(wire, b"Host: other.example\r\n");
/// # Ok::<(), http_wire::FieldError>(())
/// ```
#[derive(Default)]
pub struct Fields {
    text: Vec<u8>,
    entries: Vec<Entry>,
    present: u128,
    /// Bytes of `text` that no entry needs any more.
    wasted: usize,
}

/// Where a field lies in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub name_start: u32,
    pub value_start: u32,
    pub value_len: u32,
    pub name_len: u16,
    pub known: Option<Known>,
    /// The text around the entry reads `name: value CR LF`, so the line can be written as it lies there.
    pub framed: bool,
}

impl Entry {
    fn name_end(&self) -> usize {
        self.name_start as usize + usize::from(self.name_len)
    }

    fn value_end(&self) -> usize {
        self.value_start as usize + self.value_len as usize
    }

    fn line_len(&self) -> usize {
        usize::from(self.name_len) + self.value_len as usize + 4
    }
}

/// Why a field can't be added to a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The name is empty or has a byte that is no token character (RFC 9110 §5.1).
    #[error("a field name must be a token (letters, digits and !#$%&'*+-.^_`|~)")]
    Name,
    /// The value has CR, LF or NUL (RFC 9110 §5.5).
    #[error("a field value must not contain CR, LF or NUL")]
    Value,
    /// The name is longer than 65,535 bytes, or the whole list would pass 4 GiB.
    #[error(
        "the field is too large: a name has at most 65535 bytes, all fields together less than 4 GiB"
    )]
    TooLarge,
}

impl Fields {
    /// An empty list. Allocates nothing.
    pub const fn new() -> Fields {
        Fields {
            text: Vec::new(),
            entries: Vec::new(),
            present: 0,
            wasted: 0,
        }
    }

    /// An empty list with room for so many fields and bytes (names, values, and four bytes for each field).
    pub fn with_capacity(fields: usize, bytes: usize) -> Fields {
        Fields {
            text: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(fields),
            ..Fields::new()
        }
    }

    /// Forgets all fields and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.present = 0;
        self.wasted = 0;
    }

    /// The number of field lines.
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no field.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The size of all lines on the wire, in bytes, without the empty line that ends the section.
    pub fn wire_len(&self) -> usize {
        self.entries.iter().map(Entry::line_len).sum()
    }

    /// Adds a line at the end. Spaces and tabs around the value are left out.
    ///
    /// # Errors
    /// [`FieldError`] when the name is no token, the value has CR, LF or NUL, or the list is full; the list stays as it was.
    #[inline]
    pub fn append(&mut self, name: impl Name, value: impl AsRef<[u8]>) -> Result<(), FieldError> {
        let known = name.known();
        if known.is_none() && !scan::is_token(name.bytes()) {
            return Err(FieldError::Name);
        }
        let value = scan::trim(value.as_ref());
        if !scan::is_safe(value) {
            return Err(FieldError::Value);
        }
        self.push(name.bytes(), known, value)
    }

    /// Makes this the only line of its name: in the place of the first of them, or at the end when there was none.
    ///
    /// # Errors
    /// As [`Fields::append`].
    pub fn set(&mut self, name: impl Name, value: impl AsRef<[u8]>) -> Result<(), FieldError> {
        let key = Key::of(&name);
        let first = self.position(&key);
        self.append(&name, value)?;
        let Some(first) = first else { return Ok(()) };
        let Some(new) = self.entries.pop() else {
            return Ok(());
        };
        self.remove_where(|fields, entry| fields.matches(entry, &key));
        self.entries.insert(first, new);
        if let Some(known) = new.known {
            self.present |= known.bit();
        }
        self.compact_if_wasteful();
        Ok(())
    }

    /// Takes all lines of this name away and says whether there were any.
    pub fn remove(&mut self, name: impl Name) -> bool {
        let key = Key::of(&name);
        if self.position(&key).is_none() {
            return false;
        }
        self.remove_where(|fields, entry| fields.matches(entry, &key));
        self.compact_if_wasteful();
        true
    }

    /// Keeps the lines for which the function says so.
    pub fn retain(&mut self, mut keep: impl FnMut(FieldName<'_>, &[u8]) -> bool) {
        self.remove_where(|fields, entry| {
            let (name, value) = fields.view(entry);
            !keep(name, value)
        });
        self.compact_if_wasteful();
    }

    /// The value of the first line of this name.
    #[inline]
    pub fn get(&self, name: impl Name) -> Option<&[u8]> {
        let key = Key::of(&name);
        self.position(&key)
            .map(|at| self.value_of(&self.entries[at]))
    }

    /// [`Fields::get`] for a well-known name.
    #[inline]
    pub fn get_known(&self, name: Known) -> Option<&[u8]> {
        self.get(name)
    }

    /// The value of the only line of this name. `None` when there is none or more than one.
    pub fn get_single(&self, name: impl Name) -> Option<&[u8]> {
        let mut values = self.get_all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The values of all lines of this name, in order.
    #[inline]
    pub fn get_all<N: Name>(&self, name: N) -> Values<'_, N> {
        let known = name.known();
        let entries = match known {
            Some(known) if self.present & known.bit() == 0 => &[][..],
            _ => &self.entries[..],
        };
        Values {
            fields: self,
            entries: entries.iter(),
            name,
            known,
        }
    }

    /// The values of all lines of this name in one, with the separator between them. `None` when there is no such line.
    ///
    /// ```
    /// # use http_wire::Fields;
    /// let mut fields = Fields::new();
    /// fields.append("Accept", "text/html")?;
    /// assert_eq!(fields.joined("accept", ", ").as_deref(), Some(&b"text/html"[..]));
    /// fields.append("Accept", "text/plain")?;
    /// assert_eq!(fields.joined("accept", ", ").as_deref(), Some(&b"text/html, text/plain"[..]));
    /// # Ok::<(), http_wire::FieldError>(())
    /// ```
    pub fn joined(&self, name: impl Name, separator: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.get_all(name);
        let mut joined = Cow::Borrowed(values.next()?);
        for value in values {
            let text = joined.to_mut();
            text.extend_from_slice(separator.as_bytes());
            text.extend_from_slice(value);
        }
        Some(joined)
    }

    /// Whether there is a line of this name.
    #[inline]
    pub fn contains(&self, name: impl Name) -> bool {
        self.position(&Key::of(&name)).is_some()
    }

    /// The number of lines of this name.
    pub fn count(&self, name: impl Name) -> usize {
        self.get_all(name).count()
    }

    /// Whether a comma-separated list field has this token among its elements, without regard to case (`Connection`, `TE`, …).
    ///
    /// ```
    /// # use http_wire::{Fields, Known};
    /// let mut fields = Fields::new();
    /// fields.append(Known::Connection, "keep-alive, Upgrade")?;
    /// assert!(fields.contains_token(Known::Connection, "upgrade"));
    /// assert!(!fields.contains_token(Known::Connection, "close"));
    /// # Ok::<(), http_wire::FieldError>(())
    /// ```
    pub fn contains_token(&self, name: impl Name, token: &str) -> bool {
        self.get_all(name)
            .any(|value| list::contains_token(value, token))
    }

    /// The well-known names that occur.
    pub const fn known_names(&self) -> KnownSet {
        KnownSet(self.present)
    }

    /// All lines in order.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            fields: self,
            entries: self.entries.iter(),
        }
    }

    /// Adds the lines of another list for which the function says so, as they are. They need no second check.
    ///
    /// # Errors
    /// [`FieldError::TooLarge`] when the list is full; some lines may have been added then.
    pub fn extend_where(
        &mut self,
        other: &Fields,
        mut keep: impl FnMut(FieldName<'_>, &[u8]) -> bool,
    ) -> Result<(), FieldError> {
        for entry in &other.entries {
            let (name, value) = other.view(entry);
            if keep(name, value) {
                self.push(name.as_bytes(), entry.known, value)?;
            }
        }
        Ok(())
    }

    /// Writes the wanted lines as `name: value CR LF`. Neighbours that already lie like that are copied together.
    #[inline]
    pub(crate) fn write_where(
        &self,
        mut wanted: impl FnMut(&Fields, &Entry) -> bool,
        out: &mut Vec<u8>,
    ) {
        let mut run = 0..0;
        for entry in &self.entries {
            if !wanted(self, entry) {
                continue;
            }
            let start = entry.name_start as usize;
            if entry.framed && start == run.end {
                run.end = entry.value_end() + 2;
                continue;
            }
            out.extend_from_slice(&self.text[run.clone()]);
            if entry.framed {
                run = start..entry.value_end() + 2;
            } else {
                run = 0..0;
                let (name, value) = self.view(entry);
                write_line(name.as_bytes(), value, out);
            }
        }
        out.extend_from_slice(&self.text[run]);
    }

    /// Takes over what a parser found: the text of a section and the entries that point into it.
    ///
    /// The entries are swapped for the old ones, emptied, so that both vectors are used again for the next message.
    pub(crate) fn replace_parsed(&mut self, text: &[u8], entries: &mut Vec<Entry>, present: u128) {
        self.text.clear();
        self.text.extend_from_slice(text);
        std::mem::swap(&mut self.entries, entries);
        entries.clear();
        self.present = present;
        self.wasted = 0;
    }

    /// Makes one line of a value that a parser has left with line ends in it: each becomes a space, with the white space around it.
    pub(crate) fn unfold(&mut self, entry: usize) {
        let Some(entry) = self.entries.get_mut(entry) else {
            return;
        };
        let start = entry.value_start as usize;
        let value = &mut self.text[start..entry.value_end()];
        let (mut len, mut at) = (0, 0);
        while at < value.len() {
            let end = memchr::memchr(b'\n', &value[at..]).map_or(value.len(), |end| at + end);
            let line = value[at..end]
                .strip_suffix(b"\r")
                .unwrap_or(&value[at..end]);
            let blanks = |byte: &&u8| matches!(byte, b' ' | b'\t');
            let leading = line.iter().take_while(blanks).count();
            let trailing = line[leading..].iter().rev().take_while(blanks).count();
            let line = at + leading..at + line.len() - trailing;
            if at > 0 {
                value[len] = b' ';
                len += 1;
            }
            value.copy_within(line.clone(), len);
            len += line.len();
            at = end + 1;
        }
        entry.value_len = len as u32;
    }

    /// Adds a line whose parts are known to be good.
    fn push(&mut self, name: &[u8], known: Option<Known>, value: &[u8]) -> Result<(), FieldError> {
        let start = self.text.len();
        let name_len = u16::try_from(name.len()).map_err(|_| FieldError::TooLarge)?;
        let name_start = u32::try_from(start).map_err(|_| FieldError::TooLarge)?;
        let value_len = u32::try_from(value.len()).map_err(|_| FieldError::TooLarge)?;
        let end = start + name.len() + value.len() + 4;
        u32::try_from(end).map_err(|_| FieldError::TooLarge)?;
        self.text.reserve(end - start);
        write_line(name, value, &mut self.text);
        let value_start = name_start + u32::from(name_len) + 2;
        self.entries.push(Entry {
            name_start,
            value_start,
            value_len,
            name_len,
            known,
            framed: true,
        });
        if let Some(known) = known {
            self.present |= known.bit();
        }
        Ok(())
    }

    #[inline]
    fn position(&self, key: &Key<'_>) -> Option<usize> {
        match key.known {
            Some(known) if self.present & known.bit() == 0 => None,
            Some(known) => self
                .entries
                .iter()
                .position(|entry| entry.known == Some(known)),
            None => self
                .entries
                .iter()
                .position(|entry| self.matches(entry, key)),
        }
    }

    #[inline]
    fn matches(&self, entry: &Entry, key: &Key<'_>) -> bool {
        match key.known {
            Some(known) => entry.known == Some(known),
            None => entry.known.is_none() && self.name_of(entry).eq_ignore_ascii_case(key.bytes),
        }
    }

    #[inline]
    fn name_of(&self, entry: &Entry) -> &[u8] {
        &self.text[entry.name_start as usize..entry.name_end()]
    }

    #[inline]
    fn value_of(&self, entry: &Entry) -> &[u8] {
        &self.text[entry.value_start as usize..entry.value_end()]
    }

    #[inline]
    pub(crate) fn view(&self, entry: &Entry) -> (FieldName<'_>, &[u8]) {
        (
            FieldName::new(self.name_of(entry), entry.known),
            self.value_of(entry),
        )
    }

    fn remove_where(&mut self, mut unwanted: impl FnMut(&Fields, &Entry) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        let (mut wasted, mut present) = (self.wasted, 0);
        entries.retain(|entry| {
            let gone = unwanted(self, entry);
            if gone {
                wasted += entry.line_len();
            } else if let Some(known) = entry.known {
                present |= known.bit();
            }
            !gone
        });
        self.entries = entries;
        self.wasted = wasted;
        self.present = present;
    }

    /// Keeps a list that is changed again and again from growing without end.
    fn compact_if_wasteful(&mut self) {
        const TOLERATED: usize = 4096;
        if self.wasted <= TOLERATED || self.wasted < self.text.len() / 2 {
            return;
        }
        let old = std::mem::take(self);
        self.text.reserve(old.wire_len());
        self.entries.reserve(old.len());
        for entry in &old.entries {
            let (name, value) = old.view(entry);
            // What fitted with the waste fits without it.
            let fits = self.push(name.as_bytes(), entry.known, value);
            debug_assert!(fits.is_ok());
        }
    }
}

/// Appends one line. The caller vouches for its parts.
#[inline]
pub(crate) fn write_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A name to look for, recognised once.
struct Key<'a> {
    bytes: &'a [u8],
    known: Option<Known>,
}

impl<'a> Key<'a> {
    #[inline]
    fn of(name: &'a impl Name) -> Key<'a> {
        Key {
            bytes: name.bytes(),
            known: name.known(),
        }
    }
}

/// The values of all lines of one name, in order; see [`Fields::get_all`].
#[derive(Clone)]
pub struct Values<'a, N> {
    fields: &'a Fields,
    entries: std::slice::Iter<'a, Entry>,
    name: N,
    known: Option<Known>,
}

impl<'a, N: Name> Iterator for Values<'a, N> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let key = Key {
            bytes: self.name.bytes(),
            known: self.known,
        };
        let entry = self
            .entries
            .find(|entry| self.fields.matches(entry, &key))?;
        Some(self.fields.value_of(entry))
    }
}

/// The lines of a [`Fields`] in order: name and value.
#[derive(Clone)]
pub struct Iter<'a> {
    fields: &'a Fields,
    entries: std::slice::Iter<'a, Entry>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (FieldName<'a>, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next().map(|entry| self.fields.view(entry))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entries
            .next_back()
            .map(|entry| self.fields.view(entry))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Fields {
    type Item = (FieldName<'a>, &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Clone for Fields {
    fn clone(&self) -> Fields {
        Fields {
            text: self.text.clone(),
            entries: self.entries.clone(),
            present: self.present,
            wasted: self.wasted,
        }
    }

    fn clone_from(&mut self, source: &Fields) {
        self.text.clone_from(&source.text);
        self.entries.clone_from(&source.entries);
        self.present = source.present;
        self.wasted = source.wasted;
    }
}

/// Two lists are equal when they have the same lines in the same order; names without regard to case.
impl PartialEq for Fields {
    fn eq(&self, other: &Fields) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self
            .iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(value)));
        f.debug_map().entries(lines).finish()
    }
}

#[cfg(test)]
mod tests;
