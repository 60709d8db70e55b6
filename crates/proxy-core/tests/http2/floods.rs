//! Clients that mean harm, frame by frame.

use super::*;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let mut frame = (content.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(content);
    frame
}

/// A head in HPACK: GET https://a/ by the static table and one literal.
pub const HEAD: &[u8] = &[0x82, 0x87, 0x84, 0x41, 0x01, b'a'];

/// The connection's end as the client sees it: the reason of GOAWAY, if one came.
async fn end_of(mut stream: impl AsyncReadExt + Unpin) -> Option<u32> {
    let mut reason = None;
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return reason;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut content = vec![0; length];
        if stream.read_exact(&mut content).await.is_err() {
            return reason;
        }
        if head[3] == GOAWAY {
            reason = Some(u32::from_be_bytes(content[4..8].try_into().unwrap()));
        }
    }
}

const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

pub fn preface() -> Vec<u8> {
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    all.extend(frame(SETTINGS, 0, 0, &[]));
    all
}

/// Sends as much of this as the server takes, and says how it ended.
async fn suffers(attack: Vec<u8>, settings: Settings) -> (Option<u32>, Arc<Scripted>) {
    let service = Scripted::new(limits(), hello);
    let Line { stream, task, .. } = Line::open(&service, &settings);
    let stream = stream.into_std().unwrap();
    let writing = UnixStream::from_std(stream.try_clone().unwrap()).unwrap();
    let reading = UnixStream::from_std(stream).unwrap();
    let writer = tokio::spawn(async move {
        let mut writing = writing;
        let _ = writing.write_all(&preface()).await;
        let _ = writing.write_all(&attack).await;
        writing
    });
    let reason = end_of(reading).await;
    task.await.unwrap();
    writer.abort();
    // Others are served as ever.
    assert_eq!(Client::new(&service).await.get("/").await.1, "hello");
    (reason, service)
}

#[tokio::test]
async fn frames_that_bring_nothing_end_the_connection() {
    let open = [frame(HEADERS, END_HEADERS, 1, HEAD)].concat();
    for (name, one, before) in [
        ("ping", frame(PING, 0, 0, &[0; 8]), vec![]),
        ("settings", frame(SETTINGS, 0, 0, &[]), vec![]),
        ("priority", frame(PRIORITY, 0, 5, &[0, 0, 0, 0, 1]), vec![]),
        ("unknown", frame(77, 0, 0, b"x"), vec![]),
        ("window", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), vec![]),
        ("empty data", frame(DATA, 0, 1, &[]), open),
    ] {
        let mut attack = before;
        (0..20_000).for_each(|_| attack.extend(&one));
        let (reason, _) = suffers(attack, Settings::default()).await;
        assert_eq!(reason, Some(ENHANCE_YOUR_CALM), "{name}");
    }
}

/// The first frame about stream 1 that is no DATA: its kind, and the stream's reset's reason.
async fn told_of_the_stream(stream: &mut UnixStream) -> (u8, Option<u32>) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut content = vec![0; length];
        stream.read_exact(&mut content).await.unwrap();
        match head[3] {
            RST_STREAM => {
                let reason = content[..4].try_into().unwrap();
                return (RST_STREAM, Some(u32::from_be_bytes(reason)));
            }
            HEADERS => return (HEADERS, None),
            _ => {}
        }
    }
}

#[tokio::test]
async fn pseudo_header_fields_in_trailers_change_nothing_or_break_the_stream() {
    let path = [0x44, 2, b'/', b'x'];
    let field = [0, 1, b'a', 1, b'b'];
    for (trailers, told) in [
        // What the crate h2 does not tell of (see `incoming`).
        (path.to_vec(), (HEADERS, None)),
        ([path, path].concat(), (RST_STREAM, Some(PROTOCOL_ERROR))),
        (
            [&field[..], &path].concat(),
            (RST_STREAM, Some(PROTOCOL_ERROR)),
        ),
    ] {
        let service = Scripted::new(limits(), echo);
        let Line { mut stream, .. } = Line::open(&service, &Settings::default());
        let frames = [
            preface(),
            frame(HEADERS, END_HEADERS, 1, HEAD),
            frame(DATA, 0, 1, b"some"),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
        ];
        stream.write_all(&frames.concat()).await.unwrap();
        assert_eq!(told_of_the_stream(&mut stream).await, told, "{trailers:?}");
        if told.0 == HEADERS {
            noted(|| service.sent(), |sent| sent == "/ 10 Complete").await;
        }
    }
}

