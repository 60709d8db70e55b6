//! HTTP/2: over TLS and in the clear, for applications of both kinds, and WebSockets over it.

mod support;

use std::future::poll_fn;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use rustix::process::Signal;
use rustls::pki_types::ServerName;
use support::tls::Authority;
use support::{PATIENCE, Server, Setup};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;

const WSGI: &str = "
import json, os, threading

asked = threading.Event()

def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/waits':
        assert asked.wait(30), 'nobody asked for /goes meanwhile'
    if path == '/goes':
        asked.set()
    if path == '/hints':
        environ['wsgi.early_hints']([('Link', '</a.css>; rel=preload')])
    if path == '/stream':
        start_response('200 OK', [('X-Own', '1'), ('Connection', 'close')])
        return (b'%d;' % number for number in range(50000))
    if path == '/large':
        start_response('200 OK', [])
        return (b'x' * 10000 for _ in range(300))
    if path == '/trailers':
        send = environ['gunicorn.http2.send_trailers']
        send([('x-early', 'too')])
        def pieces():
            yield b'con'
            yield b'tent'
            send([('Grpc-Status', 0), ('x-weight', environ['gunicorn.http2.priority_weight'])])
        start_response('200 OK', [])
        return [b'content'] if environ['QUERY_STRING'] else pieces()
    if path == '/raise':
        raise ValueError('asked for')
    if path == '/echo':
        content = environ['wsgi.input'].read()
        start_response('200 OK', [])
        return [content]
    names = ['SERVER_PROTOCOL', 'HTTP_VERSION', 'wsgi.url_scheme', 'HTTP_HOST', 'HTTP_COOKIE', 'RAW_URI', 'QUERY_STRING', 'HTTP_A_B']
    text = json.dumps({name: environ.get(name) for name in names} | {'pid': os.getpid()}).encode()
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [text]
";

const ASGI: &str = "
import asyncio, json, time

