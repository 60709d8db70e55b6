//! The content of a response: nothing, bytes, parts of files, or a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use static_files::FileBody;

/// A boxed stream of content frames.
pub type BoxStream = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

/// The content of a response.
#[derive(Default)]
pub enum Body {
    /// No content at all.
    #[default]
    Empty,
    /// Content that is in memory.
    Bytes(Bytes),
    /// Ranges of files (and literal bytes between them), sent with `sendfile` where the connection is plain.
    File(FileBody),
    /// Content that is still being made.
    Stream(BoxStream),
}

/// Why the content ended before it was complete. The connection can then only be closed: its framing is broken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The origin server or application closed before the content was complete.
    #[error("content ended early: {0}")]
    Incomplete(String),
    /// Reading the content failed.
    #[error("content could not be read: {0}")]
    Io(#[from] std::io::Error),
    /// The content did not come in time; names the directive or setting that decided.
    #[error("no content within {limit_ms} ms ({setting})")]
    Timeout {
        /// The limit, in milliseconds.
        limit_ms: u64,
        /// The directive or setting that set it.
        setting: &'static str,
    },
    /// Larger than the limit that the named directive or setting sets.
    #[error("content is larger than {limit_bytes} bytes ({setting})")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
        /// The directive or setting that set it.
        setting: &'static str,
    },
    /// The chunked coding was broken.
    #[error("broken chunked coding: {0}")]
    Framing(String),
}
