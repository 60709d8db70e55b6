//! A connection of HTTP/2 as its client sees it.

#[path = "../support/mod.rs"]
mod support;

mod fairness;
mod floods;
mod lifetime;
mod requests;
mod upgrades;
mod websockets;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::StatusCode;
use http_wire::Known;
use proxy_core::body::{Body, BodyError};
use proxy_core::server::http2::{Settings, serve_http2};
use proxy_core::server::{Address, Connection, Drain, Limits, Request, Response, Service, Socket};
use support::{Scripted, content, echo, limits, text, with_body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// A server's connection, and the other end of it.
struct Line {
    stream: UnixStream,
    task: JoinHandle<()>,
    drain: Drain,
}

impl Line {
    fn open<S: Service>(service: &Arc<S>, settings: &Settings) -> Self {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let drain = Drain::new();
        let unix = Address::Unix(None);
        let connection = Arc::new(Connection::new(unix.clone(), unix, false));
        let socket = Socket::new(theirs.into()).unwrap();
        let task = tokio::spawn(serve_http2(
            socket,
            connection,
            service.clone(),
            &drain,
            settings,
        ));
        Self {
            stream: UnixStream::from_std(ours).unwrap(),
            task,
            drain,
        }
    }

    /// A client that keeps the protocol.
    async fn client(self) -> Client {
        self.client_with(&mut h2::client::Builder::new()).await
    }

    async fn client_with(self, builder: &mut h2::client::Builder) -> Client {
        let (requests, connection) = builder.handshake(self.stream).await.unwrap();
        let running =
            tokio::spawn(async move { connection.await.map_err(|error| error.to_string()) });
        Client {
            requests,
            running,
            task: self.task,
            drain: self.drain,
        }
    }
}

struct Client {
    requests: SendRequest<Bytes>,
    running: JoinHandle<Result<(), String>>,
    task: JoinHandle<()>,
    drain: Drain,
}

impl Client {
    fn new<S: Service>(service: &Arc<S>) -> impl Future<Output = Self> {
        Line::open(service, &Settings::default()).client()
    }

    async fn ask(
        &mut self,
        request: http::Request<()>,
        ends: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        poll_fn(|cx| self.requests.poll_ready(cx)).await.unwrap();
        self.requests.send_request(request, ends).unwrap()
    }

    /// A request without content, and the whole answer.
    async fn get(&mut self, target: &str) -> (StatusCode, String) {
        let (answer, _) = self.ask(request("GET", target), true).await;
        let answer = answer.await.unwrap();
        (answer.status(), all_of(answer.into_body()).await.unwrap())
    }
}

fn request(method: &str, target: &str) -> http::Request<()> {
    http::Request::builder()
        .method(method)
        .uri(format!("https://shop.test{target}"))
        .body(())
        .unwrap()
}

/// All of the content, or why it broke off.
async fn all_of(mut content: RecvStream) -> Result<String, h2::Error> {
    let mut all = Vec::new();
    while let Some(bytes) = content.data().await {
        let bytes = bytes?;
        content.flow_control().release_capacity(bytes.len())?;
        all.extend_from_slice(&bytes);
    }
    Ok(String::from_utf8(all).unwrap())
}

/// Content whose pieces come through a channel.
struct Pieces(mpsc::Receiver<Result<Bytes, BodyError>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| piece.map(http_body::Frame::data)))
    }
}

async fn hello(_request: Request) -> Response {
    text(StatusCode::OK, "hello")
}

/// Waits until the list has an entry for which `found` holds.
async fn noted(list: impl Fn() -> Vec<String>, found: impl Fn(&str) -> bool) -> String {
    let seen = async {
        loop {
            if let Some(entry) = list().into_iter().find(|entry| found(entry)) {
                return entry;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), seen).await;
    waited.unwrap_or_else(|_| panic!("not among {:?}", list()))
}
