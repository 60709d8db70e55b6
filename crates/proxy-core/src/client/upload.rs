//! The request on its way to an origin server: head and content, gathered and written as they come.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_wire::chunked;

use super::error::Cause;
use crate::body::BoxStream;
use crate::output::Output;
use crate::server::{Content, ContentError};
use crate::socket::Socket;

/// Content is asked for until so many bytes wait to be written.
const GATHER: usize = 64 * 1024;

/// The content of a request to an origin server.
#[derive(Default)]
pub enum Upload {
    /// None.
    #[default]
    Empty,
    /// In memory; can be sent again to another peer.
    Bytes(Bytes),
    /// What a client sends, passed on as it comes.
    Content(Content),
    /// What somebody else makes; of this length if it is known.
    Stream(BoxStream),
    /// Was sent, in part or whole, and is gone.
    Spent,
}

impl Upload {
    /// How long it is; `None` when only its end will tell, and it needs the chunked coding.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::Spent => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Content(content) => content.length(),
            Self::Stream(stream) => stream.size_hint().exact(),
        }
    }

    /// Whether it could be sent (again) from its beginning.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Empty | Self::Bytes(_) => true,
            Self::Content(content) => content.received_bytes() == 0,
            Self::Stream(_) => true,
            Self::Spent => false,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ContentError>> {
        match self {
            Self::Empty | Self::Spent | Self::Bytes(_) => Poll::Ready(Ok(None)),
            Self::Content(content) => content.poll_chunk(cx),
            Self::Stream(stream) => match stream.as_mut().poll_frame(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => {
                    Poll::Ready(Err(ContentError::Io(std::io::Error::other(error))))
                }
                Poll::Ready(Some(Ok(frame))) => {
                    Poll::Ready(Ok(Some(frame.into_data().unwrap_or_default())))
                }
            },
        }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Bytes(_) => "Bytes",
            Self::Content(_) => "Content",
            Self::Stream(_) => "Stream",
            Self::Spent => "Spent",
        })
    }
}

/// A request on its way.
pub(super) struct Sending {
    output: Output,
    upload: Upload,
    coding: Coding,
    gathered: bool,
    /// Content was taken from the upload, which can't be taken again.
    pub(super) consumed: bool,
}

#[derive(Clone, Copy)]
enum Coding {
    Chunked,
    Length { promised: u64, left: u64 },
}

impl Sending {
    /// Begins with a head that `write` makes.
    pub(super) fn new(upload: Upload, chunked: bool, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut output = Output::default();
        output.write_with(write);
        let promised = upload.length().unwrap_or(0);
        let coding = if chunked {
            Coding::Chunked
        } else {
            Coding::Length {
                promised,
                left: promised,
            }
        };
        let gathered = matches!(upload, Upload::Empty | Upload::Spent);
        let mut sending = Self {
            output,
            upload,
            coding,
            gathered,
            consumed: false,
        };
        if let Upload::Bytes(bytes) = &sending.upload {
            let bytes = bytes.clone();
            sending.gathered = true;
            sending.push_bytes(bytes);
        }
        sending
    }

    fn push_bytes(&mut self, bytes: Bytes) {
        if matches!(self.coding, Coding::Chunked) && !bytes.is_empty() {
            self.output
                .write_with(|out| chunked::write_size(bytes.len() as u64, out));
            self.output.push(bytes);
            self.output.push_slice(chunked::CHUNK_END);
        } else {
            self.output.push(bytes);
        }
        if matches!(self.coding, Coding::Chunked) && self.gathered {
            self.output.push_slice(chunked::LAST_CHUNK);
        }
    }

    /// Bytes that are written.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.output.written_total()
    }

    /// Whether all of it is written.
    pub(super) fn is_done(&self) -> bool {
        self.gathered && self.output.pending() == 0
    }

    /// Whether it waits for content to come, not for the origin server.
    pub(super) fn waits_for_content(&self) -> bool {
        !self.gathered && self.output.pending() == 0
    }

    /// The upload, if it could be sent once more.
    pub(super) fn into_upload(self) -> Upload {
        if self.consumed {
            Upload::Spent
        } else {
            self.upload
        }
    }

    /// Goes on; ready when all is written.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
    ) -> Poll<Result<(), Cause>> {
        loop {
            let mut waits = false;
            while !self.gathered && !waits && self.output.pending() < GATHER {
                waits = self.gather(cx)?.is_pending();
            }
            match self.output.poll_flush(cx, socket) {
                Poll::Ready(Ok(())) if self.gathered => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if !waits => {}
                Poll::Ready(Ok(())) | Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Cause::Io(error))),
            }
        }
    }

    /// Takes one piece of content.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Cause> {
        let piece = match self.upload.poll_next(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(piece) => piece.map_err(|error| {
                self.consumed = true;
                Cause::Content(error)
            })?,
        };
        self.consumed = true;
        self.gathered = piece.is_none();
        let piece = piece.unwrap_or_default();
        if let Coding::Length { promised, left } = &mut self.coding {
            let more = piece.len() as u64;
            if more > *left || (self.gathered && *left > 0) {
                return Err(Cause::Length {
                    promised_bytes: *promised,
                });
            }
            *left -= more;
        }
        self.push_bytes(piece);
        Ok(Poll::Ready(()))
    }
}
