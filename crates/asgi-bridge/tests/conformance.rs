//! WebSockets by the sections of RFC 6455 and RFC 7692: what a server must take, and what it must refuse, and with which code.

mod common;

use asgi_bridge::Settings;
use common::{Server, Socket, masked};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// Sends every message back.
const ECHO: &str = "
async def app(scope, receive, send):
    if scope['type'] != 'websocket':
        return
    await receive()
    await send({'type': 'websocket.accept'})
    while True:
        event = await receive()
        if event['type'] == 'websocket.disconnect':
            told.append(event['code'])
            return
        await send({'type': 'websocket.send', 'text': event.get('text'), 'bytes': event.get('bytes')})
";
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// Without FIN.
const TEXT_BEGINS: u8 = 0x01;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;
/// RSV1: compressed.
const PACKED: u8 = 0x40;
const MASK: [u8; 4] = [0xa5, 0, 0xff, 0x1e];

fn open(server: &Server) -> Socket {
    Socket::open(server, "/", "").0
}

/// These bytes end a connection with this code, and the application is told the same.
fn refused(server: &Server, bytes: &[u8], code: u16) {
    let mut socket = open(server);
    socket.0.send(bytes);
    assert_eq!(socket.close_code(), code, "{bytes:02x?}");
    assert!(socket.0.at_end(), "{bytes:02x?}");
}

/// These bytes, then a message: it comes back.
fn taken(server: &Server, bytes: &[u8]) {
    let mut socket = open(server);
    socket.0.send(bytes);
    socket.send(TEXT, b"still here");
    loop {
        let (first, content) = socket.frame();
        if first == TEXT && content == b"still here" {
            return;
        }
        assert_ne!(first, CLOSE, "{bytes:02x?}: {content:02x?}");
    }
}

#[test]
fn section_5_2_every_form_of_a_length_is_understood() {
    let server = Server::start(ECHO);
    let mut socket = open(&server);
    for length in [
        0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537,
    ] {
        for first in [TEXT, BINARY] {
            let content = vec![b'*'; length];
            socket.send(first, &content);
            assert_eq!(socket.frame(), (first, content), "{length}");
        }
    }
}

#[test]
fn section_5_2_a_length_takes_the_shortest_form() {
    let server = Server::start(ECHO);
    for length in [
        &[0xfe, 0, 125][..],
        &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        // The highest bit must be 0.
        &[0xff, 0x80, 0, 0, 0, 0, 0, 0, 1],
    ] {
        refused(&server, &[&[BINARY], length, &MASK].concat(), 1002);
    }
}

