//! What the application sends becomes a response, or is refused.

mod common;

use common::Server;

#[test]
fn a_response_in_one_piece_has_a_length_and_keeps_the_connection() {
    let server = Server::start(
        "
async def app(scope, receive, send):
    if scope['type'] == 'http':
        await start(send, 201, [(b'X-Own', b'1'), (b'set-cookie', b'a=b'), (b'set-cookie', b'c=d')])
        await body(send, b'made')
",
    );
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.text().as_str()), (201, "made"));
        assert_eq!(answer.field("content-length"), Some("4"));
        assert_eq!(answer.fields("set-cookie"), ["a=b", "c=d"]);
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
    // Three at once, on one connection.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    for _ in 0..3 {
        assert_eq!(client.answer(false).text(), "made");
    }
    assert_eq!(server.finished(6), vec![(201, 4, "Complete".to_owned()); 6]);
}

/// One path each.
const KINDS: &str = "
import os, tempfile
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    path = scope['path']
    if path == '/stream':
        await start(send)
        for number in range(3):
            await asyncio.sleep(0.001)
            await body(send, b'%d' % number, True)
        await body(send)
    elif path == '/length':
        await start(send, headers=[(b'content-length', b'6')])
        await body(send, b'abc', True)
        await body(send, b'def')
    elif path == '/trailers':
        await start(send, headers=[(b'trailer', b'x-sum')], trailers=True)
        await body(send, b'abc')
        await send({'type': 'http.response.trailers', 'headers': [(b'x-sum', b'7')], 'more_trailers': False})
    elif path == '/path':
        await start(send)
        await send({'type': 'http.response.pathsend', 'path': __file__})
    elif path == '/copy':
        with tempfile.TemporaryFile() as file:
            file.write(b'0123456789' * 10000)
            file.flush()
            await start(send)
            await send({'type': 'http.response.zerocopysend', 'file': file.fileno(), 'offset': 5, 'count': 10, 'more_body': True})
            await send({'type': 'http.response.zerocopysend', 'file': file, 'offset': 3, 'more_body': True})
            await body(send, b'end')
    elif path == '/hint':
        await send({'type': 'http.response.early_hint', 'links': [b'</a.css>; rel=preload']})
        await answer(send, b'done')
    elif path == '/empty':
        await start(send, 204)
        await body(send)
    elif path == '/other':
        await start(send, headers=[['X-Text', 'text']])
        await body(send, memoryview(bytearray(b'seen')))
";

#[test]
fn every_kind_of_content_arrives() {
    let source = KINDS.replace(
        "__file__",
        &format!("{:?}", file!().replace("crates/asgi-bridge/", "")),
    );
    let server = Server::start(&source);
    let streamed = server.get("/stream");
    assert_eq!(
        (streamed.text().as_str(), streamed.chunks.len()),
        ("012", 3)
    );
    let sized = server.get("/length");
    assert_eq!((sized.text().as_str(), sized.chunks.len()), ("abcdef", 0));
    assert_eq!(server.get("/path").text(), include_str!("responses.rs"));
    let copied = server.get("/copy").text();
    assert!(
        copied.starts_with("56789012343456789012") && copied.ends_with("789end"),
        "{}",
        copied.len()
    );
    assert_eq!(copied.len(), 10 + 99_997 + 3);
    let empty = server.get("/empty");
    assert_eq!((empty.status, empty.field("content-length")), (204, None));
    let other = server.get("/other");
    assert_eq!(
        (other.text().as_str(), other.field("x-text")),
        ("seen", Some("text"))
    );
}

#[test]
fn trailers_follow_the_content() {
    let server = Server::start(KINDS);
    let mut client = server.connect();
    client.send("GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    let head = client.head();
    assert!(head.contains("trailer: x-sum"), "{head}");
    assert_eq!(client.take(21), b"3\r\nabc\r\n0\r\nx-sum: 7\r\n");
}

#[test]
fn early_hints_come_first() {
    let server = Server::start(KINDS);
    let mut client = server.connect();
    client.send("GET /hint HTTP/1.1\r\nHost: a\r\n\r\n");
    let hint = client.head();
    assert!(
        hint.starts_with("HTTP/1.1 103 ") && hint.contains("</a.css>; rel=preload"),
        "{hint}"
    );
    assert_eq!(client.answer(false).text(), "done");
}

#[test]
fn a_head_request_gets_no_content_however_it_is_sent() {
    let server = Server::start(KINDS);
    let mut client = server.connect();
    for target in ["/stream", "/length", "/other", "/copy"] {
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.answer(true).status, 200, "{target}");
    }
    client.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer(false).text(), "seen");
}

