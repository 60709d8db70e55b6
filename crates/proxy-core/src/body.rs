//! The content of a response: nothing, bytes, parts of files, or a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use static_files::FileBody;

use crate::read_ahead::ReadAhead;

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
    File(Box<FileBody>),
    /// Content that is still being made.
    Stream(BoxStream),
    /// Content that is still being made, and is read ahead while the client is slow.
    Ahead(Box<ReadAhead>),
}

impl Body {
    /// Content that is still being made.
    pub fn stream(
        stream: impl http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    ) -> Self {
        Self::Stream(Box::pin(stream))
    }

    /// How many bytes are still to come, where that is known.
    pub fn exact_length(&self) -> Option<u64> {
        use http_body::Body as _;
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File(file) => Some(file.len()),
            Self::Stream(stream) => stream.size_hint().exact(),
            Self::Ahead(ahead) => ahead.size_hint().exact(),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::File(file) => file.poll_chunk(cx).map(|chunk| {
                chunk.map(|chunk| {
                    chunk
                        .map(Frame::data)
                        .map_err(|error| BodyError::Io(error.into()))
                })
            }),
            Self::Stream(stream) => stream.as_mut().poll_frame(cx),
            Self::Ahead(ahead) => ahead.poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::File(file) => http_body::Body::is_end_stream(&**file),
            Self::Stream(stream) => stream.is_end_stream(),
            Self::Ahead(ahead) => ahead.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Stream(stream) => stream.size_hint(),
            Self::Ahead(ahead) => ahead.size_hint(),
            known => SizeHint::with_exact(known.exact_length().unwrap_or_default()),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Bytes(Bytes::from_static(text.as_bytes()))
    }
}

impl From<FileBody> for Body {
    fn from(file: FileBody) -> Self {
        Self::File(Box::new(file))
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File(file) => file.fmt(f),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Ahead(_) => f.write_str("Ahead"),
        }
    }
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
    /// More content than `Content-Length` promised.
    #[error("content is longer than the {promised_bytes} bytes that Content-Length promised")]
    TooLong {
        /// The promise, in bytes.
        promised_bytes: u64,
    },
    /// The chunked coding was broken.
    #[error("broken chunked coding: {0}")]
    Framing(String),
}
