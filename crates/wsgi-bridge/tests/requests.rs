//! What a client sends becomes an environ, or is refused before the application hears of it.

mod common;

use common::Server;
use wsgi_bridge::{HeaderMap, Settings, Trusted};

/// Tells the environ, one `key=repr` per line.
const ECHO: &str = "
def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    lines = ['%s=%r' % (key, environ[key]) for key in sorted(environ)]
    return ['\\n'.join(lines).encode()]
";

/// Tells the content.
const CONTENT: &str = "
def app(environ, start_response):
    content = environ['wsgi.input'].read()
    assert int(environ.get('CONTENT_LENGTH', 0)) == len(content)
    start_response('200 OK', [])
    return [b'%d:' % len(content), content[:100]]
";

fn line<'a>(environ: &'a str, key: &str) -> Option<&'a str> {
    environ
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[test]
fn the_environ_has_gunicorns_keys_and_values() {
    for (threads, multithread) in [(1, "False"), (2, "True")] {
        let server = Server::with(
            ECHO,
            Settings {
                multiprocess: true,
                ..Settings::default()
            },
            threads,
        );
        let mut client = server.connect();
        let port = client
            .stream
            .local_addr()
            .expect("has an address")
            .port()
            .to_string();
        client.send(
            "GET /a%20b/%C3%A9?x=%20y&z HTTP/1.1\r\nHost: shop.example:81\r\nX-A: 1\r\nCookie: a=b\r\nx-a:  2 \r\nContent-Type: text/x\r\nX_Under: no\r\n\r\n",
        );
        let environ = client.answer(false).text();
        let listening = server.address.port().to_string();
        for (key, value) in [
            ("REQUEST_METHOD", "'GET'"),
            ("RAW_URI", "'/a%20b/%C3%A9?x=%20y&z'"),
            ("PATH_INFO", "'/a b/\u{c3}\u{a9}'"),
            ("QUERY_STRING", "'x=%20y&z'"),
            ("SCRIPT_NAME", "''"),
            ("SERVER_PROTOCOL", "'HTTP/1.1'"),
            ("SERVER_NAME", "'127.0.0.1'"),
            ("SERVER_PORT", &format!("'{listening}'")),
            ("REMOTE_ADDR", "'127.0.0.1'"),
            ("REMOTE_PORT", &format!("'{port}'")),
            (
                "SERVER_SOFTWARE",
                &format!("'viaduct/{}'", env!("CARGO_PKG_VERSION")),
            ),
            ("HTTP_HOST", "'shop.example:81'"),
            ("HTTP_X_A", "'1,2'"),
            ("HTTP_COOKIE", "'a=b'"),
            ("CONTENT_TYPE", "'text/x'"),
            ("wsgi.version", "(1, 0)"),
            ("wsgi.multithread", multithread),
            ("wsgi.multiprocess", "True"),
            ("wsgi.run_once", "False"),
            ("wsgi.input_terminated", "True"),
            ("wsgi.url_scheme", "'http'"),
            ("wsgi.file_wrapper", "<class 'viaduct.FileWrapper'>"),
        ] {
            assert_eq!(line(&environ, key), Some(value), "{key} in\n{environ}");
        }
        for absent in ["HTTP_X_UNDER", "HTTP_CONTENT_TYPE", "CONTENT_LENGTH"] {
            assert_eq!(line(&environ, absent), None, "{absent}");
        }
        assert!(line(&environ, "wsgi.input").is_some() && line(&environ, "wsgi.errors").is_some());
    }
}

