//! The content of a response on its way from the application to the connection.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use proxy_core::body::BodyError;
use static_files::FileBody;

/// `send()` waits from this on, until [`LOW_BYTES`] are left; the numbers are uvicorn's and asyncio's.
pub(crate) const HIGH_BYTES: usize = 64 << 10;
const LOW_BYTES: usize = 16 << 10;

/// A part of the content.
pub(crate) enum Piece {
    Bytes(Bytes),
    File(FileBody),
}

impl Piece {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.len(),
        }
    }
}

/// What was sent and not taken yet.
#[derive(Default)]
pub(crate) struct Outgoing {
    pieces: VecDeque<Piece>,
    bytes: usize,
    end: Option<Result<Option<HeaderMap>, BodyError>>,
    delivered_bytes: u64,
    full: bool,
}

impl Outgoing {
    pub fn push(&mut self, piece: Piece) {
        self.bytes += match &piece {
            Piece::Bytes(bytes) if bytes.is_empty() => return,
            Piece::Bytes(bytes) => bytes.len(),
            // Costs no memory; but the application must not run ahead of it for ever.
            Piece::File(_) => HIGH_BYTES,
        };
        self.full |= self.bytes >= HIGH_BYTES;
        self.pieces.push_back(piece);
    }

    pub fn finish(&mut self, end: Result<Option<HeaderMap>, BodyError>) {
        self.end.get_or_insert(end);
    }

    pub fn is_finished(&self) -> bool {
        self.end.is_some()
    }

    /// Whether who sends should wait.
    pub fn is_full(&self) -> bool {
        self.full
    }

    pub fn delivered_bytes(&self) -> u64 {
        self.delivered_bytes
    }

    /// Forgets everything: nobody will take it.
    pub fn abandon(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
        self.full = false;
    }

    /// The next frame; `Ready(None)` at the end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.pieces.front_mut() {
                Some(Piece::Bytes(bytes)) => {
                    let bytes = std::mem::take(bytes);
                    self.taken(bytes.len());
                    self.delivered_bytes += bytes.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Piece::File(file)) => match file.poll_chunk(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(bytes))) => {
                        self.delivered_bytes += bytes.len() as u64;
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Some(Err(BodyError::Io(error.into()))));
                    }
                    Poll::Ready(None) => self.taken(HIGH_BYTES),
                },
                None => {
                    return match self.end.replace(Ok(None)) {
                        None => {
                            self.end = None;
                            Poll::Pending
                        }
                        Some(Ok(None)) => Poll::Ready(None),
                        Some(Ok(Some(trailers))) => {
                            Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                        }
                        Some(Err(error)) => Poll::Ready(Some(Err(error))),
                    };
                }
            }
        }
    }

    fn taken(&mut self, bytes: usize) {
        self.pieces.pop_front();
        self.bytes -= bytes;
        if self.bytes <= LOW_BYTES {
            self.full = false;
        }
    }
}
