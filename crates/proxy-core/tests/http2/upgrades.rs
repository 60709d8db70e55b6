//! Connections that begin with HTTP/1.1 and go on with HTTP/2 (RFC 7540 §3.2).

use super::floods::{
    DATA, END_HEADERS, END_STREAM, HEAD, HEADERS, SETTINGS, WINDOW_UPDATE, frame, next, preface,
};
use super::*;
use proxy_core::server::Protocols;

/// INITIAL_WINDOW_SIZE 1.
const ONE_BYTE: &str = "AAQAAAAB";

fn open(service: &Arc<Scripted>, upgrade: bool) -> Line {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let unix = Address::Unix(None);
    let drain = Drain::new();
    let protocols = Protocols {
        http2: Some(Arc::new(Settings::default())),
        upgrade,
        ..Protocols::default()
    };
    assert_eq!(protocols.is_plain(), !upgrade);
    let task = tokio::spawn(protocols.serve(
        Socket::new(theirs.into()).unwrap(),
        Arc::new(Connection::new(unix.clone(), unix, false)),
        service.clone(),
        &drain,
    ));
    Line {
        stream: UnixStream::from_std(ours).unwrap(),
        task,
        drain,
    }
}

fn asking(method: &str, settings: &str, content: &str) -> String {
    let length = match content {
        "" => String::new(),
        content => format!("Content-Length: {}\r\n", content.len()),
    };
    format!(
        "{method} /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: {settings}\r\n{length}\r\n{content}"
    )
}

/// Tells of the request what the application would see.
async fn told(mut request: Request) -> Response {
    let content = String::from_utf8(content(&mut request).await).unwrap();
    let fields: Vec<String> = (request.head.fields.iter())
        .map(|(name, _)| name.as_str().to_owned())
        .collect();
    text(
        StatusCode::OK,
        format!(
            "{} {} {} {:?} {fields:?} {content}",
            request.head.method,
            request.head.version,
            request.ordinal,
            request.connection.claims_https
        ),
    )
}

async fn head_of(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The next frame, whatever it is.
async fn any(stream: &mut UnixStream) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut content).await.unwrap();
    (head[3], head[4], content)
}

#[tokio::test]
async fn the_request_is_the_first_stream_under_the_settings_it_came_with() {
    let service = Scripted::new(limits(), told);
    for content in ["", "content"] {
        let mut line = open(&service, true);
        let stream = &mut line.stream;
        let asked = asking("POST", ONE_BYTE, content);
        // An empty SETTINGS frame: what the request said goes on to hold.
        let all = [asked.as_bytes(), &preface()].concat();
        stream.write_all(&all).await.unwrap();
        let head = head_of(stream).await;
        assert!(
            head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{head}"
        );
        assert!(head.contains("Upgrade: h2c\r\n"), "{head}");
        let mut acknowledged = 0;
        let first = loop {
            match any(stream).await {
                (SETTINGS, 1, _) => acknowledged += 1,
                (DATA, flags, piece) => break (flags, piece),
                _ => {}
            }
        };
        assert_eq!(first, (0, b"P".to_vec()));
        let more = frame(WINDOW_UPDATE, 0, 1, &1000_u32.to_be_bytes());
        stream.write_all(&more).await.unwrap();
        let (kind, flags, rest) = next(stream).await.unwrap();
        assert_eq!((kind, flags, acknowledged), (DATA, END_STREAM, 1));
        let fields = if content.is_empty() {
            r#"["Host"]"#
        } else {
            r#"["Host", "Content-Length"]"#
        };
        assert_eq!(
            String::from_utf8(rest).unwrap(),
            format!("OST HTTP/2.0 1 None {fields} {content}")
        );
        // Others follow.
        let second = frame(HEADERS, END_HEADERS | END_STREAM, 3, HEAD);
        let more = frame(WINDOW_UPDATE, 0, 3, &1000_u32.to_be_bytes());
        stream.write_all(&[second, more].concat()).await.unwrap();
        assert_eq!(next(stream).await.unwrap().0, HEADERS);
        while next(stream).await.unwrap().1 != END_STREAM {}
        line.drain.start();
        line.task.await.unwrap();
        line.drain.ended().await;
    }
    noted(|| service.sent(), |sent| sent.starts_with("/up")).await;
    assert!(service.sent().iter().all(|sent| !sent.starts_with("/up 0")));
}

