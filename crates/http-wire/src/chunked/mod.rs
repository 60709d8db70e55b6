//! The chunked transfer coding (RFC 9112 §7.1): [`Decoder`] and the few functions that write it.
//!
//! ```
//! use http_wire::chunked::{ChunkLimits, Decoder, Event};
//!
//! let wire = b"5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\nnext message";
//! let mut decoder = Decoder::new(ChunkLimits::default());
//! let (mut rest, mut content) = (&wire[..], Vec::new());
//! loop {
//!     let step = decoder.decode(rest)?;
//!     match step.event {
//!         Event::Data(range) => content.extend_from_slice(&rest[range]),
//!         Event::NeedMore => unreachable!("all of it is there"),
//!         Event::End => {
//!             rest = &rest[step.used..];
//!             break;
//!         }
//!     }
//!     rest = &rest[step.used..];
//! }
//! assert_eq!(content, b"hello, world");
//! assert_eq!(rest, b"next message");
//! # Ok::<(), http_wire::chunked::ChunkError>(())
//! ```

mod write;

use std::ops::Range;

use http::StatusCode;

pub use self::write::{
    CHUNK_END, LAST_CHUNK, SizeLine, finish, size_line, write_chunk, write_size,
};
use crate::fields::Fields;
use crate::head::{Handling, HeadLimits, Section, SectionError};
use crate::known::{Known, KnownSet};
use crate::scan;

/// Limits of a [`Decoder`].
///
/// Defaults: 16 KiB of extensions in the whole content, trailers as heads by default, forbidden trailers refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Most bytes of chunk extensions, all chunks together. They carry nothing, so there is no reason for many.
    pub extension_bytes: usize,
    /// Limits on the trailer section, and the policy for its fields. Line feeds without CR are never taken here.
    pub trailers: HeadLimits,
    /// What to do with trailers that [`NOT_FOR_TRAILERS`] names.
    pub forbidden_trailers: Handling,
}

impl Default for ChunkLimits {
    fn default() -> ChunkLimits {
        ChunkLimits {
            extension_bytes: 16 * 1024,
            trailers: HeadLimits::default(),
            forbidden_trailers: Handling::Refuse,
        }
    }
}

/// Fields that must not be in a trailer section, because they say how to read or route the message, who sends it, or what to do with it (RFC 9110 §6.5.1).
pub const NOT_FOR_TRAILERS: KnownSet = KnownSet::of(&[
    Known::Age,
    Known::Authorization,
    Known::CacheControl,
    Known::Connection,
    Known::ContentEncoding,
    Known::ContentLength,
    Known::ContentRange,
    Known::ContentType,
    Known::Cookie,
    Known::Date,
    Known::Expect,
    Known::Expires,
    Known::Forwarded,
    Known::Host,
    Known::Http2Settings,
    Known::IfMatch,
    Known::IfModifiedSince,
    Known::IfNoneMatch,
    Known::IfRange,
    Known::IfUnmodifiedSince,
    Known::KeepAlive,
    Known::Location,
    Known::MaxForwards,
    Known::Pragma,
    Known::ProxyAuthenticate,
    Known::ProxyAuthorization,
    Known::ProxyConnection,
    Known::Range,
    Known::RetryAfter,
    Known::SetCookie,
    Known::Te,
    Known::Trailer,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Vary,
    Known::Warning,
    Known::WwwAuthenticate,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XForwardedProto,
    Known::XForwardedProtocol,
    Known::XForwardedSsl,
    Known::XRealIp,
]);

/// Chunked content that is refused. Where the message ends is unknown from here on: close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// A chunk does not begin with a hexadecimal number.
    #[error("a chunk does not begin with its size in hexadecimal digits")]
    Size,
    /// A size of more than 16 digits.
    #[error("the size of a chunk has more than 16 digits")]
    SizeTooLarge,
    /// Something behind the size that is no extension, or has a control character.
    #[error("what follows the size of a chunk is not a chunk extension")]
    Extension,
    /// More extensions than [`ChunkLimits::extension_bytes`].
    #[error("chunk extensions take more than {limit} bytes")]
    ExtensionsTooLong {
        /// The limit.
        limit: usize,
    },
    /// A line ends in LF without CR, or has a CR that no LF follows.
    #[error("a line between chunks does not end in CR LF")]
    LineEnd,
    /// The data of a chunk is not followed by CR LF: the size was wrong.
    #[error("the data of a chunk is not followed by CR LF")]
    DataEnd,
    /// The trailer section is at fault.
    #[error("in the trailer section: {0}")]
    Trailers(#[from] SectionError),
}

