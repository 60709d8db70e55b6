//! What an application says becomes a response: PEP 3333, on one thread and on several.

mod common;

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
fn close_is_called_whatever_happens() {
    let source = "
closed = []
class Items:
    def __init__(self, path): self.path, self.n = path, 0
    def __iter__(self): return self
    def __next__(self):
        self.n += 1
        if self.path == '/raises' and self.n == 2: raise ValueError('x')
        if self.path == '/early': raise ValueError('x')
        if self.n > 3: raise StopIteration
        return b'item'
    def close(self): closed.append(self.path)
def app(environ, start_response):
    if environ['PATH_INFO'] == '/closed':
        start_response('200 OK', [])
        return [','.join(sorted(closed)).encode()]
    start_response('200 OK', [('Content-Length', '12')] if environ['PATH_INFO'] == '/length' else [])
    return Items(environ['PATH_INFO'])
";
    both(source, |server| {
        for path in ["/whole", "/raises", "/early", "/length"] {
            server.get(path);
        }
        server.ask("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n");
        server.finished(5);
        // One that promised its length is closed when the client has everything, maybe later.
        let all = "/early,/head,/length,/raises,/whole";
        let closed = (0..500).find(|_| server.get("/closed").text() == all);
        assert!(closed.is_some(), "{}", server.get("/closed").text());
    });
}

#[test]
fn close_is_called_when_the_client_leaves() {
    let source = "
closed = []
class Endless:
    def __iter__(self):
        while True: yield bytes(100000)
    def close(self): closed.append('closed')
def app(environ, start_response):
    start_response('200 OK', [])
    return [','.join(closed).encode()] if environ['PATH_INFO'] == '/closed' else Endless()
";
    both(source, |server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head();
        assert!(client.chunk().is_some());
        drop(client);
        let lines = server.finished(1);
        assert_eq!(lines[0].outcome, "ClientGone");
        let closed = (0..500).find(|_| server.get("/closed").text() == "closed");
        assert!(closed.is_some(), "close() is called");
    });
}

#[test]
fn what_follows_the_last_item_runs_after_the_client_has_everything() {
    let (_folder, gate, source) = with_gate(
        "
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '4')])
    yield b'done'
    open('{}').read()
    environ['wsgi.errors'].write('afterwards')
",
    );
    for threads in [1, 2] {
        let server = Server::with(&source, Settings::default(), threads);
        assert_eq!(server.get("/").text(), "done");
        assert!(!server.seen.logged("afterwards"));
        open_gate(&gate);
        server.await_log("afterwards");
    }
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
fn a_kept_start_response_reaches_no_other_request() {
    let source = "
kept = []
def app(environ, start_response):
    if environ['PATH_INFO'] == '/use':
        try: kept[0]('200 OK', [('X-Wrong', '1')])
        except AssertionError as error: kept.append(str(error))
        start_response('200 OK', [])
        return [kept[-1].encode()]
    kept.append(start_response)
    start_response('200 OK', [])
    return [b'kept']
";
    both(source, |server| {
        assert_eq!(server.get("/").text(), "kept");
        let answer = server.get("/use");
        assert_eq!(
            (answer.text().as_str(), answer.field("x-wrong")),
            ("start_response() called after the request ended", None)
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

#[test]
fn wrapped_files_are_sent_from_where_they_stand_and_closed() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let content: Vec<u8> = (0..300_000_u32).map(|n| (n / 7 % 251) as u8).collect();
    std::fs::write(folder.path().join("file"), &content).expect("writes");
    let source = format!(
        "
import io
opened = []
def app(environ, start_response):
    kind = environ['PATH_INFO']
    if kind == '/closed':
        start_response('200 OK', [])
        return [repr([file.closed for file in opened]).encode()]
    file = open('{}', 'rb')
    opened.append(file)
    headers = []
    if kind == '/offset': file.read(1000)
    if kind == '/length': headers = [('Content-Length', '5000')]
    if kind == '/longer': headers = [('Content-Length', '400000')]
    if kind == '/memory': file = io.BytesIO(file.read())
    start_response('304 Not Modified' if kind == '/unchanged' else '200 OK', headers)
    return environ['wsgi.file_wrapper'](file, 65536)
",
        folder.path().join("file").display()
    );
    both(&source, |server| {
        let mut client = server.connect();
        let mut ask = |method: &str, target: &str| {
            client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let answer = client.answer(method == "HEAD");
            let framing = answer
                .field("content-length")
                .or(answer.field("transfer-encoding"))
                .map(str::to_owned);
            (answer.body, framing)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(ask("GET", "/whole"), (content.clone(), text("300000")));
        assert_eq!(
            ask("GET", "/offset"),
            (content[1000..].to_vec(), text("299000"))
        );
        assert_eq!(
            ask("GET", "/length"),
            (content[..5000].to_vec(), text("5000"))
        );
        assert_eq!(ask("HEAD", "/whole"), (vec![], text("300000")));
        assert_eq!(ask("GET", "/unchanged"), (vec![], None));
        let (memory, framing) = ask("GET", "/memory");
        assert_eq!((memory.len(), framing), (300_000, text("chunked")));
        assert_eq!(
            ask("GET", "/closed").0,
            b"[True, True, True, True, True, False]"
        );
        assert!(server.get("/longer").cut);
    });
}
