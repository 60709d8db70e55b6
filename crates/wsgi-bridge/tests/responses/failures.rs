//! Applications that break a rule of PEP 3333, or raise.

use super::*;

#[test]
fn an_application_that_never_calls_start_response_is_an_error_that_says_so() {
    for source in [
        "def app(e, s):\n    return [b'x']",
        "def app(e, s):\n    return []",
        "def app(e, s):\n    yield b'x'",
    ] {
        both(source, |server| {
            let answer = server.get("/path");
            assert_eq!(
                (answer.status, answer.field("connection")),
                (500, Some("close"))
            );
            server.await_log("without calling start_response()");
            server.await_log("Error handling request GET /path");
        });
    }
}

#[test]
fn an_exception_before_anything_was_sent_is_500_without_the_traceback() {
    for source in [
        "def app(e, s):\n    raise KeyError('secret')",
        "def app(e, s):\n    s('200 OK', [])\n    raise KeyError('secret')",
        "def app(e, s):\n    s('200 OK', [])\n    raise KeyError('secret')\n    yield b'x'",
        "def app(e, s):\n    s('200 OK', [('X', 'a\\nb')])\n    return ['secret']",
        "def app(e, s):\n    s('200 OK', [])\n    return ['secret']",
        "def app(e, s):\n    s('200 OK', [])\n    return [b'x', 1]",
        "def app(e, s):\n    s('200 OK', [])\n    return None",
        "def app(e, s):\n    raise SystemExit(3)",
    ] {
        both(source, |server| {
            let answer = server.get("/");
            assert_eq!(
                (answer.status, answer.field("content-type")),
                (500, Some("text/html")),
                "{source}"
            );
            assert!(
                !answer.text().contains("secret") && !answer.text().contains("Traceback"),
                "{source}"
            );
            server.await_log("Error handling request GET /\n");
            assert_eq!(server.finished(1)[0].status, 500);
        });
    }
}

#[test]
fn an_exception_in_the_middle_cuts_the_connection_without_a_last_chunk() {
    both(
        "def app(e, s):\n    s('200 OK', [])\n    yield b'begun'\n    raise ValueError('late')",
        |server| {
            let answer = server.get("/");
            assert_eq!(
                (answer.status, answer.text().as_str(), answer.cut),
                (200, "begun", true)
            );
            server.await_log("ValueError: late");
            assert_eq!(server.finished(1)[0].outcome, "BodyFailed");
        },
    );
}

#[test]
fn exc_info_replaces_what_was_not_sent_and_raises_when_it_was() {
    let source = "
import sys
def app(environ, start_response):
    start_response('200 OK', [('X-First', '1'), ('Content-Length', '3')])
    if environ['PATH_INFO'] == '/late':
        yield b'abc'
    try:
        raise ValueError('troubled')
    except ValueError:
        start_response('503 Busy', [('X-Second', '2')], sys.exc_info())
    yield b'sorry'
";
    both(source, |server| {
        let answer = server.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (503, "sorry"));
        assert_eq!(
            (answer.field("x-first"), answer.field("x-second")),
            (None, Some("2"))
        );
        assert!(
            answer.head.starts_with("HTTP/1.1 503 Busy\r\n"),
            "{}",
            answer.head
        );
        let late = server.get("/late");
        assert_eq!((late.status, late.text().as_str()), (200, "abc"));
        server.await_log("ValueError: troubled");
    });
}

#[test]
fn start_response_twice_is_an_error() {
    both(
        "def app(e, s):\n    s('200 OK', [])\n    s('200 OK', [])\n    return []",
        |server| {
            assert_eq!(server.get("/").status, 500);
            server.await_log("Response headers already set!");
        },
    );
}

#[test]
fn content_beyond_its_length_is_cut_off_and_the_connection_stays_in_step() {
    both(
        "def app(e, s):\n    s('200 OK', [('Content-Length', '4')])\n    return [b'abcdefgh'] if e['PATH_INFO'] == '/list' else iter([b'abc', b'def'])",
        |server| {
            let mut client = server.connect();
            for target in ["/list", "/iterator", "/list"] {
                client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
                assert_eq!(client.answer(false).text(), "abcdefgh"[..4], "{target}");
            }
        },
    );
}

#[test]
fn content_shorter_than_its_length_cuts_the_connection() {
    for content in ["[b'abc']", "iter([b'abc'])", "(x for x in [b'a', b'bc'])"] {
        both(
            &format!(
                "def app(e, s):\n    s('200 OK', [('Content-Length', '5')])\n    return {content}"
            ),
            |server| {
                let mut client = server.connect();
                client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
                let answer = client.answer(false);
                assert_eq!(
                    (answer.text().as_str(), answer.cut),
                    ("abc", true),
                    "{content}"
                );
                server.await_log("2 bytes less than its Content-Length");
            },
        );
    }
}
