//! WebSockets: handshake, messages, ends.

mod common;

use std::time::Duration;

use asgi_bridge::Settings;
use common::{Server, Socket, masked};

/// Sends back what comes; paths and words do other things.
const ECHO: &str = "
async def app(scope, receive, send):
    if scope['type'] != 'websocket':
        return
    event = await receive()
    assert event == {'type': 'websocket.connect'}, event
    path = scope['path']
    if path == '/close':
        return await send({'type': 'websocket.close'})
    if path == '/deny':
        await send({'type': 'websocket.http.response.start', 'status': 401, 'headers': [(b'x-why', b'so')]})
        await send({'type': 'websocket.http.response.body', 'body': b'go ', 'more_body': True})
        return await send({'type': 'websocket.http.response.body', 'body': b'away'})
    if path == '/return':
        return
    if path == '/raise':
        raise ValueError('before')
    if path == '/late':
        told.append((await receive())['code'])
    offered = scope['subprotocols']
    await send({'type': 'websocket.accept', 'subprotocol': offered[-1] if offered else None, 'headers': [(b'x-own', b'1')]})
    if path == '/first':
        await send({'type': 'websocket.send', 'text': 'first'})
    while True:
        event = await receive()
        if event['type'] == 'websocket.disconnect':
            told.append((event['code'], event['reason']))
            try:
                await send({'type': 'websocket.send', 'text': 'too late'})
            except OSError as error:
                told.append(type(error).__name__)
            return
        text = event.get('text')
        if text == 'close':
            await send({'type': 'websocket.close', 'code': 4000, 'reason': 'asked'})
        elif text == 'raise':
            raise ValueError('within')
        elif text == 'return':
            return
        elif text is not None:
            await send({'type': 'websocket.send', 'text': text})
        else:
            await send({'type': 'websocket.send', 'bytes': event['bytes']})
";

#[test]
fn the_handshake_is_answered_with_what_the_application_chose() {
    let server = Server::start(ECHO);
    let (_socket, answer) =
        Socket::open(&server, "/", "Sec-WebSocket-Protocol: chat, superchat\r\n");
    assert_eq!(answer.status, 101);
    for (field, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "superchat"),
        ("x-own", "1"),
    ] {
        assert_eq!(answer.field(field), Some(value), "{field}");
    }
    assert_eq!(answer.field("sec-websocket-extensions"), None);
    assert_eq!(answer.field("content-length"), None);
}

#[test]
fn a_handshake_that_is_not_accepted_is_answered_as_http() {
    let server = Server::start(ECHO);
    for (target, status) in [
        ("/close", 403),
        ("/return", 403),
        ("/raise", 500),
        ("/deny", 401),
    ] {
        let (mut socket, answer) = Socket::open(&server, target, "");
        assert_eq!(answer.status, status, "{target}");
        if target == "/deny" {
            assert_eq!(answer.field("x-why"), Some("so"));
            assert_eq!(socket.0.take(7), b"go away");
        }
    }
    server.await_log("ValueError: before");
    let old = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = server.ask(old);
    assert_eq!(
        (answer.status, answer.field("sec-websocket-version")),
        (426, Some("13"))
    );
    assert_eq!(
        server
            .ask(&old.replace("n: 8", "n: 13").replace("dGhl", ""))
            .status,
        400
    );
}

#[test]
fn messages_go_there_and_back() {
    let server = Server::start(ECHO);
    let (mut socket, _) = Socket::open(&server, "/first", "");
    assert_eq!(socket.frame(), (0x81, b"first".to_vec()));
    for content in [&b""[..], b"hello", "\u{e9}".repeat(200).as_bytes()] {
        socket.send(0x81, content);
        assert_eq!(socket.frame(), (0x81, content.to_vec()));
    }
    for length in [0, 125, 126, 65_535, 65_536, 1_000_000] {
        let content = vec![0xfe; length];
        socket.send(0x82, &content);
        assert_eq!(socket.frame(), (0x82, content));
    }
    socket.send(0x01, b"in ");
    socket.send(0x89, b"ping");
    socket.send(0x80, b"pieces");
    assert_eq!(socket.frame(), (0x8a, b"ping".to_vec()));
    assert_eq!(socket.frame(), (0x81, b"in pieces".to_vec()));
}

