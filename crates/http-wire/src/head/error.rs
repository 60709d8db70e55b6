//! Why a head is refused. One variant for each rule broken, with the status that answers it.

use http::StatusCode;

use crate::known::Known;

/// A request head that is refused. The connection can't be used any further: nobody knows where the next message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The method has a character that it must not have, or is too short (RFC 9110 §9.1).
    #[error("the request line does not begin with a method")]
    Method,
    /// The method is longer than any that is accepted; the answer is 501 (RFC 9112 §3).
    #[error("the method is longer than {limit} characters")]
    MethodTooLong {
        /// [`MethodRule::length_max`](super::MethodRule::length_max).
        limit: usize,
    },
    /// The request line is not `method SP target SP version`.
    #[error(
        "the request line is not made of a method, a target and a version with one space between them"
    )]
    Line,
    /// The request line ends in LF without CR, or has a CR that no LF follows.
    #[error("the request line does not end in CR LF")]
    LineEnd,
    /// The request line is longer than [`HeadLimits::line_bytes`](super::HeadLimits::line_bytes); the answer is 414.
    #[error("the request line is longer than {limit} bytes")]
    LineTooLong {
        /// The limit.
        limit: usize,
    },
    /// The request target has a byte that it must not have, or is in no known form.
    #[error("the request target is malformed")]
    Target,
    /// The request target is in a form that does not go with the method, or that the policy excludes.
    #[error("the form of the request target is not accepted with this method")]
    TargetForm,
    /// The line ends after the target, as in HTTP/0.9.
    #[error("the request line has no version (HTTP/0.9 is not spoken)")]
    NoVersion,
    /// The version is not `HTTP/` digit `.` digit.
    #[error("the version is malformed")]
    Version,
    /// The version is not spoken; the answer is 505, or 400 below 1.0.
    #[error("version HTTP/{major}.{minor} is not spoken")]
    UnsupportedVersion {
        /// The digit before the dot.
        major: u8,
        /// The digit after the dot.
        minor: u8,
    },
    /// A field is at fault.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// An HTTP/1.1 request without `Host` (RFC 9112 §3.2).
    #[error("the request has no \"Host\" field")]
    NoHost,
    /// The value of `Host` is no host and port (RFC 9112 §3.2).
    #[error("the value of the \"Host\" field is not a host with an optional port")]
    Host,
}

impl RequestError {
    /// The status that answers the request: 400, 414, 431, 501 or 505.
    pub fn status(&self) -> StatusCode {
        match self {
            RequestError::MethodTooLong { .. } => StatusCode::NOT_IMPLEMENTED,
            RequestError::LineTooLong { .. } => StatusCode::URI_TOO_LONG,
            RequestError::UnsupportedVersion { major: 1.., .. } => {
                StatusCode::HTTP_VERSION_NOT_SUPPORTED
            }
            RequestError::Section(error) => error.status(),
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// A response head that is refused. A gateway answers 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The status line is not `version SP status [SP reason]`.
    #[error("the status line is not made of a version, a status and a reason")]
    Line,
    /// The status line ends in LF without CR, or has a CR that no LF follows.
    #[error("the status line does not end in CR LF")]
    LineEnd,
    /// The status line is longer than [`HeadLimits::line_bytes`](super::HeadLimits::line_bytes).
    #[error("the status line is longer than {limit} bytes")]
    LineTooLong {
        /// The limit.
        limit: usize,
    },
    /// The version is not `HTTP/` digit `.` digit.
    #[error("the version is malformed")]
    Version,
    /// The version is not spoken.
    #[error("version HTTP/{major}.{minor} is not spoken")]
    UnsupportedVersion {
        /// The digit before the dot.
        major: u8,
        /// The digit after the dot.
        minor: u8,
    },
    /// The status is not a number of three digits from 100 up.
    #[error("the status is not a number from 100 to 999")]
    Status,
    /// The reason has a control character.
    #[error("the reason has a control character")]
    Reason,
    /// A field is at fault.
    #[error(transparent)]
    Section(#[from] SectionError),
}

/// A field section (in a head or after the last chunk) that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SectionError {
    /// A line is longer than [`HeadLimits::field_bytes`](super::HeadLimits::field_bytes); the answer is 431.
    #[error("a field line is longer than {limit} bytes")]
    FieldTooLong {
        /// The limit.
        limit: usize,
    },
    /// More lines than [`HeadLimits::fields`](super::HeadLimits::fields); the answer is 431.
    #[error("there are more than {limit} fields")]
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// The section, with what came before it, passes [`HeadLimits::head_bytes`](super::HeadLimits::head_bytes); the answer is 431.
    #[error("the head is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A line ends in LF without CR.
    #[error("a field line ends in LF without CR")]
    BareLf,
    /// A CR that no LF follows.
    #[error("a field line has a CR that is not part of its end")]
    BareCr,
    /// A line begins with a space or tab: obsolete line folding, or space before the first field (RFC 9112 §2.2, §5.2).
    #[error("a field line begins with white space (line folding is not accepted)")]
    Fold,
    /// A line without colon.
    #[error("a field line has no colon")]
    NoColon,
    /// A line that begins with the colon.
    #[error("a field has an empty name")]
    NoName,
    /// White space between name and colon (RFC 9112 §5.1).
    #[error("a field has white space between name and colon")]
    SpaceBeforeColon,
    /// A name with a character that is not a token character, or that the policy refuses.
    #[error("a field name has the character {:?}, which is not accepted", char::from(*byte))]
    Name {
        /// The byte.
        byte: u8,
    },
    /// A value with a control character.
    #[error("a field value has the control character 0x{byte:02x}")]
    Value {
        /// The byte.
        byte: u8,
    },
    /// A second line of a name that may occur only once.
    #[error("the field \"{}\" is there twice", .0.as_str())]
    Repeated(Known),
    /// A field that must not be in a trailer section (RFC 9110 §6.5.1).
    #[error("the field \"{}\" must not be in a trailer section", .0.as_str())]
    NotForTrailers(Known),
}

impl SectionError {
    /// The status that answers a request with this fault: 400 or 431.
    pub fn status(&self) -> StatusCode {
        match self {
            SectionError::FieldTooLong { .. }
            | SectionError::TooManyFields { .. }
            | SectionError::TooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