#[test]
fn section_5_2_reserved_bits_and_opcodes_are_refused() {
    let server = Server::start(ECHO);
    for bits in 1..8 {
        for first in [TEXT, BINARY, PING, CLOSE] {
            refused(&server, &masked(first | bits << 4, b"", MASK), 1002);
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        refused(&server, &masked(0x80 | opcode, b"x", MASK), 1002);
        refused(&server, &masked(opcode, b"", MASK), 1002);
    }
}

#[test]
fn section_5_3_frames_are_masked_with_any_key_and_cut_anywhere() {
    let server = Server::start(ECHO);
    let mut socket = open(&server);
    let content: Vec<u8> = (0..=255).collect();
    for mask in [[0; 4], [0xff; 4], MASK, [1, 2, 3, 4]] {
        let frame = masked(BINARY, &content, mask);
        socket.0.send(&frame);
        assert_eq!(socket.frame(), (BINARY, content.clone()));
        for at in [1, 2, 3, 5, 7, 8, 9, 100, frame.len() - 1] {
            socket.0.send(&frame[..at]);
            // What was sent so far has been read when this is answered.
            server.turn();
            socket.0.send(&frame[at..]);
            assert_eq!(socket.frame(), (BINARY, content.clone()), "cut at {at}");
        }
    }
    refused(&server, &[TEXT, 5, b'h', b'e', b'l', b'l', b'o'], 1002);
    refused(&server, &[PING, 0], 1002);
}

#[test]
fn section_5_4_fragments_become_one_message() {
    let server = Server::start(ECHO);
    let mut socket = open(&server);
    for size in [1, 2, 7, 64] {
        let content: Vec<u8> = (0..200).map(|at| b'a' + at % 26).collect();
        let pieces: Vec<_> = content.chunks(size).collect();
        let last = pieces.len() - 1;
        for (at, piece) in pieces.iter().enumerate() {
            let opcode = if at == 0 { TEXT_BEGINS } else { GOES_ON };
            let fin = if at == last { ENDS } else { 0 };
            socket.send(opcode | fin, piece);
        }
        assert_eq!(socket.frame(), (TEXT, content));
    }
    // Empty ones count too.
    for pieces in [["", "", ""], ["", "middle", ""], ["begin", "", "end"]] {
        socket.send(TEXT_BEGINS, pieces[0].as_bytes());
        socket.send(GOES_ON, pieces[1].as_bytes());
        socket.send(ENDS, pieces[2].as_bytes());
        assert_eq!(socket.frame(), (TEXT, pieces.concat().into_bytes()));
    }
}

#[test]
fn section_5_4_fragments_out_of_order_are_refused() {
    let server = Server::start(ECHO);
    let message = |frames: &[(u8, &[u8])]| -> Vec<u8> {
        let frames = frames
            .iter()
            .map(|(first, text)| masked(*first, text, MASK));
        frames.collect::<Vec<_>>().concat()
    };
    for frames in [
        // A continuation of nothing, also behind a complete message.
        &[(GOES_ON, &b"x"[..])][..],
        &[(ENDS, b"x")],
        &[(TEXT_BEGINS, b"a"), (ENDS, b"b"), (ENDS, b"c")],
        // A message within a message.
        &[(TEXT_BEGINS, b"a"), (TEXT, b"b")],
        &[(TEXT_BEGINS, b"a"), (TEXT_BEGINS, b"b")],
        &[(TEXT_BEGINS, b"a"), (BINARY, b"b")],
        // A fragmented control frame.
        &[(0x09, b"a")],
        &[(0x08, b"")],
    ] {
        let mut socket = open(&server);
        socket.0.send(message(frames));
        let (mut first, mut content) = socket.frame();
        if first == TEXT {
            (first, content) = socket.frame();
        }
        assert_eq!(
            (first, &content[..2]),
            (CLOSE, &1002_u16.to_be_bytes()[..]),
            "{frames:?}"
        );
    }
}

#[test]
fn section_5_5_control_frames_come_between_fragments() {
    let server = Server::start(ECHO);
    let mut socket = open(&server);
    for round in 0..10_u8 {
        socket.send(TEXT_BEGINS, b"one ");
        socket.send(PING, &[round]);
        socket.send(GOES_ON, b"two ");
        socket.send(PONG, b"nobody asked");
        socket.send(ENDS, b"three");
        assert_eq!(socket.frame(), (PONG, vec![round]));
        assert_eq!(socket.frame(), (TEXT, b"one two three".to_vec()));
    }
}

#[test]
fn section_5_5_2_pings_are_answered_in_order_with_what_they_carry() {
    let server = Server::start(ECHO);
    let mut socket = open(&server);
    let contents = [
        vec![],
        b"hello".to_vec(),
        vec![0, 0xff, 0xfe],
        vec![0xfe; 125],
    ];
    for content in &contents {
        socket.send(PING, content);
    }
    for content in &contents {
        assert_eq!(socket.frame(), (PONG, content.clone()));
    }
    refused(&server, &masked(PING, &[1; 126], MASK), 1002);
    refused(&server, &masked(CLOSE, &[3, 0xe8].repeat(63), MASK), 1002);
    taken(&server, &masked(PONG, b"unasked", MASK));
}

#[test]
fn section_5_5_1_a_close_frame_is_answered_with_its_code() {
    let server = Server::start(ECHO);
    let with = |code: u16, reason: &[u8]| [&code.to_be_bytes()[..], reason].concat();
    for content in [
        vec![],
        with(1000, b""),
        with(1001, b"bye"),
        with(1000, "\u{e9}".repeat(61).as_bytes()),
        with(1000, &[b'x'; 123]),
    ] {
        let mut socket = open(&server);
        socket.send(CLOSE, &content);
        assert_eq!(socket.frame(), (CLOSE, content));
        assert!(socket.0.at_end());
    }
    refused(&server, &masked(CLOSE, &[3], MASK), 1002);
    refused(
        &server,
        &masked(CLOSE, &with(1000, &[0xc3, 0x28]), MASK),
        1007,
    );
    // What follows is for nobody.
    let mut socket = open(&server);
    let last = [
        masked(CLOSE, &with(1000, b""), MASK),
        masked(PING, b"", MASK),
    ];
    socket
        .0
        .send([last.concat(), masked(TEXT, b"too late", MASK)].concat());
    assert_eq!(socket.close_code(), 1000);
    assert!(socket.0.at_end());
}

#[test]
fn section_7_4_codes_that_may_be_sent_and_codes_that_may_not() {
    let server = Server::start(ECHO);
    let mut told = Vec::new();
    for code in [
        1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999,
        4000, 4999,
    ] {
        refused(&server, &masked(CLOSE, &code.to_be_bytes(), MASK), code);
        told.push(code.to_string());
    }
    assert_eq!(server.told(told.len()), told);
    for code in [
        0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        refused(&server, &masked(CLOSE, &code.to_be_bytes(), MASK), 1002);
    }
}

#[test]
fn section_8_1_text_is_utf_8_however_it_is_cut() {
    let server = Server::start(ECHO);
    let mut socket = open(&server);
    let good = "\0\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{10ffff}\u{3ba}\u{1f600}";
    socket.send(TEXT, good.as_bytes());
    assert_eq!(socket.frame(), (TEXT, good.as_bytes().to_vec()));
    for at in 1..good.len() {
        let (begin, end) = good.as_bytes().split_at(at);
        socket.send(TEXT_BEGINS, begin);
        socket.send(PING, b"");
        socket.send(ENDS, end);
        assert_eq!(socket.frame().0, PONG);
        assert_eq!(
            socket.frame(),
            (TEXT, good.as_bytes().to_vec()),
            "cut at {at}"
        );
    }
    for bad in [
        // Beyond the last code point, surrogates, forms that are too long, ends that are missing, bytes that never are.
        &[0xf4, 0x90, 0x80, 0x80][..],
        &[0xed, 0xa0, 0x80],
        &[0xed, 0xbf, 0xbf],
        &[0xc0, 0xaf],
        &[0xe0, 0x80, 0xaf],
        &[0xf0, 0x80, 0x80, 0xaf],
        &[0xce],
        &[0xe1, 0xbd],
        &[0x80],
        &[0xff],
        &[0xfe],
        b"good \xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80 bad",
    ] {
        refused(&server, &masked(TEXT, bad, MASK), 1007);
        let (begin, end) = bad.split_at(bad.len() / 2);
        let cut = [masked(TEXT_BEGINS, begin, MASK), masked(ENDS, end, MASK)];
        refused(&server, &cut.concat(), 1007);
    }
    // Bytes may be anything.
    socket.send(BINARY, &[0xff, 0xc0]);
    assert_eq!(socket.frame(), (BINARY, vec![0xff, 0xc0]));
}

#[test]
fn section_10_4_messages_have_a_limit_however_they_come() {
    let settings = Settings {
        message_bytes_max: Some(1000),
        ..Settings::default()
    };
    let server = Server::with(ECHO, settings);
    let mut socket = open(&server);
    socket.send(BINARY, &[7; 1000]);
    assert_eq!(socket.frame(), (BINARY, vec![7; 1000]));
    refused(&server, &masked(BINARY, &[7; 1001], MASK), 1009);
    // A head that promises more is enough.
    refused(
        &server,
        &[&[BINARY, 0xff, 0, 0, 1, 0, 0, 0, 0, 0], &MASK[..]].concat(),
        1009,
    );
    let pieces = [masked(0x02, &[7; 600], MASK), masked(ENDS, &[7; 401], MASK)];
    refused(&server, &pieces.concat(), 1009);
    assert_eq!(server.told(3), ["1009", "1009", "1009"]);
}

#[test]
fn messages_of_many_megabytes_go_there_and_back() {
    let settings = Settings {
        message_bytes_max: None,
        ..Settings::default()
    };
    let server = Server::with(ECHO, settings);
    let mut socket = open(&server);
    let content: Vec<u8> = (0..(16 << 20) + 3_usize)
        .map(|at| (at % 253) as u8)
        .collect();
    socket.send(BINARY, &content);
    assert!(socket.frame() == (BINARY, content.clone()));
    let pieces = content.chunks(1 << 20);
    let last = pieces.len() - 1;
    for (at, piece) in pieces.enumerate() {
        let opcode = if at == 0 { 0x02 } else { GOES_ON };
        socket.send(opcode | if at == last { ENDS } else { 0 }, piece);
    }
    assert!(socket.frame() == (BINARY, content));
}

/// A client's half of RFC 7692.
fn pack(content: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut packer = Compress::new(Compression::best(), false);
    let mut packed = Vec::with_capacity(content.len() * 2 + 100);
    packer
        .compress_vec(content, &mut packed, flush)
        .expect("packs");
    if packed.ends_with(&[0, 0, 0xff, 0xff]) {
        packed.truncate(packed.len() - 4);
    }
    packed
}

fn unpack(packed: &[u8], window_bits: u8) -> Vec<u8> {
    let mut unpacker = Decompress::new_with_window_bits(false, window_bits);
    let mut content = Vec::with_capacity(1 << 20);
    let whole = [packed, &[0, 0, 0xff, 0xff]].concat();
    unpacker
        .decompress_vec(&whole, &mut content, FlushDecompress::Sync)
        .expect("unpacks");
    content
}

/// A WebSocket with these parameters, and what the server agreed to.
fn deflated(server: &Server, parameters: &str) -> (Socket, Option<String>) {
    let offer = format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n");
    let (socket, answer) = Socket::open(server, "/", &offer);
    let agreed = answer.field("sec-websocket-extensions").map(str::to_owned);
    (socket, agreed)
}

/// Text that can be packed, and whose repeats lie far apart.
fn prose() -> Vec<u8> {
    let words = (0..6000_u32).map(|at| format!("{} ", at.wrapping_mul(2_654_435_761) % 700));
    words.collect::<String>().into_bytes()
}

#[test]
fn rfc_7692_offers_are_answered_or_passed_over() {
    let server = Server::start(ECHO);
    let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (parameters, agreed) in [
        ("", Some(plain.to_owned())),
        ("; client_max_window_bits", Some(plain.to_owned())),
        (
            "; client_max_window_bits=10; server_no_context_takeover",
            Some(plain.to_owned()),
        ),
        (
            "; server_max_window_bits=9",
            Some(format!("{plain}; server_max_window_bits=9")),
        ),
        (
            "; server_max_window_bits=\"15\"",
            Some(format!("{plain}; server_max_window_bits=15")),
        ),
        // What cannot be done, and what is none of the parameters: no extension, but a WebSocket.
        ("; server_max_window_bits=8", None),
        ("; server_max_window_bits=16", None),
        ("; server_max_window_bits", None),
        ("; client_max_window_bits=7", None),
        ("; server_no_context_takeover=1", None),
        (
            "; server_no_context_takeover; server_no_context_takeover",
            None,
        ),
        ("; unknown", None),
        // The next offer is looked at then.
        ("; unknown, permessage-deflate", Some(plain.to_owned())),
        (
            "; server_max_window_bits=8, permessage-deflate; server_max_window_bits=12",
            Some(format!("{plain}; server_max_window_bits=12")),
        ),
    ] {
        let (mut socket, answer) = deflated(&server, parameters);
        assert_eq!(answer, agreed, "{parameters}");
        socket.send(TEXT, b"plain");
        assert_eq!(socket.frame(), (TEXT, b"plain".to_vec()), "{parameters}");
    }
}

#[test]
fn rfc_7692_messages_are_packed_in_the_window_that_was_agreed_on() {
    let server = Server::start(ECHO);
    let content = prose();
    for bits in 9..=15 {
        let (mut socket, _) = deflated(&server, &format!("; server_max_window_bits={bits}"));
        // Each message stands alone: the second is packed as the first was.
        let mut answers = Vec::new();
        for _ in 0..2 {
            socket.send(TEXT | PACKED, &pack(&content, FlushCompress::Sync));
            let (first, packed) = socket.frame();
            assert_eq!(first, TEXT | PACKED, "{bits}");
            assert!(packed.len() < content.len());
            assert!(unpack(&packed, bits) == content, "{bits}");
            answers.push(packed);
        }
        assert!(answers[0] == answers[1], "{bits}");
    }
}

#[test]
fn rfc_7692_packed_messages_come_in_any_form() {
    let server = Server::start(ECHO);
    let (mut socket, _) = deflated(&server, "");
    // In fragments, of which only the first has the bit; control frames between them are as ever.
    let content = prose();
    let packed = pack(&content, FlushCompress::Sync);
    let pieces: Vec<_> = packed.chunks(packed.len() / 3 + 1).collect();
    socket.send(TEXT_BEGINS | PACKED, pieces[0]);
    socket.send(PING, b"between");
    socket.send(GOES_ON, pieces[1]);
    socket.send(ENDS, pieces[2]);
    assert_eq!(socket.frame(), (PONG, b"between".to_vec()));
    let (first, answer) = socket.frame();
    assert_eq!(first, TEXT | PACKED);
    assert!(unpack(&answer, 15) == content);
    // The examples of section 7.2.3: a stored block, a final block, two blocks.
    for packed in [
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, b'H', b'e', b'l', b'l', b'o', 0x00,
        ][..],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ] {
        socket.send(TEXT | PACKED, packed);
        assert_eq!(socket.frame(), (TEXT, b"Hello".to_vec()), "{packed:02x?}");
    }
    // An empty message, as section 7.2.3.6 packs it.
    socket.send(BINARY | PACKED, &[0]);
    assert_eq!(socket.frame(), (BINARY, vec![]));
    // Without the bit it is plain, also where packing was agreed on.
    socket.send(BINARY, b"plain");
    assert_eq!(socket.frame(), (BINARY, b"plain".to_vec()));
}

