use http::{Method, StatusCode};

use super::*;
use crate::known::{Known, KnownSet};
use crate::version::Version;

/// Reads the wire in pieces of so many bytes, as a connection would.
fn read_by(
    wire: &[u8],
    piece: usize,
    limits: &HeadLimits,
) -> Result<Option<(usize, RequestHead)>, RequestError> {
    let mut parser = RequestParser::new(limits.clone());
    let mut head = RequestHead::default();
    let mut end = 0;
    loop {
        end = wire.len().min(end + piece);
        if let Some(used) = parser.parse(&wire[..end], &mut head)? {
            return Ok(Some((used, head)));
        }
        if end == wire.len() {
            return Ok(None);
        }
    }
}

fn read_with(
    wire: &str,
    limits: &HeadLimits,
) -> Result<Option<(usize, RequestHead)>, RequestError> {
    let whole = read_by(wire.as_bytes(), usize::MAX / 2, limits);
    for piece in [1, 2, 3, 7] {
        assert_eq!(
            read_by(wire.as_bytes(), piece, limits),
            whole,
            "{wire:?} in pieces of {piece}"
        );
    }
    whole
}

fn with_policy(policy: HeadPolicy) -> HeadLimits {
    HeadLimits {
        policy,
        ..HeadLimits::default()
    }
}

fn read(wire: &str) -> Result<RequestHead, RequestError> {
    read_with(wire, &HeadLimits::default())
        .map(|read| read.unwrap_or_else(|| panic!("incomplete: {wire:?}")).1)
}

fn refused(wire: &str) -> RequestError {
    read(wire).expect_err(wire)
}

