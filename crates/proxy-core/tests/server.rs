//! A connection as its client sees it.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_wire::Known;
use proptest::prelude::*;
use proxy_core::body::{Body, BodyError};
use proxy_core::server::{Limits, Request, Response, TunnelEnd, UpgradeFn};
use support::{Client, Scripted, add, echo, field, limits, text, until, with_body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

/// Content whose frames come through a channel.
struct Frames(mpsc::UnboundedReceiver<Result<&'static str, BodyError>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let frame = self.0.poll_recv(cx);
        frame.map(|frame| {
            frame.map(|frame| frame.map(|text| http_body::Frame::data(Bytes::from(text))))
        })
    }
}

fn frames(all: Vec<Result<&'static str, BodyError>>) -> Body {
    let (sender, receiver) = mpsc::unbounded_channel();
    all.into_iter()
        .for_each(|frame| sender.send(frame).unwrap());
    Body::stream(Frames(receiver))
}

async fn hello(_request: Request) -> Response {
    text(StatusCode::OK, "hello")
}

#[tokio::test]
async fn a_connection_stays_or_closes_as_the_client_asks() {
    let cases = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            false,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
            false,
        ),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
            false,
        ),
    ];
    let service = Scripted::new(limits(), hello);
    for (request, stays) in cases {
        let mut client = Client::connect(&service);
        client.send(request).await;
        let (head, content) = client.response().await;
        assert_eq!(content, "hello", "{request:?}");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(
            field(&head, "Connection"),
            Some(if stays { "keep-alive" } else { "close" }),
            "{request:?}"
        );
        if stays {
            client.send(request).await;
            assert_eq!(client.response().await.1, "hello");
        } else {
            assert_eq!(client.rest().await, b"", "{request:?}");
        }
    }
}

#[tokio::test]
async fn the_last_request_that_is_allowed_closes() {
    let service = Scripted::new(
        Limits {
            keep_alive_requests: 2,
            ..limits()
        },
        hello,
    );
    let mut client = Client::connect(&service);
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3))
        .await;
    let all = client.rest_text().await;
    assert_eq!(all.matches("HTTP/1.1 200").count(), 2);
    assert_eq!(all.matches("Connection: close").count(), 1);
}

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

/// Sets a flag when the work it belongs to is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn work_ends_when_its_client_leaves() {
    let dropped = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(Notify::new());
    let service = Scripted::new(limits(), {
        let (dropped, begun) = (dropped.clone(), begun.clone());
        move |_| {
            let (guard, begun) = (Dropped(dropped.clone()), begun.clone());
            async move {
                begun.notify_one();
                std::future::pending::<()>().await;
                drop(guard);
                text(StatusCode::OK, "never")
            }
        }
    });
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        // More requests wait.
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        // Its content was not read, which doesn't matter when it is there.
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
    ] {
        dropped.store(false, Ordering::Relaxed);
        let mut client = Client::connect(&service);
        client.send(request).await;
        begun.notified().await;
        drop(client.stream);
        client.task.await.unwrap();
        assert!(dropped.load(Ordering::Relaxed), "{request:?}");
    }
    assert!(service.sent().is_empty());
}

#[tokio::test]
async fn work_goes_on_for_a_client_that_stopped_sending_where_that_is_wanted() {
    let go = Arc::new(Notify::new());
    let service = Scripted::new(limits(), {
        let go = go.clone();
        move |request: Request| {
            let go = go.clone();
            async move {
                request.connection.ignore_client_abort(true);
                go.notified().await;
                text(StatusCode::OK, "done")
            }
        }
    });
    let mut client = Client::connect(&service);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.stream.shutdown().await.unwrap();
    tokio::task::yield_now().await;
    go.notify_one();
    assert_eq!(client.response().await.1, "done");
}

#[tokio::test]
async fn heads_and_idle_connections_have_their_time() {
    let short = Duration::from_millis(20);
    let service = Scripted::new(
        Limits {
            head_timeout: short,
            keep_alive_timeout: short,
            ..limits()
        },
        hello,
    );
    // Nothing at all: closed without an answer.
    assert_eq!(Client::connect(&service).rest().await, b"");
    // Part of a head: 408.
    let mut client = Client::connect(&service);
    client.send("GET / HTTP/1.1\r\nHo").await;
    assert!(client.rest_text().await.starts_with("HTTP/1.1 408 "));
    // Idle after a response: closed without an answer.
    let mut client = Client::connect(&service);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response().await.1, "hello");
    assert_eq!(client.rest().await, b"");
    assert_eq!(service.refused(), ["the head did not come in time"]);
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let service = Scripted::new(limits(), echo);
    let mut client = Client::connect(&service);
    for _ in 0..2 {
        for byte in b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" {
            client.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        let (_, content) = client.response().await;
        assert_eq!(content.replace(' ', ""), "POST/slowabc");
    }
}

