//! Heads of messages: start line and fields (RFC 9112 §2 to §5).
//!
//! [`RequestParser`] and [`ResponseParser`] make a [`RequestHead`] or [`ResponseHead`] of the bytes that arrive; [`HeadLimits`] and
//! [`HeadPolicy`] say what they put up with. [`crate::encode`] writes heads, [`crate::body`] says how much content follows one.

mod error;
mod limits;
mod line;
mod request;
mod response;
mod section;
mod target;

pub use self::error::{RequestError, ResponseError, SectionError};
pub use self::limits::{
    Handling, HeadLimits, HeadPolicy, HostRule, MethodCharacters, MethodRule, TargetRule,
};
pub use self::request::{RequestHead, RequestParser};
pub use self::response::{ResponseHead, ResponseParser};
pub(crate) use self::section::Section;
pub use self::target::{Target, TargetForm};

#[cfg(test)]
mod tests;
