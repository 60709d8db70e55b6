//! What to answer when a file is asked for: whether it was modified, which of its bytes are wanted, and with which fields.
//!
//! Decisions only; http-wire reads the conditional and range fields, [`FileBody`] carries the bytes.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use http_wire::conditional::{Current, EntityTag, ModifiedSince, Verdict, evaluate, range_applies};
use http_wire::date::HttpDate;
use http_wire::range::{ContentRange, Multipart, RangeLimits, Selection, select};
use http_wire::{Fields, Known};

use crate::body::{FileBody, Segment};
use crate::opened::{Metadata, Opened};
use crate::remembered::Small;
use crate::variants::Coding;

/// How requests are read where there is a choice. The default is that of RFC 9110.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How `If-Modified-Since` is compared. Default [`ModifiedSince::Before`]; nginx's is [`ModifiedSince::Exact`].
    pub modified_since: ModifiedSince,
    /// Limits for `Range`, and what becomes of malformed ones. Default 100 ranges, malformed ones ignored; nginx has no
    /// limit and refuses malformed ones. With a limit of 0 `Accept-Ranges` is not sent either.
    pub ranges: RangeLimits,
    /// Whether `Range` counts for HEAD too. Default no (RFC 9110 §14.2); in nginx it does.
    pub ranges_for_head: bool,
    /// Whether there are entity tags. Default yes.
    pub entity_tags: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            modified_since: ModifiedSince::default(),
            ranges: RangeLimits::default(),
            ranges_for_head: false,
            entity_tags: true,
        }
    }
}

/// A file as clients see it: length, type, coding and validators.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("a.txt"), "0123456789")?;
/// use http::Method;
/// use http_wire::{Fields, Known};
/// use static_files::{Lookup, Representation, Root, Rules, Types};
///
/// let types = Types::common();
/// let opened = Root::new(folder.path()).open_with(b"a.txt", Lookup::Patient)?;
/// let representation = Representation::of(opened.metadata()).with_type(types.of(b"a.txt"));
///
/// let mut request = Fields::new();
/// request.append(Known::Range, "bytes=2-5")?;
/// let plan = representation.plan(&Method::GET, &request, &Rules::default());
/// let mut fields = Fields::new();
/// representation.write_fields(&plan, &mut fields);
/// assert_eq!(plan.status(), 206);
/// assert_eq!(fields.get(Known::ContentRange), Some(&b"bytes 2-5/10"[..]));
/// assert_eq!(plan.into_body(opened).len(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Representation<'a> {
    len: u64,
    modified: i64,
    entity_tag: Tag,
    content_type: Option<&'a HeaderValue>,
    coding: Option<Coding>,
    varies: bool,
}

impl<'a> Representation<'a> {
    /// A representation with the length and the validators of a file: the entity tag is, as in nginx, time of modification
    /// and length, in hexadecimal.
    pub fn of(metadata: &Metadata) -> Self {
        Representation {
            len: metadata.len,
            modified: metadata.modified,
            entity_tag: Tag::of(metadata.modified, metadata.len),
            content_type: None,
            coding: None,
            varies: false,
        }
    }

    /// The type to tell; `None` tells none. See [`Types::of`](crate::Types::of).
    #[must_use]
    pub fn with_type(mut self, content_type: Option<&'a HeaderValue>) -> Self {
        self.content_type = content_type;
        self
    }

    /// The coding that the file is in, told as `Content-Encoding`.
    #[must_use]
    pub fn with_coding(mut self, coding: Option<Coding>) -> Self {
        self.coding = coding;
        self
    }