#[test]
fn rfc_7692_what_is_packed_badly_or_too_large_is_refused() {
    let settings = Settings {
        message_bytes_max: Some(100_000),
        ..Settings::default()
    };
    let server = Server::with(ECHO, settings);
    let refused = |frames: Vec<u8>, code: u16| {
        let (mut socket, _) = deflated(&server, "");
        socket.0.send(&frames);
        assert_eq!(socket.close_code(), code);
        assert!(socket.0.at_end());
    };
    let packed = |content: &[u8]| masked(TEXT | PACKED, &pack(content, FlushCompress::Sync), MASK);
    refused(masked(TEXT | PACKED, &[0xff, 0xff, 0xff], MASK), 1007);
    refused(packed(&[0xc3, 0x28]), 1007);
    refused(packed(&[b'a'; 100_001]), 1009);
    refused(masked(PING | PACKED, b"", MASK), 1002);
    let again = [
        masked(TEXT_BEGINS | PACKED, &[0], MASK),
        masked(ENDS | PACKED, &[0], MASK),
    ];
    refused(again.concat(), 1002);
    let (mut socket, _) = deflated(&server, "");
    socket.0.send(packed(&[b'a'; 100_000]));
    assert!(unpack(&socket.frame().1, 15) == [b'a'; 100_000]);
}
