//! On one thread the application sees one request at a time, and slow clients hold nobody up.

mod common;

use std::io::Read;

use common::Server;
use wsgi_bridge::Settings;

const SOURCE: &str = "
import threading
inside, overlaps = [], []
class Items:
    def __init__(self, name, count, size):
        self.name, self.count, self.size = name, count, size
        self.enter()
    def enter(self):
        if inside: overlaps.append((inside[0], self.name))
        inside.append(self.name)
    def __iter__(self):
        for n in range(self.count): yield bytes(self.size)
    def close(self): inside.remove(self.name)
def app(environ, start_response):
    if environ['PATH_INFO'] == '/overlaps':
        start_response('200 OK', [])
        return [repr(overlaps).encode()]
    start_response('200 OK', [])
    count, size = environ['QUERY_STRING'].split(',')
    return Items(environ['PATH_INFO'], int(count), int(size))
";

#[test]
fn a_slow_reader_of_a_long_stream_holds_nobody_up_and_gets_everything() {
    let server = Server::with(
        SOURCE,
        Settings {
            output_memory_bytes: 50_000,
            ..Settings::default()
        },
        1,
    );
    let mut slow: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("GET /slow?2000,10000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    for _ in 0..20 {
        assert_eq!(server.get("/fast?3,10").body.len(), 30);
    }
    for client in &mut slow {
        let answer = client.answer(false);
        assert_eq!((answer.body.len(), answer.cut), (20_000_000, false));
    }
    assert_eq!(server.get("/overlaps").text(), "[]");
}

#[test]
fn while_nobody_else_comes_only_as_much_is_made_as_the_client_takes() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let count = folder.path().join("count");
    let source = format!(
        "
import os
count = os.open('{}', os.O_CREAT | os.O_WRONLY)
def app(environ, start_response):
    start_response('200 OK', [])
    for n in range(100000):
        os.pwrite(count, b'%9d' % n, 0)
        yield bytes(10000)
",
        count.display()
    );
    let server = Server::start(&source);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut some = [0; 100_000];
    client.stream.read_exact(&mut some).expect("reads");
    let made = || {
        std::fs::read_to_string(&count)
            .ok()?
            .trim()
            .parse::<usize>()
            .ok()
    };
    // Until nothing more is made for a while: the socket's buffers are full.
    let mut before = None;
    while made() != before || before.is_none() {
        before = made();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let made = before.unwrap_or_default();
    assert!(
        made < 5_000,
        "{made} items of 10,000 bytes were made for a client that took 100,000 bytes"
    );
}

#[test]
fn who_waits_for_an_endless_stream_is_served_when_its_client_leaves() {
    let source = "
def app(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/short': return [b'short']
    return iter(lambda: b'tick', None)
";
    let server = Server::with(
        source,
        Settings {
            output_spool_bytes: 1 << 20,
            ..Settings::default()
        },
        1,
    );
    let mut endless = server.connect();
    endless.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    endless.head();
    assert_eq!(endless.chunk().as_deref(), Some(&b"tick"[..]));
    let mut waits = server.connect();
    waits.send("GET /short HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(endless);
    assert_eq!(waits.answer(false).text(), "short");
}
