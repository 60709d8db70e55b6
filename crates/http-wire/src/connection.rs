//! What the fields of a message say about the connection it came on (RFC 9112 §9, RFC 9110 §7.6.1).

use http::Method;

use crate::fields::{Fields, Name};
use crate::head::{RequestHead, ResponseHead};
use crate::known::{Known, KnownSet};
use crate::list;
use crate::version::Version;

/// Fields that are meant for the next hop only, whether `Connection` names them or not. An intermediary drops them and sends its own.
///
/// `TE` and `Upgrade` are among them: who forwards them does so on purpose.
pub const HOP_BY_HOP: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::Trailer,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Http2Settings,
]);

/// Whether the sender of a message with this version and these fields wants the connection to go on (RFC 9112 §9.3).
///
/// ```
/// use http_wire::{Fields, Known, Version, connection::persists};
///
/// let mut fields = Fields::new();
/// assert!(persists(Version::Http11, &fields));
/// assert!(!persists(Version::Http10, &fields));
/// fields.append(Known::Connection, "Keep-Alive")?;
/// assert!(persists(Version::Http10, &fields));
/// fields.append(Known::Connection, "close")?;
/// assert!(!persists(Version::Http10, &fields));
/// # Ok::<(), http_wire::FieldError>(())
/// ```
#[inline]
pub fn persists(version: Version, fields: &Fields) -> bool {
    if !fields.contains(Known::Connection) {
        return version != Version::Http10;
    }
    let mut keep_alive = version != Version::Http10;
    for value in fields.get_all(Known::Connection) {
        // Nearly always the field is just one of the two words.
        if value.eq_ignore_ascii_case(b"keep-alive") {
            keep_alive = true;
        } else if list::contains_token(value, "close") {
            return false;
        } else {
            keep_alive |= list::contains_token(value, "keep-alive");
        }
    }
    keep_alive
}

/// The options in the `Connection` field.
pub fn options(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    fields.get_all(Known::Connection).flat_map(list::elements)
}

/// Whether a field must not be forwarded: it is one of [`HOP_BY_HOP`], or the message's `Connection` field names it.
///
/// `Host`, `Content-Length` and the like can't be taken away by naming them in `Connection`: end-to-end fields on which routing and framing
/// depend stay (RFC 9110 §7.6.1 forbids senders to name them).
pub fn is_hop_by_hop(name: impl Name, fields: &Fields) -> bool {
    match name.known() {
        Some(known) if HOP_BY_HOP.contains(known) => true,
        Some(known) if NEVER_NAMED.contains(known) => false,
        _ => {
            fields.contains(Known::Connection)
                && options(fields).any(|option| option.eq_ignore_ascii_case(name.bytes()))
        }
    }
}

const NEVER_NAMED: KnownSet = KnownSet::of(&[
    Known::Host,
    Known::ContentLength,
    Known::ContentType,
    Known::ContentEncoding,
    Known::Authorization,
    Known::Cookie,
    Known::SetCookie,
    Known::CacheControl,
    Known::Forwarded,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedProto,
    Known::XForwardedPort,
    Known::XRealIp,
]);

/// The protocols that a message's `Upgrade` field offers, if `Connection` has the option `upgrade` too (RFC 9110 §7.8). Not in HTTP/1.0 requests.
pub fn upgrade(fields: &Fields) -> Option<&[u8]> {
    let value = fields.get(Known::Upgrade)?;
    fields
        .contains_token(Known::Connection, "upgrade")
        .then_some(value)
}

impl RequestHead {
    /// Whether the client wants the connection to go on after the response. After CONNECT it can't.
    pub fn persists(&self) -> bool {
        self.method != Method::CONNECT && persists(self.version, &self.fields)
    }

    /// The protocols that the client would like to change to; see [`upgrade`].
    pub fn upgrade(&self) -> Option<&[u8]> {
        if self.version == Version::Http10 {
            None
        } else {
            upgrade(&self.fields)
        }
    }
}

impl ResponseHead {
    /// Whether the server wants the connection to go on. Content that lasts until close is not looked at here.
    pub fn persists(&self) -> bool {
        persists(self.version, &self.fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append(*name, value).unwrap();
        }
        fields
    }

    #[test]
    fn close_beats_keep_alive_in_any_line_and_case() {
        for value in [
            "close",
            "CLOSE",
            "keep-alive, close",
            "close,keep-alive",
            "x ,\tClose",
        ] {
            assert!(
                !persists(Version::Http11, &of(&[("Connection", value)])),
                "{value}"
            );
        }
        assert!(!persists(
            Version::Http11,
            &of(&[("Connection", "keep-alive"), ("Connection", "close")])
        ));
        for value in ["", "upgrade", "closed", "\"close\""] {
            assert!(
                persists(Version::Http11, &of(&[("Connection", value)])),
                "{value}"
            );
            assert!(
                !persists(Version::Http10, &of(&[("Connection", value)])),
                "{value}"
            );
        }
    }

    #[test]
    fn named_fields_are_for_the_next_hop_but_framing_and_routing_stay() {
        let fields = of(&[
            ("Connection", "X-Trace, host, Content-Length"),
            ("Connection", "close"),
        ]);
        for (name, hop) in [
            ("x-trace", true),
            ("X-Other", false),
            ("Host", false),
            ("content-length", false),
            ("Transfer-Encoding", true),
            ("keep-alive", true),
            ("close", true),
        ] {
            assert_eq!(is_hop_by_hop(name, &fields), hop, "{name}");
        }
        assert!(!is_hop_by_hop("X-Trace", &Fields::new()));
    }

    #[test]
    fn an_upgrade_needs_both_fields_and_http_1_1() {
        let mut head = RequestHead {
            fields: of(&[("Upgrade", "websocket")]),
            ..RequestHead::default()
        };
        assert_eq!(head.upgrade(), None);
        head.fields
            .append("Connection", "keep-alive, Upgrade")
            .unwrap();
        assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
        head.version = Version::Http10;
        assert_eq!(head.upgrade(), None);
    }

    #[test]
    fn a_connect_request_does_not_persist() {
        let head = RequestHead {
            method: Method::CONNECT,
            ..RequestHead::default()
        };
        assert!(!head.persists());
        assert!(RequestHead::default().persists() && ResponseHead::default().persists());
    }
}
