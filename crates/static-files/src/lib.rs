//! From a request path to a representation: contained opening, validators, ranges, variants, listing, file bodies.
//!
//! ```text
//! path ─► Root ─► Opened ─► Representation ─► Plan ─► FileBody
//!          │        │            │              │        └ sendfile, or read with the head, or http_body frames
//!          │        │            │              └ status, fields, which bytes
//!          │        │            └ length, type, coding, validators
//!          │        └ descriptor and facts
//!          └ beneath it and nowhere else; what isn't in memory goes to the blocking pool
//! ```
//!
//! | to … | use |
//! | --- | --- |
//! | open a file, never outside of a folder, never waiting | [`Root::open_cached`], then [`Root::open`] or [`Root::open_with`] |
//! | say in a log who was refused and by what | [`Root::explain`], [`Root::resolve`] |
//! | send a small file together with its head | [`Opened::read_small`], [`FileBody::read_now`] |
//! | send it again, without opening it | [`Root::recall`], [`Root::remember`], [`Root::keep_open`] |
//! | send a large one | [`FileBody`] |
//! | answer conditional and range requests | [`Representation`] |
//! | know a content type | [`Types`] |
//! | send `app.css.br` for `app.css` | [`Variants`] |
//! | show what is in a directory | [`Root::list`], [`Page`], [`Listing::to_json`] |
//! | have all of that as a service | [`ServeDir`] |
//!
//! Serving a small file costs four system calls: `openat2`, `fstat`, `preadv2`, `close`; serving it again within a second
//! one, `fstatat`, for those who ask [`Root::recall`]. Of larger files that saves two. Whatever is remembered is checked against the file
//! system each time, so a change is served at once, but for one of a small file made through `mmap`: up to a second late.
//!
//! The crate knows no server, no configuration and no proxying. Where there is a choice and nginx has made one, that is
//! what is done or what can be chosen.
#![forbid(unsafe_code)]

mod body;
mod error;
mod explain;
mod listing;
mod open;
mod opened;
mod read;
mod relative;
mod remembered;
mod representation;
mod residency;
mod root;
mod serve;

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
pub use remembered::{Remembered, Small, forget_old};
pub use representation::{Content, Plan, Representation, Rules};
pub use root::{Resolved, Root, RootOptions};
pub use serve::{ServeDir, ServeFuture};
pub use types::{EXTENSION_MAX, Types, extension};
pub use variants::{Chosen, Coding, Freshness, Variants};
