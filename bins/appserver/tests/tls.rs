//! TLS: what is served over it, who is let in, and what is said of certificates that cannot be used.

mod support;

use std::io::{Read, Write};
use std::process::Command;

use rustix::process::Signal;
use rustls::CipherSuite;
use support::tls::{Authority, asks, encrypted, tcp, unix};
use support::{Setup, saying};
use testkit::FreePort;

/// Tells what it is told, and sends a file.
const APP: &str = "
import tempfile

BIG = tempfile.TemporaryFile()
BIG.write(bytes(range(256)) * 4096 * 8)

def application(environ, start_response):
    if environ['PATH_INFO'] == '/file':
        BIG.seek(0)
        start_response('200 OK', [('Content-Type', 'application/octet-stream')])
        return environ['wsgi.file_wrapper'](BIG)
    if environ['PATH_INFO'] == '/echo':
        text = environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Length', str(len(text)))])
        return [text]
    text = ' '.join([environ['wsgi.url_scheme'], environ['SERVER_PROTOCOL'], environ.get('HTTPS', '-')]).encode()
    start_response('200 OK', [('Content-Length', str(len(text)))])
    return [text]
";

fn text(answer: &str) -> &str {
    answer
        .split_once("\r\n\r\n")
        .map_or(answer, |(_, text)| text)
}

#[test]
fn applications_are_served_over_tls_and_told_so() {
    let authority = Authority::new();
    let port = FreePort::find().unwrap();
    for arguments in [&[][..], &["--threads", "3"]] {
        let server = Setup::new(APP)
            .with_tls(&authority.signs("shop.test"))
            .args(arguments)
            .args(&["-b", &port.address().to_string()])
            .start();
        let listening = format!("Listening at: https://{}", port.address());
        assert!(server.log().contains(&listening), "{}", server.log());
        for way in [unix(&server), tcp(port.address())] {
            let answer = asks(way, authority.client(None, &[]), "/").unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert_eq!(text(&answer), "https HTTP/1.1 -");
        }
    }
}

#[test]
fn a_websocket_in_the_applications_own_hands_is_encrypted_too() {
    let authority = Authority::new();
    let app = "
def application(environ, start_response):
    sock = environ.get('gunicorn.socket')
    if not sock:
        start_response('200 OK', [])
        return [b'ok']
    sock.sendall(b'HTTP/1.1 101 \\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n')
    sock.sendall(sock.recv(100).upper())
    raise StopIteration
";
    let server = Setup::new(app)
        .with_tls(&authority.signs("shop.test"))
        .args(&["--threads", "2"])
        .start();
    let mut stream = encrypted(unix(&server), authority.client(None, &["http/1.1"]));
    let head = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    assert!(read.starts_with(b"HTTP/1.1 101 "));
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HELLO");
}

#[test]
fn content_of_any_size_goes_both_ways_on_one_connection() {
    let authority = Authority::new();
    let server = Setup::new(APP)
        .with_tls(&authority.signs("shop.test"))
        .start();
    let mut stream = encrypted(unix(&server), authority.client(None, &["http/1.1"]));
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    write!(
        stream,
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        sent.len()
    )
    .unwrap();
    stream.write_all(&sent).unwrap();
    let head = read_head(&mut stream);
    assert!(head.contains("Content-Length: 3000000\r\n"), "{head}");
    let mut echoed = vec![0; sent.len()];
    stream.read_exact(&mut echoed).unwrap();
    assert!(echoed == sent);
    stream
        .write_all(b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let head = read_head(&mut stream);
    assert!(head.contains("Content-Length: 8388608\r\n"), "{head}");
    let mut file = Vec::new();
    stream.read_to_end(&mut file).unwrap();
    assert_eq!(file.len(), 8 << 20);
    assert!(file.iter().enumerate().all(|(at, byte)| *byte == at as u8));
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn clients_need_a_certificate_where_one_is_demanded_and_only_good_ones_will_do() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (good, bad) = (authority.signs("client"), stranger.signs("client"));
    for (reqs, none, wrong) in [("0", true, true), ("1", true, false), ("2", false, false)] {
        let server = Setup::new(APP)
            .with_tls(&authority.signs("shop.test"))
            .file("ca.pem", &authority.pem())
            .args(&["--ca-certs", "ca.pem", "--cert-reqs", reqs])
            .start();
        for (own, enters) in [(None, none), (Some(&bad), wrong), (Some(&good), true)] {
            let answer = asks(unix(&server), authority.client(own, &[]), "/");
            assert_eq!(
                answer
                    .as_deref()
                    .is_ok_and(|answer| answer.contains("200 OK")),
                enters,
                "{reqs}: {answer:?}\n{}",
                server.log()
            );
        }
        if reqs == "2" {
            server.until_log("TLS handshake: ", 2);
        }
    }
}

#[test]
fn plain_http_is_told_what_is_wrong_and_garbage_hurts_nobody() {
    let authority = Authority::new();
    let server = Setup::new(APP)
        .with_tls(&authority.signs("shop.test"))
        .start();
    let answer = server.get("/");
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("plain HTTP request"),
        "{}",
        answer.text()
    );
    server.until_log("a plain HTTP request was sent", 1);
    for garbage in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x00\xff\x00", b"\x16"] {
        let mut way = unix(&server);
        way.write_all(garbage).unwrap();
        if garbage.len() > 1 {
            let mut rest = Vec::new();
            let _ = way.read_to_end(&mut rest);
        }
    }
    // One that never goes on with its handshake.
    let _silent = unix(&server);
    assert!(asks(unix(&server), authority.client(None, &[]), "/").is_ok());
}