impl ChunkError {
    /// The status that answers a request with this fault: 400 or 431. A gateway that finds it in a response cuts its own response off.
    pub fn status(&self) -> StatusCode {
        match self {
            ChunkError::Trailers(error) => error.status(),
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// What [`Decoder::decode`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the buffer that are done with; show the decoder what follows them.
    pub used: usize,
    /// What they were.
    pub event: Event,
}

/// What came out of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Content: this range of the buffer, which ends where the used bytes end.
    Data(Range<usize>),
    /// Everything is used, and the content goes on. Never keep bytes back: the decoder has taken what it needs.
    NeedMore,
    /// The content is complete; [`Decoder::trailers`] is filled. Bytes that aren't used belong to the next message.
    End,
}

/// Takes chunked content apart.
///
/// It keeps nothing of the content and allocates only when there are trailers. The strict grammar is demanded: CR LF after each
/// line, nothing but extensions behind a size.
#[derive(Debug)]
pub struct Decoder {
    limits: ChunkLimits,
    state: State,
    /// Of the size being read, or of the data still to come.
    remaining: u64,
    extension_bytes: usize,
    trailers: Fields,
    trailer_reader: Option<Box<TrailerReader>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8 },
    AfterSize,
    ExtensionName,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailersStart,
    TrailersLf,
    Trailers,
    End,
}

/// Trailers are rare and small: their bytes are gathered until the section is complete.
#[derive(Debug, Default)]
struct TrailerReader {
    text: Vec<u8>,
    section: Section,
}

const SIZE_DIGITS_MAX: u8 = 16;

impl Decoder {
    /// A decoder for one message's content.
    pub fn new(limits: ChunkLimits) -> Decoder {
        Decoder {
            limits,
            state: State::Size { digits: 0 },
            remaining: 0,
            extension_bytes: 0,
            trailers: Fields::new(),
            trailer_reader: None,
        }
    }

    /// Ready for the content of the next message, with the same limits.
    pub fn reset(&mut self) {
        self.state = State::Size { digits: 0 };
        self.remaining = 0;
        self.extension_bytes = 0;
        self.trailers.clear();
        self.trailer_reader = None;
    }

    /// The fields of the trailer section. Empty before the end, and usually after it.
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// Whether the content is complete.
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// Bytes of the current chunk's data that are still to come.
    pub fn chunk_remaining(&self) -> u64 {
        if self.state == State::Data {
            self.remaining
        } else {
            0
        }
    }