/// A request whose only fault can be in these field lines.
fn fields(lines: &str) -> Result<RequestHead, RequestError> {
    read(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n"))
}

fn section_fault(lines: &str) -> SectionError {
    match fields(lines) {
        Err(RequestError::Section(error)) => error,
        other => panic!("{lines:?}: {other:?}"),
    }
}

#[test]
fn reads_a_request() {
    let wire = "POST /a?b=c HTTP/1.1\r\nHost: shop.example\r\nX-Empty:\r\nX-Odd: \t a  b \t\r\nX-Spaced:  c\r\nx-tight:d\r\n\r\nbody";
    let (used, head) = read_with(wire, &HeadLimits::default()).unwrap().unwrap();
    assert_eq!(&wire[used..], "body");
    assert_eq!((head.method, head.version), (Method::POST, Version::Http11));
    assert_eq!(
        (head.target.path(), head.target.query()),
        (&b"/a"[..], Some(&b"b=c"[..]))
    );
    let lines: Vec<_> = head
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    assert_eq!(
        lines,
        [
            ("Host", &b"shop.example"[..]),
            ("X-Empty", b""),
            ("X-Odd", b"a  b"),
            ("X-Spaced", b"c"),
            ("x-tight", b"d"),
        ]
    );
    let mut out = Vec::new();
    crate::encode::fields(&head.fields, &mut out);
    assert_eq!(
        out,
        b"Host: shop.example\r\nX-Empty: \r\nX-Odd: a  b\r\nX-Spaced: c\r\nx-tight: d\r\n"
    );
}

#[test]
fn reads_pipelined_requests_one_by_one() {
    let wire = b"GET /1 HTTP/1.1\r\nHost: a\r\nA: 1\r\n\r\nGET /2 HTTP/1.0\r\n\r\n\r\nGET /3 HTTP/1.1\r\nHost: b\r\n\r\n";
    let mut parser = RequestParser::new(HeadLimits::default());
    let mut head = RequestHead::default();
    let (mut rest, mut seen) = (&wire[..], Vec::new());
    while let Some(used) = parser.parse(rest, &mut head).unwrap() {
        seen.push((head.target.to_string(), head.fields.len()));
        rest = &rest[used..];
    }
    assert_eq!(
        seen,
        [
            ("/1".to_owned(), 2),
            ("/2".to_owned(), 0),
            ("/3".to_owned(), 1)
        ]
    );
    assert!(rest.is_empty());
}

#[test]
fn skips_empty_lines_before_the_request_line() {
    assert!(read("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    assert_eq!(
        refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        RequestError::Method
    );
    assert_eq!(
        refused("\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        RequestError::Method
    );
    let endless = "\r\n".repeat(40_000);
    assert_eq!(
        refused(&endless),
        SectionError::TooLarge { limit: 65_536 }.into()
    );
}

#[test]
fn methods_are_tokens() {
    for method in [
        "GET",
        "get",
        "M-SEARCH",
        "BASELINE-CONTROL",
        "!#$%&'*+-.^_`|~",
    ] {
        assert_eq!(
            read(&format!("{method} / HTTP/1.0\r\n\r\n"))
                .unwrap()
                .method
                .as_str(),
            method
        );
    }
    for wire in [
        " GET / HTTP/1.1\r\n",
        "G(T / HTTP/1.1\r\n",
        "\tGET / HTTP/1.1\r\n",
        "G\u{c9}T / HTTP/1.1\r\n",
        "GET\t/ HTTP/1.1\r\n",
        "GET\0",
        "\u{16}\u{3}\u{1}",
        "{}",
        "G,",
    ] {
        assert_eq!(refused(wire), RequestError::Method, "{wire:?}");
    }
    let long = "M".repeat(65);
    assert_eq!(refused(&long), RequestError::MethodTooLong { limit: 64 });
    assert!(read(&format!("{} / HTTP/1.0\r\n\r\n", &long[1..])).is_ok());
}

#[test]
fn a_method_can_be_held_to_capitals_and_lengths() {
    use MethodCharacters::*;
    let with = |characters, method: &str| {
        let rule = MethodRule {
            characters,
            length_min: 3,
            length_max: 20,
        };
        let limits = with_policy(HeadPolicy {
            method: rule,
            ..HeadPolicy::default()
        });
        read_with(&format!("{method} / HTTP/1.0\r\n\r\n"), &limits).map(|read| read.map(|_| ()))
    };
    for method in ["GET", "M-SEARCH", "A_B", &"M".repeat(20)] {
        assert_eq!(with(Capitals, method), Ok(Some(())), "{method}");
        assert_eq!(with(NoSmallLetters, method), Ok(Some(())), "{method}");
    }
    assert_eq!(with(NoSmallLetters, "A.B9"), Ok(Some(())));
    for method in ["get", "Get", "GE", "A.B", "A#B", "GET1"] {
        assert_eq!(
            with(Capitals, method),
            Err(RequestError::Method),
            "{method}"
        );
    }
    for method in ["get", "Get", "GE", "A#B"] {
        assert_eq!(
            with(NoSmallLetters, method),
            Err(RequestError::Method),
            "{method}"
        );
    }
    assert_eq!(
        with(Capitals, &"M".repeat(21)),
        Err(RequestError::MethodTooLong { limit: 20 })
    );
}

#[test]
fn request_lines_have_three_parts_and_single_spaces() {
    use RequestError::*;
    for (line, error) in [
        ("GET", Line),
        ("GET ", Line),
        ("GET  / HTTP/1.1", Line),
        ("GET /  HTTP/1.1", Line),
        ("GET / HTTP/1.1 ", Line),
        ("GET / x HTTP/1.1", Line),
        ("GET /", NoVersion),
        ("GET / ", NoVersion),
        ("GET /\tHTTP/1.1", Target),
        ("GET /a\u{1} HTTP/1.1", Target),
        ("GET /é HTTP/1.1", Target),
        ("GET /a#b HTTP/1.1", Target),
        ("GET a HTTP/1.1", Target),
        ("GET * HTTP/1.1", TargetForm),
        ("CONNECT / HTTP/1.1", TargetForm),
        ("CONNECT a HTTP/1.1", Target),
        ("GET / http/1.1", Version),
        ("GET / HTTP/1.1x", Version),
        ("GET / HTTP/11", Version),
        ("GET / HTTP/1.10", Version),
        ("GET / HTTP/1.", Version),
        ("GET / HTTP/1,1", Version),
        ("GET / HTTPS/1.1", Version),
        ("GET / HTTP/1.1\r", LineEnd),
        ("GET /\r HTTP/1.1", LineEnd),
    ] {
        assert_eq!(
            refused(&format!("{line}\r\nHost: a\r\n\r\n")),
            error,
            "{line:?}"
        );
    }
    assert_eq!(refused("GET / HTTP/1.1\nHost: a\r\n\r\n"), LineEnd);
}

#[test]
fn extra_spaces_are_taken_where_the_policy_says_so() {
    let limits = with_policy(HeadPolicy {
        extra_spaces: true,
        ..HeadPolicy::default()
    });
    let with = |line: &str| read_with(&format!("{line}\r\n\r\n"), &limits);
    let (_, head) = with("GET   /a   HTTP/1.0  ").unwrap().unwrap();
    assert_eq!(
        (head.method.as_str(), head.target.as_bytes(), head.version),
        ("GET", &b"/a"[..], Version::Http10)
    );
    for (line, error) in [
        ("GET  ", RequestError::Line),
        ("GET  /  ", RequestError::NoVersion),
        ("GET / b HTTP/1.0", RequestError::Line),
        (" GET / HTTP/1.0", RequestError::Method),
        ("GET\t/ HTTP/1.0", RequestError::Method),
        ("GET /\tHTTP/1.0", RequestError::Target),
        ("GET / HTTP/1.0\t", RequestError::Version),
    ] {
        assert_eq!(with(line), Err(error), "{line:?}");
    }
}

#[test]
fn other_versions_are_told_apart() {
    for (version, status) in [
        ("2.0", 505),
        ("3.0", 505),
        ("9.9", 505),
        ("1.2", 505),
        ("0.9", 400),
    ] {
        let error = refused(&format!("GET / HTTP/{version}\r\n\r\n"));
        assert!(
            matches!(error, RequestError::UnsupportedVersion { .. }),
            "{version}"
        );
        assert_eq!(error.status(), status, "{version}");
    }
    // The preface of HTTP/2 is recognised by its version.
    assert_eq!(
        refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        RequestError::UnsupportedVersion { major: 2, minor: 0 }
    );
    let limits = with_policy(HeadPolicy {
        minor_versions: true,
        ..HeadPolicy::default()
    });
    let (_, head) = read_with("GET / HTTP/1.2\r\nHost: a\r\n\r\n", &limits)
        .unwrap()
        .unwrap();
    assert_eq!(head.version, Version::Http11);
}

#[test]
fn targets_come_in_four_forms() {
    assert_eq!(
        read("GET http://b:81/c HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap()
            .authority(),
        Some(&b"b:81"[..])
    );
    assert_eq!(
        read("CONNECT b:81 HTTP/1.1\r\nHost: b:81\r\n\r\n")
            .unwrap()
            .target
            .form(),
        TargetForm::Authority
    );
    assert_eq!(
        read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap()
            .target
            .form(),
        TargetForm::Asterisk
    );
    let head = read("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(
        (head.target.form(), head.authority()),
        (TargetForm::Origin, Some(&b"a"[..]))
    );
    assert_eq!(read("GET / HTTP/1.0\r\n\r\n").unwrap().authority(), None);
}

#[test]
fn field_lines_are_name_colon_value() {
    use SectionError::*;
    for (line, error) in [
        ("A", NoColon),
        ("A b", NoColon),
        (": b", NoName),
        ("A : b", SpaceBeforeColon),
        ("A\t: b", SpaceBeforeColon),
        ("A b: c", Name { byte: b' ' }),
        ("A(: b", Name { byte: b'(' }),
        ("A\u{b}: b", Name { byte: 0xb }),
        ("A\0: b", Name { byte: 0 }),
        ("\"A\": b", Name { byte: b'"' }),
        ("é: b", Name { byte: 0xc3 }),
        (" A: b", Fold),
        ("\tA: b", Fold),
        ("A: b\r\n c", Fold),
        ("A: b\r\n\t", Fold),
        ("A: b\nB: c", BareLf),
        ("A: b\rB: c", BareCr),
        ("A: b\r", BareCr),
        ("A\r: b", BareCr),
        ("\rA: b", BareCr),
        ("A:\r b", BareCr),
        ("A: b\0", Value { byte: 0 }),
        ("A: \u{1}b", Value { byte: 1 }),
        ("A: b\u{7f}", Value { byte: 0x7f }),
        ("A: b\u{8}c", Value { byte: 8 }),
    ] {
        assert_eq!(section_fault(line), error, "{line:?}");
    }
    for line in [
        "A: é\u{80}\u{ff}",
        "A: a\tb",
        "A: :",
        "A: \"\\",
        "!#$%&'*+-.^_`|~: x",
        "1: 2",
    ] {
        assert!(fields(line).is_ok(), "{line:?}");
    }
    assert_eq!(refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), Fold.into());
}

#[test]
fn a_bare_line_feed_is_taken_where_the_policy_says_so() {
    let limits = with_policy(HeadPolicy {
        bare_lf: true,
        ..HeadPolicy::default()
    });
    let (used, head) = read_with("\nGET / HTTP/1.1\nHost: a\nB: c\r\nD: e \n\n", &limits)
        .unwrap()
        .unwrap();
    assert_eq!((used, head.fields.len()), (37, 3));
    assert_eq!(head.fields.get("d"), Some(&b"e"[..]));
    let mut out = Vec::new();
    crate::encode::fields(&head.fields, &mut out);
    assert_eq!(out, b"Host: a\r\nB: c\r\nD: e\r\n");
    // A carriage return still has its place at the end of a line only.
    let error = read_with("GET / HTTP/1.1\nHost: a\rb\n\n", &limits).unwrap_err();
    assert_eq!(error, SectionError::BareCr.into());
}

#[test]
fn host_is_required_and_single_and_valid() {
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), RequestError::NoHost);
    assert!(read("GET / HTTP/1.0\r\n\r\n").is_ok());
    assert_eq!(
        refused("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
        SectionError::Repeated(Known::Host).into()
    );
    for host in ["a b", "a/b", "user@a", "a:b", "a, b", "[::1", "a\u{e9}"] {
        assert_eq!(
            refused(&format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n")),
            RequestError::Host,
            "{host}"
        );
    }
    assert!(read("GET / HTTP/1.1\r\nHost:\r\n\r\n").is_ok());
    let rule = HostRule {
        required: false,
        checked: true,
        empty: false,
    };
    let limits = with_policy(HeadPolicy {
        host: rule,
        ..HeadPolicy::default()
    });
    assert_eq!(
        read_with("GET / HTTP/1.1\r\nHost:\r\n\r\n", &limits),
        Err(RequestError::Host)
    );
    assert!(read_with("GET / HTTP/1.1\r\n\r\n", &limits).is_ok());
    let rule = HostRule {
        checked: false,
        ..HostRule::default()
    };
    let limits = with_policy(HeadPolicy {
        host: rule,
        ..HeadPolicy::default()
    });
    assert!(read_with("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", &limits).is_ok());
}

#[test]
fn fields_that_may_occur_once_are_refused_the_second_time() {
    assert_eq!(
        section_fault("Content-Length: 1\r\ncontent-length: 1"),
        SectionError::Repeated(Known::ContentLength)
    );
    assert!(fields("Content-Type: a/b\r\nContent-Type: a/b").is_ok());
    let single = KnownSet::of(&[Known::ContentType]);
    let limits = with_policy(HeadPolicy {
        single,
        ..HeadPolicy::default()
    });
    let error = read_with(
        "GET / HTTP/1.0\r\nContent-Type: a/b\r\nX: y\r\nCONTENT-TYPE: c\r\n\r\n",
        &limits,
    )
    .unwrap_err();
    assert_eq!(error, SectionError::Repeated(Known::ContentType).into());
}

#[test]
fn odd_names_are_kept_dropped_or_refused_by_policy() {
    let wire = "GET / HTTP/1.0\r\nA_B: 1\r\nA.B: 2\r\nA-B: 3\r\n\r\n";
    let names = |policy: HeadPolicy| {
        let mut parser = RequestParser::new(with_policy(policy));
        let mut head = RequestHead::default();
        parser.parse(wire.as_bytes(), &mut head)?.unwrap();
        let names: Vec<_> = head
            .fields
            .iter()
            .map(|(name, _)| name.to_string())
            .collect();
        assert_eq!(names.len() + parser.dropped_fields(), 3);
        Ok::<_, RequestError>(names.join(" "))
    };
    let policy = |underscores, unusual_names| HeadPolicy {
        underscores,
        unusual_names,
        ..HeadPolicy::default()
    };
    use Handling::*;
    assert_eq!(names(policy(Keep, Keep)).unwrap(), "A_B A.B A-B");
    assert_eq!(names(policy(Drop, Keep)).unwrap(), "A.B A-B");
    assert_eq!(names(policy(Keep, Drop)).unwrap(), "A_B A-B");
    assert_eq!(names(policy(Drop, Drop)).unwrap(), "A-B");
    assert_eq!(
        names(policy(Refuse, Drop)),
        Err(SectionError::Name { byte: b'_' }.into())
    );
    assert_eq!(
        names(policy(Drop, Refuse)),
        Err(SectionError::Name { byte: b'.' }.into())
    );
}

#[test]
fn names_that_are_no_tokens_can_be_dropped_but_not_those_with_space_or_controls() {
    let limits = with_policy(HeadPolicy {
        drop_invalid_names: true,
        ..HeadPolicy::default()
    });
    let with = |line: &str| {
        read_with(
            &format!("GET / HTTP/1.0\r\nA: 1\r\n{line}\r\nB: 2\r\n\r\n"),
            &limits,
        )
    };
    for line in ["(x): y", "a@b: c", "é: f", "<x>:", "x{: \"y"] {
        let (_, head) = with(line).unwrap().unwrap();
        assert_eq!(head.fields.len(), 2, "{line}");
        let mut out = Vec::new();
        crate::encode::fields(&head.fields, &mut out);
        assert_eq!(out, b"A: 1\r\nB: 2\r\n", "{line}");
    }
    use SectionError::*;
    for (line, error) in [
        ("x : y", SpaceBeforeColon),
        ("(x) : y", Name { byte: b'(' }),
        ("x\u{1}: y", Name { byte: 1 }),
        ("(x\u{7f}): y", Name { byte: b'(' }),
        ("(x)", NoColon),
        (": y", NoName),
        ("(x): \0", Value { byte: 0 }),
    ] {
        assert_eq!(with(line), Err(error.into()), "{line:?}");
    }
}

#[test]
fn control_characters_in_values_are_kept_where_the_policy_says_so() {
    let limits = with_policy(HeadPolicy {
        control_bytes: true,
        ..HeadPolicy::default()
    });
    let with = |line: &str| read_with(&format!("GET / HTTP/1.0\r\n{line}\r\n\r\n"), &limits);
    let (_, head) = with("A: \u{1}b\u{7f}").unwrap().unwrap();
    assert_eq!(head.fields.get("a"), Some(&b"\x01b\x7f"[..]));
    assert_eq!(with("A: b\0"), Err(SectionError::Value { byte: 0 }.into()));
    assert_eq!(with("A: b\rc"), Err(SectionError::BareCr.into()));
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    let limits = HeadLimits {
        line_bytes: 14,
        field_bytes: 8,
        fields: 2,
        head_bytes: 42,
        ..HeadLimits::default()
    };
    let with = |wire: &str| read_with(wire, &limits).map(|read| read.unwrap().0);
    assert_eq!(with("GET / HTTP/1.0\r\n\r\n"), Ok(18));
    assert_eq!(
        with("GET /a HTTP/1.0\r\n\r\n"),
        Err(RequestError::LineTooLong { limit: 14 })
    );
    assert_eq!(
        with("GET / HTTP/1.0\r\nA: 45678\r\nB:345678\r\n\r\n"),
        Ok(38)
    );
    assert_eq!(
        with("GET / HTTP/1.0\r\nA: 456789\r\n\r\n"),
        Err(SectionError::FieldTooLong { limit: 8 }.into())
    );
    assert_eq!(
        with("GET / HTTP/1.0\r\nA: 4567 \t\r\n\r\n"),
        Err(SectionError::FieldTooLong { limit: 8 }.into())
    );
    assert_eq!(
        with("GET / HTTP/1.0\r\nA:\r\nB:\r\nC:\r\n\r\n"),
        Err(SectionError::TooManyFields { limit: 2 }.into())
    );
    assert_eq!(
        with("\r\n\r\nGET / HTTP/1.0\r\nA: 45678\r\nB:345678\r\n\r\n"),
        Ok(42)
    );
    assert_eq!(
        with("\r\n\r\n\r\nGET / HTTP/1.0\r\nA: 45678\r\nB:345678\r\n\r\n"),
        Err(SectionError::TooLarge { limit: 42 }.into())
    );
    let bare = HeadLimits {
        policy: HeadPolicy {
            bare_lf: true,
            ..HeadPolicy::default()
        },
        ..limits.clone()
    };
    assert_eq!(
        read_with("GET / HTTP/1.0\n\n", &bare).unwrap().unwrap().0,
        16
    );
    assert_eq!(
        read_with("GET /a HTTP/1.0\n\n", &bare),
        Err(RequestError::LineTooLong { limit: 14 })
    );
}

/// The value of the field `a` in a head with folded lines.
fn folded(lines: &str, limits: &HeadLimits) -> Result<Option<String>, RequestError> {
    let wire = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n");
    let whole = read_by(wire.as_bytes(), usize::MAX / 2, limits);
    for piece in [1, 2, 3, 7] {
        assert_eq!(read_by(wire.as_bytes(), piece, limits), whole, "{wire:?}");
    }
    let (used, head) = whole?.expect("is complete");
    assert_eq!(used, wire.len());
    let value = head.fields.get("a");
    Ok(value.map(|value| String::from_utf8_lossy(value).into_owned()))
}

#[test]
fn folded_lines_are_joined_where_the_policy_takes_them() {
    let limits = HeadLimits {
        policy: HeadPolicy {
            folding: true,
            ..HeadPolicy::default()
        },
        ..HeadLimits::default()
    };
    for (lines, value) in [
        ("A: b\r\n c", "b c"),
        ("A: b\r\n\t \tc \t\r\n d\r\nB: x", "b c d"),
        ("A: b \t \r\n   c d", "b c d"),
        ("A:\r\n b", "b"),
        ("A: b\r\n ", "b"),
        ("A:\r\n \r\n\t", ""),
        ("A: b\r\n \r\n c", "b  c"),
        ("A: b\r\n B: c", "b B: c"),
        ("A: b", "b"),
        ("B: x\r\nA: b\r\n c\r\nC: y\r\n z", "b c"),
    ] {
        assert_eq!(
            folded(lines, &limits),
            Ok(Some(value.to_owned())),
            "{lines:?}"
        );
    }
    for (lines, error) in [
        ("A: b\r\n c\0d", SectionError::Value { byte: 0 }),
        ("A: b\r\n c\rd", SectionError::BareCr),
        ("A: b\n c", SectionError::BareLf),
        ("A: b\r\n c\n d", SectionError::BareLf),
        ("A\r\n : b", SectionError::BareCr),
        ("A \r\n b", SectionError::NoColon),
        ("Host: a\r\n b\r\nA: b", SectionError::Repeated(Known::Host)),
    ] {
        assert_eq!(folded(lines, &limits), Err(error.into()), "{lines:?}");
    }
    // Never in front of the first field, and not where nobody asked for it.
    assert_eq!(
        read_by(b"GET / HTTP/1.0\r\n A: b\r\n\r\n", 1, &limits),
        Err(SectionError::Fold.into())
    );
    assert_eq!(
        folded("A: b\r\n c", &HeadLimits::default()),
        Err(SectionError::Fold.into())
    );
}

#[test]
fn a_folded_line_is_one_line_for_the_limits() {
    let limits = HeadLimits {
        field_bytes: 10,
        fields: 2,
        policy: HeadPolicy {
            folding: true,
            ..HeadPolicy::default()
        },
        ..HeadLimits::default()
    };
    assert_eq!(
        folded("A: b\r\n cde", &limits),
        Ok(Some("b cde".to_owned()))
    );
    assert_eq!(
        folded("A: b\r\n cdef", &limits),
        Err(SectionError::FieldTooLong { limit: 10 }.into())
    );
    assert_eq!(
        folded("A: b\r\n c\r\nB: d", &limits),
        Err(SectionError::TooManyFields { limit: 2 }.into())
    );
}

#[test]
fn limits_hold_for_lines_that_never_end() {
    for (wire, error) in [
        (
            format!("GET /{}", "a".repeat(8188)),
            RequestError::LineTooLong { limit: 8192 },
        ),
        (
            format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(8190)),
            SectionError::FieldTooLong { limit: 8192 }.into(),
        ),
        (
            format!("GET / HTTP/1.1\r\n{}", "a".repeat(8193)),
            SectionError::FieldTooLong { limit: 8192 }.into(),
        ),
    ] {
        assert_eq!(
            read_by(wire.as_bytes(), usize::MAX / 2, &HeadLimits::default()),
            Err(error)
        );
        assert_eq!(
            read_by(
                &wire.as_bytes()[..wire.len() - 1],
                usize::MAX / 2,
                &HeadLimits::default()
            ),
            Ok(None)
        );
    }
}

#[test]
fn statuses_follow_from_the_fault() {
    for (wire, status) in [
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000)), 414),
        (
            format!("GET / HTTP/1.1\r\nA: {}\r\n", "a".repeat(9000)),
            431,
        ),
        (format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(101)), 431),
        (format!("{} / HTTP/1.1\r\n", "M".repeat(100)), 501),
        ("GET / HTTP/2.0\r\n".to_owned(), 505),
        ("GET /\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nA b\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
    ] {
        let error = refused(&wire);
        assert_eq!(
            error.status(),
            StatusCode::from_u16(status).unwrap(),
            "{error}"
        );
    }
}

