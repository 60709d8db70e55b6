//! From a request path to a representation: contained opening, validators, ranges, variants, listing, file bodies.
#![forbid(unsafe_code)]

mod body;
mod opened;
mod read;

pub use body::{FileBody, Part, Segment};
pub use opened::{Kind, Metadata, Opened, SmallRead};
pub use read::ReadError;
