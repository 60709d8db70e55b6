//! The `Forwarded` field (RFC 7239).

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::{list, scan};

/// What one intermediary says about the request it forwarded.
///
/// ```
/// use http_wire::forwarded::{self, NodeName};
///
/// let value = br#"for="[2001:db8::17]:4711";proto=https;by=203.0.113.43, for=_hidden"#;
/// let elements = forwarded::parse(value)?;
/// let client = elements[0].node_for().unwrap();
/// assert_eq!(client.name, NodeName::Address("2001:db8::17".parse().unwrap()));
/// assert_eq!(elements[0].proto.as_deref(), Some(&b"https"[..]));
/// assert_eq!(elements[1].node_for().unwrap().to_string(), "_hidden");
/// # Ok::<(), forwarded::ForwardedError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Element<'a> {
    /// `for`: who made the request.
    pub for_: Option<Cow<'a, [u8]>>,
    /// `by`: the interface on which it arrived.
    pub by: Option<Cow<'a, [u8]>>,
    /// `host`: the `Host` field as it came in.
    pub host: Option<Cow<'a, [u8]>>,
    /// `proto`: the scheme that was used.
    pub proto: Option<Cow<'a, [u8]>>,
}

/// A `Forwarded` field that is malformed. Nothing it says should be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardedError {
    /// A part that is not `name=value` with a token or quoted string as value.
    #[error("a part of \"Forwarded\" is not of the form name=value")]
    Pair,
    /// A parameter that occurs twice in an element (RFC 7239 §4).
    #[error("a parameter of \"Forwarded\" is there twice in one element")]
    Repeated,
}

/// Reads the value of the field: one element for each intermediary, the one nearest to the client first. Unknown parameters are skipped.
///
/// # Errors
/// [`ForwardedError`] when any of it is malformed.
pub fn parse(value: &[u8]) -> Result<Vec<Element<'_>>, ForwardedError> {
    list::elements(value).map(parse_element).collect()
}

fn parse_element(text: &[u8]) -> Result<Element<'_>, ForwardedError> {
    let mut element = Element::default();
    for pair in list::split_outside_quotes(text, b';')
        .map(scan::trim)
        .filter(|pair| !pair.is_empty())
    {
        let at = memchr::memchr(b'=', pair).ok_or(ForwardedError::Pair)?;
        let (name, value) = (&pair[..at], &pair[at + 1..]);
        if !scan::is_token(name) || !(scan::is_token(value) || is_quoted(value)) {
            return Err(ForwardedError::Pair);
        }
        let place = match name.to_ascii_lowercase().as_slice() {
            b"for" => &mut element.for_,
            b"by" => &mut element.by,
            b"host" => &mut element.host,
            b"proto" => &mut element.proto,
            _ => continue,
        };
        if place.replace(list::unquoted(value)).is_some() {
            return Err(ForwardedError::Repeated);
        }
    }
    Ok(element)
}

/// Whether this is one quoted string, closed by its last byte and not before.
fn is_quoted(text: &[u8]) -> bool {
    let [b'"', inside @ .., b'"'] = text else {
        return false;
    };
    let mut bytes = inside.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return false,
            b'\\' if bytes.next().is_none() => return false,
            _ => {}
        }
    }
    true
}

impl Element<'_> {
    /// The node in `for`, if it is one.
    pub fn node_for(&self) -> Option<Node<'_>> {
        Node::parse(self.for_.as_deref()?)
    }

    /// The node in `by`, if it is one.
    pub fn node_by(&self) -> Option<Node<'_>> {
        Node::parse(self.by.as_deref()?)
    }

    /// Appends the element, values quoted where needed. Nothing when all parts are `None`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let parts = [
            ("for=", &self.for_),
            ("by=", &self.by),
            ("host=", &self.host),
            ("proto=", &self.proto),
        ];
        let mut separator = "";
        for (name, value) in parts {
            let Some(value) = value else { continue };
            out.extend_from_slice(separator.as_bytes());
            out.extend_from_slice(name.as_bytes());
            list::push_quoted_if_needed(value, out);
            separator = ";";
        }
    }
}

/// An end of a connection, as `for` and `by` name it (RFC 7239 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// Who.
    pub name: NodeName<'a>,
    /// The port, when it is given.
    pub port: Option<NodePort<'a>>,
}

/// The name of a [`Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeName<'a> {
    /// An IP address.
    Address(IpAddr),
    /// `unknown`
    Unknown,
    /// A made-up name, beginning with an underscore.
    Obfuscated(&'a str),
}

