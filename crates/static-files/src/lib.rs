//! From a request path to a representation: contained opening, validators, ranges, variants, listing, file bodies.
#![forbid(unsafe_code)]

mod body;
mod error;
mod explain;
mod listing;
mod open;
mod opened;
mod read;
mod relative;
mod representation;
mod root;
mod types;
mod variants;
mod walk;

pub use body::{FileBody, Part, Segment};
pub use error::{OpenError, OpenErrorKind};
pub use explain::Refusal;
pub use listing::{Entry, Listing, ListingOptions, Page};
pub use open::{Lookup, Symlinks};
pub use opened::{Kind, Metadata, Opened, SmallRead};
pub use read::ReadError;
pub use representation::{Content, Plan, Representation, Rules};
pub use root::{Resolved, Root, RootOptions};
pub use types::{EXTENSION_MAX, Types, extension};
pub use variants::{Chosen, Coding, Freshness, Variants};
