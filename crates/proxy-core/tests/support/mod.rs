//! A service made of a closure, and a client that writes and reads raw bytes.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::future::Future;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;
use http_wire::Known;
use http_wire::head::RequestHead;
use proxy_core::body::Body;
use proxy_core::server::{
    Address, Connection, Drain, Limits, Refusal, Request, Response, Sent, Service, Socket,
    serve_connection,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

pub type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;
type Handler = Box<dyn Fn(Request) -> Answering + Send + Sync>;

/// Answers with a closure; notes what was sent and what was refused.
pub struct Scripted {
    handler: Handler,
    limits: Arc<Limits>,
    pub sent: Mutex<Vec<String>>,
    pub refused: Mutex<Vec<String>>,
}

impl Scripted {
    pub fn new<F, A>(limits: Limits, handler: F) -> Arc<Self>
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let handler: Handler = Box::new(move |request| Box::pin(handler(request)));
        Arc::new(Self {
            handler,
            limits: Arc::new(limits),
            sent: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    pub fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }

    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap().clone()
    }
}

impl Service for Scripted {
    type Record = String;

    fn limits(&self, _connection: &Connection) -> Arc<Limits> {
        self.limits.clone()
    }

    async fn serve(&self, request: Request) -> (Response, String) {
        let name = String::from_utf8_lossy(request.head.target.as_bytes()).into_owned();
        ((self.handler)(request).await, name)
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        _head: &RequestHead,
        _connection: &Arc<Connection>,
    ) -> Option<(Response, String)> {
        self.refused.lock().unwrap().push(refusal.to_string());
        Some((
            text(refusal.status(), refusal.to_string()),
            "refused".into(),
        ))
    }

    fn sent(&self, record: String, sent: &Sent) {
        let Sent {
            bytes,
            body_bytes,
            request_bytes,
            outcome,
        } = sent;
        assert!(body_bytes <= bytes && *request_bytes > 0);
        self.sent
            .lock()
            .unwrap()
            .push(format!("{record} {body_bytes} {outcome:?}"));
    }
}

/// A response with this text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response {
    let mut response = Response::new(status);
    response.body = text.into().into();
    response
}

/// A response with this body.
pub fn with_body(body: impl Into<Body>) -> Response {
    let mut response = Response::new(StatusCode::OK);
    response.body = body.into();
    response
}

/// A response that repeats method, target and content of its request.
pub async fn echo(mut request: Request) -> Response {
    let mut seen = format!("{} ", request.head.method).into_bytes();
    seen.extend_from_slice(request.head.target.as_bytes());
    while let Some(chunk) = request.content.chunk().await.expect("content") {
        seen.push(b' ');
        seen.extend_from_slice(&chunk);
    }
    with_body(seen)
}

/// The content of a request, all of it.
pub async fn content(request: &mut Request) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = request.content.chunk().await.expect("content") {
        all.extend_from_slice(&chunk);
    }
    all
}

/// Limits that no test waits for, with a short time for what is waited for.
pub fn limits() -> Limits {
    Limits {
        drain_timeout: Duration::from_millis(100),
        ..Limits::default()
    }
}

/// The client's end of a connection to a service.
pub struct Client {
    pub stream: UnixStream,
    pub task: JoinHandle<()>,
    pub drain: Drain,
}

impl Client {
    pub fn connect<S: Service>(service: &Arc<S>) -> Self {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let drain = Drain::new();
        let connection = Arc::new(Connection::new(
            Address::Unix(None),
            Address::Unix(None),
            false,
        ));
        let socket = Socket::new(theirs.into()).unwrap();
        let task = tokio::spawn(serve_connection(
            socket,
            connection,
            service.clone(),
            &drain,
        ));
        Self {
            stream: UnixStream::from_std(ours).unwrap(),
            task,
            drain,
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One response: its head as text and its content. Knows the request's method, as a client does.
    pub async fn response_to(&mut self, method: &str) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&head));
            }));
        }
        let head = String::from_utf8(head).unwrap();
        let status: u16 = head[9..12].parse().unwrap();
        let content = if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            Vec::new()
        } else if let Some(length) = field(&head, "Content-Length") {
            let mut content = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut content).await.unwrap();
            content
        } else if field(&head, "Transfer-Encoding").is_some() {
            self.chunks().await
        } else {
            let mut content = Vec::new();
            self.stream.read_to_end(&mut content).await.unwrap();
            content
        };
        (head, content)
    }

    pub async fn response(&mut self) -> (String, String) {
        let (head, content) = self.response_to("GET").await;
        (head, String::from_utf8(content).unwrap())
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line().await, 16).unwrap();
            if size == 0 {
                while !self.line().await.is_empty() {}
                return content;
            }
            let start = content.len();
            content.resize(start + size, 0);
            self.stream.read_exact(&mut content[start..]).await.unwrap();
            assert_eq!(self.line().await, "");
        }
    }

    pub async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.stream.read_u8().await.unwrap());
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        rest
    }

    /// Everything up to the end of the connection, as text.
    pub async fn rest_text(&mut self) -> String {
        String::from_utf8(self.rest().await).unwrap()
    }
}

/// The value of a field in a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (this, value) = line.split_once(": ")?;
        this.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Appends a field that is known to be valid.
pub fn add(response: &mut Response, name: Known, value: &str) {
    response.fields.append(name, value).unwrap();
}

/// Lets other tasks run until `condition` holds.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}
