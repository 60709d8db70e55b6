//! The field names that HTTP software meets daily, as small numbers.
//!
//! A name that is one of these is recognised once, when a message is parsed or a field appended; every later lookup
//! compares one byte. Recognition is a perfect hash over four bytes and the length, checked at compile time.
//! Names that are not in this list work just the same, only slower.

/// Declares the enum, the table of spellings and the number of names in one go, so that they can't drift apart.
macro_rules! known {
    ($($variant:ident => $text:literal,)*) => {
        /// A well-known field name.
        ///
        /// ```
        /// use http_wire::Known;
        ///
        /// assert_eq!(Known::find(b"content-LENGTH"), Some(Known::ContentLength));
        /// assert_eq!(Known::find(b"X-Shop"), None);
        /// assert_eq!(Known::ETag.as_str(), "ETag");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Known {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        const ALL: &[Known] = &[$(Known::$variant),*];
        const TEXT: &[&str] = &[$($text),*];
    };
}

known! {
    Accept => "Accept",
    AcceptCharset => "Accept-Charset",
    AcceptEncoding => "Accept-Encoding",
    AcceptLanguage => "Accept-Language",
    AcceptRanges => "Accept-Ranges",
    AccessControlAllowOrigin => "Access-Control-Allow-Origin",
    AccessControlRequestHeaders => "Access-Control-Request-Headers",
    AccessControlRequestMethod => "Access-Control-Request-Method",
    Age => "Age",
    Allow => "Allow",
    AltSvc => "Alt-Svc",
    Authorization => "Authorization",
    CacheControl => "Cache-Control",
    Connection => "Connection",
    ContentDisposition => "Content-Disposition",
    ContentEncoding => "Content-Encoding",
    ContentLanguage => "Content-Language",
    ContentLength => "Content-Length",
    ContentLocation => "Content-Location",
    ContentRange => "Content-Range",
    ContentSecurityPolicy => "Content-Security-Policy",
    ContentType => "Content-Type",
    Cookie => "Cookie",
    CrossOriginOpenerPolicy => "Cross-Origin-Opener-Policy",
    Date => "Date",
    Depth => "Depth",
    Destination => "Destination",
    Dnt => "DNT",
    EarlyData => "Early-Data",
    ETag => "ETag",
    Expect => "Expect",
    Expires => "Expires",
    Forwarded => "Forwarded",
    From => "From",
    Host => "Host",
    Http2Settings => "HTTP2-Settings",
    IfMatch => "If-Match",
    IfModifiedSince => "If-Modified-Since",
    IfNoneMatch => "If-None-Match",
    IfRange => "If-Range",
    IfUnmodifiedSince => "If-Unmodified-Since",
    KeepAlive => "Keep-Alive",
    LastModified => "Last-Modified",
    Link => "Link",
    Location => "Location",
    MaxForwards => "Max-Forwards",
    Origin => "Origin",
    Overwrite => "Overwrite",
    Pragma => "Pragma",
    Priority => "Priority",
    ProxyAuthenticate => "Proxy-Authenticate",
    ProxyAuthorization => "Proxy-Authorization",
    ProxyConnection => "Proxy-Connection",
    Range => "Range",
    Referer => "Referer",
    ReferrerPolicy => "Referrer-Policy",
    RetryAfter => "Retry-After",
    SecChUa => "sec-ch-ua",
    SecChUaMobile => "sec-ch-ua-mobile",
    SecChUaPlatform => "sec-ch-ua-platform",
    SecFetchDest => "Sec-Fetch-Dest",
    SecFetchMode => "Sec-Fetch-Mode",
    SecFetchSite => "Sec-Fetch-Site",
    SecFetchUser => "Sec-Fetch-User",
    SecWebSocketAccept => "Sec-WebSocket-Accept",
    SecWebSocketExtensions => "Sec-WebSocket-Extensions",
    SecWebSocketKey => "Sec-WebSocket-Key",
    SecWebSocketProtocol => "Sec-WebSocket-Protocol",
    SecWebSocketVersion => "Sec-WebSocket-Version",
    Server => "Server",
    SetCookie => "Set-Cookie",
    StrictTransportSecurity => "Strict-Transport-Security",
    Te => "TE",
    Trailer => "Trailer",
    TransferEncoding => "Transfer-Encoding",
    Upgrade => "Upgrade",
    UpgradeInsecureRequests => "Upgrade-Insecure-Requests",
    UserAgent => "User-Agent",
    Vary => "Vary",
    Via => "Via",
    Warning => "Warning",
    WwwAuthenticate => "WWW-Authenticate",
    XAccelBuffering => "X-Accel-Buffering",
    XAccelCharset => "X-Accel-Charset",
    XAccelExpires => "X-Accel-Expires",
    XAccelLimitRate => "X-Accel-Limit-Rate",
    XAccelRedirect => "X-Accel-Redirect",
    XContentTypeOptions => "X-Content-Type-Options",
    XCsrfToken => "X-CSRFToken",
    XForwardedFor => "X-Forwarded-For",
    XForwardedHost => "X-Forwarded-Host",
    XForwardedPort => "X-Forwarded-Port",
    XForwardedProto => "X-Forwarded-Proto",
    XForwardedProtocol => "X-Forwarded-Protocol",
    XForwardedSsl => "X-Forwarded-Ssl",
    XFrameOptions => "X-Frame-Options",
    XRealIp => "X-Real-IP",
    XRequestId => "X-Request-ID",
    XRequestedWith => "X-Requested-With",
}

