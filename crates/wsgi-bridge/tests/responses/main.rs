//! What an application says becomes a response: PEP 3333, on one thread and on several.

#[path = "../common/mod.rs"]
mod common;

mod ends;
mod failures;

use common::Server;
use wsgi_bridge::Settings;

/// Runs a check with the application on the connections' thread, and on threads beside it.
fn both(source: &str, check: impl Fn(&Server)) {
    for threads in [1, 3] {
        check(&Server::with(source, Settings::default(), threads));
    }
}

#[test]
fn a_list_is_sent_with_its_length_on_a_connection_that_stays() {
    both(
        "def app(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain'), ('x-Odd', 'a')])\n    return [b'hello ', b'', b'world']",
        |server| {
            let mut client = server.connect();
            for _ in 0..3 {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                let answer = client.answer(false);
                assert_eq!(
                    (answer.status, answer.text().as_str()),
                    (200, "hello world")
                );
                assert_eq!(answer.field("content-length"), Some("11"));
                assert!(answer.head.contains("\r\nx-Odd: a\r\n"), "{}", answer.head);
                assert_eq!(answer.field("server"), Some("appserver"));
                assert_eq!(answer.field("connection"), Some("keep-alive"));
            }
        },
    );
}

#[test]
fn each_item_of_a_generator_is_a_chunk_that_leaves_before_the_next_is_made() {
    let source = "
import threading
go = threading.Event()
def app(environ, start_response):
    if environ['PATH_INFO'] == '/go':
        go.set()
        start_response('200 OK', [])
        return [b'set']
    start_response('200 OK', [])
    def items():
        yield b'first'
        yield b''
        assert go.wait(10)
        yield b'second'
    return items()
";
    let server = Server::with(source, Settings::default(), 2);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().contains("Transfer-Encoding: chunked"));
    assert_eq!(client.chunk().as_deref(), Some(&b"first"[..]));
    assert_eq!(server.get("/go").text(), "set");
    assert_eq!(client.chunk().as_deref(), Some(&b"second"[..]));
    assert_eq!(client.chunk().as_deref(), Some(&b""[..]));
}

/// A pipe by which a test lets an application go on: `{}` in the source is its path, and opening it for reading waits for the test.
fn with_gate(source: &str) -> (tempfile::TempDir, std::path::PathBuf, String) {
    let folder = tempfile::tempdir().expect("makes a folder");
    let gate = folder.path().join("gate");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &gate,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .expect("makes a pipe");
    let source = source.replace("{}", &gate.display().to_string());
    (folder, gate, source)
}

/// Opens the gate, and closes it behind whoever waited.
fn open_gate(gate: &std::path::Path) {
    drop(
        std::fs::OpenOptions::new()
            .write(true)
            .open(gate)
            .expect("opens"),
    );
}

#[test]
fn on_one_thread_items_leave_one_by_one_too() {
    let (_folder, gate, source) = with_gate(
        "
def app(environ, start_response):
    start_response('200 OK', [])
    yield b'first'
    open('{}').read()
    yield b'second'
",
    );
    let server = Server::start(&source);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    assert_eq!(client.chunk().as_deref(), Some(&b"first"[..]));
    open_gate(&gate);
    assert_eq!(client.chunk().as_deref(), Some(&b"second"[..]));
}

#[test]
fn http_1_0_gets_content_until_the_close() {
    both(
        "def app(e, s):\n    s('200 OK', [])\n    yield b'a'\n    yield b'b'",
        |server| {
            let answer = server.ask("GET / HTTP/1.0\r\n\r\n");
            assert_eq!(
                (answer.text().as_str(), answer.field("transfer-encoding")),
                ("ab", None)
            );
            assert_eq!(answer.field("connection"), Some("close"));
        },
    );
}

#[test]
fn head_204_and_304_have_no_content_whatever_the_application_gives() {
    let source = "
def app(environ, start_response):
    status, length = environ['QUERY_STRING'].split(',')
    headers = [('Content-Length', length)] if length else []
    start_response({'200': '200 OK', '204': '204 No Content', '304': '304 Not Modified'}[status], headers)
    return [b'content'] if environ['PATH_INFO'] == '/list' else (x for x in [b'content'])
";
    both(source, |server| {
        let mut client = server.connect();
        let mut ask = |method: &str, target: &str| {
            client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let answer = client.answer(method == "HEAD");
            let length = answer.field("content-length").map(str::to_owned);
            (
                answer.status,
                length,
                answer.field("transfer-encoding").map(str::to_owned),
            )
        };
        let length = |text: &str| Some(text.to_owned());
        assert_eq!(ask("HEAD", "/list?200,"), (200, length("7"), None));
        assert_eq!(ask("HEAD", "/list?200,7"), (200, length("7"), None));
        assert_eq!(ask("HEAD", "/generator?200,7"), (200, length("7"), None));
        assert_eq!(ask("HEAD", "/generator?200,"), (200, None, None));
        assert_eq!(ask("GET", "/list?204,7"), (204, None, None));
        assert_eq!(ask("GET", "/generator?304,7"), (304, length("7"), None));
        assert_eq!(ask("GET", "/list?304,"), (304, None, None));
        assert_eq!(ask("GET", "/list?200,7"), (200, length("7"), None));
    });
}

