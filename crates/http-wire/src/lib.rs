//! HTTP/1.0 and HTTP/1.1 on the wire: heads, fields, framing, chunks, ranges, dates. No I/O, no clock. And what gateways send in
//! front of it or instead of it.
//!
//! Servers, gateways and clients feed bytes and act on what comes back:
//!
//! | to … | use |
//! | --- | --- |
//! | read a head | [`head::RequestParser`], [`head::ResponseParser`] |
//! | look at and change fields | [`Fields`], [`Known`] |
//! | know how much content follows | [`body::request_framing`], [`body::response_framing`] |
//! | read and write chunked content | [`chunked`] |
//! | write a head | [`encode`] |
//! | decide about a connection | [`connection`] |
//! | answer from a representation | [`conditional`], [`range`], [`date`] |
//! | know whom a gateway speaks for | [`proxy_protocol`] |
//! | take a request from `uwsgi_pass` | [`uwsgi`] |
//! | understand values | [`list`], [`forwarded`], [`host`], [`path`] |
//!
//! The reading of RFC 9110 and RFC 9112 is the strict one: a message that two readers could understand differently is
//! refused. Where real peers need more tolerance it is a named choice in [`head::HeadPolicy`].
//!
//! This crate owns no socket, never asks the time, and knows no server by name.
#![forbid(unsafe_code)]

pub mod body;
pub mod chunked;
pub mod conditional;
pub mod connection;
pub mod date;
pub mod encode;
pub mod fields;
pub mod forwarded;
pub mod head;
pub mod host;
pub mod lessons;
pub mod list;
pub mod path;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod proxy_protocol;
pub mod range;
pub mod uwsgi;

mod known;
mod reason;
mod scan;
mod version;

pub use fields::{FieldError, FieldName, Fields};
pub use known::{Known, KnownSet};
pub use reason::reason;
pub use version::Version;
