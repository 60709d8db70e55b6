//! What a client sends becomes a scope and events.

mod common;

use asgi_bridge::Settings;
use common::Server;

/// Tells a value of the scope by its path.
const SCOPE: &str = "
async def app(scope, receive, send):
    if scope['type'] == 'http':
        await answer(send, '\\n'.join('%s=%r' % item for item in scope.items()).encode())
";

fn line<'a>(scope: &'a str, key: &str) -> Option<&'a str> {
    scope
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[test]
fn the_scope_has_the_keys_of_the_specification() {
    let settings = Settings {
        root_path: "/app".to_owned(),
        ..Settings::default()
    };
    let server = Server::with(SCOPE, settings);
    let mut client = server.connect();
    let port = client.stream.local_addr().expect("has one").port();
    client.send("PUT /a%20b/%C3%A9?x=%20y&z HTTP/1.1\r\nHost: shop.example:81\r\nX-Own-Name: 1\r\nCookie: a=b\r\nX-OWN-name:  2 \r\nX_Under: no\r\n\r\n");
    let scope = client.answer(false).text();
    let server_port = server.address.port();
    for (key, value) in [
        ("type", "'http'"),
        ("asgi", "{'version': '3.0', 'spec_version': '2.3'}"),
        ("http_version", "'1.1'"),
        ("method", "'PUT'"),
        ("scheme", "'http'"),
        ("path", "'/a b/\u{e9}'"),
        ("raw_path", "b'/a%20b/%C3%A9'"),
        ("query_string", "b'x=%20y&z'"),
        ("root_path", "'/app'"),
        (
            "headers",
            "[(b'host', b'shop.example:81'), (b'x-own-name', b'1'), (b'cookie', b'a=b'), (b'x-own-name', b'2')]",
        ),
        ("client", &format!("('127.0.0.1', {port})")),
        ("server", &format!("('127.0.0.1', {server_port})")),
        ("state", "{}"),
    ] {
        assert_eq!(line(&scope, key), Some(value), "{key} in {scope}");
    }
    let extensions = |scope: &str| line(scope, "extensions").map(str::to_owned);
    assert_eq!(
        extensions(&scope).as_deref(),
        Some(
            "{'http.response.early_hint': {}, 'http.response.trailers': {}, 'http.response.pathsend': {}, 'http.response.zerocopysend': {}}"
        )
    );
    let old = server.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n").text();
    assert_eq!(
        extensions(&old).as_deref(),
        Some("{'http.response.pathsend': {}, 'http.response.zerocopysend': {}}")
    );
}

#[test]
fn believed_proxies_tell_the_scheme_and_where_it_is_asked_for_the_client() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.9, 127.0.0.1\r\n\r\n";
    let server = Server::start(SCOPE);
    let scope = server.ask(request).text();
    assert_eq!(line(&scope, "scheme"), Some("'https'"));
    assert!(line(&scope, "client").is_some_and(|client| client.starts_with("('127.0.0.1', ")));
    let settings = Settings {
        forwarded_client: true,
        ..Settings::default()
    };
    let server = Server::with(SCOPE, settings);
    let scope = server.ask(request).text();
    assert_eq!(line(&scope, "client"), Some("('203.0.113.9', 0)"));
}

#[test]
fn requests_that_break_the_rules_do_not_reach_the_application() {
    let server = Server::start(SCOPE);
    let twice =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n";
    assert_eq!(server.ask(twice).status, 400);
    assert_eq!(
        server
            .ask("GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n")
            .status,
        417
    );
    assert_eq!(
        server
            .ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            .status,
        400
    );
}

/// Tells the events.
const EVENTS: &str = "
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    events = []
    while True:
        event = await receive()
        events.append((event['type'], len(event['body']), event['more_body']))
        if not event['more_body']:
            break
    await answer(send, (sum(size for _, size, _ in events), events[0][0], [more for _, _, more in events][-1]))
";

#[test]
fn content_comes_in_pieces_and_keeps_its_length() {
    let server = Server::start(EVENTS);
    assert_eq!(server.get("/").text(), "(0, 'http.request', False)");
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello");
    client.send(" world");
    assert_eq!(client.answer(false).text(), "(11, 'http.request', False)");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    client.send("6\r\n world\r\n0\r\n\r\n");
    assert_eq!(client.answer(false).text(), "(11, 'http.request', False)");
    let large = vec![b'x'; 3_000_000];
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        large.len()
    ));
    client.send(&large);
    assert_eq!(
        client.answer(false).text(),
        "(3000000, 'http.request', False)"
    );
}