#[tokio::test]
async fn requests_that_are_reset_at_once_end_the_connection() {
    let mut attack = Vec::new();
    for number in 0..5000_u32 {
        let stream = 2 * number + 1;
        attack.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, HEAD));
        attack.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let (reason, service) = suffers(attack, Settings::default()).await;
    assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
    assert!(service.sent().len() < 2000, "{}", service.sent().len());
}

#[tokio::test]
async fn heads_without_end_end_the_connection() {
    let mut attack = frame(HEADERS, END_STREAM, 1, HEAD);
    // x: x…, never indexed, again and again.
    let field = [&[0x10, 1, b'x', 100][..], &[b'y'; 100]].concat();
    for _ in 0..2000 {
        attack.extend(frame(CONTINUATION, 0, 1, &field));
    }
    let (reason, service) = suffers(attack, Settings::default()).await;
    assert!(reason.is_some_and(|reason| reason != 0), "{reason:?}");
    assert!(
        service.sent().iter().all(|sent| !sent.starts_with("/ 5")) || service.sent().len() == 1
    );
}

#[tokio::test]
async fn a_head_that_grows_when_it_is_unpacked_is_refused() {
    // One value of 3840 bytes in the table, named a thousand times over.
    let mut head = HEAD.to_vec();
    head.extend([0x40, 1, b'x', 0x7f, 0x81, 0x1d]);
    head.extend(vec![b'y'; 3840]);
    head.extend(vec![0xbe; 1000]);
    let service = Scripted::new(limits(), hello);
    let Line { mut stream, .. } = Line::open(&service, &Settings::default());
    stream.write_all(&preface()).await.unwrap();
    stream
        .write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head))
        .await
        .unwrap();
    // 431, or the end of the stream or of the connection.
    let mut kind = SETTINGS;
    while ![HEADERS, RST_STREAM, GOAWAY].contains(&kind) {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut content).await.unwrap();
        kind = head[3];
    }
    assert!(service.sent().is_empty(), "{:?}", service.sent());
    assert_eq!(Client::new(&service).await.get("/").await.1, "hello");
}

#[tokio::test]
async fn more_requests_than_are_allowed_at_a_time_are_turned_away() {
    let service = Scripted::new(limits(), |_: Request| async {
        std::future::pending().await
    });
    let settings = Settings {
        concurrent_streams: 2,
        ..Settings::default()
    };
    let Line { mut stream, .. } = Line::open(&service, &settings);
    stream.write_all(&preface()).await.unwrap();
    for number in [1, 3, 5] {
        stream
            .write_all(&frame(HEADERS, END_HEADERS | END_STREAM, number, HEAD))
            .await
            .unwrap();
    }
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut content).await.unwrap();
        if head[3] == RST_STREAM {
            assert_eq!(
                (head[8], content),
                (5, 7_u32.to_be_bytes().to_vec()),
                "REFUSED_STREAM"
            );
            return;
        }
    }
}

#[tokio::test]
async fn what_has_begun_has_to_go_on() {
    let impatient = Limits {
        head_timeout: Duration::from_millis(60),
        ..limits()
    };
    for begun in [
        frame(HEADERS, END_STREAM, 3, HEAD),
        frame(PING, 0, 0, &[0; 8])[..12].to_vec(),
        frame(SETTINGS, 0, 0, &[])[..4].to_vec(),
    ] {
        let waiting = Scripted::new(impatient.clone(), |_: Request| async {
            std::future::pending().await
        });
        let Line {
            mut stream, task, ..
        } = Line::open(&waiting, &Settings::default());
        // With a request under way the connection is not idle. All at once: it has no time to lose.
        let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD);
        stream
            .write_all(&[preface(), request, begun].concat())
            .await
            .unwrap();
        assert_eq!(end_of(stream).await.unwrap_or_default(), 0);
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_at_all_is_left() {
    let impatient = Limits {
        send_timeout: Duration::from_millis(60),
        ..limits()
    };
    let service = Scripted::new(impatient, |_: Request| async {
        with_body(vec![b'x'; 4 << 20])
    });
    let Line {
        mut stream, task, ..
    } = Line::open(&service, &Settings::default());
    stream.write_all(&preface()).await.unwrap();
    // Windows as large as can be.
    let most = 0x7fff_0000_u32.to_be_bytes();
    stream
        .write_all(&frame(WINDOW_UPDATE, 0, 0, &most))
        .await
        .unwrap();
    stream
        .write_all(&frame(SETTINGS, 0, 0, &[&[0, 4][..], &most].concat()))
        .await
        .unwrap();
    stream
        .write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD))
        .await
        .unwrap();
    task.await.unwrap();
    drop(stream);
}