async def application(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            message = await receive()
            await send({'type': message['type'] + '.complete'})
            if message['type'] == 'lifespan.shutdown':
                return
    if scope['type'] == 'websocket':
        assert (await receive())['type'] == 'websocket.connect'
        headers = {name.decode(): value.decode() for name, value in scope['headers']}
        await send({'type': 'websocket.accept', 'subprotocol': scope['subprotocols'][0] if scope['subprotocols'] else None})
        await send({'type': 'websocket.send', 'text': json.dumps([scope['http_version'], scope['scheme'], scope['path'], headers.get('host'), headers.get('sec-websocket-key')])})
        while True:
            message = await receive()
            if message['type'] == 'websocket.disconnect':
                print('websocket left', message['code'], flush=True)
                return
            await send({'type': 'websocket.send', 'text': (message['text'] or '').upper()})
    if scope['path'] == '/wait':
        assert (await receive())['type'] == 'http.request'
        print('waits', flush=True)
        print('told', (await receive())['type'], flush=True)
        return
    if scope['path'] == '/busy':
        time.sleep(0.003)
    content = b''
    while True:
        message = await receive()
        content += message.get('body', b'')
        if not message.get('more_body'):
            break
    told = [scope['http_version'], scope['scheme'], scope['method'], scope['path'], len(content), sorted(scope['extensions'])]
    await send({'type': 'http.response.start', 'status': 200, 'headers': [], 'trailers': True})
    await send({'type': 'http.response.body', 'body': json.dumps(told).encode()})
    await send({'type': 'http.response.trailers', 'headers': [(b'x-sum', b'7')]})
";

/// A client that keeps the protocol.
struct Client {
    requests: SendRequest<Bytes>,
    running: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn encrypted(server: &Server, authority: &Authority) -> Self {
        Self::with(server, authority, &h2::client::Builder::new()).await
    }

    async fn with(server: &Server, authority: &Authority, builder: &h2::client::Builder) -> Self {
        let stream = UnixStream::connect(server.prefix.join("app.sock"))
            .await
            .unwrap();
        let config = authority.client(None, &["h2"]);
        let name = ServerName::try_from("shop.test").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self::over(stream, builder).await
    }

    async fn in_the_clear(server: &Server) -> Self {
        let stream = UnixStream::connect(server.prefix.join("app.sock"))
            .await
            .unwrap();
        Self::over(stream, &h2::client::Builder::new()).await
    }

    async fn over(
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        builder: &h2::client::Builder,
    ) -> Self {
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        Self {
            requests,
            running: tokio::spawn(connection),
        }
    }

    async fn ask(
        &mut self,
        request: http::Request<()>,
        ends: bool,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        poll_fn(|cx| self.requests.poll_ready(cx)).await.unwrap();
        self.requests.send_request(request, ends).unwrap()
    }

    async fn get_with_trailers(&mut self, target: &str) -> (String, http::HeaderMap) {
        let (answer, _) = self.ask(request("GET", target), true).await;
        let mut content = answer.await.unwrap().into_body();
        let mut all = Vec::new();
        while let Some(bytes) = content.data().await {
            all.extend_from_slice(&bytes.unwrap());
        }
        let trailers = content.trailers().await.unwrap().unwrap();
        (String::from_utf8(all).unwrap(), trailers)
    }

    async fn get(&mut self, target: &str) -> (u16, String) {
        let (answer, _) = self.ask(request("GET", target), true).await;
        let answer = tokio::time::timeout(PATIENCE, answer)
            .await
            .unwrap()
            .unwrap();
        (answer.status().as_u16(), all_of(answer.into_body()).await)
    }
}

fn request(method: &str, target: &str) -> http::Request<()> {
    http::Request::builder()
        .method(method)
        .uri(format!("https://shop.test{target}"))
        .body(())
        .unwrap()
}

async fn all_of(mut content: RecvStream) -> String {
    let mut all = Vec::new();
    while let Some(bytes) = content.data().await {
        let bytes = bytes.unwrap();
        content
            .flow_control()
            .release_capacity(bytes.len())
            .unwrap();
        all.extend_from_slice(&bytes);
    }
    String::from_utf8(all).unwrap()
}

async fn send_all(out: &mut SendStream<Bytes>, mut content: Bytes) {
    while !content.is_empty() {
        out.reserve_capacity(content.len());
        let room = poll_fn(|cx| out.poll_capacity(cx)).await.unwrap().unwrap();
        let piece = content.split_to(room);
        out.send_data(piece, content.is_empty()).unwrap();
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(4 * PATIENCE, test).await.unwrap() });
}

fn wsgi(authority: &Authority, arguments: &[&str]) -> Server {
    Setup::new(WSGI)
        .with_tls(&authority.signs("shop.test"))
        .args(&["--http-protocols", "h2,h1", "--keep-alive", "30"])
        .args(arguments)
        .start()
}