#[test]
fn write_comes_before_the_items() {
    let source = "
def app(environ, start_response):
    write = start_response('200 OK', [])
    write(b'')
    write(b'one ')
    write(b'two ')
    if environ['PATH_INFO'] == '/raises': raise ValueError('after write')
    return [b'three'] if environ['PATH_INFO'] == '/list' else iter([b'three'])
";
    both(source, |server| {
        for path in ["/list", "/iterator"] {
            let answer = server.get(path);
            assert_eq!(
                (answer.text().as_str(), answer.cut),
                ("one two three", false),
                "{path}"
            );
            assert_eq!(answer.chunks[0], b"one ");
        }
        let raised = server.get("/raises");
        assert_eq!((raised.text().as_str(), raised.cut), ("one two ", true));
        server.await_log("ValueError: after write");
    });
}

#[test]
fn much_written_content_is_neither_lost_nor_kept_in_memory() {
    let source = "
def app(environ, start_response):
    write = start_response('200 OK', [('Content-Length', str(300 * 10000))])
    for n in range(300): write(b'%04d' % n * 2500)
    return []
";
    both(source, |server| {
        let answer = server.get("/");
        assert_eq!((answer.body.len(), answer.cut), (3_000_000, false));
        assert!(
            answer
                .body
                .chunks(10_000)
                .enumerate()
                .all(|(n, piece)| piece == format!("{n:04}").repeat(2500).as_bytes())
        );
    });
}

#[test]
fn a_large_list_arrives_whole() {
    both(
        "def app(e, s):\n    s('200 OK', [])\n    return [bytes([n]) * 100000 for n in range(100)]",
        |server| {
            let answer = server.get("/");
            assert_eq!(
                (answer.body.len(), answer.body[5_000_000]),
                (10_000_000, 50)
            );
        },
    );
}

#[test]
fn set_cookie_lines_stay_separate_and_the_servers_own_fields_are_dropped() {
    let source = "
def app(environ, start_response):
    start_response('200 OK', [('Set-Cookie', 'a=1'), ('Date', 'never'), ('Server', 'me'), ('Set-Cookie', 'b=2'), ('Connection', 'close'), ('Transfer-Encoding', 'x')])
    return [b'']
";
    both(source, |server| {
        let answer = server.get("/");
        assert_eq!(answer.fields("set-cookie"), ["a=1", "b=2"]);
        assert_eq!(
            (answer.fields("server"), answer.fields("date").len()),
            (vec!["appserver"], 1)
        );
        assert_ne!(answer.field("date"), Some("never"));
        assert_eq!(
            (
                answer.field("connection"),
                answer.field("transfer-encoding")
            ),
            (Some("keep-alive"), None)
        );
    });
}

#[test]
fn early_hints_go_ahead_of_the_response() {
    let source = "
def app(environ, start_response):
    hints = environ['wsgi.early_hints']
    hints([('Link', '</a.css>; rel=preload'), (b'Link', b'</b.js>; rel=preload')])
    try: hints([('X', 'a\\r\\nb')])
    except ValueError: pass
    start_response('200 OK', [])
    yield b'content'
    hints([('Link', 'late')])
";
    both(source, |server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let hints = client.head();
        assert_eq!(
            hints,
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload"
        );
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.text().as_str()), (200, "content"));
        assert_eq!(server.ask("GET / HTTP/1.0\r\n\r\n").status, 200);
    });
}

#[test]
fn early_hints_do_not_wait_for_the_response() {
    let source = "
import threading
go = threading.Event()
def app(environ, start_response):
    if environ['PATH_INFO'] == '/go':
        go.set()
    else:
        environ['wsgi.early_hints']([('Link', '</a.css>; rel=preload')])
        assert go.wait(20)
    start_response('200 OK', [])
    return [b'content']
";
    let server = Server::with(source, Settings::default(), 2);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 103 Early Hints\r\n"));
    server.get("/go");
    assert_eq!(client.answer(false).text(), "content");
}

#[test]
fn the_reference_validator_has_nothing_to_object_to() {
    let source = "
from wsgiref.validate import validator
def shop(environ, start_response):
    content = environ['wsgi.input'].read(100)
    environ['wsgi.input'].readline(10)
    environ['wsgi.errors'].write('noted\\n')
    environ['wsgi.errors'].flush()
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/write': write(b'written ')
    return [b'read ', content]
app = validator(shop)
";
    both(source, |server| {
        for (target, answer) in [("/", "read abc"), ("/write", "written read abc")] {
            let request = format!(
                "POST {target}?a=b HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
            );
            assert_eq!(server.ask(&request).text(), answer);
        }
        let mut wrong = server.seen.log.now();
        wrong.retain(|line| !line.contains("noted"));
        assert!(wrong.is_empty(), "{wrong:?}");
    });
}