#[tokio::test]
async fn what_is_no_http_2_is_left_at_once() {
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"",
    ] {
        let service = Scripted::new(limits(), hello);
        let Line {
            mut stream, task, ..
        } = Line::open(&service, &Settings::default());
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        task.await.unwrap();
        assert!(service.sent().is_empty());
    }
    let (reason, _) = suffers(frame(DATA, 0, 0, b"x"), Settings::default()).await;
    assert_eq!(reason, Some(PROTOCOL_ERROR));
}

#[tokio::test]
async fn fields_of_a_connection_are_malformed() {
    for name in [
        "connection",
        "transfer-encoding",
        "keep-alive",
        "proxy-connection",
        "upgrade",
    ] {
        let mut head = HEAD.to_vec();
        head.extend([0x10, name.len() as u8]);
        head.extend(name.as_bytes());
        head.extend([5]);
        head.extend(b"close");
        let service = Scripted::new(limits(), hello);
        let Line { mut stream, .. } = Line::open(&service, &Settings::default());
        stream.write_all(&preface()).await.unwrap();
        stream
            .write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head))
            .await
            .unwrap();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut content).await.unwrap();
            if head[3] == RST_STREAM {
                assert_eq!(content, PROTOCOL_ERROR.to_be_bytes(), "{name}");
                break;
            }
            assert_ne!(head[3], HEADERS, "{name}");
        }
        assert!(service.sent().is_empty());
    }
}

#[tokio::test]
async fn any_bytes_at_all_do_no_harm() {
    // Deterministic, and different for each round.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let service = Scripted::new(
        Limits {
            head_timeout: Duration::from_millis(50),
            keep_alive_timeout: Duration::from_millis(50),
            ..limits()
        },
        hello,
    );
    for round in 0..60 {
        let mut bytes = preface();
        for _ in 0..random() % 30 {
            let length = (random() % 40) as usize;
            let content: Vec<u8> = (0..length).map(|_| random() as u8).collect();
            let content = if round % 3 == 0 { HEAD } else { &content };
            bytes.extend(frame(
                (random() % 11) as u8,
                random() as u8,
                (random() % 6) as u32,
                content,
            ));
        }
        let Line {
            mut stream, task, ..
        } = Line::open(&service, &Settings::default());
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        task.await.unwrap();
    }
    assert_eq!(Client::new(&service).await.get("/").await.1, "hello");
}

/// The next frame that is not about the connection's windows and settings: kind, stream and content.
pub async fn next(stream: &mut UnixStream) -> Option<(u8, u8, Vec<u8>)> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut content).await.ok()?;
        if ![SETTINGS, WINDOW_UPDATE, PING].contains(&head[3]) {
            return Some((head[3], head[4], content));
        }
    }
}