#[test]
fn a_wsgi_application_is_served_by_every_kind_of_worker() {
    let authority = Authority::new();
    for arguments in [&[][..], &["--threads", "4"]] {
        let mut server = wsgi(
            &authority,
            &[arguments, &["--access-logfile", "access.log"]].concat(),
        );
        run(async {
            let mut client = Client::encrypted(&server, &authority).await;
            let mut asked = request("GET", "/a%20b?q=1");
            for cookie in ["a=1", "b=2"] {
                asked
                    .headers_mut()
                    .append("cookie", cookie.parse().unwrap());
            }
            asked
                .headers_mut()
                .append("a_b", "dropped".parse().unwrap());
            let (answer, _) = client.ask(asked, true).await;
            let answer = answer.await.unwrap();
            assert_eq!(answer.headers()["server"], "appserver");
            let told = all_of(answer.into_body()).await;
            for part in [
                r#""SERVER_PROTOCOL": "HTTP/2.0""#,
                r#""HTTP_VERSION": "2""#,
                r#""wsgi.url_scheme": "https""#,
                r#""HTTP_HOST": "shop.test""#,
                r#""HTTP_COOKIE": "a=1; b=2""#,
                r#""RAW_URI": "/a%20b?q=1""#,
                r#""HTTP_A_B": null"#,
            ] {
                assert!(told.contains(part), "{part} in {told}");
            }
            let (answer, mut out) = client.ask(request("POST", "/echo"), false).await;
            let sent = Bytes::from("0123456789".repeat(300_000));
            send_all(&mut out, sent.clone()).await;
            assert!(all_of(answer.await.unwrap().into_body()).await == sent);
            let streamed = client.get("/stream").await.1;
            assert!(streamed.starts_with("0;1;2;") && streamed.ends_with("49999;"));
            assert_eq!(client.get("/raise").await.0, 500);
            for (target, told) in [
                ("/trailers", vec![("grpc-status", "0"), ("x-weight", "16")]),
                ("/trailers?whole", vec![("x-early", "too")]),
            ] {
                let (content, trailers) = client.get_with_trailers(target).await;
                assert_eq!(content, "content");
                let trailers: Vec<_> = (trailers.iter())
                    .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                    .collect();
                assert_eq!(trailers, told);
            }
            let (mut answer, _) = client.ask(request("GET", "/hints"), true).await;
            let hints = poll_fn(|cx| answer.poll_informational(cx))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(hints.status().as_u16(), 103);
            assert_eq!(answer.await.unwrap().status().as_u16(), 200);
            assert_eq!(client.get(&format!("/{}", "x".repeat(5000))).await.0, 414);
        });
        server.until("the access log", || {
            server
                .read("access.log")
                .contains("\"GET /stream HTTP/2.0\" 200")
                .then_some(())
        });
        assert_eq!(server.stop(), 0, "{}", server.log());
    }
}

#[test]
fn requests_of_one_connection_run_side_by_side_in_threads() {
    let authority = Authority::new();
    let server = wsgi(&authority, &["--threads", "4"]);
    run(async {
        let mut client = Client::encrypted(&server, &authority).await;
        let (waits, _) = client.ask(request("GET", "/waits"), true).await;
        assert_eq!(client.get("/goes").await.0, 200);
        assert_eq!(waits.await.unwrap().status().as_u16(), 200);
    });
}

#[test]
fn a_response_that_is_not_taken_holds_up_no_other_request() {
    let authority = Authority::new();
    for arguments in [&[][..], &["--threads", "2"]] {
        let server = wsgi(&authority, arguments);
        run(async {
            let mut builder = h2::client::Builder::new();
            builder.initial_connection_window_size(1 << 20);
            let mut client = Client::with(&server, &authority, &builder).await;
            let (large, _) = client.ask(request("GET", "/large"), true).await;
            let large = large.await.unwrap();
            // Its window is not opened yet.
            for _ in 0..3 {
                assert_eq!(client.get("/").await.0, 200, "{}", server.log());
            }
            assert_eq!(all_of(large.into_body()).await.len(), 3_000_000);
        });
    }
}

