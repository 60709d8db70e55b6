//! The opening handshake: of HTTP/1.1 (RFC 6455 §4.2), and of HTTP/2 (RFC 8441), which has no key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use http_wire::fields::Fields;
use http_wire::head::RequestHead;
use http_wire::{Known, Version};
use sha1::{Digest, Sha1};

use super::deflate::Agreed;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A handshake that can be answered.
#[derive(Debug)]
pub(crate) struct Asked {
    /// `Sec-WebSocket-Accept`; empty where there is none.
    pub accept: String,
    /// What compression was agreed on.
    pub deflate: Option<Agreed>,
}

/// What a request asks for: `None` where it is no WebSocket handshake.
///
/// # Errors
/// The status that refuses it: 426 for another version, 400 for a bad key.
pub(crate) fn asks(head: &RequestHead, deflate: bool) -> Option<Result<Asked, StatusCode>> {
    let fields = &head.fields;
    let known = fields.known_names();
    if head.version == Version::Http2 {
        // A connection of HTTP/2 takes CONNECT for WebSockets only.
        return (head.method == Method::CONNECT).then(|| {
            agreed(fields, deflate).map(|deflate| Asked {
                accept: String::new(),
                deflate,
            })
        });
    }
    let upgrades = known.contains(Known::Upgrade)
        && head.method == Method::GET
        && head.version == Version::Http11
        && fields.contains_token(Known::Upgrade, "websocket")
        && fields.contains_token(Known::Connection, "upgrade");
    upgrades.then(|| {
        let deflate = agreed(fields, deflate)?;
        let key = fields.get_single(Known::SecWebSocketKey);
        let key = key
            .filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16))
            .ok_or(StatusCode::BAD_REQUEST)?;
        let mut hash = Sha1::new();
        hash.update(key);
        hash.update(GUID);
        Ok(Asked {
            accept: STANDARD.encode(hash.finalize()),
            deflate,
        })
    })
}

/// Whether it is our version, and what compression is agreed on.
fn agreed(fields: &Fields, deflate: bool) -> Result<Option<Agreed>, StatusCode> {
    if fields.get_single(Known::SecWebSocketVersion) != Some(b"13") {
        return Err(StatusCode::UPGRADE_REQUIRED);
    }
    let offers = fields.get_all(Known::SecWebSocketExtensions);
    Ok(if deflate { Agreed::on(offers) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead {
            version: Version::Http11,
            ..RequestHead::default()
        };
        for (name, value) in fields {
            head.fields.append(*name, *value).expect("is a field");
        }
        head
    }

    const UPGRADE: [(&str, &str); 2] = [
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "WebSocket"),
    ];

    #[test]
    fn the_key_of_the_standard_has_the_answer_of_the_standard() {
        let more = [
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let asked = asks(&head(&[UPGRADE, more].concat()), true)
            .expect("is a handshake")
            .expect("is well formed");
        assert_eq!(asked.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(asked.deflate, None);
    }

    #[test]
    fn http_2_asks_with_connect_and_has_no_key() {
        let mut asked = head(&[("Sec-WebSocket-Version", "13")]);
        asked.version = Version::Http2;
        assert!(asks(&asked, true).is_none());
        asked.method = Method::CONNECT;
        assert!(asks(&asked, true).expect("is one").is_ok());
        asked.fields.remove(Known::SecWebSocketVersion);
        let refused = asks(&asked, true).expect("is one");
        assert_eq!(refused.err(), Some(StatusCode::UPGRADE_REQUIRED));
    }

    #[test]
    fn other_versions_and_bad_keys_are_refused() {
        let old = [UPGRADE, [("Sec-WebSocket-Version", "8"), ("A", "b")]].concat();
        assert_eq!(
            asks(&head(&old), true).expect("is one").err(),
            Some(StatusCode::UPGRADE_REQUIRED)
        );
        for key in ["", "c2hvcnQ=", "no base64 at all!!!!!!=="] {
            let more = [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)];
            let refused = asks(&head(&[UPGRADE, more].concat()), true);
            assert_eq!(
                refused.expect("is one").err(),
                Some(StatusCode::BAD_REQUEST)
            );
        }
        assert!(asks(&head(&[("Upgrade", "websocket")]), true).is_none());
        assert!(
            asks(
                &head(&[("Upgrade", "h2c"), ("Connection", "upgrade")]),
                true
            )
            .is_none()
        );
    }
}
