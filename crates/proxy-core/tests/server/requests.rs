//! What comes: heads, their limits, and content.

use super::*;

#[tokio::test]
async fn what_is_malformed_never_reaches_the_service() {
    let cases = [
        ("GET / HTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
    ];
    let reached = Arc::new(AtomicUsize::new(0));
    let service = Scripted::new(limits(), {
        let reached = reached.clone();
        move |request| {
            reached.fetch_add(1, Ordering::Relaxed);
            hello(request)
        }
    });
    for (request, status) in cases {
        let mut client = Client::connect(&service);
        client.send(request).await;
        client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let all = client.rest_text().await;
        assert!(
            all.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {all}"
        );
        assert!(all.contains("Connection: close\r\n"));
        assert_eq!(all.matches("HTTP/1.1").count(), 1, "{all}");
    }
    assert_eq!(reached.load(Ordering::Relaxed), 0);
    assert_eq!(service.refused().len(), cases.len());
}

#[tokio::test]
async fn limits_of_a_head_are_kept() {
    let head = http_wire::head::HeadLimits {
        line_bytes: 100,
        field_bytes: 100,
        ..Default::default()
    };
    let service = Scripted::new(Limits { head, ..limits() }, hello);
    for (request, status) in [
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200)),
            414,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "x".repeat(200)
            ),
            431,
        ),
        // Not even a whole line.
        (format!("GET /{}", "x".repeat(200)), 414),
    ] {
        let mut client = Client::connect(&service);
        client.send(request).await;
        assert!(
            client
                .rest_text()
                .await
                .starts_with(&format!("HTTP/1.1 {status} "))
        );
    }
}

#[tokio::test]
async fn continue_is_sent_when_the_content_is_asked_for() {
    let service = Scripted::new(limits(), echo);
    let mut client = Client::connect(&service);
    client
        .send("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.line().await, "HTTP/1.1 100 Continue");
    assert_eq!(client.line().await, "");
    client.send("hello").await;
    let (head, content) = client.response().await;
    assert_eq!(content, "PUT /a hello");
    assert_eq!(field(&head, "Connection"), Some("keep-alive"));
    // The content is there already: nobody waits.
    client
        .send(
            "PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        )
        .await;
    assert_eq!(client.response().await.1, "PUT /b hello");
}

#[tokio::test]
async fn content_that_was_never_asked_for_is_not_continued() {
    let service = Scripted::new(limits(), |_| async { text(StatusCode::FORBIDDEN, "no") });
    let mut client = Client::connect(&service);
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let (head, content) = client.response().await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(
        (field(&head, "Connection"), content.as_str()),
        (Some("close"), "no")
    );
}

#[tokio::test]
async fn small_content_that_nobody_reads_is_passed_over() {
    let service = Scripted::new(limits(), hello);
    let mut client = Client::connect(&service);
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
        .await;
    assert_eq!(
        field(&client.response().await.0, "Connection"),
        Some("keep-alive")
    );
    client
        .send("56789GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(client.response().await.1, "hello");
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    assert_eq!(client.response().await.1, "hello");
    client
        .send("0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(client.response().await.1, "hello");
    assert_eq!(client.rest().await, b"");
    client.task.await.unwrap();
    assert_eq!(service.sent().len(), 4);
}

#[tokio::test]
async fn large_content_that_nobody_reads_does_not_destroy_the_response() {
    let service = Scripted::new(limits(), |_| async {
        text(StatusCode::PAYLOAD_TOO_LARGE, "too large")
    });
    let client = Client::connect(&service);
    let (mut read, mut write) = client.stream.into_split();
    let sending = tokio::spawn(async move {
        write
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
            .await
            .unwrap();
        let _ = write.write_all(&vec![0; 1 << 20]).await;
        write
    });
    let mut all = Vec::new();
    read.read_to_end(&mut all).await.unwrap();
    let all = String::from_utf8(all).unwrap();
    assert!(
        all.starts_with("HTTP/1.1 413 ") && all.ends_with("too large"),
        "{all}"
    );
    assert!(all.contains("Connection: close\r\n"));
    // It went on reading what the client sends, so that no reset was sent.
    drop(sending.await.unwrap());
    client.task.await.unwrap();
    assert!(service.sent()[0].ends_with("Complete"));
}

#[tokio::test]
async fn content_larger_than_its_limit_is_refused() {
    let service = Scripted::new(limits(), |mut request: Request| async move {
        if let Err(error) = request.content.limit(Some(4)) {
            return text(error.status().unwrap(), error.to_string());
        }
        match request.content.chunk().await {
            Ok(_) => text(StatusCode::OK, "taken"),
            Err(error) => text(error.status().unwrap(), error.to_string()),
        }
    });
    for (framing, content, status) in [
        ("Content-Length: 5", "12345", 413),
        ("Content-Length: 4", "1234", 200),
        ("Transfer-Encoding: chunked", "5\r\n12345\r\n0\r\n\r\n", 413),
        ("Transfer-Encoding: chunked", "x\r\n", 400),
    ] {
        let mut client = Client::connect(&service);
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{content}"
            ))
            .await;
        let (head, said) = client.response().await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{framing}: {head}{said}"
        );
    }
}

#[tokio::test]
async fn content_that_stops_is_timed_out() {
    let service = Scripted::new(limits(), |mut request: Request| async move {
        request.content.pause(Duration::from_millis(10));
        loop {
            match request.content.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return text(StatusCode::OK, "all"),
                Err(error) => return text(error.status().unwrap(), error.to_string()),
            }
        }
    });
    let mut client = Client::connect(&service);
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12")
        .await;
    let (head, said) = client.response().await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    assert_eq!(
        (said.as_str(), field(&head, "Connection")),
        ("client sent no content for 10 ms", Some("close"))
    );
}