#[test]
fn who_does_not_know_it_is_served_http_1() {
    let authority = Authority::new();
    let server = wsgi(&authority, &[]);
    for wished in [&[][..], &["http/1.1"]] {
        let answer = support::tls::asks(
            support::tls::unix(&server),
            authority.client(None, wished),
            "/",
        )
        .unwrap();
        assert!(
            answer.contains(r#""SERVER_PROTOCOL": "HTTP/1.1""#),
            "{answer}"
        );
    }
}

#[test]
fn curl_agrees_on_it() {
    let authority = Authority::new();
    let server = Setup::new(WSGI)
        .with_tls(&authority.signs("shop.test"))
        .file("ca.pem", &authority.pem())
        .args(&["--http-protocols", "h2"])
        .start();
    let curl = Command::new("curl")
        .args(["-sS", "--http2", "--unix-socket"])
        .arg(server.prefix.join("app.sock"))
        .arg("--cacert")
        .arg(server.prefix.join("ca.pem"))
        .args([
            "https://shop.test/",
            "-w",
            " %{http_version} %{response_code}",
            "-d",
            "content",
        ])
        .output()
        .expect("curl is installed");
    let told =
        String::from_utf8_lossy(&curl.stdout).into_owned() + &String::from_utf8_lossy(&curl.stderr);
    assert!(
        told.ends_with(" 2 200") && told.contains("HTTP/2.0"),
        "{told}"
    );
}

#[test]
fn a_drain_answers_what_was_asked() {
    let authority = Authority::new();
    let mut server = wsgi(&authority, &["--threads", "2"]);
    run(async {
        let mut client = Client::encrypted(&server, &authority).await;
        let (slow, _) = client.ask(request("GET", "/slow"), true).await;
        client.get("/").await;
        server.signal(Signal::TERM);
        assert_eq!(slow.await.unwrap().status().as_u16(), 200);
        // GOAWAY, and a close that says so.
        client.running.await.unwrap().unwrap();
    });
    assert_eq!(server.wait(), 0, "{}", server.log());
}

#[test]
fn prior_knowledge_is_for_trusted_peers_and_then_demanded() {
    let server = Setup::new(WSGI)
        .args(&[
            "--http-protocols",
            "h2",
            "--http2-cleartext",
            "prior-knowledge",
        ])
        .start();
    assert_eq!(server.get("/").status, 400);
    run(async {
        let mut client = Client::in_the_clear(&server).await;
        let (status, told) = client.get("/").await;
        assert_eq!(status, 200);
        // A trusted proxy tells the scheme.
        assert!(told.contains(r#""wsgi.url_scheme": "https""#), "{told}");
    });
    let port = testkit::FreePort::find().unwrap();
    let server = Setup::new(WSGI)
        .args(&[
            "--http-protocols",
            "h1,h2",
            "--http2-cleartext",
            "prior-knowledge",
        ])
        .args(&[
            "--forwarded-allow-ips",
            "192.0.2.1",
            "-b",
            &port.address().to_string(),
        ])
        .start();
    let answer = support::get_from(&testkit::Address::Tcp(port.address()), "/").unwrap();
    assert!(answer.text().contains("HTTP/1.1"), "{}", answer.text());
    assert!(!server.log().contains("will never be spoken"));
    let server = Setup::new(WSGI)
        .args(&["--http-protocols", "h2,h1"])
        .start();
    assert!(
        server.log().contains("HTTP/2 will never be spoken"),
        "{}",
        server.log()
    );
}

/// What curl says of a request in the clear, and the version that it got the answer by.
fn curl(address: &str, arguments: &[&str]) -> String {
    let curl = Command::new("curl")
        .args(["-s", "-w", " %{http_version} %{response_code}"])
        .args(arguments)
        .arg(format!("http://{address}/echo"))
        .output()
        .expect("curl is installed");
    String::from_utf8_lossy(&curl.stdout).into_owned()
}

#[test]
fn an_upgrade_in_the_clear_is_for_trusted_peers_and_where_it_is_allowed() {
    let (upgrade, known) = ("--http2", "--http2-prior-knowledge");
    let refused = "";
    for (mode, peers, asked) in [
        (
            "upgrade",
            "127.0.0.1",
            &[(upgrade, "content 2 200"), (known, refused)][..],
        ),
        (
            "both",
            "127.0.0.1",
            &[
                (upgrade, "content 2 200"),
                (known, "content 2 200"),
                ("--http1.1", "content 1.1 200"),
            ],
        ),
        (
            "both",
            "192.0.2.1",
            &[(upgrade, "content 1.1 200"), (known, refused)],
        ),
    ] {
        let port = testkit::FreePort::find().unwrap();
        let address = port.address().to_string();
        let mut server = Setup::new(WSGI)
            .args(&["--http-protocols", "h1,h2", "--http2-cleartext", mode])
            .args(&["--forwarded-allow-ips", peers, "-b", &address])
            .start();
        for (how, told) in asked {
            let answer = curl(&address, &[how, "-d", "content"]);
            let matches = match *told {
                "" => !answer.contains("200"),
                told => answer.ends_with(told),
            };
            assert!(matches, "{mode} {peers} {how}: {answer}");
        }
        assert_eq!(server.stop(), 0, "{}", server.log());
    }
}

/// What is sent to a fresh connection behind its preface, and the kind, flags and content of what comes until `last` does.
fn frames(server: &Server, sent: &[u8], last: impl Fn(u8, &[u8]) -> bool) -> Vec<(u8, Vec<u8>)> {
    use std::io::{Read, Write};
    let mut stream =
        std::os::unix::net::UnixStream::connect(server.prefix.join("app.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    // It may be refused before all of it is there.
    let _ = stream.write_all(sent);
    let mut seen: Vec<(u8, Vec<u8>)> = Vec::new();
    loop {
        let mut head = [0; 9];
        stream
            .read_exact(&mut head)
            .unwrap_or_else(|error| panic!("{error} after {seen:?}"));
        let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut content).unwrap();
        let done = last(head[3], &content);
        seen.push((head[3], content));
        if done {
            return seen;
        }
    }
}

fn frame_of(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let mut frame = (content.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(content);
    frame
}

#[test]
fn its_numbers_are_told_to_clients_and_kept() {
    const GOAWAY: u8 = 7;
    const RST_STREAM: u8 = 3;
    let server = Setup::new(WSGI)
        .args(&["--http-protocols", "h2", "--threads", "4"])
        .args(&["--http2-cleartext", "prior-knowledge"])
        .args(&["--http2-max-concurrent-streams", "2"])
        .args(&["--http2-initial-window-size", "70000"])
        .args(&["--http2-max-frame-size", "20000"])
        .args(&["--http2-max-header-list-size", "3000"])
        .start();
    let is_goaway = |kind, _: &[u8]| kind == GOAWAY;
    let post = |stream| frame_of(1, 4, stream, &[0x83, 0x86, 0x84, 0x41, 1, b'a']);

    // A frame of 20,000 bytes is taken, one byte more is FRAME_SIZE_ERROR.
    let mut sent = post(1);
    sent.extend(frame_of(0, 0, 1, &[0; 20_000]));
    sent.extend(frame_of(0, 0, 1, &[0; 20_001]));
    let seen = frames(&server, &sent, is_goaway);
    let told: Vec<(u16, u32)> = (seen[0].1.chunks(6))
        .map(|one| {
            let number = u32::from_be_bytes(one[2..].try_into().unwrap());
            (u16::from_be_bytes([one[0], one[1]]), number)
        })
        .collect();
    assert_eq!(seen[0].0, 4, "SETTINGS");
    for setting in [(3, 2), (4, 70_000), (5, 20_000), (6, 3000)] {
        assert!(told.contains(&setting), "{setting:?} in {told:?}");
    }
    assert_eq!(seen.last().unwrap().1[4..8], 6_u32.to_be_bytes());

    // Two requests that wait for their content, and one that is REFUSED_STREAM.
    let sent = [post(1), post(3), post(5)].concat();
    let seen = frames(&server, &sent, |kind, _| kind == RST_STREAM);
    assert_eq!(seen.last().unwrap().1, 7_u32.to_be_bytes());

    run(async {
        let mut client = Client::in_the_clear(&server).await;
        let mut asked = request("GET", "/");
        for (length, status) in [(2000, 200), (3000, 431)] {
            let value = "x".repeat(length).parse().unwrap();
            asked.headers_mut().insert("x-long", value);
            let (answer, _) = client.ask(asked.clone(), true).await;
            assert_eq!(answer.await.unwrap().status().as_u16(), status);
        }
    });
    let server = Setup::new(WSGI)
        .args(&["--http-protocols", "h2", "--http2-cleartext"])
        .args(&["--http2-max-header-list-size", "0"])
        .args(&["--limit-request-field_size", "0"])
        .start();
    run(async {
        let mut client = Client::in_the_clear(&server).await;
        let mut asked = request("GET", "/");
        let value = "x".repeat(200_000).parse().unwrap();
        asked.headers_mut().insert("x-long", value);
        let (answer, _) = client.ask(asked, true).await;
        assert_eq!(answer.await.unwrap().status().as_u16(), 200);
    });
}

#[test]
fn numbers_out_of_range_are_told() {
    for (flag, value, words) in [
        (
            "--http2-max-concurrent-streams",
            "0",
            "a number from 1 to 2147483647",
        ),
        (
            "--http2-initial-window-size",
            "2147483648",
            "a number from 0 to 2147483647",
        ),
        (
            "--http2-max-frame-size",
            "1000",
            "a number from 16384 to 16777215",
        ),
        ("--http-protocols", "h1,h1", "'h1' is there twice"),
    ] {
        let (code, _, told) = Setup::new(WSGI).args(&[flag, value]).run();
        assert_eq!(code, 1, "{told}");
        let name = flag.trim_start_matches('-').replace('-', "_");
        assert!(told.contains(words) && told.contains(&name), "{told}");
    }
}

#[test]
fn an_asgi_application_hears_http_2_and_its_clients_leave() {
    let authority = Authority::new();
    let mut server = Setup::new(ASGI)
        .with_tls(&authority.signs("shop.test"))
        .args(&[
            "-k",
            "asgi",
            "--http-protocols",
            "h2,h1",
            "--keep-alive",
            "30",
        ])
        .start();
    run(async {
        let mut client = Client::encrypted(&server, &authority).await;
        let (answer, mut out) = client.ask(request("PUT", "/a"), false).await;
        send_all(&mut out, Bytes::from(vec![b'x'; 500_000])).await;
        let mut content = answer.await.unwrap().into_body();
        let told = content.data().await.unwrap().unwrap();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(
            told.starts_with(r#"["2", "https", "PUT", "/a", 500000,"#),
            "{told}"
        );
        assert!(content.data().await.is_none());
        assert_eq!(content.trailers().await.unwrap().unwrap()["x-sum"], "7");
        let (answer, mut out) = client.ask(request("GET", "/wait"), false).await;
        out.send_data(Bytes::new(), true).unwrap();
        said(&server, "waits").await;
        out.send_reset(h2::Reason::CANCEL);
        drop(answer);
        said(&server, "told http.disconnect").await;
    });
    assert_eq!(server.stop(), 0, "{}", server.log());
}

/// Waits until the application has said this; the client's connection goes on meanwhile.
async fn said(server: &Server, words: &str) {
    let seen = async {
        while !server.read("stdout.log").contains(words) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(support::PATIENCE, seen).await;
    assert!(waited.is_ok(), "the application never said {words:?}");
}

/// A masked text frame.
fn text_frame(text: &str) -> Bytes {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 1, 2, 3, 4];
    frame.extend(
        text.bytes()
            .enumerate()
            .map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]),
    );
    frame.into()
}

/// The next frame of the server's: its first byte and its content.
async fn frame(content: &mut RecvStream, held: &mut Vec<u8>) -> (u8, Vec<u8>) {
    loop {
        if held.len() >= 2 && held.len() >= 2 + usize::from(held[1]) {
            let length = usize::from(held[1]);
            let frame = (held[0], held[2..2 + length].to_vec());
            held.drain(..2 + length);
            return frame;
        }
        let bytes = content.data().await.unwrap().unwrap();
        content
            .flow_control()
            .release_capacity(bytes.len())
            .unwrap();
        held.extend_from_slice(&bytes);
    }
}

#[test]
fn requests_that_keep_an_event_loop_busy_are_all_answered() {
    let authority = Authority::new();
    let pair = authority.signs("shop.test");
    let server = Setup::new(ASGI)
        .with_tls(&pair)
        .args(&["-k", "asgi", "--http-protocols", "h2"])
        .start();
    run(async {
        let mut client = Client::encrypted(&server, &authority).await;
        let mut answers = Vec::new();
        for _ in 0..40 {
            answers.push(client.ask(request("GET", "/busy"), true).await.0);
        }
        for answer in answers {
            let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap();
            assert_eq!(answer.unwrap().status().as_u16(), 200);
        }
    });
}

#[test]
fn websockets_have_a_stream_each() {
    let authority = Authority::new();
    let pair = authority.signs("shop.test");
    let asgi = Setup::new(ASGI).with_tls(&pair).args(&["-k", "asgi"]);
    let both = Setup::new(WSGI)
        .with_tls(&pair)
        .file("chat.py", ASGI)
        .args(&["--asgi", "chat:application"]);
    for setup in [asgi, both] {
        let mut server = setup
            .args(&["--http-protocols", "h2", "--keep-alive", "30"])
            .start();
        run(async {
            let mut client = Client::encrypted(&server, &authority).await;
            client.get("/").await;
            assert!(client.requests.is_extended_connect_protocol_enabled());
            let mut asked = request("CONNECT", "/ws/chat");
            asked
                .extensions_mut()
                .insert(h2::ext::Protocol::from_static("websocket"));
            asked
                .headers_mut()
                .insert("sec-websocket-version", 13.into());
            asked
                .headers_mut()
                .insert("sec-websocket-protocol", "chat".parse().unwrap());
            let (answer, mut out) = client.ask(asked, false).await;
            let answer = answer.await.unwrap();
            assert_eq!(answer.status().as_u16(), 200);
            assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
            assert!(!answer.headers().contains_key("sec-websocket-accept"));
            let (mut content, mut held) = (answer.into_body(), Vec::new());
            let first = frame(&mut content, &mut held).await;
            assert_eq!(
                String::from_utf8_lossy(&first.1),
                r#"["2", "wss", "/ws/chat", "shop.test", null]"#
            );
            out.send_data(text_frame("hello"), false).unwrap();
            assert_eq!(
                frame(&mut content, &mut held).await,
                (0x81, b"HELLO".to_vec())
            );
            // Pages besides.
            assert_eq!(client.get("/").await.0, 200);
            out.send_data(Bytes::from_static(&[0x88, 0x82, 0, 0, 0, 0, 3, 232]), false)
                .unwrap();
            assert_eq!(frame(&mut content, &mut held).await, (0x88, vec![3, 232]));
        });
        server.until("the application hears of it", || {
            server
                .read("stdout.log")
                .contains("websocket left 1000")
                .then_some(())
        });
        assert_eq!(server.stop(), 0, "{}", server.log());
    }
}

#[test]
fn a_handshake_of_another_version_is_refused() {
    let authority = Authority::new();
    let server = Setup::new(ASGI)
        .with_tls(&authority.signs("shop.test"))
        .args(&["-k", "asgi", "--http-protocols", "h2"])
        .start();
    run(async {
        let mut client = Client::encrypted(&server, &authority).await;
        client.get("/").await;
        let mut asked = request("CONNECT", "/");
        asked
            .extensions_mut()
            .insert(h2::ext::Protocol::from_static("websocket"));
        let (answer, _out) = client.ask(asked, false).await;
        let answer = answer.await.unwrap();
        assert_eq!(answer.status().as_u16(), 426);
        assert_eq!(answer.headers()["sec-websocket-version"], "13");
    });
}
