//! A server of the test's own: an application in Python source, served on a loopback port by a thread of its own.
#![allow(dead_code, reason = "each test binary uses a part of it")]

mod client;

use std::ffi::CString;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub use client::{Answer, Client};
use proxy_core::server::{Accepted, Address, Connection, Drain, Listener, serve_connection};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::oneshot;
use wsgi_bridge::{Facts, Finished, Hooks, Level, Settings, WsgiService, attached, share_thread};

/// A running server; ends when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the service told.
#[derive(Default)]
pub struct Seen {
    pub log: Mutex<Vec<String>>,
    pub finished: Mutex<Vec<Line>>,
    pub balance: Mutex<i64>,
}

/// A request that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub status: u16,
    pub content_bytes: u64,
    pub environ: Vec<Option<String>>,
    pub fields: Option<Vec<String>>,
    pub outcome: String,
}

impl Hooks for Seen {
    fn log(&self, level: Level, message: &str) {
        self.log
            .lock()
            .unwrap()
            .push(format!("{} {message}", level.as_str()));
    }

    fn began(&self, _slot: usize, _facts: &Facts) {
        *self.balance.lock().unwrap() += 1;
    }

    fn ended(&self, _slot: usize) {
        *self.balance.lock().unwrap() -= 1;
    }

    fn finished(&self, finished: &Finished<'_>) {
        let names = |fields: &http_wire::Fields| {
            fields
                .iter()
                .map(|(name, _)| name.as_str().to_owned())
                .collect()
        };
        let outcome = format!("{:?}", finished.sent.outcome);
        self.finished.lock().unwrap().push(Line {
            status: finished.status.as_u16(),
            content_bytes: finished.content_bytes,
            environ: finished.environ.to_vec(),
            fields: finished.fields.map(names),
            outcome: outcome
                .split(['(', ' ', '{'])
                .next()
                .unwrap_or_default()
                .to_owned(),
        });
    }
}

impl Seen {
    pub fn logged(&self, words: &str) -> bool {
        self.log
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(words))
    }
}

impl Server {
    /// Serves `app` of this Python source on the connections' own thread.
    pub fn start(source: &str) -> Self {
        Self::with(source, Settings::default(), 1)
    }

    pub fn with(source: &str, settings: Settings, threads: usize) -> Self {
        Python::initialize();
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("has an address");
        let seen = Arc::new(Seen::default());
        let hooks = seen.clone();
        let source = CString::new(source).expect("has no NUL");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            Python::attach(|py| {
                let scope = PyDict::new(py);
                py.run(&source, Some(&scope), None)
                    .expect("the application's source runs");
                let app = scope
                    .get_item("app")
                    .expect("looks")
                    .expect("has an app")
                    .unbind();
                let service = WsgiService::new(py, app, settings, hooks, threads).expect("is made");
                let mut builder = tokio::runtime::Builder::new_current_thread();
                builder.enable_all();
                if threads == 1 {
                    let runtime = share_thread(&mut builder, || ()).build().expect("builds");
                    attached(py, || {
                        runtime.block_on(serve(listener.into(), service, stopped));
                    });
                } else {
                    py.detach(|| {
                        let runtime = builder.build().expect("builds");
                        runtime.block_on(serve(listener.into(), service, stopped));
                    });
                }
            });
        });
        Self {
            address,
            seen,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own, until the server closes.
    pub fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect();
        client.send(request);
        client.answer(request.starts_with("HEAD"))
    }

    /// `GET` of a target.
    pub fn get(&self, target: &str) -> Answer {
        self.ask(&format!(
            "GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n"
        ))
    }

    /// Waits until so many requests are over, and tells of them.
    pub fn finished(&self, count: usize) -> Vec<Line> {
        for _ in 0..2000 {
            let lines = self.seen.finished.lock().unwrap().clone();
            if lines.len() >= count {
                return lines;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!(
            "{count} requests were to be over: {:?}",
            self.seen.finished.lock().unwrap()
        );
    }

    /// Waits until the log has these words.
    pub fn await_log(&self, words: &str) {
        for _ in 0..2000 {
            if self.seen.logged(words) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!(
            "{words:?} was to be in the log: {:?}",
            self.seen.log.lock().unwrap()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the server ends well");
                assert_eq!(
                    *self.seen.balance.lock().unwrap(),
                    0,
                    "began and ended come in pairs"
                );
            }
        }
    }
}

async fn serve(socket: std::os::fd::OwnedFd, service: WsgiService, stopped: oneshot::Receiver<()>) {
    let listener = Listener::new(socket).expect("is a listener");
    let service = Arc::new(service);
    let drain = Drain::new();
    let accepting = async {
        loop {
            service.ready(Duration::from_millis(50)).await;
            let Accepted { socket, peer, .. } = listener.accept().await.expect("accepts");
            let local: Address = listener.local().clone();
            let connection = Arc::new(Connection::new(peer, local, false));
            tokio::spawn(serve_connection(
                socket,
                connection,
                service.clone(),
                &drain,
            ));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = stopped => {}
    }
    drain.start();
    let _ = tokio::time::timeout(Duration::from_secs(10), drain.ended()).await;
}