    /// Goes as far as the next piece of content, the end, or the end of the buffer.
    ///
    /// # Errors
    /// [`ChunkError`], and the same again when called after an error is meaningless: give the decoder up.
    pub fn decode(&mut self, buf: &[u8]) -> Result<Step, ChunkError> {
        let mut at = 0;
        while at < buf.len() {
            match self.state {
                State::Data => {
                    let available = (buf.len() - at) as u64;
                    let end = at + available.min(self.remaining) as usize;
                    self.remaining -= (end - at) as u64;
                    if self.remaining == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Step {
                        used: end,
                        event: Event::Data(at..end),
                    });
                }
                State::Trailers => return self.read_trailers(buf, at),
                State::End => break,
                _ => {
                    self.state = self.next_state(buf[at])?;
                    // The byte that begins the trailer section is read again as part of it.
                    at += usize::from(self.state != State::Trailers);
                }
            }
        }
        let event = if self.state == State::End {
            Event::End
        } else {
            Event::NeedMore
        };
        Ok(Step { used: at, event })
    }

    /// One byte of what stands between the data of chunks.
    #[inline]
    fn next_state(&mut self, byte: u8) -> Result<State, ChunkError> {
        let expect = |expected: u8, next: State, error: ChunkError| {
            if byte == expected {
                Ok(next)
            } else {
                Err(error)
            }
        };
        match self.state {
            State::Size { digits } => self.size(digits, byte),
            State::AfterSize => match byte {
                b' ' | b'\t' => self.count_extension(State::AfterSize),
                b';' => self.count_extension(State::ExtensionName),
                _ => Err(ChunkError::Extension),
            },
            State::ExtensionName => match byte {
                b' ' | b'\t' => self.count_extension(State::ExtensionName),
                _ if scan::is(byte, scan::TOKEN) => self.count_extension(State::Extension),
                _ => Err(ChunkError::Extension),
            },
            State::Extension => match byte {
                b'\r' => Ok(State::SizeLf),
                b'\n' => Err(ChunkError::LineEnd),
                _ if scan::is(byte, scan::VALUE) => self.count_extension(State::Extension),
                _ => Err(ChunkError::Extension),
            },
            State::SizeLf => expect(
                b'\n',
                if self.remaining == 0 {
                    State::TrailersStart
                } else {
                    State::Data
                },
                ChunkError::LineEnd,
            ),
            State::DataCr => expect(b'\r', State::DataLf, ChunkError::DataEnd),
            State::DataLf => expect(b'\n', State::Size { digits: 0 }, ChunkError::DataEnd),
            State::TrailersStart => Ok(if byte == b'\r' {
                State::TrailersLf
            } else {
                State::Trailers
            }),
            State::TrailersLf => expect(b'\n', State::End, ChunkError::LineEnd),
            State::Data | State::Trailers | State::End => Ok(self.state),
        }
    }

    #[inline]
    fn size(&mut self, digits: u8, byte: u8) -> Result<State, ChunkError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if digits == 0 => return Err(ChunkError::Size),
            b'\r' => return Ok(State::SizeLf),
            b'\n' => return Err(ChunkError::LineEnd),
            b';' => return self.count_extension(State::ExtensionName),
            b' ' | b'\t' => return self.count_extension(State::AfterSize),
            _ => return Err(ChunkError::Size),
        };
        if digits == SIZE_DIGITS_MAX {
            return Err(ChunkError::SizeTooLarge);
        }
        // The size before is zero at the first digit: the data of the last chunk has been counted down.
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(State::Size { digits: digits + 1 })
    }

    fn count_extension(&mut self, next: State) -> Result<State, ChunkError> {
        if self.extension_bytes == self.limits.extension_bytes {
            return Err(ChunkError::ExtensionsTooLong {
                limit: self.limits.extension_bytes,
            });
        }
        self.extension_bytes += 1;
        Ok(next)
    }

    fn read_trailers(&mut self, buf: &[u8], at: usize) -> Result<Step, ChunkError> {
        let limits = &self.limits.trailers;
        let reader = self.trailer_reader.get_or_insert_default();
        let gathered = reader.text.len();
        // One byte more than the limit is enough for the section to be refused.
        let wanted = (limits.head_bytes_honoured() + 1).saturating_sub(gathered);
        reader
            .text
            .extend_from_slice(&buf[at..][..wanted.min(buf.len() - at)]);
        match reader
            .section
            .advance(&reader.text, limits, &mut self.trailers)?
        {
            None => Ok(Step {
                used: buf.len(),
                event: Event::NeedMore,
            }),
            Some(end) => {
                self.trailer_reader = None;
                self.state = State::End;
                self.check_trailers()?;
                Ok(Step {
                    used: at + end - gathered,
                    event: Event::End,
                })
            }
        }
    }

    fn check_trailers(&mut self) -> Result<(), ChunkError> {
        let forbidden = |name: Option<Known>| name.filter(|&name| NOT_FOR_TRAILERS.contains(name));
        match self.limits.forbidden_trailers {
            Handling::Keep => {}
            Handling::Drop => self
                .trailers
                .retain(|name, _| forbidden(name.known()).is_none()),
            Handling::Refuse => {
                if let Some(name) = self
                    .trailers
                    .iter()
                    .find_map(|(name, _)| forbidden(name.known()))
                {
                    return Err(SectionError::NotForTrailers(name).into());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
