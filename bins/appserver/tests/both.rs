//! A WSGI application with an ASGI one beside it, on one address.

mod support;

use rustix::process::Signal;
use support::{Load, Server, Setup};
use testkit::http::Client;

const WSGI: &str = "
import os

def application(environ, start_response):
    text = 'wsgi %s %d' % (environ['PATH_INFO'], os.getpid())
    start_response('200 OK', [('Content-Length', str(len(text)))])
    return [text.encode()]
";

/// Tells of its lifespan and of WebSockets that end; some paths wait or block.
const ASGI: &str = "
import asyncio, os, time

async def application(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            event = (await receive())['type']
            print(event, flush=True)
            await send({'type': event + '.complete'})
            if event == 'lifespan.shutdown':
                return
    if scope['type'] == 'websocket':
        await receive()
        await send({'type': 'websocket.accept'})
        while True:
            event = await receive()
            if event['type'] == 'websocket.disconnect':
                print('closed', event['code'], flush=True)
                return
            await send({'type': 'websocket.send', 'text': event['text']})
    path = scope['path']
    if path == '/ws/sleep':
        await asyncio.sleep(0.5)
    if path == '/ws/block':
        await asyncio.sleep(0)
        time.sleep(1000)
    body = b''
    more = True
    while more:
        event = await receive()
        body += event.get('body', b'')
        more = event.get('more_body', False)
    text = 'asgi %s %d' % (path, os.getpid())
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': body or text.encode()})
";

fn both() -> Setup {
    Setup::new(WSGI).file("realtime.py", ASGI).args(&[
        "--asgi",
        "realtime:application",
        "--asgi-path",
        "/ws/",
    ])
}

/// Opens a WebSocket.
fn websocket(server: &Server, target: &str) -> Client {
    let mut client = server.client();
    client
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))
        .unwrap();
    let head = client.wire().take_until(b"\r\n\r\n", "the answer").unwrap();
    assert!(
        head.starts_with(b"HTTP/1.1 101 "),
        "{}",
        String::from_utf8_lossy(&head)
    );
    client
}

/// Has a WebSocket echo a word.
fn echoes(client: &mut Client, word: &str) {
    let mut frame = vec![0x81, 0x80 | word.len() as u8, 0, 0, 0, 0];
    frame.extend(word.as_bytes());
    client.send(frame).unwrap();
    let answer = client.wire().take(2 + word.len(), "the echo").unwrap();
    assert_eq!(
        answer,
        [&[0x81, word.len() as u8], word.as_bytes()].concat()
    );
}