#[tokio::test]
async fn the_location_decides_how_long_a_connection_is_idle() {
    let service = Scripted::new(
        Limits {
            keep_alive_timeout: Duration::ZERO,
            ..limits()
        },
        |request: Request| async move {
            let mut response = text(StatusCode::OK, "hello");
            response.ending.keep_alive_timeout = match request.head.target.as_bytes() {
                b"/long" => Some(Duration::from_secs(60)),
                b"/zero" => Some(Duration::ZERO),
                _ => None,
            };
            response
        },
    );
    for (target, connection) in [("/long", "keep-alive"), ("/zero", "close"), ("/", "close")] {
        let mut client = Client::connect(&service);
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        assert_eq!(
            field(&client.response().await.0, "Connection"),
            Some(connection),
            "{target}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_idle_time_ends_too() {
    let service = Scripted::new(limits(), hello);
    let begun = tokio::time::Instant::now();
    let mut first = Client::connect(&service);
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(first.response().await.1, "hello");
    assert_eq!(first.rest().await, b"");
    let idle = begun.elapsed().as_secs();
    assert!(
        (75..80).contains(&idle),
        "closed after {idle} s of the test's clock"
    );
    first.drain.ended().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up() {
    let service = Scripted::new(
        Limits {
            send_timeout: Duration::from_millis(20),
            ..limits()
        },
        |_| async { with_body(vec![b'x'; 32 << 20]) },
    );
    let mut client = Client::connect(&service);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    (&mut client.task).await.unwrap();
    let sent = service.sent();
    assert!(
        sent.len() == 1 && sent[0].ends_with("SendTimeout"),
        "{sent:?}"
    );
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
async fn a_drain_closes_idle_connections_at_once_and_busy_ones_after_their_response() {
    let go = Arc::new(Notify::new());
    let service = Scripted::new(limits(), {
        let go = go.clone();
        move |request: Request| {
            let go = go.clone();
            async move {
                if request.head.target.as_bytes() == b"/slow" {
                    go.notified().await;
                }
                text(StatusCode::OK, "hello")
            }
        }
    });
    let mut idle = Client::connect(&service);
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.response().await;
    let mut busy = Client::connect(&service);
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::task::yield_now().await;
    idle.drain.start();
    busy.drain.start();
    assert_eq!(idle.rest().await, b"");
    idle.drain.ended().await;
    assert_eq!(busy.drain.live(), 1);
    go.notify_one();
    let (head, content) = busy.response().await;
    assert_eq!(
        (field(&head, "Connection"), content.as_str()),
        (Some("close"), "hello")
    );
    busy.drain.ended().await;
    // One that had not yet sent anything may still send one request.
    let mut newcomer = Client::connect(&service);
    newcomer.drain.start();
    newcomer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        field(&newcomer.response().await.0, "Connection"),
        Some("close")
    );
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

#[tokio::test]
async fn an_idle_connection_is_small() {
    use proxy_core::server::{Address, Connection, Drain, Socket, serve_connection};
    let service = Scripted::new(limits(), hello);
    let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let connection = Arc::new(Connection::new(
        Address::Unix(None),
        Address::Unix(None),
        false,
    ));
    let future = serve_connection(
        Socket::new(theirs.into()).unwrap(),
        connection,
        service,
        &Drain::new(),
    );
    let size = std::mem::size_of_val(&future);
    assert!(size <= 256, "an idle connection's future has {size} bytes");
}

/// Requests and what an echo answers to each.
fn conversation(requests: &[(u8, Vec<u8>)]) -> (Vec<u8>, Vec<String>) {
    let mut wire = Vec::new();
    let mut answers = Vec::new();
    for (index, (kind, content)) in requests.iter().enumerate() {
        let said =
            String::from_utf8(content.iter().map(|byte| b'a' + byte % 26).collect()).unwrap();
        match kind % 4 {
            0 => wire
                .extend_from_slice(format!("GET /{index} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()),
            1 => wire.extend_from_slice(
                format!(
                    "POST /{index} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{said}",
                    said.len()
                )
                .as_bytes(),
            ),
            2 => {
                let (first, second) = said.split_at(said.len() / 2);
                let head = "HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
                wire.extend_from_slice(format!("PUT /{index} {head}").as_bytes());
                for chunk in [first, second] {
                    http_wire::chunked::write_chunk(chunk.as_bytes(), &mut wire);
                }
                wire.extend_from_slice(b"0\r\n\r\n");
            }
            // Nobody reads the content of this one.
            _ => wire.extend_from_slice(
                format!(
                    "POST /unread/{index} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{said}",
                    said.len()
                )
                .as_bytes(),
            ),
        }
        answers.push(match kind % 4 {
            0 => format!("GET /{index} "),
            1 => format!("POST /{index} {said}"),
            2 => format!("PUT /{index} {said}"),
            _ => "unread".into(),
        });
    }
    (wire, answers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pipelined_requests_are_answered_in_order_however_they_arrive(
        requests in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 1..8),
        cuts in proptest::collection::vec(1usize..200, 1..20),
    ) {
        let (wire, expected) = conversation(&requests);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answers = runtime.block_on(async {
            let service = Scripted::new(limits(), |mut request: Request| async move {
                if request.head.target.as_bytes().starts_with(b"/unread") {
                    return with_body("unread");
                }
                let content = support::content(&mut request).await;
                let mut seen = format!("{} ", request.head.method).into_bytes();
                seen.extend_from_slice(request.head.target.as_bytes());
                seen.push(b' ');
                seen.extend_from_slice(&content);
                with_body(seen)
            });
            let mut client = Client::connect(&service);
            let mut rest = &wire[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                client.send(now).await;
                tokio::task::yield_now().await;
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let mut answers = Vec::new();
            for _ in &requests {
                answers.push(client.response().await.1);
            }
            until(|| service.sent().len() == requests.len()).await;
            answers
        });
        prop_assert_eq!(answers, expected);
    }
}