#[test]
fn a_client_that_waits_for_100_gets_it_when_the_application_asks() {
    let server = Server::start(EVENTS);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 100 "));
    client.send("hello");
    assert_eq!(client.answer(false).text(), "(5, 'http.request', False)");
}

#[test]
fn an_application_that_does_not_read_keeps_the_client_waiting_and_memory_flat() {
    let server = Server::start(
        "
gate = asyncio.Event()
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    if scope['path'] == '/turn':
        return await answer(send, b'turned')
    if scope['path'] == '/go':
        gate.set()
        return await answer(send, b'went')
    event = await receive()
    told.append('begun')
    await gate.wait()
    total = len(event['body'])
    while event['more_body']:
        event = await receive()
        total += len(event['body'])
    await answer(send, total)
",
    );
    let mut client = server.connect();
    let total = 64 << 20;
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n"
    ));
    // So much that the application has begun.
    client.send(b"x");
    server.told(1);
    let sent = 1 + server.feed(&mut client, &[b'x'; 64 << 10], total - 1);
    assert!(
        sent < total / 2,
        "{sent} bytes were taken for an application that reads none"
    );
    assert_eq!(server.get("/go").text(), "went");
    client.send(vec![b'x'; total - sent]);
    assert_eq!(client.answer(false).text(), total.to_string());
}

#[test]
fn a_client_that_leaves_is_told_of_and_the_task_goes_on() {
    let server = Server::start(
        "
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    told.append((await receive())['type'])
    told.append((await receive())['type'])
    told.append((await receive())['type'])
    await start(send)
    await body(send, b'for nobody')
    await asyncio.sleep(0.01)
    told.append('end')
",
    );
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.told(1);
    drop(client);
    assert_eq!(
        server.told(4),
        ["http.request", "http.disconnect", "http.disconnect", "end"]
    );
    assert_eq!(server.finished(1), [(499, 0, "ClientGone".to_owned())]);
}

#[test]
fn content_that_breaks_off_is_a_client_that_left() {
    let server = Server::start(
        "
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    event = await receive()
    while event['type'] == 'http.request':
        told.append('more')
        event = await receive()
    told.append(event['type'])
",
    );
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello");
    server.told(1);
    drop(client);
    assert_eq!(server.told(2)[1], "http.disconnect");
    let bad =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n";
    assert_eq!(server.ask(bad).status, 400);
}

#[test]
fn an_application_may_be_cancelled_some_time_after_its_client_left() {
    let settings = Settings {
        disconnect_grace: Some(std::time::Duration::from_millis(1)),
        ..Settings::default()
    };
    let server = Server::with(
        "
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    told.append('begun')
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        told.append('cancelled')
        raise
",
        settings,
    );
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.told(1);
    drop(client);
    assert_eq!(server.told(2), ["begun", "cancelled"]);
}

#[test]
fn awaitables_are_good_for_tasks_and_timeouts() {
    let server = Server::start(
        "
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    first = asyncio.create_task(receive())
    told.append((await first)['type'])
    try:
        await asyncio.wait_for(receive(), 0.01)
    except asyncio.TimeoutError:
        told.append('timeout')
    waiting = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    waiting.cancel()
    try:
        await waiting
    except asyncio.CancelledError:
        told.append('cancelled')
    later = asyncio.ensure_future(receive())
    await asyncio.create_task(send({'type': 'http.response.start', 'status': 200}))
    await asyncio.gather(send({'type': 'http.response.body', 'body': b'sent'}))
    told.append((await later)['type'])
",
    );
    assert_eq!(server.get("/").text(), "sent");
    assert_eq!(
        server.told(4),
        ["http.request", "timeout", "cancelled", "http.disconnect"]
    );
}

#[test]
fn calls_run_in_tasks_of_their_own_with_contexts_of_their_own() {
    let server = Server::start(
        "
import contextvars
number = contextvars.ContextVar('number', default=0)
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    before, task = number.get(), asyncio.current_task()
    number.set(before + 1)
    assert task is not None and task in asyncio.all_tasks()
    if scope['path'] == '/later':
        await asyncio.sleep(0.001)
    assert asyncio.current_task() is task
    await answer(send, (before, number.get()))
",
    );
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "(0, 1)");
        assert_eq!(server.get("/later").text(), "(0, 1)");
    }
}