#[test]
fn messages_are_compressed_where_the_client_can() {
    let server = Server::start(ECHO);
    let (mut socket, answer) = Socket::open(
        &server,
        "/",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    );
    assert_eq!(
        answer.field("sec-websocket-extensions"),
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
    );
    // "Hello", as RFC 7692 §7.2.3.1 packs it; the answer is too short to be worth it.
    socket.send(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    assert_eq!(socket.frame(), (0x81, b"Hello".to_vec()));
    socket.send(0x82, &[7; 100_000]);
    let (first, content) = socket.frame();
    assert!(
        first == 0xc2 && content.len() < 1000,
        "{first:x} {}",
        content.len()
    );
    // What was packed comes back packed, from another message of its own.
    socket.send(0xc2, &content);
    assert_eq!(socket.frame(), (0xc2, content));
}

#[test]
fn each_side_can_close_and_the_application_hears_the_code() {
    let server = Server::start(ECHO);
    let (mut socket, _) = Socket::open(&server, "/", "");
    socket.send(0x88, &[0x0b, 0xb8, b'b', b'y', b'e']);
    assert_eq!(socket.close_code(), 3000);
    assert!(socket.0.at_end());
    assert_eq!(server.told(2), ["(3000, 'bye')", "ClientDisconnected"]);
    let (mut socket, _) = Socket::open(&server, "/", "");
    socket.send(0x88, b"");
    assert_eq!(socket.frame(), (0x88, vec![]));
    assert_eq!(server.told(4)[2], "(1005, '')");
    let (mut socket, _) = Socket::open(&server, "/", "");
    socket.send(0x81, b"close");
    assert_eq!(
        socket.frame(),
        (0x88, [&4000_u16.to_be_bytes()[..], b"asked"].concat())
    );
    socket.send(0x88, &4000_u16.to_be_bytes());
    assert!(socket.0.at_end());
    assert_eq!(server.told(6)[4], "(4000, '')");
}

#[test]
fn a_client_that_vanishes_is_1006() {
    let server = Server::start(ECHO);
    let (socket, _) = Socket::open(&server, "/", "");
    drop(socket);
    assert_eq!(server.told(2)[0], "(1006, '')");
    let mut client = server.connect();
    client.send("GET /late HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    drop(client);
    assert_eq!(server.told(3)[2], "1006");
}

#[test]
fn an_application_that_ends_closes_with_1000_and_one_that_raises_with_1011() {
    let server = Server::start(ECHO);
    for (word, code) in [("return", 1000), ("raise", 1011)] {
        let (mut socket, _) = Socket::open(&server, "/", "");
        socket.send(0x81, word.as_bytes());
        assert_eq!(socket.close_code(), code);
    }
    server.await_log("ValueError: within");
}

#[test]
fn what_breaks_the_rules_closes_with_its_code() {
    let settings = Settings {
        message_bytes_max: Some(1000),
        ..Settings::default()
    };
    let server = Server::with(ECHO, settings);
    for (first, content, code) in [
        (0x83, &b"x"[..], 1002),
        (0x81, &[0xff; 5], 1007),
        (0x82, &[1; 1001], 1009),
    ] {
        let (mut socket, _) = Socket::open(&server, "/", "");
        socket.send(first, content);
        assert_eq!(socket.close_code(), code);
    }
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (mut socket, _) = Socket::open(&server, "/", deflate);
    // A thousand and more zeros in a few bytes.
    socket.send(
        0xc2,
        &[
            0x62, 0x60, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c, 0x54, 0x00, 0x00,
        ],
    );
    let (_, answer) = socket.frame();
    assert!(answer.len() < 1001);
}

#[test]
fn a_client_that_does_not_answer_pings_is_given_up() {
    let settings = Settings {
        ping_interval: Some(Duration::from_millis(20)),
        ping_timeout: Some(Duration::from_millis(300)),
        ..Settings::default()
    };
    let server = Server::with(ECHO, settings);
    let (mut socket, _) = Socket::open(&server, "/", "");
    assert_eq!(socket.frame(), (0x89, vec![]));
    loop {
        let (first, content) = socket.frame();
        if first == 0x88 {
            assert_eq!(content[..2], 1011_u16.to_be_bytes());
            break;
        }
        assert_eq!(first, 0x89);
    }
    assert_eq!(server.told(2)[0], "(1006, '')");
}

#[test]
fn a_server_that_ends_says_1012() {
    let server = Server::start(ECHO);
    let (mut socket, _) = Socket::open(&server, "/", "");
    let reading = std::thread::spawn(move || {
        let code = socket.close_code();
        socket.send(0x88, &code.to_be_bytes());
        code
    });
    socket_is_open(&server);
    drop(server);
    assert_eq!(reading.join().expect("ends"), 1012);
}

/// Another one was opened after it, and so it is there.
fn socket_is_open(server: &Server) {
    let (mut socket, _) = Socket::open(server, "/first", "");
    assert_eq!(socket.frame().0, 0x81);
    socket.send(0x81, b"return");
    assert_eq!(socket.close_code(), 1000);
}

#[test]
fn a_slow_reader_makes_send_wait_and_a_slow_application_makes_the_client_wait() {
    let server = Server::start(
        "
gate = asyncio.Event()
async def app(scope, receive, send):
    if scope['type'] == 'http':
        if scope['path'] == '/go':
            gate.set()
        return await answer(send, b'went')
    if scope['type'] != 'websocket':
        return
    await receive()
    await send({'type': 'websocket.accept'})
    if scope['path'] == '/in':
        await gate.wait()
        total = 0
        while total < 64 << 20:
            total += len((await receive())['bytes'])
        await send({'type': 'websocket.send', 'text': str(total)})
    else:
        for number in range(640):
            await send({'type': 'websocket.send', 'bytes': b'x' * 100000})
            told.append(number)
    await receive()
",
    );
    let (mut socket, _) = Socket::open(&server, "/out", "");
    let told = server.settled();
    assert!(
        told < 600,
        "{told} messages were sent to a client that reads none"
    );
    for _ in 0..640 {
        assert_eq!(socket.frame().1.len(), 100_000);
    }
    let (mut socket, _) = Socket::open(&server, "/in", "");
    let frame = masked(0x82, &[0; 64 << 10], [1, 2, 3, 4]);
    let all = frame.len() * 1024;
    let sent = server.feed(&mut socket.0, &frame, all);
    assert!(
        sent < all / 2,
        "{sent} bytes were taken for an application that reads none"
    );
    assert_eq!(server.get("/go").text(), "went");
    let mut left = all - sent;
    while left > 0 {
        let from = (all - left) % frame.len();
        socket.0.send(&frame[from..]);
        left -= frame.len() - from;
    }
    assert_eq!(socket.frame().1, (64 << 20).to_string().into_bytes());
}

#[test]
fn pings_of_a_client_that_does_not_read_are_not_taken_for_ever() {
    let server = Server::start(ECHO);
    let (mut socket, _) = Socket::open(&server, "/", "");
    let ping = masked(0x89, &[7; 125], [1, 2, 3, 4]);
    let all = ping.len() * 500_000;
    let sent = server.feed(&mut socket.0, &ping, all);
    assert!(sent < all / 2, "{sent} bytes of pings were taken");
    for _ in 0..sent / ping.len() {
        assert_eq!(socket.frame(), (0x8a, vec![7; 125]));
    }
    // The one that had begun, and something else behind it.
    let begun = sent % ping.len();
    if begun > 0 {
        socket.0.send(&ping[begun..]);
        assert_eq!(socket.frame().0, 0x8a);
    }
    socket.send(0x81, b"still here");
    assert_eq!(socket.frame(), (0x81, b"still here".to_vec()));
}
