//! What is taken for a header of the PROXY protocol, and what is not.

use super::*;

/// Parses; the outcome must be the same for every split, and a header the same with anything behind it.
fn read(wire: &[u8], versions: Versions) -> Result<Parsed, ProxyError> {
    let whole = parse(wire, versions);
    let mut first = Ok(Parsed::More);
    for end in 0..=wire.len() {
        first = parse(&wire[..end], versions);
        if first != Ok(Parsed::More) {
            break;
        }
    }
    assert_eq!(first, whole, "{wire:?}");
    if let Ok(Parsed::Header(_, used)) = whole {
        let longer = [&wire[..used], b"\x16\x03GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&longer, versions), whole);
    }
    whole
}

fn text(wire: &str) -> Result<Parsed, ProxyError> {
    read(wire.as_bytes(), Versions::Any)
}

fn tcp(source: &str, destination: &str) -> Header {
    Header::Tcp {
        source: source.parse().expect("is an address"),
        destination: destination.parse().expect("is an address"),
    }
}

/// A binary header.
fn v2(meaning: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("fits").to_be_bytes();
    [V2_SIGNATURE, &[meaning, kind], &length, rest].concat()
}

const V4_ENDS: &[u8] = b"\xc0\x00\x02\x01\xc6\x33\x64\x09\x12\x67\x01\xbb";

#[test]
fn lines_are_read() {
    for (line, header) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.9 4711 443\r\n",
            tcp("192.0.2.1:4711", "198.51.100.9:443"),
        ),
        (
            "PROXY TCP6 2001:DB8::1 ::1 0 65535\r\n",
            tcp("[2001:db8::1]:0", "[::1]:65535"),
        ),
        ("PROXY UNKNOWN\r\n", Header::Unknown),
        (
            "PROXY UNKNOWN ffff::1 ffff::2 1 2 whatever\r\n",
            Header::Unknown,
        ),
    ] {
        assert_eq!(
            text(line),
            Ok(Parsed::Header(header, line.len())),
            "{line:?}"
        );
    }
}

#[test]
fn broken_lines_are_refused() {
    use ProxyError::{Address, Line, Port, Protocol};
    for (line, error) in [
        ("PROXY \r\n", Protocol),
        ("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", Protocol),
        ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", Protocol),
        ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Protocol),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Line),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", Line),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", Line),
        ("PROXY TCP4 1.2.3.4 \u{e9} 1 2\r\n", Address),
        ("PROXY TCP4 ::1 1.2.3.4 1 2\r\n", Address),
        ("PROXY TCP6 1.2.3.4 ::1 1 2\r\n", Address),
        ("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", Address),
        ("PROXY TCP4 1.2.3.4 01.2.3.4 1 2\r\n", Address),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n", Port),
    ] {
        assert_eq!(text(line), Err(error), "{line:?}");
    }
    assert_eq!(
        read(b"PROXY TCP4 \xff 1.2.3.4 1 2\r\n", Versions::Any),
        Err(Line)
    );
}

#[test]
fn a_line_is_not_longer_than_the_longest() {
    let filled = |length: usize| {
        format!(
            "PROXY UNKNOWN{}\r\n",
            "x".repeat(length - 15).replacen('x', " ", 1)
        )
    };
    assert_eq!(
        text(&filled(107)),
        Ok(Parsed::Header(Header::Unknown, V1_BYTES_MAX))
    );
    let error = Err(ProxyError::TooLong {
        limit: V1_BYTES_MAX,
    });
    assert_eq!(text(&filled(108)), error);
    assert_eq!(text(&filled(200)[..107]), error);
    assert_eq!(text(&filled(200)[..106]), Ok(Parsed::More));
}

