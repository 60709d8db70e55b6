//! A server of the test's own: an application in Python source, on an asyncio loop in a thread of its own.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../../../wsgi-bridge/tests/common/client.rs"]
mod client;
#[path = "../../../wsgi-bridge/tests/common/running.rs"]
mod running;

use std::ffi::CString;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use asgi_bridge::{AsgiService, Lifespan, Reactor, Settings, close_loop, new_loop, step_aside};
pub use client::{Answer, Client};
use proxy_core::server::{Accepted, Connection, Drain, Listener, serve_connection};
use pyo3::prelude::*;
use pyo3::types::PyDict;
pub use running::{Running, Watched};
use tokio::sync::oneshot;
use wsgi_bridge::{Facts, Finished, Hooks, Level};

/// What every application of these tests begins with. `told` is what the test asks for with [`Server::told`].
const PRELUDE: &str = "
import asyncio

async def start(send, status=200, headers=(), **more):
    await send({'type': 'http.response.start', 'status': status, 'headers': headers, **more})

async def body(send, content=b'', more=False):
    await send({'type': 'http.response.body', 'body': content, 'more_body': more})

async def answer(send, content):
    await start(send)
    await body(send, content if isinstance(content, bytes) else repr(content).encode())
";

/// So many requests one after the other are as many turns of the loop, and more.
const TURNS: usize = 5;

/// A running server; ends when dropped.
pub struct Server {
    running: Running,
    pub seen: Arc<Seen>,
}

impl Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// What the service and the application told.
#[derive(Default)]
pub struct Seen {
    pub log: Watched<Vec<String>>,
    pub finished: Watched<Vec<(u16, u64, String)>>,
    pub told: Watched<Vec<String>>,
}

/// `told` of the application: a list that the test waits for.
#[pyclass(frozen)]
pub struct Told(pub Arc<Seen>);

#[pymethods]
impl Told {
    fn append(&self, item: &Bound<'_, PyAny>) {
        let text = item.to_string();
        self.0.told.change(|told| told.push(text));
    }
}

impl Seen {
    /// Waits until so many requests are over, and tells of them.
    pub fn await_finished(&self, count: usize) -> Vec<(u16, u64, String)> {
        self.finished.wait(|finished| finished.len() >= count)
    }
}

impl Hooks for Seen {
    fn log(&self, level: Level, message: &str) {
        let line = format!("{} {message}", level.as_str());
        self.log.change(|log| log.push(line));
    }

    fn began(&self, _slot: usize, _facts: &Facts) {}

    fn finished(&self, finished: &Finished<'_>) {
        let outcome = format!("{:?}", finished.sent.outcome);
        let outcome = outcome.split(['(', ' ', '{']).next().unwrap_or_default();
        let status = finished.status.as_u16();
        let line = (status, finished.content_bytes, outcome.to_owned());
        self.finished.change(|finished| finished.push(line));
    }
}

impl Server {
    /// Serves `app` of this Python source.
    pub fn start(source: &str) -> Self {
        Self::with(source, Settings::default())
    }

    pub fn with(source: &str, settings: Settings) -> Self {
        Python::initialize();
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("has an address");
        let seen = Arc::new(Seen::default());
        let hooks = seen.clone();
        let source = CString::new([PRELUDE, source].concat()).expect("has no NUL");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            Python::attach(|py| {
                let scope = PyDict::new(py);
                let told = Py::new(py, Told(hooks.clone())).expect("is made");
                scope.set_item("told", told).expect("sets");
                py.run(&source, Some(&scope), None)
                    .expect("the application's source runs");
                let get = |name| scope.get_item(name).expect("looks").expect("is there");
                run(py, get("app").unbind(), settings, hooks, listener, stopped);
            });
        });
        Self {
            running: Running::new(address, stop, thread),
            seen,
        }
    }

    /// What the application has put into `told`, as texts, when it is so much.
    pub fn told(&self, count: usize) -> Vec<String> {
        self.seen.told.wait(|told| told.len() >= count)
    }

    /// Has the loop turn: what could happen has happened when the answer is there.
    pub fn turn(&self) {
        for _ in 0..TURNS {
            self.get("/turn");
        }
    }

    /// How much the application has told when it tells no more, though it has had its turns.
    pub fn settled(&self) -> usize {
        let mut told = 0;
        while told != self.told(1).len() {
            told = self.told(1).len();
            self.turn();
        }
        told
    }

    /// Sends `piece` again and again, up to `total` bytes, until the server takes no more: it has had its turns, and still there is
    /// no room. How many bytes it took.
    pub fn feed(&self, client: &mut Client, piece: &[u8], total: usize) -> usize {
        client.stream.set_nonblocking(true).expect("sets");
        let mut sent = 0;
        loop {
            let before = sent;
            while sent < total {
                let from = sent % piece.len();
                let until = piece.len().min(from + total - sent);
                match client.stream.write(&piece[from..until]) {
                    Ok(written) => sent += written,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => panic!("{sent} bytes were sent: {error}"),
                }
            }
            if sent == total || (sent == before && sent > 0) {
                client.stream.set_nonblocking(false).expect("sets");
                return sent;
            }
            self.turn();
        }
    }

    /// Waits until so many requests are over, and tells of them.
    pub fn finished(&self, count: usize) -> Vec<(u16, u64, String)> {
        self.seen.await_finished(count)
    }

    /// Waits until the log has these words.
    pub fn await_log(&self, words: &str) {
        let has = |log: &Vec<String>| log.iter().any(|line| line.contains(words));
        self.seen.log.wait(has);
    }
}

