//! HTTP/2: over TLS and in the clear, for applications of both kinds, and WebSockets over it.

#[path = "../support/mod.rs"]
mod support;

mod asgi;
mod clear;
mod numbers;

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
