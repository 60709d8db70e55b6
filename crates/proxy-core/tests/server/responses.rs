//! What leaves: framing, fields, streams, files, other protocols.

use super::*;

#[tokio::test]
async fn content_is_framed_as_the_version_and_its_length_allow() {
    let service = Scripted::new(limits(), |request: Request| async move {
        match request.head.target.as_bytes() {
            b"/empty" => Response::new(StatusCode::OK),
            b"/bytes" => with_body("bytes"),
            _ => with_body(frames(vec![Ok("some "), Ok(""), Ok("more")])),
        }
    });
    let mut client = Client::connect(&service);
    client.send("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        field(&client.response().await.0, "Content-Length"),
        Some("0")
    );
    client.send("GET /bytes HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        field(&client.response().await.0, "Content-Length"),
        Some("5")
    );
    client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (head, content) = client.response().await;
    assert_eq!(
        (field(&head, "Transfer-Encoding"), content.as_str()),
        (Some("chunked"), "some more")
    );
    client
        .send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let (head, content) = client.response().await;
    assert_eq!(
        (field(&head, "Connection"), content.as_str()),
        (Some("close"), "some more")
    );
    assert!(field(&head, "Transfer-Encoding").is_none());
}

#[tokio::test]
async fn responses_that_never_have_content_have_none() {
    let service = Scripted::new(limits(), |request: Request| async move {
        let status = std::str::from_utf8(&request.head.target.as_bytes()[1..])
            .unwrap()
            .parse()
            .unwrap();
        text(status, "content")
    });
    let mut client = Client::connect(&service);
    for (method, status, length) in [
        ("HEAD", 200, Some("7")),
        ("GET", 204, None),
        ("GET", 304, None),
        ("GET", 200, Some("7")),
        ("HEAD", 404, Some("7")),
    ] {
        client
            .send(format!("{method} /{status} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let (head, _) = client.response_to(method).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(field(&head, "Content-Length"), length, "{method} {status}");
        assert!(field(&head, "Transfer-Encoding").is_none());
    }
    assert!(service.sent().iter().all(|sent| sent.ends_with("Complete")));
}

#[tokio::test]
async fn a_length_stated_for_head_or_304_is_passed_on() {
    let service = Scripted::new(limits(), |request: Request| async move {
        let mut response = Response::new(if request.head.target.as_bytes() == b"/304" {
            StatusCode::NOT_MODIFIED
        } else {
            StatusCode::OK
        });
        add(&mut response, Known::ContentLength, "1234");
        response
    });
    let mut client = Client::connect(&service);
    for (method, target) in [("HEAD", "/"), ("GET", "/304")] {
        client
            .send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        assert_eq!(
            field(&client.response_to(method).await.0, "Content-Length"),
            Some("1234")
        );
    }
}

#[tokio::test]
async fn content_of_another_length_than_promised_cuts_the_connection() {
    for (promised, body, arrives, outcome) in [
        ("9", Body::from("short"), "short", "BodyFailed(Incomplete"),
        ("3", Body::from("longer"), "lon", "BodyFailed(TooLong"),
        (
            "9",
            frames(vec![Ok("short")]),
            "short",
            "BodyFailed(Incomplete",
        ),
        (
            "3",
            frames(vec![Ok("lo"), Ok("nger")]),
            "lon",
            "BodyFailed(TooLong",
        ),
    ] {
        let body = std::sync::Mutex::new(Some(body));
        let service = Scripted::new(limits(), move |_| {
            let mut response = with_body(body.lock().unwrap().take().unwrap());
            add(&mut response, Known::ContentLength, promised);
            std::future::ready(response)
        });
        let mut client = Client::connect(&service);
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        let all = client.rest_text().await;
        assert!(all.ends_with(&format!("\r\n\r\n{arrives}")), "{all}");
        client.task.await.unwrap();
        let sent = service.sent();
        assert!(sent.len() == 1 && sent[0].contains(outcome), "{sent:?}");
    }
}

#[tokio::test]
async fn content_that_fails_leaves_out_the_last_chunk() {
    let service = Scripted::new(limits(), |_| async {
        with_body(frames(vec![
            Ok("begin"),
            Err(BodyError::Incomplete("the script ended".into())),
        ]))
    });
    let mut client = Client::connect(&service);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let all = client.rest_text().await;
    assert!(all.ends_with("\r\n\r\n5\r\nbegin\r\n"), "{all}");
    client.task.await.unwrap();
    assert!(service.sent()[0].contains("the script ended"));
}

#[tokio::test]
async fn the_fields_of_the_connection_are_its_own() {
    let service = Scripted::new(limits(), |request: Request| async move {
        let mut response = text(StatusCode::OK, "hello");
        for (name, value) in [
            (Known::TransferEncoding, "chunked"),
            (Known::ProxyConnection, "keep-alive"),
            (Known::Te, "trailers"),
            (Known::Trailer, "Expires"),
            (Known::KeepAlive, "timeout=5"),
            (Known::ContentType, "text/plain"),
            (Known::Date, "Sun, 06 Nov 1994 08:49:37 GMT"),
        ] {
            add(&mut response, name, value);
        }
        if request.head.target.as_bytes() == b"/close" {
            add(&mut response, Known::Connection, "close");
        }
        response.ending.server = Some("edge");
        response
    });
    let mut client = Client::connect(&service);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (head, content) = client.response().await;
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nServer: edge\r\nKeep-Alive: timeout=5\r\nContent-Type: text/plain\r\nDate: Sun, 06 Nov 1994 \
         08:49:37 GMT\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"
    );
    assert_eq!(content, "hello");
    client.send("GET /close HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (head, _) = client.response().await;
    assert_eq!(
        (field(&head, "Connection"), field(&head, "Keep-Alive")),
        (Some("close"), None)
    );
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_stream_is_written_when_it_stalls() {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let service = Scripted::new(limits(), move |_| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        std::future::ready(with_body(Body::stream(Frames(receiver))))
    });
    let mut client = Client::connect(&service);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while !client.line().await.is_empty() {}
    for text in ["first", "second"] {
        sender.send(Ok(text)).unwrap();
        assert_eq!(client.line().await, format!("{:x}", text.len()));
        assert_eq!(client.line().await, text);
    }
    drop(sender);
    assert_eq!(
        (client.line().await, client.line().await),
        ("0".into(), String::new())
    );
}

#[tokio::test]
async fn a_stalled_stream_ends_when_its_client_leaves() {
    let (sender, receiver) = mpsc::unbounded_channel::<Result<&'static str, BodyError>>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let service = Scripted::new(limits(), move |_| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        std::future::ready(with_body(Body::stream(Frames(receiver))))
    });
    let mut client = Client::connect(&service);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while !client.line().await.is_empty() {}
    drop(client.stream);
    sender.closed().await;
    client.task.await.unwrap();
    assert!(service.sent()[0].ends_with("ClientGone"));
}

