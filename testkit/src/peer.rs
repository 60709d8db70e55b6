//! A peer that plays a script: listens on a port of its own and does in a thread what a closure says.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use crate::http::{Content, Framing, Head};
use crate::{Deadline, PATIENCE, StopFlag, Wire, WireError};

/// A listening peer for a test: the closure accepts connections and talks.
///
/// ```
/// use testkit::{ScriptedPeer, http::Client};
///
/// let origin = ScriptedPeer::listen(|peer| {
///     let mut connection = peer.accept();
///     let request = testkit::http::Head::receive(&mut connection, "a request").unwrap();
///     assert_eq!(request.line, b"GET /x HTTP/1.1");
///     connection.send(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
/// });
/// assert_eq!(Client::connect(origin.address()).unwrap().get("/x").unwrap().status, 204);
/// origin.finish();
/// ```
#[derive(Debug)]
pub struct ScriptedPeer {
    address: SocketAddr,
    stop: StopFlag,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedPeer {
    /// Listens on a free port of 127.0.0.1 and plays `script` in a thread.
    ///
    /// # Panics
    /// When no socket can be had.
    pub fn listen(script: impl FnOnce(&mut Peer) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener on 127.0.0.1");
        listener
            .set_nonblocking(true)
            .expect("a listener that doesn't block");
        let address = listener.local_addr().expect("the listener's address");
        let stop = StopFlag::default();
        let mut peer = Peer {
            listener,
            stop: stop.clone(),
        };
        let thread = std::thread::spawn(move || script(&mut peer));
        ScriptedPeer {
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the script's end.
    ///
    /// # Panics
    /// With the script's own panic, if it had one.
    pub fn finish(mut self) {
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for ScriptedPeer {
    fn drop(&mut self) {
        self.stop.raise();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The listening side, as the script sees it.
#[derive(Debug)]
pub struct Peer {
    listener: TcpListener,
    stop: StopFlag,
}

impl Peer {
    /// The next connection.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`], or the test has ended.
    pub fn accept(&mut self) -> Wire {
        self.try_accept().expect("a connection within the deadline")
    }

    /// The next connection; `None` when none comes within [`PATIENCE`] or the test has ended.
    pub fn try_accept(&mut self) -> Option<Wire> {
        let (stream, _) =
            Deadline::after(PATIENCE).poll(&self.stop, || self.listener.accept().ok())?;
        stream.set_nonblocking(false).ok()?;
        Some(Wire::from_tcp(stream).observed("peer", &crate::Transcript::new(), &self.stop))
    }

    /// Answers every request of every connection, one connection at a time, until the test ends: the answer is what
    /// `answer` makes of the request's head and content.
    pub fn serve(&mut self, mut answer: impl FnMut(&Head, &[u8]) -> Vec<u8>) {
        while let Some(mut connection) = self.try_accept() {
            while let Ok((head, content)) = request(&mut connection) {
                if connection.send(&answer(&head, &content)).is_err() {
                    break;
                }
            }
        }
    }
}

fn request(connection: &mut Wire) -> Result<(Head, Vec<u8>), WireError> {
    let head = Head::receive(connection, "a request head")?;
    let content = Content::new(Framing::of_request(&head)?).rest(connection)?;
    Ok((head, content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Client;

    #[test]
    fn serves_requests_until_it_is_dropped() {
        let origin = ScriptedPeer::listen(|peer| {
            peer.serve(|head, content| {
                let body = format!("{} {}", String::from_utf8_lossy(&head.line), content.len());
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
                .into_bytes()
            });
        });
        let mut client = Client::connect(origin.address()).unwrap();
        client
            .send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            .unwrap();
        assert_eq!(client.response().unwrap().text(), "POST /a HTTP/1.1 3");
        assert_eq!(client.get("/b").unwrap().text(), "GET /b HTTP/1.1 0");
    }

    #[test]
    #[should_panic(expected = "a wrong request")]
    fn a_panic_of_the_script_is_the_tests_panic() {
        let origin = ScriptedPeer::listen(|_| panic!("a wrong request"));
        origin.finish();
    }
}
