//! What a parser of heads puts up with: sizes, counts, and the choices that the RFCs leave open.

use crate::known::{Known, KnownSet};

/// Limits on the size of a head, and the policy it is read by.
///
/// Defaults: line and field 8192 bytes each, 100 fields, 65,536 bytes in all, the strict [`HeadPolicy`].
///
/// ```
/// use http_wire::head::{HeadLimits, HeadPolicy};
///
/// let limits = HeadLimits { line_bytes: 4094, ..HeadLimits::default() };
/// assert!(!limits.policy.bare_lf);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Most bytes in a request line or status line, without its line end. Passing it: [`RequestError::LineTooLong`](super::RequestError), 414.
    pub line_bytes: usize,
    /// Most bytes in one field line, without its line end. Passing it: [`SectionError::FieldTooLong`](super::SectionError), 431.
    pub field_bytes: usize,
    /// Most field lines, ignored ones included. Passing it: [`SectionError::TooManyFields`](super::SectionError), 431.
    pub fields: usize,
    /// Most bytes in the whole head, everything counted. Passing it: [`SectionError::TooLarge`](super::SectionError), 431. At most 1 GiB is
    /// honoured.
    pub head_bytes: usize,
    /// How to read what fits.
    pub policy: HeadPolicy,
}

impl Default for HeadLimits {
    fn default() -> HeadLimits {
        HeadLimits {
            line_bytes: 8192,
            field_bytes: 8192,
            fields: 100,
            head_bytes: 65_536,
            policy: HeadPolicy::default(),
        }
    }
}

impl HeadLimits {
    /// [`HeadLimits::head_bytes`] as far as it is honoured: places in a head are 32-bit numbers.
    pub(crate) fn head_bytes_honoured(&self) -> usize {
        self.head_bytes.min(1 << 30)
    }
}

/// The choices that RFC 9112 leaves to a recipient.
///
/// The default is the strictest reading that real user agents and origin servers live with. Not a matter of policy, and always refused:
/// CR anywhere but before LF, NUL, white space before the colon or the first field, a field line without a
/// colon, an empty name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadPolicy {
    /// Take a line feed alone for a line end (RFC 9112 §2.2 allows it). Default: no.
    pub bare_lf: bool,
    /// Take a line that begins with white space for the rest of the field line before it (obsolete line folding, RFC 9112 §5.2). The line
    /// end and the white space around it become one space. Never in front of the first field. Default: no, refuse the message.
    pub folding: bool,
    /// What a method may look like.
    pub method: MethodRule,
    /// Which request targets are taken.
    pub target: TargetRule,
    /// Take several spaces between the parts of a request line, and spaces at its end (RFC 9112 §3 allows it). Default: no.
    pub extra_spaces: bool,
    /// Take `HTTP/1.2` to `HTTP/1.9` for 1.1 (RFC 9110 §2.5). Default: no, they are an unsupported version.
    pub minor_versions: bool,
    /// Fields with an underscore in their name, which many applications can't tell from a hyphen. Default: keep.
    pub underscores: Handling,
    /// Fields whose name is a token but has characters other than letters, digits, hyphen and underscore. Default: keep.
    pub unusual_names: Handling,
    /// Ignore fields whose name is no token instead of refusing the message. White space or control characters in a name are refused all
    /// the same. Default: no.
    pub drop_invalid_names: bool,
    /// Keep control characters (other than CR, LF, NUL) in values. Default: no, refuse the message.
    pub control_bytes: bool,
    /// Demands on the `Host` field of a request.
    pub host: HostRule,
    /// Names that may occur only once; a second line is refused. Default: `Host` and `Content-Length`.
    pub single: KnownSet,
}

impl Default for HeadPolicy {
    fn default() -> HeadPolicy {
        HeadPolicy {
            bare_lf: false,
            folding: false,
            method: MethodRule::default(),
            target: TargetRule::default(),
            extra_spaces: false,
            minor_versions: false,
            underscores: Handling::Keep,
            unusual_names: Handling::Keep,
            drop_invalid_names: false,
            control_bytes: false,
            host: HostRule::default(),
            single: KnownSet::of(&[Known::Host, Known::ContentLength]),
        }
    }
}

/// What to do with something that is legal but unwelcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Handling {
    /// Treat it like any other.
    #[default]
    Keep,
    /// Leave it out, as if it had not been sent.
    Drop,
    /// Refuse the whole message.
    Refuse,
}

/// What a method may look like.
///
/// Default: any token of 1 to 64 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodRule {
    /// The characters allowed.
    pub characters: MethodCharacters,
    /// Fewest characters.
    pub length_min: usize,
    /// Most characters.
    pub length_max: usize,
}

impl Default for MethodRule {
    fn default() -> MethodRule {
        MethodRule {
            characters: MethodCharacters::Token,
            length_min: 1,
            length_max: 64,
        }
    }
}

/// The characters that a method may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MethodCharacters {
    /// Any token character (RFC 9110 §9.1).
    #[default]
    Token,
    /// Any token character but small letters and `#`.
    NoSmallLetters,
    /// Capital letters, `-` and `_` only.
    Capitals,
}

/// Which request targets are taken.
///
/// Default: all four forms; visible ASCII without `#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetRule {
    /// Take `http://host/path` (RFC 9112 §3.2.2).
    pub absolute: bool,
    /// Take `host:port`, with CONNECT only (RFC 9112 §3.2.3).
    pub authority: bool,
    /// Take `*`, with OPTIONS only (RFC 9112 §3.2.4).
    pub asterisk: bool,
    /// Take a target with a fragment. [`Target::query`](super::Target::query) and [`Target::path`](super::Target::path) leave it out.
    pub fragment: bool,
    /// Take bytes from 0x80 up.
    pub non_ascii: bool,
}

impl Default for TargetRule {
    fn default() -> TargetRule {
        TargetRule {
            absolute: true,
            authority: true,
            asterisk: true,
            fragment: false,
            non_ascii: false,
        }
    }
}

/// Demands on the `Host` field of a request (RFC 9112 §3.2).
///
/// Default: required in HTTP/1.1, syntax checked, may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRule {
    /// An HTTP/1.1 request without `Host` is refused.
    pub required: bool,
    /// A value that is no [`Authority`](crate::host::Authority) is refused.
    pub checked: bool,
    /// An empty value is taken (RFC 9110 §7.2: sent when the target has no authority).
    pub empty: bool,
}

impl Default for HostRule {
    fn default() -> HostRule {
        HostRule {
            required: true,
            checked: true,
            empty: true,
        }
    }
}