#[tokio::test]
async fn who_goes_on_asking_after_the_goodbye_is_turned_away() {
    const TRIES: u32 = 100;
    let limits = Limits {
        drain_timeout: Duration::ZERO,
        ..limits()
    };
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let service = Scripted::new(limits, move |request: Request| {
        let held = held.clone();
        async move {
            if request.ordinal == 1 {
                held.notified().await;
            }
            text(StatusCode::OK, "")
        }
    });
    let Line {
        mut stream,
        task,
        drain,
    } = Line::open(&service, &Settings::default());
    let ask = |number: u32| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, HEAD);
    stream
        .write_all(&[preface(), ask(0), ask(1)].concat())
        .await
        .unwrap();
    // The first is under way as long as the gate is closed.
    assert_eq!(next(&mut stream).await.unwrap().0, HEADERS);
    drain.start();
    assert_eq!(next(&mut stream).await.unwrap().0, GOAWAY);
    // The PING that came with it is never answered.
    let mut number = 2;
    let reason = loop {
        assert!(number < TRIES, "is answered for ever");
        stream.write_all(&ask(number)).await.unwrap();
        number += 1;
        match next(&mut stream).await.unwrap() {
            (RST_STREAM, _, content) => break content,
            (kind, ..) => assert_eq!(kind, HEADERS),
        }
    };
    assert_eq!(reason, 7_u32.to_be_bytes(), "REFUSED_STREAM");
    gate.notify_one();
    // What was promised is kept.
    let (kind, flags, _) = next(&mut stream).await.unwrap();
    assert_eq!((kind, flags & END_STREAM), (HEADERS, END_STREAM));
    let _ = stream.write_all(&ask(number)).await;
    assert_eq!(end_of(stream).await.unwrap_or_default(), 0);
    task.await.unwrap();
}

#[tokio::test]
async fn small_pieces_that_wait_are_no_flood_and_too_many_are() {
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let service = Scripted::new(limits(), move |mut request: Request| {
        let held = held.clone();
        async move {
            held.notified().await;
            let length = content(&mut request).await.len();
            text(StatusCode::OK, length.to_string())
        }
    });
    // As many small messages as a window holds, which somebody is busy to take.
    let Line { mut stream, .. } = Line::open(&service, &Settings::default());
    let mut sent = preface();
    sent.extend(frame(HEADERS, END_HEADERS, 1, HEAD));
    (0..6000).for_each(|_| sent.extend(frame(DATA, 0, 1, b"0123456789")));
    sent.extend(frame(DATA, END_STREAM, 1, b"last"));
    stream.write_all(&sent).await.unwrap();
    gate.notify_one();
    assert_eq!(next(&mut stream).await.unwrap().0, HEADERS);
    assert_eq!(next(&mut stream).await.unwrap().2, b"60004");

    // A byte each, on as many streams as there may be, is more than is kept.
    let mut attack = Vec::new();
    for number in 0..10 {
        let stream = 2 * number + 1;
        attack.extend(frame(HEADERS, END_HEADERS, stream, HEAD));
        (0..10_000).for_each(|_| attack.extend(frame(DATA, 0, stream, b"x")));
    }
    let Line { stream, .. } = Line::open(&service, &Settings::default());
    let (reading, mut writing) = stream.into_split();
    let writer = tokio::spawn(async move {
        let _ = writing.write_all(&[preface(), attack].concat()).await;
        writing
    });
    assert_eq!(end_of(reading).await, Some(ENHANCE_YOUR_CALM));
    writer.abort();
}

/// Has the server reset streams, whose requests it would go on to answer otherwise (CVE-2025-8671).
#[tokio::test]
async fn who_makes_the_server_reset_its_streams_loses_the_connection() {
    let bad = [
        frame(WINDOW_UPDATE, 0, 1, &0_u32.to_be_bytes()),
        frame(HEADERS, END_HEADERS, 1, HEAD),
        frame(DATA, 0, 1, b"more"),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 1]),
        frame(WINDOW_UPDATE, 0, 1, &0x7fff_ffff_u32.to_be_bytes()),
    ];
    for bad in bad {
        let mut attack = Vec::new();
        for number in 0..3000_u32 {
            let stream = 2 * number + 1;
            let flags = END_HEADERS | END_STREAM;
            attack.extend(frame(HEADERS, flags, stream, HEAD));
            attack.extend(&bad[..5]);
            attack.extend(stream.to_be_bytes());
            attack.extend(&bad[9..]);
        }
        let (reason, service) = suffers(attack, Settings::default()).await;
        let told = format!("kind {}: {reason:?}", bad[3]);
        assert!(
            [Some(PROTOCOL_ERROR), Some(ENHANCE_YOUR_CALM)].contains(&reason),
            "{told}"
        );
        assert!(service.sent().len() < 1100, "{told}");
    }
}