#[tokio::test]
async fn the_first_frames_may_come_in_pieces_and_must_be_those_of_http_2() {
    let service = Scripted::new(limits(), told);
    let mut line = open(&service, true);
    let asked = asking("GET", "", "");
    line.stream.write_all(asked.as_bytes()).await.unwrap();
    head_of(&mut line.stream).await;
    for byte in preface() {
        line.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(next(&mut line.stream).await.unwrap().0, HEADERS);

    for wrong in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b""] {
        let mut line = open(&service, true);
        line.stream.write_all(asked.as_bytes()).await.unwrap();
        head_of(&mut line.stream).await;
        line.stream.write_all(wrong).await.unwrap();
        line.stream.shutdown().await.unwrap();
        while let Some((kind, ..)) = next(&mut line.stream).await {
            assert_ne!(kind, HEADERS);
        }
        line.task.await.unwrap();
    }
    // A client that goes silent is not waited for longer than for a head.
    let impatient = Limits {
        head_timeout: Duration::from_millis(60),
        ..limits()
    };
    let mut line = open(&Scripted::new(impatient, told), true);
    line.stream.write_all(asked.as_bytes()).await.unwrap();
    line.task.await.unwrap();
}

#[tokio::test]
async fn who_does_not_ask_well_or_may_not_is_answered_in_http_1() {
    let service = Scripted::new(limits(), told);
    let large = "x".repeat((64 << 10) + 1);
    let well = asking("GET", ONE_BYTE, "");
    for (may, asked) in [
        (false, well.clone()),
        (true, well.replace(", HTTP2-Settings", "")),
        (true, well.replace("Upgrade, ", "")),
        (true, well.replace("HTTP/1.1", "HTTP/1.0")),
        (true, well.replace("h2c", "h2c, websocket")),
        (true, well.replace("Host: a", "Host: a\r\nHTTP2-Settings: ")),
        (true, asking("GET", "AAQAAAA", "")),
        (true, asking("POST", ONE_BYTE, &large)),
        (
            true,
            well.replace("Host: a", "Host: a\r\nTransfer-Encoding: chunked") + "0\r\n\r\n",
        ),
    ] {
        let mut line = open(&service, may);
        line.stream.write_all(asked.as_bytes()).await.unwrap();
        let head = head_of(&mut line.stream).await;
        assert!(head.contains(" 200 OK\r\n"), "{asked}: {head}");
    }
    // Nor does a connection that is to end begin anew.
    let mut line = open(&service, true);
    line.stream.write_all(b"GET /").await.unwrap();
    line.drain.start();
    line.stream.write_all(&well.as_bytes()[5..]).await.unwrap();
    assert!(head_of(&mut line.stream).await.contains(" 200 OK\r\n"));
}

#[tokio::test]
async fn content_that_does_not_come_is_not_waited_for_long() {
    let service = Scripted::new(limits(), told);
    let mut line = open(&service, true);
    let asked = asking("POST", "", "content");
    line.stream
        .write_all(&asked.as_bytes()[..asked.len() - 1])
        .await
        .unwrap();
    line.stream.shutdown().await.unwrap();
    line.task.await.unwrap();
    assert!(service.sent().is_empty(), "{:?}", service.sent());
}

#[tokio::test]
async fn any_bytes_behind_the_request_do_no_harm() {
    let limits = Limits {
        head_timeout: Duration::from_millis(50),
        keep_alive_timeout: Duration::from_millis(50),
        ..limits()
    };
    let service = Scripted::new(limits, told);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..40 {
        let mut bytes = asking("POST", ONE_BYTE, "content").into_bytes();
        if round % 4 > 0 {
            bytes.extend(preface());
        }
        for _ in 0..random() % 20 {
            let content: Vec<u8> = (0..random() % 30).map(|_| random() as u8).collect();
            let (kind, flags) = ((random() % 11) as u8, random() as u8);
            bytes.extend(frame(kind, flags, (random() % 6) as u32, &content));
        }
        bytes.truncate(bytes.len() - (random() % 8) as usize);
        let mut line = open(&service, true);
        let _ = line.stream.write_all(&bytes).await;
        let _ = line.stream.shutdown().await;
        line.task.await.unwrap();
    }
    let mut line = open(&service, true);
    let asked = asking("GET", "", "");
    line.stream.write_all(asked.as_bytes()).await.unwrap();
    assert!(head_of(&mut line.stream).await.contains(" 101 "));
}
