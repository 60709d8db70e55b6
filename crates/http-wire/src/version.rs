//! The protocol versions that this crate speaks.

use std::fmt;

/// HTTP/1.0, HTTP/1.1, or another way to say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    #[default]
    Http11,
    /// `HTTP/2.0`: never on the wire of this crate. For heads of requests that came by HTTP/2 and were made into this crate's form.
    Http2,
}

impl Version {
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Version> for http::Version {
    fn from(version: Version) -> http::Version {
        match version {
            Version::Http10 => http::Version::HTTP_10,
            Version::Http11 => http::Version::HTTP_11,
            Version::Http2 => http::Version::HTTP_2,
        }
    }
}

/// What stands where a version should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionText {
    Supported(Version),
    /// Well formed, but not one of ours: 1.2 to 1.9 when they aren't taken as 1.1, and all other major versions.
    Unsupported(u8, u8),
    Malformed,
}

/// Reads `HTTP/` DIGIT `.` DIGIT (RFC 9112 §2.3). Case matters.
pub(crate) fn read(text: &[u8], minor_versions: bool) -> VersionText {
    match text {
        b"HTTP/1.1" => VersionText::Supported(Version::Http11),
        b"HTTP/1.0" => VersionText::Supported(Version::Http10),
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            major @ b'0'..=b'9',
            b'.',
            minor @ b'0'..=b'9',
        ] => {
            if *major == b'1' && minor_versions {
                VersionText::Supported(Version::Http11)
            } else {
                VersionText::Unsupported(major - b'0', minor - b'0')
            }
        }
        _ => VersionText::Malformed,
    }
}