#[test]
fn certificates_that_cannot_be_used_are_told_at_the_start_and_by_check_config() {
    let authority = Authority::new();
    let (own, other) = (authority.signs("shop.test"), authority.signs("other.test"));
    for (arguments, words) in [
        (
            &["--certfile", "none.pem"][..],
            "certfile (--certfile) \"none.pem\": it cannot be read",
        ),
        (
            &["--certfile", "own.pem"],
            "names a file of its own for the key",
        ),
        (
            &["--keyfile", "own.key"],
            "keyfile (--keyfile) \"own.key\" is a key without a certificate",
        ),
        (
            &["--certfile", "own.pem", "--keyfile", "other.key"],
            "keyfile (--keyfile) \"other.key\": the private key does not belong to the certificate in \"own.pem\"",
        ),
        (
            &[
                "--certfile",
                "own.pem",
                "--keyfile",
                "own.key",
                "--cert-reqs",
                "2",
            ],
            "ca_certs (--ca-certs) client certificates are asked for",
        ),
        (&["--cert-reqs", "3"], "Invalid value for cert_reqs: 3"),
        (
            &["--http-protocols", "h2,h4"],
            "Invalid value for http_protocols: 'h4'",
        ),
    ] {
        for check in [&[][..], &["--check-config"]] {
            let (code, _, told) = Setup::new(APP)
                .file("own.pem", &own.certificate)
                .file("own.key", &own.key)
                .file("other.key", &other.key)
                .args(arguments)
                .args(check)
                .run();
            assert_eq!(code, 1, "{arguments:?}: {told}");
            assert!(told.contains(words), "{arguments:?}: {told}");
        }
    }
}

#[test]
fn a_reload_takes_a_new_certificate_and_keeps_the_old_one_when_that_is_broken() {
    let (old, new) = (Authority::new(), Authority::new());
    let pair = old.signs("shop.test");
    let mut server = Setup::new(&saying("served")).with_tls(&pair).start();
    server.write("own.pem", "-----BEGIN CERTIFICATE-----\n");
    server.signal(Signal::HUP);
    server.until_log("certfile (--certfile) \"own.pem\"", 1);
    assert!(
        asks(unix(&server), old.client(None, &[]), "/")
            .unwrap()
            .ends_with("served")
    );
    let pair = new.signs("shop.test");
    server.write("own.key", &pair.key);
    server.write("own.pem", &pair.certificate);
    server.signal(Signal::HUP);
    server.until("the new certificate", || {
        asks(unix(&server), new.client(None, &[]), "/").ok()
    });
    assert_eq!(server.stop(), 0);
}

#[test]
fn curl_finds_nothing_amiss() {
    let authority = Authority::new();
    let server = Setup::new(APP)
        .with_tls(&authority.signs("shop.test"))
        .file("ca.pem", &authority.pem())
        .start();
    let (socket, ca) = (server.prefix.join("app.sock"), server.prefix.join("ca.pem"));
    let curl = Command::new("curl")
        .args(["-sS", "--unix-socket"])
        .arg(socket)
        .arg("--cacert")
        .arg(ca)
        .args([
            "https://shop.test/",
            "https://shop.test/",
            "-w",
            " %{ssl_verify_result} %{num_connects}\n",
        ])
        .output()
        .expect("curl is installed");
    let told =
        String::from_utf8_lossy(&curl.stdout).into_owned() + &String::from_utf8_lossy(&curl.stderr);
    assert_eq!(told, "https HTTP/1.1 - 0 1\nhttps HTTP/1.1 - 0 0\n");
}

/// The suite that a client of these suites and the server agree on; none where they don't.
fn agreed(
    server: &support::Server,
    authority: &Authority,
    suites: &[CipherSuite],
) -> Option<CipherSuite> {
    let mut stream = encrypted(unix(server), authority.client_of(suites));
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut all = String::new();
    stream.read_to_string(&mut all).ok()?;
    assert!(all.contains("200 OK"), "{all}");
    Some(stream.conn.negotiated_cipher_suite()?.suite())
}

#[test]
fn ciphers_choose_among_the_suites_of_tls_1_2() {
    let authority = Authority::new();
    let pair = authority.signs("shop.test");
    let small = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let large = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    let newer = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
    let start = |ciphers: &str| {
        Setup::new(APP)
            .with_tls(&pair)
            .args(&["--ciphers", ciphers])
            .start()
    };
    let names = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ];
    let server = start(&format!("{}:DHE-RSA-AES256-SHA:{}", names[0], names[1]));
    let told = format!("with TLS 1.2 {} are spoken", names.join(", "));
    server.until_log(&told, 1);
    let agreed = |server, suites: &[_]| agreed(server, &authority, suites);
    // The server's order.
    assert_eq!(agreed(&server, &[large, small]), Some(small));
    assert_eq!(agreed(&server, &[newer]), Some(newer));

    let server = start("AES256");
    assert_eq!(agreed(&server, &[small, large]), Some(large));
    assert_eq!(agreed(&server, &[small]), None);

    let server = start("TLSv1");
    server.until_log("names no suite of TLS 1.2 that is spoken here", 1);
    assert_eq!(agreed(&server, &[small, large]), Some(small));
}