#[test]
fn pages_paths_and_websockets_share_an_address_and_a_process() {
    for arguments in [
        &["--workers", "1"][..],
        &["--threads", "3"],
        &["--preload", "--asgi-loop", "asyncio"],
        &["--asgi-path", "/events"],
    ] {
        let mut server = both()
            .args(arguments)
            .args(&["--access-logfile", "access.log"])
            .start();
        let page = server.text("/page");
        let pid = page.rsplit(' ').next().unwrap();
        for (target, answer) in [
            ("/page", "wsgi /page"),
            ("/ws/", "asgi /ws/"),
            ("/ws/room?x=1", "asgi /ws/room"),
            ("/%77s/room", "asgi /ws/room"),
            ("/ws", "wsgi /ws"),
            ("/wsx/", "wsgi /wsx/"),
        ] {
            assert_eq!(server.text(target), format!("{answer} {pid}"));
        }
        let events = server.text("/events");
        let asked = arguments.contains(&"/events");
        assert_eq!(events.starts_with("asgi"), asked, "{events}");
        // One connection carries both, and content reaches the other thread.
        let mut client = server.client();
        for _ in 0..3 {
            assert!(client.get("/a").unwrap().text().starts_with("wsgi /a"));
            client
                .send("POST /ws/post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
                .unwrap();
            assert_eq!(client.response().unwrap().text(), "hello");
        }
        let mut socket = websocket(&server, "/anywhere");
        for number in 0..300 {
            echoes(&mut socket, &number.to_string());
        }
        for word in ["one", "two", "three"] {
            echoes(&mut socket, word);
            assert!(server.text("/page").starts_with("wsgi"));
        }
        socket.wire().half_close().unwrap();
        server.until("the end", || {
            server.read("stdout.log").contains("closed").then_some(())
        });
        assert_eq!(server.stop(), 0, "{}", server.log());
        let log = server.read("access.log");
        for line in [
            "\"GET /page HTTP/1.1\" 200 ",
            "\"GET /ws/room?x=1 HTTP/1.1\" 200 ",
            "\"POST /ws/post HTTP/1.1\" 200 5 ",
            "\"GET /anywhere HTTP/1.1\" 101 ",
        ] {
            assert!(log.contains(line), "{line}: {log}");
        }
        let told = server.read("stdout.log");
        assert!(
            told.starts_with("lifespan.startup\n") && told.ends_with("lifespan.shutdown\n"),
            "{told}"
        );
    }
}

#[test]
fn the_end_waits_for_requests_and_closes_websockets() {
    let mut server = both().start();
    let mut socket = websocket(&server, "/ws/");
    echoes(&mut socket, "here");
    let mut client = server.client();
    client.ask("GET", "/ws/sleep", &[]).unwrap();
    // What is asked later is answered: the first one has begun.
    server.get("/ws/");
    server.signal(Signal::TERM);
    assert_eq!(
        socket.wire().take(4, "a close").unwrap(),
        [&[0x88, 2][..], &1012_u16.to_be_bytes()].concat()
    );
    socket.send([0x88, 0x82, 0, 0, 0, 0, 3, 0xf4]).unwrap();
    assert_eq!(client.response().unwrap().status, 200);
    assert_eq!(server.wait(), 0, "{}", server.log());
    assert!(
        server
            .read("stdout.log")
            .ends_with("closed 1012\nlifespan.shutdown\n"),
        "{}",
        server.read("stdout.log")
    );
}

#[test]
fn an_end_at_once_asks_nobody() {
    let mut server = both().start();
    let mut client = server.client();
    client.ask("GET", "/ws/sleep", &[]).unwrap();
    server.get("/ws/");
    server.signal(Signal::INT);
    assert_eq!(server.wait(), 0, "{}", server.log());
    assert_eq!(server.read("stdout.log"), "lifespan.startup\n");
}

#[test]
fn a_blocked_loop_ends_its_worker_and_requests_of_both_count() {
    let server = both().args(&["--timeout", "2"]).start();
    assert!(server.try_get("/ws/block").is_err());
    server.until_log("WORKER TIMEOUT", 1);
    server.until("an answer", || server.try_get("/ws/").ok());
    assert!(server.log().contains("GET /ws/block"), "{}", server.log());
    server.until_log("in application", 1);
    drop(server);

    let server = both().args(&["--max-requests", "4"]).start();
    let first = server.booted()[0];
    server.until("another worker", || {
        let pids = [server.text("/page"), server.text("/ws/")];
        let old = first.as_raw_nonzero().to_string();
        pids.iter().all(|pid| !pid.ends_with(&old)).then_some(())
    });
    server.until_log("Autorestarting worker after current request.", 1);
}

#[test]
fn a_reload_under_load_loses_nothing() {
    let mut server = both().args(&["--workers", "2"]).start();
    let load = Load::on(server.socket());
    server.signal(Signal::HUP);
    server.until_log("Booting worker with pid", 4);
    server.until_log("Worker exiting", 2);
    assert!(server.text("/ws/").starts_with("asgi"));
    let (answered, faults) = load.end();
    assert!(
        faults.is_empty() && answered > 20,
        "{answered}: {faults:?}\n{}",
        server.log()
    );
    assert_eq!(server.stop(), 0);
}

#[test]
fn what_does_not_go_together_is_refused_with_what_to_do() {
    for (arguments, expected, words) in [
        (
            &["--asgi-path", "/ws/"][..],
            1,
            "asgi_paths (--asgi-path) has '/ws/', but there is no ASGI application",
        ),
        (
            &["--asgi", "realtime:application", "-k", "asgi"],
            1,
            "leave --asgi out, or leave -k out",
        ),
        (
            &["--asgi", "realtime:application", "--asgi-path", "ws/"],
            1,
            "has 'ws/', which no path begins with",
        ),
        (
            &["--asgi", "app:application"],
            4,
            "This is a WSGI application (it takes environ and start_response), but --asgi (asgi_app) takes ASGI applications",
        ),
        (
            &["--asgi", "realtime:nothing"],
            4,
            "Failed to find attribute 'nothing' in 'realtime'",
        ),
        (&["--asgi", "fails:application"], 3, "no database"),
    ] {
        let fails = "
async def application(scope, receive, send):
    await receive()
    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
";
        let setup = Setup::new(WSGI)
            .file("realtime.py", ASGI)
            .file("fails.py", fails);
        let (code, out, log) = setup.args(arguments).run();
        assert!(
            code == expected && log.contains(words),
            "{arguments:?}: {code}: {out}{log}"
        );
    }
    let (code, _, log) = Setup::new(ASGI).args(&["--asgi", "app:application"]).run();
    assert!(
        code == 4 && log.contains("(and this one with --asgi)"),
        "{code}: {log}"
    );
}

#[test]
fn the_file_names_it_and_pythons_loggers_and_hooks_hear_of_what_they_can() {
    let config = "
wsgi_app = 'app:application'
asgi_app = 'realtime:application'
asgi_paths = ['/ws/']
accesslog = 'access.log'
access_log_format = '%(m)s %(U)s %(s)s'
logger_class = 'own.Logger'

def pre_request(worker, req):
    worker.log.info('before %s', req.path)
";
    let own = "
from gunicorn.glogging import Logger as Base

class Logger(Base):
    def access(self, resp, req, environ, request_time):
        self.access_log.info('own %s %s %s', req.method, req.path, resp.status)
";
    let mut server = both()
        .file("gunicorn.conf.py", config)
        .file("own.py", own)
        .start();
    server.get("/page");
    server.get("/ws/x");
    server.until_log("before /page", 1);
    server.until_log("before /ws/x", 1);
    assert_eq!(server.stop(), 0);
    let log = server.read("access.log");
    assert!(
        log.contains("own GET /page 200 OK\n") && log.contains("own GET /ws/x 200 OK\n"),
        "{log}"
    );
}