impl Known {
    /// The name as it is usually spelled, for example `Content-Type`.
    pub const fn as_str(self) -> &'static str {
        TEXT[self as usize]
    }

    /// Every well-known name, in alphabetical order.
    pub const fn all() -> &'static [Known] {
        ALL
    }

    /// Recognises a name without regard to case. `None` when it is not a well-known one.
    #[inline]
    pub fn find(name: &[u8]) -> Option<Known> {
        if name.len() < SHORTEST || name.len() > LONGEST {
            return None;
        }
        let candidate = SLOTS[slot(name)];
        let known = *ALL.get(usize::from(candidate))?;
        eq_folded(name, TEXT[usize::from(candidate)].as_bytes()).then_some(known)
    }

    pub(crate) const fn bit(self) -> u128 {
        1 << self as u8
    }
}

/// A set of well-known names.
///
/// ```
/// use http_wire::{Known, KnownSet};
///
/// const SINGLE: KnownSet = KnownSet::of(&[Known::Host, Known::ContentLength]);
/// assert!(SINGLE.contains(Known::Host));
/// assert!(!SINGLE.contains(Known::Cookie));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct KnownSet(pub(crate) u128);

impl KnownSet {
    /// The set of no names.
    pub const EMPTY: KnownSet = KnownSet(0);

    /// The set of the given names.
    pub const fn of(names: &[Known]) -> KnownSet {
        let mut bits = 0;
        let mut i = 0;
        while i < names.len() {
            bits |= names[i].bit();
            i += 1;
        }
        KnownSet(bits)
    }

    /// This set and one more name.
    #[must_use]
    pub const fn with(self, name: Known) -> KnownSet {
        KnownSet(self.0 | name.bit())
    }

    /// Whether the name is in the set.
    #[inline]
    pub const fn contains(self, name: Known) -> bool {
        self.0 & name.bit() != 0
    }
}

const SLOT_BITS: u32 = 9;
const NOTHING: u8 = u8::MAX;
const SHORTEST: usize = length_bound(false);
const LONGEST: usize = length_bound(true);