#[test]
fn targets_in_other_forms_are_understood() {
    let server = Server::start(ECHO);
    let ask = |request: &str| server.ask(&format!("{request}\r\nHost: a\r\n\r\n")).text();
    let absolute = ask("GET http://shop.example/p?q HTTP/1.1");
    assert_eq!(
        (
            line(&absolute, "PATH_INFO"),
            line(&absolute, "QUERY_STRING")
        ),
        (Some("'/p'"), Some("'q'"))
    );
    assert_eq!(
        line(&absolute, "RAW_URI"),
        Some("'http://shop.example/p?q'")
    );
    assert_eq!(line(&ask("OPTIONS * HTTP/1.1"), "PATH_INFO"), Some("'*'"));
    assert_eq!(
        line(&ask("GET //double HTTP/1.1"), "PATH_INFO"),
        Some("'//double'")
    );
    assert_eq!(
        line(&ask("GET /a#fragment HTTP/1.1"), "PATH_INFO"),
        Some("'/a'")
    );
    assert_eq!(line(&ask("GET /% HTTP/1.1"), "PATH_INFO"), Some("'/%'"));
    assert_eq!(
        line(&server.ask("GET / HTTP/1.0\r\n\r\n").text(), "HTTP_HOST"),
        None
    );
    assert_eq!(
        line(
            &server.ask("GET / HTTP/1.0\r\n\r\n").text(),
            "SERVER_PROTOCOL"
        ),
        Some("'HTTP/1.0'")
    );
}

#[test]
fn trusted_peers_tell_scheme_and_script_name() {
    let request = "GET /shop/a HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nSCRIPT_NAME: /shop\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n";
    let trusting = Server::start(ECHO).ask(request).text();
    assert_eq!(line(&trusting, "wsgi.url_scheme"), Some("'https'"));
    assert_eq!(
        (line(&trusting, "SCRIPT_NAME"), line(&trusting, "PATH_INFO")),
        (Some("'/shop'"), Some("'/a'"))
    );
    assert_eq!(line(&trusting, "REMOTE_ADDR"), Some("'127.0.0.1'"));

    let settings = Settings {
        forwarded_allow_ips: Trusted::read(["10.0.0.0/8"]).unwrap(),
        ..Settings::default()
    };
    let wary = Server::with(ECHO, settings, 1).ask(request).text();
    assert_eq!(
        (line(&wary, "wsgi.url_scheme"), line(&wary, "SCRIPT_NAME")),
        (Some("'http'"), Some("''"))
    );
    assert_eq!(line(&wary, "HTTP_SCRIPT_NAME"), None);

    let settings = Settings {
        header_map: HeaderMap::Dangerous,
        ..Settings::default()
    };
    let lenient = Server::with(ECHO, settings, 1)
        .ask("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX_A: 2\r\n\r\n")
        .text();
    assert_eq!(line(&lenient, "HTTP_X_A"), Some("'1,2'"));
}

#[test]
fn what_breaks_the_rules_never_reaches_the_application() {
    let server = Server::start("def app(e, s):\n    s('200 OK', [])\n    return [b'reached']");
    for (status, request) in [
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
        (400, "GET / HTTP/1.1\nHost: a\n\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n"),
        (400, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        (400, "get / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GE / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GETGETGETGETGETGETGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            400,
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Type: a\r\nContent-Type: a\r\n\r\n",
        ),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        ),
        (
            400,
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        ),
        (
            501,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: spelling, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            417,
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: cookies\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            400,
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n",
        ),
        (
            500,
            "GET / HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: /shop\r\n\r\n",
        ),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        ),
        (
            414,
            &format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(4094)),
        ),
        (
            431,
            &format!(
                "GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n",
                "a".repeat(8190)
            ),
        ),
        (
            431,
            &format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "A: b\r\n".repeat(100)
            ),
        ),
    ] {
        let mut client = server.connect();
        client.send(request);
        let answer = client.answer(false);
        assert_eq!(answer.status, status, "{request:?} {}", answer.head);
        assert!(!answer.text().contains("reached"), "{request:?}");
        assert_eq!(
            (answer.field("content-type"), answer.field("connection")),
            (Some("text/html"), Some("close")),
            "{request:?}"
        );
    }
    assert!(
        server
            .seen
            .logged("WARNING Invalid request from ip=127.0.0.1: ")
    );
    assert_eq!(server.get("/").text(), "reached");
}