#[test]
fn a_dripping_peer_costs_no_more_than_its_bytes() {
    // With the search beginning anew for each byte this would take minutes.
    let wire = format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n",
        "a".repeat(500_000),
        "b".repeat(500_000)
    );
    let limits = HeadLimits {
        line_bytes: 1 << 20,
        field_bytes: 1 << 20,
        head_bytes: 1 << 21,
        ..HeadLimits::default()
    };
    let (used, _) = read_by(wire.as_bytes(), 1, &limits).unwrap().unwrap();
    assert_eq!(used, wire.len());
}

#[test]
fn a_parser_can_be_reset_in_the_middle() {
    let mut parser = RequestParser::new(HeadLimits::default());
    let mut head = RequestHead::default();
    assert_eq!(
        parser.parse(b"GET / HTTP/1.1\r\nHost: a\r\nX", &mut head),
        Ok(None)
    );
    assert!(parser.past_request_line());
    parser.reset();
    assert!(!parser.past_request_line());
    assert!(
        parser
            .parse(b"PUT /b HTTP/1.0\r\n\r\n", &mut head)
            .unwrap()
            .is_some()
    );
    assert_eq!((head.method.as_str(), head.fields.len()), ("PUT", 0));
}

fn response(wire: &str) -> Result<(usize, ResponseHead), ResponseError> {
    let by = |piece: usize| {
        let mut parser = ResponseParser::new(HeadLimits::default());
        let mut head = ResponseHead::default();
        let mut end = 0;
        loop {
            end = wire.len().min(end + piece);
            if let Some(used) = parser.parse(&wire.as_bytes()[..end], &mut head)? {
                return Ok((used, head));
            }
            assert!(end < wire.len(), "incomplete: {wire:?}");
        }
    };
    let whole = by(usize::MAX / 2);
    for piece in [1, 2, 5] {
        assert_eq!(by(piece), whole, "{wire:?} in pieces of {piece}");
    }
    whole
}