/// Slot of each hash value: the index of the only name that can be meant, or [`NOTHING`].
static SLOTS: [u8; 1 << SLOT_BITS] = {
    assert!(TEXT.len() < 128, "Fields keeps a set of 128 bits");
    let mut slots = [NOTHING; 1 << SLOT_BITS];
    let mut i = 0;
    while i < TEXT.len() {
        let at = slot(TEXT[i].as_bytes());
        assert!(
            slots[at] == NOTHING,
            "two known names hash alike: look for another MULTIPLIER"
        );
        slots[at] = i as u8;
        i += 1;
    }
    slots
};

/// Found by trying random odd numbers until no two names shared a slot.
const MULTIPLIER: u32 = 0x0d76_1339;

#[inline]
const fn slot(name: &[u8]) -> usize {
    let length = name.len();
    let past_middle = if length / 2 + 1 < length {
        length / 2 + 1
    } else {
        length - 1
    };
    let picked = [
        name[0],
        name[past_middle],
        name[length - 1],
        name[length.saturating_sub(4)],
    ];
    let folded = u32::from_le_bytes(picked) | 0x2020_2020;
    let key = folded.wrapping_add((length as u32).wrapping_mul(0x9e37_79b1));
    (key.wrapping_mul(MULTIPLIER) >> (32 - SLOT_BITS)) as usize
}

const fn length_bound(longest: bool) -> usize {
    let mut bound = TEXT[0].len();
    let mut i = 1;
    while i < TEXT.len() {
        let length = TEXT[i].len();
        if (length > bound) == longest {
            bound = length;
        }
        i += 1;
    }
    bound
}

/// Whether two tokens are the same without regard to case.
///
/// Eight bytes at a time, by setting the bit that makes capitals small. Among token characters only `^` and `~` are confused by
/// that, so the result is exact when one side has neither, which holds for every known name.
#[inline]
fn eq_folded(a: &[u8], b: &[u8]) -> bool {
    const SMALL: u64 = 0x2020_2020_2020_2020;
    if a.len() != b.len() {
        return false;
    }
    let (Some((a_words, a_last)), Some((b_words, b_last))) = (words(a), words(b)) else {
        return a.iter().zip(b).all(|(x, y)| x | 0x20 == y | 0x20);
    };
    let same =
        |x: &[u8; 8], y: &[u8; 8]| u64::from_le_bytes(*x) | SMALL == u64::from_le_bytes(*y) | SMALL;
    same(a_last, b_last) && a_words.iter().zip(b_words).all(|(x, y)| same(x, y))
}

/// The whole words from the front, and the last eight bytes, which may overlap them. `None` under eight bytes.
#[inline]
fn words(bytes: &[u8]) -> Option<(&[[u8; 8]], &[u8; 8])> {
    Some((bytes.as_chunks().0, bytes.last_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for &known in Known::all() {
            let text = known.as_str();
            for spelled in [text.to_owned(), text.to_lowercase(), text.to_uppercase()] {
                assert_eq!(Known::find(spelled.as_bytes()), Some(known), "{spelled}");
            }
        }
    }

    #[test]
    fn a_name_one_byte_off_is_not_found() {
        for known in Known::all() {
            for at in 0..known.as_str().len() {
                let mut name = known.as_str().as_bytes().to_vec();
                name[at] = if name[at] == b'q' { b'z' } else { b'q' };
                assert_eq!(
                    Known::find(&name),
                    None,
                    "{}",
                    String::from_utf8_lossy(&name)
                );
                name.remove(at);
                assert_ne!(Known::find(&name), Some(*known));
            }
        }
    }

    #[test]
    fn empty_and_huge_names_are_unknown() {
        assert_eq!(Known::find(b""), None);
        assert_eq!(Known::find(&[b'a'; 70_000]), None);
    }

    #[test]
    fn the_list_is_sorted_and_free_of_repetitions() {
        assert!(
            TEXT.windows(2)
                .all(|pair| pair[0].to_lowercase() < pair[1].to_lowercase())
        );
    }
}