#[test]
fn content_is_complete_before_the_application_is_called() {
    for threads in [1, 2] {
        let server = Server::with(CONTENT, Settings::default(), threads);
        let mut slow = server.connect();
        slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
        // The half request holds nobody up.
        assert_eq!(server.get("/").text(), "0:");
        slow.send("def");
        assert_eq!(slow.answer(false).text(), "6:abcdef");
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n";
        slow.send(chunked);
        assert_eq!(slow.answer(false).text(), "5:abcde");
    }
}

#[test]
fn large_content_goes_through_a_file_and_arrives_whole() {
    let source = "
import hashlib
def app(environ, start_response):
    content, digest, total = environ['wsgi.input'], hashlib.sha256(), 0
    for piece in iter(lambda: content.read(70000), b''):
        digest.update(piece)
        total += len(piece)
    start_response('200 OK', [])
    return [('%d %s' % (total, digest.hexdigest())).encode()]
";
    let server = Server::with(
        source,
        Settings {
            content_memory_bytes: 100_000,
            ..Settings::default()
        },
        1,
    );
    let content: Vec<u8> = (0..5_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let digest = pyo3::Python::attach(|py| {
        use pyo3::types::PyAnyMethods;
        let digest = py
            .import("hashlib")
            .and_then(|m| m.call_method1("sha256", (pyo3::types::PyBytes::new(py, &content),)));
        digest
            .and_then(|digest| digest.call_method0("hexdigest")?.extract::<String>())
            .expect("digests")
    });
    let mut client = server.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        content.len()
    ));
    client.send(&content);
    assert_eq!(client.answer(false).text(), format!("5000000 {digest}"));
}

#[test]
fn content_that_breaks_off_never_reaches_the_application() {
    let server = Server::start(&format!("calls = []\n{}", CONTENT.replace("def app(environ, start_response):", "def app(environ, start_response):\n    calls.append(environ['PATH_INFO'])\n    if environ['PATH_INFO'] == '/calls':\n        start_response('200 OK', [])\n        return [','.join(calls).encode()]")));
    for request in [
        "POST /short HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
    ] {
        let mut client = server.connect();
        client.send(request);
        client
            .stream
            .shutdown(std::net::Shutdown::Write)
            .expect("shuts");
        assert!(
            client.at_end() || client.answer(false).status >= 400,
            "{request:?}"
        );
    }
    assert_eq!(server.get("/calls").text(), "/calls");
}

#[test]
fn a_client_that_expects_100_gets_it_once_and_before_the_application() {
    let server = Server::start(CONTENT);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n".trim_end());
    client.send("abc");
    assert_eq!(client.answer(false).text(), "3:abc");
}

#[test]
fn a_client_that_closes_its_sending_side_is_answered() {
    let server = Server::start(CONTENT);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    client
        .stream
        .shutdown(std::net::Shutdown::Write)
        .expect("shuts");
    assert_eq!(client.answer(false).text(), "3:abc");
}

#[test]
fn the_log_gets_what_it_asks_for() {
    let source = "
def app(environ, start_response):
    environ['shop.user'] = 'anna'
    print('complaint', file=environ['wsgi.errors'])
    start_response('201 Created', [('X-A', '1')])
    return [b'hello'] if environ['PATH_INFO'] == '/list' else (x for x in [b'he', b'llo'])
";
    for threads in [1, 2] {
        let settings = Settings {
            log_environ: vec!["shop.user".into(), "request_method".into(), "absent".into()],
            log_fields: true,
            ..Settings::default()
        };
        let server = Server::with(source, settings, threads);
        server.get("/list");
        server.get("/generator");
        server.ask("HEAD /list HTTP/1.1\r\nHost: a\r\n\r\n");
        let lines = server.finished(3);
        let bytes: Vec<u64> = lines.iter().map(|line| line.content_bytes).collect();
        assert_eq!(bytes, [5, 5, 0]);
        for line in &lines {
            assert_eq!((line.status, line.outcome.as_str()), (201, "Complete"));
            assert_eq!(line.environ[0].as_deref(), Some("anna"));
            assert!(line.environ[1].is_some() && line.environ[2].is_none());
            assert_eq!(line.fields, Some(vec!["X-A".to_owned()]));
        }
        assert!(server.seen.logged("complaint"));
    }
}