#[test]
fn reads_responses() {
    for (line, status, reason, version) in [
        ("HTTP/1.1 200 OK", 200, "OK", Version::Http11),
        (
            "HTTP/1.0 404 Nope, not here",
            404,
            "Nope, not here",
            Version::Http10,
        ),
        ("HTTP/1.1 599 ", 599, "", Version::Http11),
        ("HTTP/1.1 204", 204, "", Version::Http11),
        ("HTTP/1.1 200 \u{e9}\t ", 200, "\u{e9}\t ", Version::Http11),
        ("HTTP/1.1 999 x", 999, "x", Version::Http11),
    ] {
        let (used, head) = response(&format!("{line}\r\nA: b\r\n\r\n")).unwrap();
        assert_eq!(used, line.len() + 10);
        assert_eq!(
            (head.status.as_u16(), head.version),
            (status, version),
            "{line}"
        );
        assert_eq!(head.reason, reason);
        assert_eq!(head.fields.get("a"), Some(&b"b"[..]));
    }
}

#[test]
fn refuses_malformed_responses() {
    use ResponseError::*;
    for (line, error) in [
        ("", Line),
        ("\r\nHTTP/1.1 200 OK", Line),
        ("<html>", Line),
        ("http/1.1 200 OK", Line),
        ("HTTP/1", Line),
        ("HTTP/1.1", Line),
        ("HTTP/1.12 200 OK", Line),
        ("HTTP/1.1  200 OK", Status),
        ("HTTP/1.1 20 OK", Status),
        ("HTTP/1.1 2000 OK", Status),
        ("HTTP/1.1 099 OK", Status),
        ("HTTP/1.1 +20 OK", Status),
        ("HTTP/1.1 ", Status),
        ("HTTP/1.1 200\tOK", Line),
        ("HTTP/1.1 200OK", Line),
        ("HTTP/x.1 200 OK", Version),
        ("HTTP/2.0 200 OK", UnsupportedVersion { major: 2, minor: 0 }),
        ("HTTP/1.1 200 O\0K", Reason),
        ("HTTP/1.1 200 O\rK", LineEnd),
    ] {
        assert_eq!(response(&format!("{line}\r\n\r\n")), Err(error), "{line:?}");
    }
    assert_eq!(response("HTTP/1.1 200 OK\n\n"), Err(LineEnd));
    assert_eq!(
        response("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"),
        Err(SectionError::Fold.into())
    );
    assert_eq!(
        response(&format!("HTTP/1.1 200 {}", "a".repeat(9000))),
        Err(LineTooLong { limit: 8192 })
    );
}
