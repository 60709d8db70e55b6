//! Connections that are encrypted, and what is chosen inside of them.

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use proxy_core::server::http2::Settings;
use proxy_core::server::tls::Tls;
use proxy_core::server::{
    Address, Connection, Drain, Limits, PriorKnowledge, Protocols, Refusal, Request, Response,
    Sent, Service, Socket, Trouble,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use support::{Scripted, content, limits, text, with_body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A service that notes what went wrong before it was asked.
struct Noting {
    inner: Arc<Scripted>,
    troubles: std::sync::Mutex<Vec<Trouble>>,
}

impl Service for Noting {
    type Record = String;

    fn limits(&self, connection: &Connection) -> Arc<Limits> {
        self.inner.limits(connection)
    }

    fn serve(&self, request: Request) -> impl Future<Output = (Response, String)> + Send {
        self.inner.serve(request)
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        head: &http_wire::head::RequestHead,
        connection: &Arc<Connection>,
    ) -> Option<(Response, String)> {
        self.inner.refuse(refusal, head, connection)
    }

    fn sent(&self, record: String, sent: &Sent) {
        Service::sent(&*self.inner, record, sent);
    }

    fn trouble(&self, _connection: &Connection, trouble: &Trouble) {
        self.troubles.lock().unwrap().push(trouble.clone());
    }
}

struct World {
    service: Arc<Noting>,
    protocols: Protocols,
    certificate: CertificateDer<'static>,
}

impl World {
    fn new(offered: &[&str], limits: Limits) -> Self {
        let made = rcgen::generate_simple_self_signed(["shop.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let certificate = made.cert.der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = names(offered);
        let inner = Scripted::new(limits, |mut request: Request| async move {
            if request.head.target.path() == b"/big" {
                return with_body(vec![b'x'; 3 << 20]);
            }
            let length = content(&mut request).await.len();
            let (version, tls) = (request.head.version, request.connection.tls);
            text(StatusCode::OK, format!("{version} {tls} {length}"))
        });
        Self {
            service: Arc::new(Noting {
                inner,
                troubles: std::sync::Mutex::default(),
            }),
            protocols: Protocols {
                tls: Some(Tls::new(Arc::new(config))),
                http2: Some(Arc::new(Settings::default())),
                ..Protocols::default()
            },
            certificate,
        }
    }

    fn connect(&self) -> (UnixStream, JoinHandle<()>, Drain) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let unix = Address::Unix(None);
        let connection = Connection::new(unix.clone(), unix, self.protocols.tls.is_some());
        let drain = Drain::new();
        let served = self.protocols.serve(
            Socket::new(theirs.into()).unwrap(),
            Arc::new(connection),
            self.service.clone(),
            &drain,
        );
        (
            UnixStream::from_std(ours).unwrap(),
            tokio::spawn(served),
            drain,
        )
    }

    async fn encrypted(&self, wished: &[&str]) -> (TlsStream<UnixStream>, JoinHandle<()>, Drain) {
        let (stream, task, drain) = self.connect();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = names(wished);
        let name = ServerName::try_from("shop.test").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        (stream, task, drain)
    }

    fn troubles(&self) -> Vec<Trouble> {
        self.service.troubles.lock().unwrap().clone()
    }
}

fn names(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect()
}

async fn over_http1(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn what_is_agreed_on_is_spoken() {
    let world = World::new(&["h2", "http/1.1"], limits());
    for wished in [&[][..], &["http/1.1"], &["spdy/3", "http/1.1"]] {
        let (mut stream, task, _) = world.encrypted(wished).await;
        assert!(
            over_http1(&mut stream).await.ends_with("HTTP/1.1 true 0"),
            "{wished:?}"
        );
        task.await.unwrap();
    }
    let (stream, task, _) = world.encrypted(&["http/1.1", "h2"]).await;
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    let running = tokio::spawn(connection);
    let asked = http::Request::get("https://shop.test/").body(()).unwrap();
    let (answer, _) = requests.send_request(asked, true).unwrap();
    let mut content = answer.await.unwrap().into_body();
    assert_eq!(content.data().await.unwrap().unwrap(), "HTTP/2.0 true 0");
    drop((requests, content));
    running.await.unwrap().unwrap();
    task.await.unwrap();
    assert_eq!(world.troubles(), []);
}

#[tokio::test]
async fn large_content_goes_both_ways_and_idle_connections_are_kept() {
    let world = World::new(&[], limits());
    let (mut stream, _, _) = world.encrypted(&[]).await;
    for _ in 0..2 {
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
            .await
            .unwrap();
        stream.write_all(&vec![b'y'; 2_000_000]).await.unwrap();
        let head = head_of(&mut stream).await;
        assert!(head.contains("Content-Length: 21\r\n"), "{head}");
        let mut told = [0; 21];
        stream.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"HTTP/1.1 true 2000000");
        stream
            .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let head = head_of(&mut stream).await;
        assert!(head.contains("Content-Length: 3145728\r\n"), "{head}");
        let mut big = vec![0; 3 << 20];
        stream.read_exact(&mut big).await.unwrap();
        assert!(big.iter().all(|byte| *byte == b'x'));
    }
}

async fn head_of(stream: &mut TlsStream<UnixStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_left_in_time() {
    let world = World::new(
        &[],
        Limits {
            send_timeout: Duration::from_millis(60),
            ..limits()
        },
    );
    let (mut stream, task, _) = world.encrypted(&[]).await;
    stream
        .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    task.await.unwrap();
    assert_eq!(world.service.inner.sent().len(), 1);
    assert!(
        world.service.inner.sent()[0].ends_with("SendTimeout"),
        "{:?}",
        world.service.inner.sent()
    );
}

#[tokio::test]
async fn handshakes_that_fail_are_told_and_end() {
    let world = World::new(&[], limits());
    for (sent, words, silent) in [
        (
            &b""[..],
            "closed the connection during the TLS handshake",
            true,
        ),
        (b"\x16\x03\x01\xff\xffhi", "TLS handshake: ", false),
        (b"GET / HTTP/1.1\r\n\r\n", "plain HTTP request", false),
    ] {
        let (mut stream, task, _) = world.connect();
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        task.await.unwrap();
        let trouble = world.troubles().pop().unwrap();
        assert!(trouble.words.contains(words), "{trouble:?}");
        assert_eq!(trouble.silent, silent, "{trouble:?}");
        assert_eq!(
            answer.starts_with(b"HTTP/1.1 400 "),
            sent.starts_with(b"GET")
        );
    }
    let impatient = Limits {
        head_timeout: Duration::from_millis(60),
        ..limits()
    };
    let world = World::new(&[], impatient);
    let (_stream, task, _) = world.connect();
    task.await.unwrap();
    let trouble = world.troubles().pop().unwrap();
    assert_eq!(trouble.words, "no TLS handshake within 60 ms");
}

#[tokio::test]
async fn a_connection_that_rests_is_no_larger_for_how_it_began() {
    let world = World::new(&["h2", "http/1.1"], limits());
    let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let unix = Address::Unix(None);
    let served = world.protocols.serve(
        Socket::new(theirs.into()).unwrap(),
        Arc::new(Connection::new(unix.clone(), unix, true)),
        world.service.clone(),
        &Drain::new(),
    );
    let bytes = size_of_val(&served);
    assert!(bytes <= 1024, "{bytes} bytes");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_handshakes() {
    let world = World::new(&[], limits());
    let (_stream, task, drain) = world.connect();
    drain.start();
    task.await.unwrap();
}

#[tokio::test]
async fn a_close_says_so_and_a_break_does_not() {
    let world = World::new(&[], limits());
    let (mut stream, _, _) = world.encrypted(&[]).await;
    // rustls takes an end without close_notify for an error.
    assert!(over_http1(&mut stream).await.contains("200 OK"));
    let (mut stream, task, drain) = world.encrypted(&[]).await;
    drain.start();
    assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
    task.await.unwrap();
}

#[tokio::test]
async fn http_2_in_the_clear_is_for_those_who_may() {
    let mut world = World::new(&[], limits());
    world.protocols.tls = None;
    for (mode, http1, http2) in [
        (PriorKnowledge::Refused, "200 OK", false),
        (PriorKnowledge::Taken, "200 OK", true),
        (PriorKnowledge::Demanded, "400 Bad Request", true),
    ] {
        world.protocols.prior_knowledge = mode;
        let (mut stream, _, _) = world.connect();
        let answer = over_http1(&mut stream).await;
        assert!(answer.contains(http1), "{mode:?}: {answer}");
        let (stream, _, _) = world.connect();
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let asked = http::Request::get("http://shop.test/").body(()).unwrap();
        let (answer, _) = requests.send_request(asked, true).unwrap();
        assert_eq!(
            answer
                .await
                .is_ok_and(|answer| answer.status() == StatusCode::OK),
            http2,
            "{mode:?}"
        );
    }
    // The preface may come in pieces.
    let (mut stream, _, _) = world.connect();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut settings = [0; 9];
    stream.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3], 4, "SETTINGS");
}