#[test]
fn http_1_0_gets_the_end_of_the_connection_for_an_end() {
    let server = Server::start(KINDS);
    let answer = server.ask("GET /stream HTTP/1.0\r\n\r\n");
    assert_eq!(
        (answer.text().as_str(), answer.field("transfer-encoding")),
        ("012", None)
    );
}

#[test]
fn a_head_goes_out_while_the_application_waits_for_content() {
    let server = Server::start(
        "
gate = asyncio.Event()
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    if scope['path'] == '/go':
        gate.set()
        return await answer(send, b'went')
    if scope['path'] == '/later':
        await asyncio.sleep(0.001)
    await start(send)
    await gate.wait()
    await body(send, b'at last')
    gate.clear()
",
    );
    for target in ["/", "/later"] {
        let mut client = server.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(server.get("/go").text(), "went");
        assert_eq!(client.chunk().as_deref(), Some(&b"at last"[..]));
    }
}

#[test]
fn send_waits_for_a_client_that_does_not_read() {
    let server = Server::start(
        "
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    if scope['path'] == '/turn':
        return await answer(send, b'turned')
    await start(send)
    for number in range(1000):
        await body(send, b'x' * 100000, True)
        told.append(number)
    await body(send)
",
    );
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let begun = server.settled();
    assert!(
        begun < 900,
        "{begun} pieces were taken from the application"
    );
    assert_eq!(client.answer(false).body.len(), 100_000_000);
    assert_eq!(server.told(1000).len(), 1000);
}

#[test]
fn what_an_application_must_not_send_is_refused_and_answered_with_500() {
    let server = Server::start(
        r"
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    heads = {
        '/split': [(b'x', b'a\r\nset-cookie: b')], '/nul': [(b'x', b'a\0')], '/name': [(b'x y', b'a')],
        '/colon': [(b'x:', b'a')], '/number': [(b'x', 1)], '/single': [(b'x',)], '/euro': [('x', '\u20ac')],
    }
    path = scope['path']
    if path in heads:
        await start(send, headers=heads[path])
    elif path == '/body':
        await body(send, b'too early')
    elif path == '/text':
        await start(send)
        await body(send, 'text')
    elif path == '/status':
        await start(send, 100)
    elif path == '/type':
        await send({'type': 'websocket.accept'})
    elif path == '/dict':
        await send(1)
    elif path == '/nothing':
        pass
    elif path == '/begun':
        await start(send)
    elif path == '/raises':
        raise ValueError('with a secret')
    await body(send, b'x') if path not in ('/nothing', '/begun') else None
",
    );
    for target in [
        "/split", "/nul", "/name", "/colon", "/number", "/single", "/euro", "/body", "/text",
        "/status", "/type", "/dict", "/nothing", "/begun", "/raises",
    ] {
        let answer = server.get(target);
        assert_eq!(answer.status, 500, "{target}");
        assert!(!answer.text().contains("secret"));
    }
    server.await_log("ValueError: with a secret");
    server.await_log("ASGI callable returned without starting response");
    server.await_log("ASGI callable returned without completing response");
    assert_eq!(server.finished(15).len(), 15);
}

#[test]
fn a_response_that_breaks_off_cuts_its_connection() {
    let server = Server::start(
        "
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    await start(send, headers=[(b'content-length', b'9')] if scope['path'] == '/sized' else [])
    await body(send, b'begun', True)
    await asyncio.sleep(0.001)
    if scope['path'] == '/raises':
        raise ValueError('in the middle')
",
    );
    for target in ["/sized", "/raises", "/returns"] {
        let answer = server.get(target);
        assert!(
            answer.cut && answer.text() == "begun",
            "{target}: {answer:?}"
        );
    }
    server.await_log("ValueError: in the middle");
}

#[test]
fn messages_after_the_end_raise_and_what_follows_the_response_runs() {
    let server = Server::start(
        "
async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    await answer(send, b'done')
    try:
        await body(send, b'more')
    except RuntimeError as error:
        told.append(str(error))
    await asyncio.sleep(0.001)
    told.append((await receive())['type'])
",
    );
    assert_eq!(server.get("/").text(), "done");
    let told = server.told(2);
    assert!(
        told[0].contains("the response is complete already"),
        "{told:?}"
    );
    assert_eq!(told[1], "http.disconnect");
}

#[test]
fn a_task_factory_of_the_application_is_used() {
    let server = Server::start(
        "
def factory(loop, coroutine, **more):
    told.append('made')
    return asyncio.Task(coroutine, loop=loop, **more)
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        asyncio.get_running_loop().set_task_factory(factory)
        await receive()
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        return await send({'type': 'lifespan.shutdown.complete'})
    await answer(send, b'answered')
",
    );
    assert_eq!(server.get("/").text(), "answered");
    assert!(!server.told(1).is_empty());
}