#[tokio::test]
async fn early_hints_go_ahead_of_the_response() {
    let service = Scripted::new(limits(), |request: Request| async move {
        let interim = request.interim();
        let mut fields = http_wire::Fields::new();
        fields.append(Known::Link, "</a.css>; rel=preload").unwrap();
        let sent = interim.send(StatusCode::EARLY_HINTS, &fields);
        assert!(!interim.send(StatusCode::OK, &fields));
        tokio::task::yield_now().await;
        text(StatusCode::OK, format!("{sent}"))
    });
    let mut client = Client::connect(&service);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (head, _) = client.response().await;
    assert_eq!(
        head,
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    );
    assert_eq!(client.response().await.1, "true");
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.response().await.1, "false");
}

#[tokio::test]
async fn an_upgraded_connection_speaks_for_itself() {
    let service = Scripted::new(limits(), |_| async {
        let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
        add(&mut response, Known::Upgrade, "echo");
        let taker: UpgradeFn = Box::new(|mut upgraded| {
            Box::pin(async move {
                let mut all = Vec::new();
                upgraded.read_to_end(&mut all).await.unwrap();
                upgraded.write_all(&all).await.unwrap();
                upgraded.shutdown().await.unwrap();
                TunnelEnd {
                    sent_bytes: all.len() as u64,
                    received_bytes: all.len() as u64,
                }
            })
        });
        response.upgrade = Some(taker);
        response
    });
    let mut client = Client::connect(&service);
    client
        .send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nahead ")
        .await;
    let (head, _) = client.response().await;
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    assert_eq!(
        (field(&head, "Connection"), field(&head, "Upgrade")),
        (Some("upgrade"), Some("echo"))
    );
    assert!(
        field(&head, "Content-Length").is_none() && field(&head, "Transfer-Encoding").is_none()
    );
    client.send("and behind").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest_text().await, "ahead and behind");
    client.task.await.unwrap();
    assert_eq!(service.sent(), ["/ws 16 Complete"]);
}

#[tokio::test]
async fn a_service_may_close_without_an_answer() {
    let service = Scripted::new(limits(), |_| async {
        let mut response = Response::new(StatusCode::OK);
        response.ending.close_unanswered = true;
        response
    });
    let mut client = Client::connect(&service);
    client.send("GET /444 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.rest().await, b"");
    client.task.await.unwrap();
    assert_eq!(service.sent(), ["/444 0 Complete"]);
}

#[tokio::test]
async fn files_of_any_size_arrive_whole() {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let all: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    file.write_all(&all).unwrap();
    let path = file.path().to_owned();
    let service = Scripted::new(limits(), move |request: Request| {
        let range = String::from_utf8(request.head.target.as_bytes()[1..].to_vec()).unwrap();
        let (start, length) = range.split_once('-').unwrap();
        let opened = std::fs::File::open(&path).unwrap();
        let body =
            static_files::FileBody::new(opened, start.parse().unwrap(), length.parse().unwrap());
        std::future::ready(with_body(body))
    });
    let mut client = Client::connect(&service);
    for (start, length) in [
        (0, 10),
        (0, 0),
        (5, 32 * 1024),
        (0, 32 * 1024 + 1),
        (1000, 2_500_000),
        (0, 3_000_000),
    ] {
        client
            .send(format!("GET /{start}-{length} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let (head, content) = client.response_to("GET").await;
        assert_eq!(
            field(&head, "Content-Length"),
            Some(length.to_string().as_str())
        );
        assert!(content == all[start..start + length], "{start}-{length}");
    }
    // Shorter than promised: cut.
    client
        .send("GET /2999999-100000 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let rest = client.rest().await;
    assert!(rest.ends_with(b"\r\n\r\n\x2c") || rest.ends_with(&all[2_999_999..]));
    client.task.await.unwrap();
    let sent = service.sent();
    assert!(
        sent[..6].iter().all(|sent| sent.ends_with("Complete")) && sent[6].contains("BodyFailed"),
        "{sent:?}"
    );
}
