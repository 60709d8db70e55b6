//! Time of a connection over a socket pair: one request at a time, many at once, and relayed to an origin server.
//!
//! Client, connection and origin server share one thread, so the figures hold both ends' system calls; they are for comparing
//! one state of this crate with another, not with other servers.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::StatusCode;
use http_wire::Known;
use http_wire::head::RequestHead;
use proxy_core::client::{Outgoing, Pool, PoolSettings, Settings, Upload};
use proxy_core::server::{
    Address, Connection, Drain, Limits, Listener, Refusal, Request, Response, Sent, Service,
    Socket, serve_connection,
};

const REQUEST: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
const AT_ONCE: usize = 16;

/// Answers with 1 KiB, of its own or of an origin server's.
struct Answering {
    text: Bytes,
    origin: Option<(Pool, Address)>,
    settings: Settings,
    limits: Arc<Limits>,
}

impl Answering {
    fn new(origin: Option<Address>) -> Arc<Self> {
        let unlimited = PoolSettings {
            requests_max: u64::MAX,
            ..PoolSettings::default()
        };
        Arc::new(Self {
            text: Bytes::from("x".repeat(1024)),
            origin: origin.map(|address| (Pool::new(unlimited), address)),
            settings: Settings::default(),
            limits: Arc::new(Limits {
                keep_alive_requests: u64::MAX,
                ..Limits::default()
            }),
        })
    }
}

impl Service for Answering {
    type Record = ();

    fn limits(&self, _connection: &Connection) -> Arc<Limits> {
        self.limits.clone()
    }

    async fn serve(&self, request: Request) -> (Response, ()) {
        let mut response = Response::new(StatusCode::OK);
        match &self.origin {
            None => {
                response
                    .fields
                    .append(Known::ContentType, "text/plain")
                    .expect("a valid field");
                response.body = self.text.clone().into();
            }
            Some((pool, address)) => {
                let outgoing = Outgoing {
                    head: &request.head,
                    interim: None,
                };
                let answer = pool
                    .exchange(address, outgoing, &mut Upload::Empty, &self.settings)
                    .await;
                let answer = answer.expect("an answer");
                response.fields = answer.head.fields;
                response.body = answer.body;
            }
        }
        (response, ())
    }

    fn refuse(&self, _: &Refusal, _: &RequestHead, _: &Arc<Connection>) -> Option<(Response, ())> {
        None
    }

    fn sent(&self, (): (), _: &Sent) {}
}

/// A connection and the client's end of it.
fn connected(service: &Arc<Answering>) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    let connection = Arc::new(Connection::new(
        Address::Unix(None),
        Address::Unix(None),
        false,
    ));
    let socket = Socket::new(theirs.into()).expect("a socket");
    tokio::spawn(serve_connection(
        socket,
        connection,
        service.clone(),
        &Drain::new(),
    ));
    ours.set_nonblocking(true).expect("a socket");
    ours
}

/// Sends requests and lets the runtime work until all responses have come.
async fn exchange(
    client: &mut UnixStream,
    requests: &[u8],
    response_bytes: usize,
    buffer: &mut [u8],
) {
    client.write_all(requests).expect("a written request");
    let mut left = response_bytes;
    while left > 0 {
        tokio::task::yield_now().await;
        match client.read(buffer) {
            Ok(read) => left -= read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
    black_box(buffer);
}

fn bench(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("origin.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a listening socket");
    runtime.spawn(async move {
        let listener = Listener::new(listener).expect("a listener");
        listener.serve(Answering::new(None), &Drain::new()).await
    });
    let relay = Answering::new(Some(Address::Unix(Some(path.as_path().into()))));
    let own = Answering::new(None);
    let mut buffer = vec![0; 1 << 16];
    let mut group = c.benchmark_group("connection");
    for (name, service, at_once) in [
        ("one at a time", &own, 1),
        ("16 at once", &own, AT_ONCE),
        ("relayed", &relay, 1),
    ] {
        let mut client = runtime.block_on(async { connected(service) });
        let response_bytes = runtime.block_on(measure(&mut client));
        let requests = REQUEST.repeat(at_once);
        group.throughput(Throughput::Elements(at_once as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime.block_on(exchange(
                    &mut client,
                    &requests,
                    response_bytes * at_once,
                    &mut buffer,
                ));
            });
        });
    }
    group.finish();
}

/// The length of one response.
async fn measure(client: &mut UnixStream) -> usize {
    client.write_all(REQUEST).expect("a written request");
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        tokio::task::yield_now().await;
        if let Ok(read) = client.read(&mut buffer) {
            all.extend_from_slice(&buffer[..read]);
        }
        if let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n")
            && all.len() == end + 4 + 1024
        {
            return all.len();
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