    /// Whether another `Accept-Encoding` could have got another representation, told as `Vary`.
    #[must_use]
    pub fn with_vary(mut self, varies: bool) -> Self {
        self.varies = varies;
        self
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entity tag, quotes included: strong.
    pub fn entity_tag(&self) -> &[u8] {
        self.entity_tag.as_bytes()
    }

    /// When it was last modified.
    pub fn last_modified(&self) -> HttpDate {
        HttpDate::from_unix(self.modified)
    }

    /// Decides what to answer to a GET or HEAD request with these fields (other methods are the caller's business): the
    /// preconditions in the order of RFC 9110 §13.2.2, then the ranges.
    pub fn plan(&self, method: &Method, request: &Fields, rules: &Rules) -> Plan {
        let plan = |status, content| Plan {
            status,
            content,
            complete: self.len,
            accepts_ranges: status == StatusCode::OK && rules.ranges.ranges_max > 0,
            has_entity_tag: rules.entity_tags,
            is_head: method == Method::HEAD,
        };
        let current = Current {
            entity_tag: self.comparable_tag(request, rules),
            last_modified: Some(self.last_modified()),
            ..Current::default()
        };
        match evaluate(method, request, &current, rules.modified_since) {
            Verdict::NotModified => return plan(StatusCode::NOT_MODIFIED, Content::None),
            Verdict::Failed => return plan(StatusCode::PRECONDITION_FAILED, Content::None),
            Verdict::Proceed => {}
        }
        match self.select(method, request, &current, rules) {
            Selection::Whole => plan(StatusCode::OK, Content::Whole),
            Selection::Unsatisfiable => plan(StatusCode::RANGE_NOT_SATISFIABLE, Content::None),
            Selection::One(range) => plan(StatusCode::PARTIAL_CONTENT, Content::Range(range)),
            Selection::Several(ranges) => {
                let content_type = self
                    .content_type
                    .map(|value| String::from_utf8_lossy(value.as_bytes()));
                let frame = Multipart::new(boundary(), content_type, self.len);
                plan(
                    StatusCode::PARTIAL_CONTENT,
                    Content::Multipart { frame, ranges },
                )
            }
        }
    }

    /// The tag as conditions compare it, read only if there is one that does.
    fn comparable_tag(&self, request: &Fields, rules: &Rules) -> Option<EntityTag<'_>> {
        const COMPARING: [Known; 3] = [Known::IfNoneMatch, Known::IfMatch, Known::IfRange];
        let is_compared = rules.entity_tags && COMPARING.iter().any(|name| request.contains(name));
        is_compared
            .then(|| EntityTag::parse(self.entity_tag()))
            .flatten()
    }

    fn select(
        &self,
        method: &Method,
        request: &Fields,
        current: &Current<'_>,
        rules: &Rules,
    ) -> Selection {
        let has_ranges = method == Method::GET || (rules.ranges_for_head && method == Method::HEAD);
        // Nothing of nothing is all of it: clients that resume or probe an empty file get it.
        if !has_ranges || self.len == 0 || !request.contains(Known::Range) {
            return Selection::Whole;
        }
        match request.get_single(Known::Range) {
            Some(value) if range_applies(request, current) => {
                select(value, self.len, &rules.ranges)
            }
            _ => Selection::Whole,
        }
    }

    /// Appends the fields of the answer, in nginx's order: `Content-Type`, `Last-Modified`, `ETag`, `Content-Encoding`,
    /// `Vary`, `Accept-Ranges` or `Content-Range`; of them those that its status has. `Content-Length` is the
    /// connection's business, see [`Plan::content_length`].
    pub fn write_fields(&self, plan: &Plan, out: &mut Fields) {
        // All values are made here or are header values already, so none is refused.
        let mut put = |name, value: &[u8]| {
            let _ = out.append(name, value);
        };
        let is_content = matches!(plan.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        match &plan.content {
            Content::Multipart { frame, .. } => {
                put(Known::ContentType, frame.content_type().as_bytes());
            }
            _ if is_content => {
                if let Some(value) = self.content_type {
                    put(Known::ContentType, value.as_bytes());
                }
            }
            _ => {}
        }
        if is_content || plan.status == StatusCode::NOT_MODIFIED {
            put(Known::LastModified, &self.last_modified().text());
            if plan.has_entity_tag {
                put(Known::ETag, self.entity_tag());
            }
            if let Some(coding) = self.coding.filter(|_| is_content) {
                put(Known::ContentEncoding, coding.name().as_bytes());
            }
            if self.varies {
                put(Known::Vary, b"Accept-Encoding");
            }
        }
        if plan.accepts_ranges {
            put(Known::AcceptRanges, b"bytes");
        }
        if let Some(value) = plan.content_range() {
            put(Known::ContentRange, value.to_string().as_bytes());
        }
    }
}

/// What to answer: a status, and which bytes.
#[derive(Clone, Debug)]
pub struct Plan {
    status: StatusCode,
    content: Content,
    complete: u64,
    accepts_ranges: bool,
    has_entity_tag: bool,
    is_head: bool,
}

/// Which bytes of the representation.
#[derive(Clone, Debug)]
pub enum Content {
    /// None: 304, 412 and 416. The last two deserve an explanation from the caller.
    None,
    /// All.
    Whole,
    /// These, with `Content-Range`.
    Range(Range<u64>),
    /// These, as `multipart/byteranges`, in the order in which they were asked for.
    Multipart {
        /// What stands around them.
        frame: Multipart,
        /// Several.
        ranges: Vec<Range<u64>>,
    },
}

impl Plan {
    /// 200, 206, 304, 412 or 416.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Which bytes of the representation a GET sends.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The value of `Content-Length`, for HEAD too. `None` where there is no content of ours: 304, 412, 416.
    pub fn content_length(&self) -> Option<u64> {
        match &self.content {
            Content::None => None,
            Content::Whole => Some(self.complete),
            Content::Range(range) => Some(range.end - range.start),
            Content::Multipart { frame, ranges } => Some(frame.len(ranges)),
        }
    }

