//! A server on a thread of the test's, and what is waited for; the tests of asgi-bridge use it too.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::client::{Answer, Client};

/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; ends when dropped.
pub struct Running {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// The thread ends when the other half of `stop` hears of it.
    pub fn new(address: SocketAddr, stop: oneshot::Sender<()>, thread: JoinHandle<()>) -> Self {
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
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

    /// Ends it, and fails if it failed.
    pub fn end(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the server ends well");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Something that is waited for.
#[derive(Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T: Clone + std::fmt::Debug> Watched<T> {
    /// Changes it.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value.lock().unwrap());
        self.changed.notify_all();
    }

    /// What it is now.
    pub fn now(&self) -> T {
        self.value.lock().unwrap().clone()
    }

    /// What it is when it is as it should be.
    pub fn wait(&self, done: impl Fn(&T) -> bool) -> T {
        let value = self.value.lock().unwrap();
        let (value, _) = self
            .changed
            .wait_timeout_while(value, PATIENCE, |value| !done(value))
            .unwrap();
        assert!(done(&value), "it did not come: {:?}", *value);
        value.clone()
    }
}
