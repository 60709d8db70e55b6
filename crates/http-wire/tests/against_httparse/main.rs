//! The parsers of heads beside `httparse`, which many servers trust: whatever we take, it takes with the same result. Where it takes
//! more, the class is listed and asserted here, so that a change on either side is noticed.

mod compare;

use compare::{Outcome, check, request_ours, request_theirs, response_ours, response_theirs};
use http_wire::chunked::{ChunkError, ChunkLimits, Decoder, Event};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const REQUEST: &[u8] = b"GET /index.html?a=b HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nX-Odd:\tc \r\nY:\r\n\r\nbody";
const RESPONSE: &[u8] =
    b"HTTP/1.1 404 Not Found\r\nServer: a\r\nContent-Length: 5\r\nX: \xe9\r\n\r\nhello";

#[test]
fn ordinary_heads_are_read_alike() {
    for wire in [
        REQUEST,
        b"GET / HTTP/1.0\r\n\r\n",
        b"\r\n\r\nPOST http://a:80/b HTTP/1.1\r\nA:b\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"M-SEARCH /{a}|b HTTP/1.1\r\nA_b.c: \xff\x80 d\r\n\r\n",
    ] {
        let (ours, theirs) = (request_ours(wire), request_theirs(wire));
        assert!(matches!(ours, Outcome::Complete(..)), "{ours:?}");
        assert_eq!(ours, theirs);
    }
    for wire in [
        RESPONSE,
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 599 \r\nA: b\r\n\r\n",
    ] {
        let (ours, theirs) = (response_ours(wire), response_theirs(wire));
        assert!(matches!(ours, Outcome::Complete(..)), "{ours:?}");
        assert_eq!(ours, theirs);
    }
}

#[test]
fn every_beginning_of_a_head_is_partial_to_both() {
    for end in 0..REQUEST.len() - 4 {
        assert_eq!(request_ours(&REQUEST[..end]), Outcome::Partial, "{end}");
        assert_eq!(request_theirs(&REQUEST[..end]), Outcome::Partial, "{end}");
    }
    for end in 0..RESPONSE.len() - 5 {
        assert_eq!(response_ours(&RESPONSE[..end]), Outcome::Partial, "{end}");
        assert_eq!(response_theirs(&RESPONSE[..end]), Outcome::Partial, "{end}");
    }
}

/// httparse takes these, we don't.
#[test]
fn requests_that_we_refuse_and_httparse_takes() {
    for (class, wire) in [
        (
            "line feed alone ends the request line",
            "GET / HTTP/1.1\nA: b\r\n\r\n",
        ),
        (
            "line feed alone ends a field line",
            "GET / HTTP/1.1\r\nA: b\n\r\n",
        ),
        (
            "line feed alone ends the head",
            "GET / HTTP/1.1\r\nA: b\r\n\n",
        ),
        (
            "line feed alone before the request line",
            "\nGET / HTTP/1.1\r\n\r\n",
        ),
        (
            "bytes above ASCII in the target",
            "GET /\u{e9} HTTP/1.1\r\n\r\n",
        ),
        ("a fragment in the target", "GET /a#b HTTP/1.1\r\n\r\n"),
        ("a target in no form", "GET a HTTP/1.1\r\n\r\n"),
        ("the asterisk without OPTIONS", "GET * HTTP/1.1\r\n\r\n"),
        ("CONNECT with a path", "CONNECT / HTTP/1.1\r\n\r\n"),
        (
            "user information in the target",
            "GET http://u@a/ HTTP/1.1\r\n\r\n",
        ),
        ("a target without host", "GET http:/// HTTP/1.1\r\n\r\n"),
        (
            "a method of more than 64 characters",
            &format!("{} / HTTP/1.1\r\n\r\n", "M".repeat(65)),
        ),
    ] {
        assert!(
            matches!(request_ours(wire.as_bytes()), Outcome::Refused(_)),
            "{class}"
        );
        assert!(
            matches!(request_theirs(wire.as_bytes()), Outcome::Complete(..)),
            "{class}"
        );
    }
}