#[test]
fn binary_headers_are_read_and_what_follows_the_addresses_is_skipped() {
    let header = tcp("192.0.2.1:4711", "198.51.100.9:443");
    let wire = v2(0x21, 0x11, V4_ENDS);
    assert_eq!(
        read(&wire, Versions::Any),
        Ok(Parsed::Header(header, wire.len()))
    );
    let wire = v2(0x21, 0x11, &[V4_ENDS, b"\x04\x00\x03abc\x20"].concat());
    assert_eq!(
        read(&wire, Versions::V2),
        Ok(Parsed::Header(header, wire.len()))
    );
    let mut ends = [0; 36];
    ends[15] = 1;
    ends[31] = 2;
    ends[33] = 7;
    ends[35] = 9;
    let wire = v2(0x21, 0x21, &ends);
    assert_eq!(
        read(&wire, Versions::Any),
        Ok(Parsed::Header(tcp("[::1]:7", "[::2]:9"), wire.len()))
    );
    for (meaning, kind, header) in [
        (0x20, 0x00, Header::Local),
        (0x20, 0x11, Header::Local),
        (0x20, 0xff, Header::Local),
        (0x21, 0x00, Header::Unspecified),
        (0x21, 0x01, Header::Unspecified),
    ] {
        for rest in [&b""[..], b"abc"] {
            let wire = v2(meaning, kind, rest);
            assert_eq!(
                read(&wire, Versions::Any),
                Ok(Parsed::Header(header, wire.len()))
            );
        }
    }
}

#[test]
fn broken_binary_headers_are_refused() {
    for (meaning, kind, rest, error) in [
        (0x11, 0x11, V4_ENDS, ProxyError::Version(1)),
        (0x22, 0x11, V4_ENDS, ProxyError::Command(2)),
        (0x21, 0x12, V4_ENDS, ProxyError::Transport(2)),
        (0x21, 0x10, V4_ENDS, ProxyError::Transport(0)),
        (0x21, 0x31, V4_ENDS, ProxyError::Family(3)),
        (0x21, 0x41, V4_ENDS, ProxyError::Family(4)),
        (0x21, 0x11, &V4_ENDS[..11], ProxyError::Short),
        (0x21, 0x21, V4_ENDS, ProxyError::Short),
    ] {
        assert_eq!(
            read(&v2(meaning, kind, rest), Versions::Any),
            Err(error),
            "{error}"
        );
    }
}

#[test]
fn a_binary_header_is_not_longer_than_the_longest() {
    let with = |length: usize| v2(0x21, 0x11, &[V4_ENDS, &vec![0; length - 28]].concat());
    assert!(matches!(
        parse(&with(V2_BYTES_MAX), Versions::Any),
        Ok(Parsed::Header(_, V2_BYTES_MAX))
    ));
    let error = Err(ProxyError::TooLong {
        limit: V2_BYTES_MAX,
    });
    let wire = with(V2_BYTES_MAX + 1);
    assert_eq!(parse(&wire[..16], Versions::Any), error);
    assert_eq!(parse(&v2(0x20, 0, &[0; 5000])[..16], Versions::Any), error);
}

#[test]
fn what_is_no_header_is_left_alone() {
    for wire in [
        "GET / HTTP/1.1\r\n",
        "PROPFIND / HTTP/1.1\r\n",
        "\r\nGET /",
        "\x16\x03\x01",
        "PROXYTCP4",
    ] {
        assert_eq!(text(wire), Ok(Parsed::Absent), "{wire:?}");
    }
    for wire in ["", "P", "PROXY", "\r\n", "\r\n\r\n\0\r\nQUIT"] {
        assert_eq!(text(wire), Ok(Parsed::More), "{wire:?}");
    }
    let binary = v2(0x20, 0, b"");
    assert_eq!(read(&binary, Versions::V1), Ok(Parsed::Absent));
    let line = b"PROXY UNKNOWN\r\n";
    assert_eq!(read(line, Versions::V2), Ok(Parsed::Absent));
    assert!(matches!(
        read(line, Versions::V1),
        Ok(Parsed::Header(Header::Unknown, 15))
    ));
}