/// The port of a [`Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodePort<'a> {
    /// A number.
    Number(u16),
    /// A made-up name, beginning with an underscore.
    Obfuscated(&'a str),
}

impl<'a> Node<'a> {
    /// Reads `address`, `address:port`, `[address]:port`, `unknown` or `_name`, without quotes.
    pub fn parse(text: &'a [u8]) -> Option<Node<'a>> {
        let text = std::str::from_utf8(text).ok()?;
        if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let address = address.parse::<Ipv6Addr>().ok()?;
            let port = match rest {
                "" => None,
                _ => Some(NodePort::parse(rest.strip_prefix(':')?)?),
            };
            return Some(Node {
                name: NodeName::Address(address.into()),
                port,
            });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(NodePort::parse(port)?)),
            None => (text, None),
        };
        let name = match name {
            _ if name.eq_ignore_ascii_case("unknown") => NodeName::Unknown,
            _ if is_obfuscated(name) => NodeName::Obfuscated(name),
            _ => NodeName::Address(IpAddr::V4(name.parse().ok()?)),
        };
        Some(Node { name, port })
    }
}

impl<'a> NodePort<'a> {
    fn parse(text: &'a str) -> Option<NodePort<'a>> {
        if is_obfuscated(text) {
            return Some(NodePort::Obfuscated(text));
        }
        Some(NodePort::Number(
            u16::try_from(scan::decimal(text.as_bytes())?).ok()?,
        ))
    }
}

fn is_obfuscated(text: &str) -> bool {
    let characters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() > 1 && text.starts_with('_') && text.bytes().all(characters)
}

impl From<IpAddr> for Node<'_> {
    fn from(address: IpAddr) -> Self {
        Node {
            name: NodeName::Address(address),
            port: None,
        }
    }
}

impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            NodeName::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            NodeName::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            NodeName::Unknown => f.write_str("unknown")?,
            NodeName::Obfuscated(name) => f.write_str(name)?,
        }
        match self.port {
            Some(NodePort::Number(port)) => write!(f, ":{port}"),
            Some(NodePort::Obfuscated(name)) => write!(f, ":{name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_parameters_in_any_case_and_skips_unknown_ones() {
        let elements = parse(br#" For="_gazonk" ; HOST="a:80";secret=x;;, proto=http,"#).unwrap();
        assert_eq!(elements.len(), 2);
        assert_eq!(elements[0].for_.as_deref(), Some(&b"_gazonk"[..]));
        assert_eq!(elements[0].host.as_deref(), Some(&b"a:80"[..]));
        assert_eq!(elements[1].proto.as_deref(), Some(&b"http"[..]));
        assert_eq!(parse(b"").unwrap(), []);
    }

    #[test]
    fn refuses_malformed_elements() {
        for value in [
            "for",
            "for=",
            "=a",
            "for = a",
            "for=a b",
            "for=[::1]",
            r#"for="a"b"#,
            r#"for="a"#,
            r#"for="a\""#,
            "for=a:80",
        ] {
            assert_eq!(
                parse(value.as_bytes()),
                Err(ForwardedError::Pair),
                "{value}"
            );
        }
        assert_eq!(
            parse(b"for=a;proto=http;FOR=b"),
            Err(ForwardedError::Repeated)
        );
    }

    #[test]
    fn nodes_are_read_and_written() {
        for text in [
            "192.0.2.43",
            "192.0.2.43:47011",
            "[2001:db8::1]",
            "[2001:db8::1]:0",
            "unknown",
            "unknown:1",
            "_a.b-c",
            "_a:_b",
        ] {
            let node = Node::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(node.to_string(), text);
        }
        for text in [
            "",
            "a",
            "2001:db8::1",
            "[::1",
            "[::1]80",
            "[1.2.3.4]",
            "1.2.3.4:",
            "1.2.3.4:65536",
            "1.2.3.4:+1",
            "_",
            "_ä",
            "256.1.1.1",
        ] {
            assert_eq!(Node::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let node = Node::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16])).to_string();
        let element = Element {
            for_: Some(node.as_bytes().into()),
            host: Some(b"a\"b".into()),
            proto: Some(b"https".into()),
            by: None,
        };
        let mut out = Vec::new();
        element.write(&mut out);
        assert_eq!(out, br#"for="[::1]";host="a\"b";proto=https"#);
        assert_eq!(parse(&out).unwrap(), [element]);
    }
}
