//! Names of fields, as they are asked for and as they are handed out.

use std::fmt;

use crate::known::Known;

/// What can name a field: a `&str`, a [`Known`], or the [`FieldName`] of a line at hand.
pub trait Name {
    /// The name's bytes.
    fn bytes(&self) -> &[u8];

    /// Which well-known name it is, if one. Must agree with [`Known::find`] on [`Name::bytes`].
    fn known(&self) -> Option<Known>;
}

impl Name for str {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    #[inline]
    fn known(&self) -> Option<Known> {
        Known::find(self.as_bytes())
    }
}

impl Name for String {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn known(&self) -> Option<Known> {
        Known::find(self.as_bytes())
    }
}

impl Name for Known {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_str().as_bytes()
    }

    #[inline]
    fn known(&self) -> Option<Known> {
        Some(*self)
    }
}

impl Name for FieldName<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.bytes
    }

    #[inline]
    fn known(&self) -> Option<Known> {
        self.known
    }
}

impl<N: Name + ?Sized> Name for &N {
    #[inline]
    fn bytes(&self) -> &[u8] {
        N::bytes(self)
    }

    #[inline]
    fn known(&self) -> Option<Known> {
        N::known(self)
    }
}

/// The name of a line in a [`Fields`](crate::Fields), spelled as it came. Comparisons disregard case.
///
/// ```
/// # use http_wire::{Fields, Known};
/// let mut fields = Fields::new();
/// fields.append("hOST", "shop.example")?;
/// let (name, _) = fields.iter().next().unwrap();
/// assert_eq!(name.as_str(), "hOST");
/// assert!(name == "host" && name == Known::Host);
/// # Ok::<(), http_wire::FieldError>(())
/// ```
#[derive(Clone, Copy)]
pub struct FieldName<'a> {
    bytes: &'a [u8],
    known: Option<Known>,
}

impl<'a> FieldName<'a> {
    pub(super) fn new(bytes: &'a [u8], known: Option<Known>) -> FieldName<'a> {
        FieldName { bytes, known }
    }

    /// The name as text. It is always ASCII.
    pub fn as_str(&self) -> &'a str {
        // Only tokens get into a list of fields, and tokens are ASCII.
        std::str::from_utf8(self.bytes).unwrap_or_default()
    }

    /// The name as bytes.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Which well-known name it is, if one.
    #[inline]
    pub fn known(&self) -> Option<Known> {
        self.known
    }
}

impl PartialEq for FieldName<'_> {
    fn eq(&self, other: &FieldName<'_>) -> bool {
        self.known == other.known && self.bytes.eq_ignore_ascii_case(other.bytes)
    }
}

impl Eq for FieldName<'_> {}

impl PartialEq<str> for FieldName<'_> {
    fn eq(&self, other: &str) -> bool {
        self.bytes.eq_ignore_ascii_case(other.as_bytes())
    }
}

impl PartialEq<&str> for FieldName<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl PartialEq<Known> for FieldName<'_> {
    fn eq(&self, other: &Known) -> bool {
        self.known == Some(*other)
    }
}

impl fmt::Display for FieldName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for FieldName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