#[test]
fn responses_that_we_refuse_and_httparse_takes() {
    for (class, wire) in [
        (
            "line feed alone ends the status line",
            "HTTP/1.1 200 OK\n\r\n",
        ),
        (
            "empty lines before the status line",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
        ),
        ("a status below 100", "HTTP/1.1 099 OK\r\n\r\n"),
    ] {
        assert!(
            matches!(response_ours(wire.as_bytes()), Outcome::Refused(_)),
            "{class}"
        );
        assert!(
            matches!(response_theirs(wire.as_bytes()), Outcome::Complete(..)),
            "{class}"
        );
    }
}

#[test]
fn what_both_refuse() {
    for wire in [
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /  HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
        "GET /\0 HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nA : b\r\n\r\n",
        "GET / HTTP/1.1\r\nA\r\n\r\n",
        "GET / HTTP/1.1\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\n A: b\r\n\r\n",
        "GET / HTTP/1.1\r\n(A): b\r\n\r\n",
    ] {
        assert!(
            matches!(request_ours(wire.as_bytes()), Outcome::Refused(_)),
            "{wire:?}"
        );
        assert!(
            matches!(request_theirs(wire.as_bytes()), Outcome::Refused(_)),
            "{wire:?}"
        );
    }
}

/// The size that a line before a chunk gives, by our decoder.
fn size_ours(line: &[u8]) -> Result<Option<u64>, ChunkError> {
    let mut decoder = Decoder::new(ChunkLimits::default());
    let step = decoder.decode(line)?;
    Ok(match step.event {
        Event::Data(range) => Some(decoder.chunk_remaining() + range.len() as u64),
        Event::NeedMore if step.used == line.len() && line.ends_with(b"\n") => {
            Some(decoder.chunk_remaining())
        }
        _ => None,
    })
}

#[test]
fn chunk_sizes_are_read_alike_but_for_what_is_left_out_or_added() {
    for line in [
        "0\r\n",
        "5\r\n",
        "00ff\r\n",
        "fffffffffffffff\r\n",
        "5;a=b\r\n",
        "5 ;a\r\n",
    ] {
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(line.as_bytes())
        else {
            panic!("{line:?}")
        };
        assert_eq!(size_ours(line.as_bytes()), Ok(Some(size)), "{line:?}");
    }
    for line in ["x\r\n", "-1\r\n", "5\n", "5\rx", "fffffffffffffffff\r\n"] {
        assert!(
            size_ours(line.as_bytes()).is_err()
                && httparse::parse_chunk_size(line.as_bytes()).is_err(),
            "{line:?}"
        );
    }
    // No digits at all, spaces before the line end, empty extensions, control characters in them: they take these.
    for line in ["\r\n", "5 \r\n", "5;\r\n", "5;a\u{1}\r\n"] {
        assert!(
            size_ours(line.as_bytes()).is_err()
                && httparse::parse_chunk_size(line.as_bytes()).is_ok(),
            "{line:?}"
        );
    }
}

fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        "GET ",
        "POST",
        " ",
        "/",
        "/a?b",
        "http://a",
        "*",
        "#",
        " HTTP/1.1",
        " HTTP/1.0",
        "HTTP/1.1 ",
        "HTTP/1.1 200 OK",
        "200",
        " x",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        "A",
        ":",
        ": ",
        "A: b\r\n",
        "Host: a\r\n",
        "\t",
        "\0",
        "\u{7f}",
        "é",
        "(",
        "_",
        "\"",
    ]);
    let piece = prop_oneof![8 => piece.prop_map(|text| text.as_bytes().to_vec()), 1 => vec(any::<u8>(), 1..3)];
    let start = select(vec!["", "GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n"]);
    (start, vec(piece, 0..12))
        .prop_map(|(start, pieces)| [start.as_bytes(), &pieces.concat()].concat())
}

fn mutated(seed: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    vec((any::<Index>(), any::<u8>(), 0..3u8), 0..4).prop_map(move |edits| {
        let mut bytes = seed.to_vec();
        for (place, byte, kind) in edits {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_we_take_they_take(wire in prop_oneof![fragments(), mutated(REQUEST), mutated(RESPONSE)]) {
        check(&wire, &request_ours(&wire), &request_theirs(&wire));
        check(&wire, &response_ours(&wire), &response_theirs(&wire));
    }
}
