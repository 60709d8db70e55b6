//! A server of the test's own: an application in Python source, served on a loopback port by a thread of its own.
#![allow(dead_code, reason = "each test binary uses a part of it")]

mod client;
mod running;

use std::ffi::CString;
use std::net::TcpListener;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_core::server::{Accepted, Address, Connection, Drain, Listener, serve_connection};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use running::{Running, Watched};
use tokio::sync::oneshot;
use wsgi_bridge::{Facts, Finished, Hooks, Level, Settings, WsgiService, attached, share_thread};

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

/// What the service told.
#[derive(Default)]
pub struct Seen {
    pub log: Watched<Vec<String>>,
    pub finished: Watched<Vec<Line>>,
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
        let line = format!("{} {message}", level.as_str());
        self.log.change(|log| log.push(line));
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
        let line = Line {
            status: finished.status.as_u16(),
            content_bytes: finished.content_bytes,
            environ: finished.environ.to_vec(),
            fields: finished.fields.map(names),
            outcome: outcome
                .split(['(', ' ', '{'])
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        self.finished.change(|lines| lines.push(line));
    }
}

impl Seen {
    pub fn logged(&self, words: &str) -> bool {
        self.log.now().iter().any(|line| line.contains(words))
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
            running: Running::new(address, stop, thread),
            seen,
        }
    }

    /// Waits until so many requests are over, and tells of them.
    pub fn finished(&self, count: usize) -> Vec<Line> {
        self.seen.finished.wait(|lines| lines.len() >= count)
    }

    /// Waits until the log has these words.
    pub fn await_log(&self, words: &str) {
        let has = |log: &Vec<String>| log.iter().any(|line| line.contains(words));
        self.seen.log.wait(has);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.end();
        if !std::thread::panicking() {
            let balance = *self.seen.balance.lock().unwrap();
            assert_eq!(balance, 0, "began and ended come in pairs");
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
