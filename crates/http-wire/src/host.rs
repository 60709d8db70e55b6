//! The authority of a request: host and port, as in the `Host` field and in absolute and authority forms of the request target.

use std::fmt;

use crate::scan;

/// A host and perhaps a port (RFC 9110 §7.2, RFC 3986 §3.2), checked but not changed: case, a final dot and percent-encodings stay.
///
/// ```
/// use http_wire::host::Authority;
///
/// let authority = Authority::parse(b"[2001:db8::1]:8080").unwrap();
/// assert_eq!(authority.host(), "[2001:db8::1]");
/// assert_eq!(authority.port(), Some(8080));
/// assert!(Authority::parse(b"user@shop.example").is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `host` or `host:port`. A colon with nothing behind it counts as no port (RFC 3986 §3.2.3).
    ///
    /// `None` when the host is empty, user information is present, brackets hold no address, the port is no number below 65,536, or
    /// any byte can't stand in an authority.
    pub fn parse(text: &'a [u8]) -> Option<Authority<'a>> {
        let host_len = match text {
            [b'[', rest @ ..] => ip_literal_len(rest)? + 1,
            _ => scan::run(text, scan::HOST),
        };
        let (host, rest) = text.split_at_checked(host_len)?;
        let port = match rest {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(u16::try_from(scan::decimal(digits)?).ok()?),
            _ => return None,
        };
        if host.is_empty() || !percent_encodings_complete(host) {
            return None;
        }
        Some(Authority {
            host: std::str::from_utf8(host).ok()?,
            port,
        })
    }

    /// The host, with the brackets of an IPv6 address.
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// The port, when one was given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(self.host),
        }
    }
}

/// Length of an IPv6 address or `IPvFuture` and the bracket that closes it.
fn ip_literal_len(text: &[u8]) -> Option<usize> {
    let inside = text.iter().position(|&byte| byte == b']')?;
    let address = &text[..inside];
    let valid = match address {
        [b'v' | b'V', rest @ ..] => is_future_address(rest),
        _ => std::str::from_utf8(address)
            .ok()?
            .parse::<std::net::Ipv6Addr>()
            .is_ok(),
    };
    valid.then_some(inside + 1)
}

/// 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )
fn is_future_address(text: &[u8]) -> bool {
    let digits = text
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    match &text[digits..] {
        [b'.', rest @ ..] => {
            digits > 0
                && !rest.is_empty()
                && rest
                    .iter()
                    .all(|&b| b == b':' || (b != b'%' && scan::is(b, scan::HOST)))
        }
        _ => false,
    }
}

fn percent_encodings_complete(host: &[u8]) -> bool {
    let mut rest = host;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        match &rest[at + 1..] {
            [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after;
            }
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_addresses_and_ports() {
        for (text, host, port) in [
            ("shop.example", "shop.example", None),
            ("Shop.Example.:80", "Shop.Example.", Some(80)),
            ("my_shop:65535", "my_shop", Some(65535)),
            ("127.0.0.1:0", "127.0.0.1", Some(0)),
            ("a:", "a", None),
            ("[::1]", "[::1]", None),
            ("[::ffff:1.2.3.4]:443", "[::ffff:1.2.3.4]", Some(443)),
            ("[v1.a:b]", "[v1.a:b]", None),
            ("caf%C3%A9.example", "caf%C3%A9.example", None),
        ] {
            let authority = Authority::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((authority.host(), authority.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_authority() {
        for text in [
            "",
            ":80",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "user@a",
            "user:pw@a",
            "a:b",
            "a:-1",
            "a:+1",
            "a:65536",
            "a:80:80",
            "a,b:c",
            "[::1",
            "::1",
            "[::g]",
            "[]",
            "[::1]x",
            "[::1]80",
            "[fe80::1%25eth0]",
            "[v.a]",
            "[vg.a]",
            "[v1.]",
            "a%",
            "a%2",
            "a%zz",
            "a\\b",
            "a\"",
            "a<",
            "a\0",
            "ä",
            "a\t",
            "http://a",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
    }
}