fn run(
    py: Python<'_>,
    application: Py<PyAny>,
    settings: Settings,
    hooks: Arc<Seen>,
    listener: TcpListener,
    stopped: oneshot::Receiver<()>,
) {
    let (event_loop, kind) = new_loop(py, "asyncio").expect("makes a loop");
    assert_eq!(kind, "asyncio");
    let lifespan =
        Lifespan::new(&event_loop, &application, "auto", hooks.clone()).expect("is made");
    lifespan.startup(py).expect("starts");
    let reactor = Reactor::new(py, event_loop.clone().unbind(), || ()).expect("is made");
    let state = lifespan.state(py).expect("has a state");
    let service = AsgiService::new(py, application, settings, hooks, &reactor, Some(state));
    let service = Arc::new(service.expect("is made"));
    let serving = serve(reactor.clone(), service.clone(), listener, stopped);
    reactor.run_until(py, serving).expect("runs");
    service.cancel(py);
    lifespan
        .shutdown(py, Duration::from_secs(30))
        .expect("ends");
    reactor.end(py);
    close_loop(&event_loop).expect("closes");
}

async fn serve(
    reactor: Arc<Reactor>,
    service: Arc<AsgiService>,
    listener: TcpListener,
    stopped: oneshot::Receiver<()>,
) {
    let listener = Listener::new(listener).expect("is a listener");
    let drain = Drain::new();
    let accepting = async {
        loop {
            let Accepted { socket, peer, .. } = listener.accept().await.expect("accepts");
            let connection = Arc::new(Connection::new(peer, listener.local().clone(), false));
            reactor.spawn(serve_connection(
                socket,
                connection,
                service.clone(),
                &drain,
            ));
            step_aside().await;
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = stopped => {}
    }
    service.part();
    drain.start();
    let _ = tokio::time::timeout(Duration::from_secs(30), drain.ended()).await;
}

/// A WebSocket client that sees every frame.
pub struct Socket(pub Client);

impl Socket {
    /// Opens one, with more fields of the request.
    pub fn open(server: &Server, target: &str, fields: &str) -> (Self, Answer) {
        let mut client = server.connect();
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
        ));
        let head = client.head();
        let status = head[9..12].parse().expect("is a status");
        let answer = Answer {
            status,
            head,
            body: Vec::new(),
            chunks: Vec::new(),
            cut: false,
        };
        (Self(client), answer)
    }

    /// Sends a frame, masked; `first` is its first byte.
    pub fn send(&mut self, first: u8, content: &[u8]) {
        self.0.send(masked(first, content, [1, 2, 3, 4]));
    }

    /// The next frame: its first byte, and its content.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let start = self.0.take(2);
        assert_eq!(start.len(), 2, "the connection ended");
        assert_eq!(start[1] & 0x80, 0, "a server does not mask");
        let length = match start[1] {
            126 => u64::from(u16::from_be_bytes(self.0.take(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.0.take(8).try_into().unwrap()),
            short => u64::from(short),
        };
        (start[0], self.0.take(length as usize))
    }

    /// The code of the close frame that comes next.
    pub fn close_code(&mut self) -> u16 {
        let (first, content) = self.frame();
        assert_eq!(first, 0x88, "{content:?}");
        u16::from_be_bytes([content[0], content[1]])
    }
}

/// A frame as a client sends it; `first` is its first byte.
pub fn masked(first: u8, content: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match content.len() {
        short @ ..=125 => frame.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    let mixed = content.iter().zip(mask.iter().cycle());
    frame.extend(mixed.map(|(byte, mask)| byte ^ mask));
    frame
}
