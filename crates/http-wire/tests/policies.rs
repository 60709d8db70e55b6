//! Two real servers' readings of the RFCs, put together from the knobs: a gateway that is known for its tolerance of bare LF and its
//! dropping of odd names, and an application server that is known for its strictness. What they don't share with the default
//! is asserted, so that these policies stay expressible.

use http_wire::body::request_framing;
use http_wire::head::{
    Handling, HeadLimits, HeadPolicy, HostRule, MethodCharacters, MethodRule, RequestError,
    RequestHead, RequestParser, SectionError, TargetRule,
};
use http_wire::{Known, KnownSet};

/// nginx with its defaults: `large_client_header_buffers 4 8k`, `ignore_invalid_headers on`, `underscores_in_headers off`.
fn gateway() -> HeadLimits {
    let policy = HeadPolicy {
        bare_lf: true,
        method: MethodRule {
            characters: MethodCharacters::Capitals,
            length_min: 1,
            length_max: 8192,
        },
        target: TargetRule {
            asterisk: false,
            authority: false,
            fragment: true,
            non_ascii: true,
            ..TargetRule::default()
        },
        minor_versions: true,
        extra_spaces: true,
        underscores: Handling::Drop,
        unusual_names: Handling::Drop,
        drop_invalid_names: true,
        control_bytes: true,
        host: HostRule {
            required: true,
            checked: true,
            empty: false,
        },
        single: KnownSet::of(&[
            Known::Host,
            Known::ContentLength,
            Known::TransferEncoding,
            Known::Range,
            Known::Expect,
        ]),
    };
    HeadLimits {
        line_bytes: 8190,
        field_bytes: 8190,
        fields: 1000,
        head_bytes: 32 * 1024,
        policy,
    }
}

/// gunicorn with its defaults: `limit_request_line 4094`, `limit_request_fields 100`, `limit_request_field_size 8190`.
fn application_server() -> HeadLimits {
    let policy = HeadPolicy {
        method: MethodRule {
            characters: MethodCharacters::NoSmallLetters,
            length_min: 3,
            length_max: 20,
        },
        target: TargetRule {
            asterisk: false,
            authority: false,
            fragment: true,
            ..TargetRule::default()
        },
        underscores: Handling::Drop,
        host: HostRule {
            required: false,
            checked: false,
            empty: true,
        },
        single: KnownSet::of(&[Known::Host, Known::ContentLength, Known::ContentType]),
        ..HeadPolicy::default()
    };
    HeadLimits {
        line_bytes: 4094,
        field_bytes: 8190,
        fields: 100,
        head_bytes: 1 << 20,
        policy,
    }
}

fn read(wire: &str, limits: HeadLimits) -> Result<RequestHead, RequestError> {
    let mut head = RequestHead::default();
    let used = RequestParser::new(limits).parse(wire.as_bytes(), &mut head)?;
    assert_eq!(used, Some(wire.len()), "{wire:?}");
    Ok(head)
}

fn names(head: &RequestHead) -> Vec<&str> {
    head.fields.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn the_gateway_takes_bare_lf_and_drops_odd_names() {
    let head = read(
        "GET  /\u{e9}#x  HTTP/1.3 \nHost: a\nX_Y: 1\nX.Y: 2\nX@Y: 3\nX-Y: \u{1}4\n\n",
        gateway(),
    )
    .unwrap();
    assert_eq!(names(&head), ["Host", "X-Y"]);
    assert_eq!(head.target.path(), "/\u{e9}".as_bytes());
}

#[test]
fn the_gateway_refuses_what_it_always_did() {
    for (wire, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nRange: a\r\nRange: b\r\n\r\n",
            400,
        ),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (&format!("GET /{} HTTP/1.1\r\n", "a".repeat(8190)), 414),
        (
            &format!("GET / HTTP/1.1\r\nA: {}\r\n", "a".repeat(8190)),
            431,
        ),
        (
            &format!(
                "GET / HTTP/1.1\r\n{}",
                format!("A: {}\r\n", "a".repeat(8000)).repeat(5)
            ),
            431,
        ),
    ] {
        assert_eq!(
            read(wire, gateway()).unwrap_err().status(),
            status,
            "{wire:?}"
        );
    }
}

#[test]
fn the_application_server_refuses_what_it_always_did() {
    for (wire, status) in [
        ("GET / HTTP/1.1\n\n", 400),
        ("get / HTTP/1.1\r\n\r\n", 400),
        ("GE / HTTP/1.1\r\n\r\n", 400),
        ("G#T / HTTP/1.1\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\n\r\n", 400),
        ("GET a HTTP/1.1\r\n\r\n", 400),
        ("GET /\u{e9} HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nContent-Type: a\r\nContent-Type: a\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nA: \u{1}\r\n\r\n", 400),
        (&format!("GET /{} HTTP/1.1\r\n", "a".repeat(4081)), 414),
        (
            &format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101)),
            431,
        ),
        (
            &format!("GET / HTTP/1.1\r\nA: {}\r\n", "a".repeat(8188)),
            431,
        ),
    ] {
        assert_eq!(
            read(wire, application_server()).unwrap_err().status(),
            status,
            "{wire:?}"
        );
    }
    assert!(
        read(
            &format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(4080)),
            application_server()
        )
        .is_ok()
    );
    assert!(
        read(
            &format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(8187)),
            application_server()
        )
        .is_ok()
    );
}

#[test]
fn the_application_server_takes_an_odd_host_and_none() {
    assert!(read("GET / HTTP/1.1\r\n\r\n", application_server()).is_ok());
    assert!(read("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", application_server()).is_ok());
    let head = read(
        "GET / HTTP/1.1\r\nREMOTE_USER: root\r\nX.Y: z\r\n\r\n",
        application_server(),
    )
    .unwrap();
    assert_eq!(names(&head), ["X.Y"]);
}

#[test]
fn both_answer_an_unknown_coding_with_501() {
    for limits in [gateway(), application_server()] {
        let head = read(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            limits,
        )
        .unwrap();
        assert_eq!(request_framing(&head).unwrap_err().status(), 501);
    }
    assert_eq!(SectionError::Fold.status(), 400);
}