    /// The bytes to send: none for HEAD and where there is no content of ours.
    pub fn into_body(self, opened: Opened) -> FileBody {
        if self.is_head {
            return FileBody::empty();
        }
        match self.content {
            Content::None => FileBody::empty(),
            Content::Whole => opened.into_range(0, self.complete),
            Content::Range(range) => opened.into_range(range.start, range.end - range.start),
            Content::Multipart { frame, ranges } => {
                let segments = segments(&frame, &ranges, |range| Segment::File {
                    offset: range.start,
                    len: range.end - range.start,
                });
                FileBody::from_segments(opened, segments)
            }
        }
    }

    /// [`into_body`](Self::into_body) for a file whose content is at hand.
    pub fn into_bytes(self, small: &Small) -> Bytes {
        if self.is_head {
            return Bytes::new();
        }
        // The plan was made for this file, so its ranges lie within.
        let part = |range: &Range<u64>| {
            small
                .content
                .slice(range.start as usize..range.end as usize)
        };
        match self.content {
            Content::None => Bytes::new(),
            Content::Whole => small.content.clone(),
            Content::Range(range) => part(&range),
            Content::Multipart { frame, ranges } => {
                let mut all = Vec::with_capacity(frame.len(&ranges) as usize);
                for segment in segments(&frame, &ranges, |range| Segment::Bytes(part(range))) {
                    if let Segment::Bytes(bytes) = segment {
                        all.extend_from_slice(&bytes);
                    }
                }
                all.into()
            }
        }
    }

    fn content_range(&self) -> Option<ContentRange> {
        match &self.content {
            Content::Range(range) => Some(ContentRange::part(range.clone(), self.complete)),
            Content::None if self.status == StatusCode::RANGE_NOT_SATISFIABLE => {
                Some(ContentRange::unsatisfied(self.complete))
            }
            _ => None,
        }
    }
}

/// `multipart/byteranges`, in order.
fn segments(
    frame: &Multipart,
    ranges: &[Range<u64>],
    part: impl Fn(&Range<u64>) -> Segment,
) -> impl Iterator<Item = Segment> {
    ranges
        .iter()
        .flat_map(move |range| [Segment::Bytes(frame.before(range).into()), part(range)])
        .chain([Segment::Bytes(frame.after_last().into())])
}

/// An entity tag, made without allocating: `"` time `-` length `"`.
#[derive(Clone, Copy, Debug)]
struct Tag {
    text: [u8; Tag::MAX],
    len: u8,
}

impl Tag {
    const MAX: usize = 2 * 16 + 3;

    fn of(modified: i64, len: u64) -> Self {
        let mut tag = Tag {
            text: [0; Tag::MAX],
            len: 0,
        };
        tag.push(b'"');
        // Times before 1970 as nginx writes them: in two's complement.
        tag.push_hex(modified as u64);
        tag.push(b'-');
        tag.push_hex(len);
        tag.push(b'"');
        tag
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }

    fn push(&mut self, byte: u8) {
        self.text[usize::from(self.len)] = byte;
        self.len += 1;
    }

    fn push_hex(&mut self, number: u64) {
        let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
        for at in (0..digits).rev() {
            self.push(b"0123456789abcdef"[(number >> (4 * at)) as usize & 15]);
        }
    }
}

/// Twenty digits that nobody can foresee, so that no file can have them in it on purpose.
fn boundary() -> String {
    thread_local! {
        static SECRET: RandomState = RandomState::new();
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    let count = COUNT.replace(COUNT.get().wrapping_add(1));
    format!("{:020}", SECRET.with(|secret| secret.hash_one(count)))
}

#[cfg(test)]
mod tests;
