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
    let source = "
made = [0]
def app(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/made': return [str(made[0]).encode()]
    def items():
        for n in range(100000):
            made[0] += 1
            yield bytes(10000)
    return items()
";
    let server = Server::start(source);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut some = [0; 100_000];
    client.stream.read_exact(&mut some).expect("reads");
    // The socket's buffers take some megabytes; a thousand of them would have been made without waiting for the client.
    let mut made = 0;
    for _ in 0..100 {
        let now: usize = pyo3::Python::attach(|py| {
            use pyo3::types::PyAnyMethods;
            let code = c"[o['made'][0] for o in __import__('gc').get_objects() if isinstance(o, dict) and isinstance(o.get('made'), list) and 'app' in o][0]";
            py.eval(code, None, None)
                .and_then(|made| made.extract())
                .expect("tells")
        });
        if now == made && now > 0 {
            break;
        }
        made = now;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
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
