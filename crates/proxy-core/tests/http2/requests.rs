//! What is asked and what is answered.

use super::*;

#[tokio::test]
async fn requests_are_heard_and_answered_side_by_side() {
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let service = Scripted::new(limits(), move |request: Request| {
        let held = held.clone();
        async move {
            if request.head.target.path() == b"/slow" {
                held.notified().await;
            }
            assert_eq!(request.head.version, http_wire::Version::Http2);
            assert_eq!(
                request.head.fields.get(Known::Host),
                Some(&b"shop.test"[..])
            );
            echo(request).await
        }
    });
    let mut client = Client::new(&service).await;
    let (slow, _) = client.ask(request("GET", "/slow"), true).await;
    assert_eq!(
        client.get("/one?a=b").await,
        (StatusCode::OK, "GET /one?a=b".to_owned())
    );
    gate.notify_one();
    let slow = slow.await.unwrap();
    assert!(slow.headers().contains_key("date"));
    assert_eq!(slow.headers()["content-length"], "9");
    assert_eq!(all_of(slow.into_body()).await.unwrap(), "GET /slow");
    assert_eq!(service.sent(), ["/one?a=b 12 Complete", "/slow 9 Complete"]);
}

#[tokio::test]
async fn content_is_read_on_demand_and_its_length_known_where_it_is_told() {
    let service = Scripted::new(limits(), |mut request: Request| async move {
        let told = request.content.length();
        let all = content(&mut request).await;
        text(StatusCode::OK, format!("{told:?} {}", all.len()))
    });
    let mut client = Client::new(&service).await;
    for told in [true, false] {
        let mut request = request("POST", "/");
        if told {
            request
                .headers_mut()
                .insert("content-length", 300_000.into());
        }
        let (answer, mut out) = client.ask(request, false).await;
        for piece in 0..30 {
            out.reserve_capacity(10_000);
            while out.capacity() < 10_000 {
                poll_fn(|cx| out.poll_capacity(cx)).await.unwrap().unwrap();
            }
            out.send_data(vec![piece; 10_000].into(), piece == 29)
                .unwrap();
        }
        let seen = all_of(answer.await.unwrap().into_body()).await.unwrap();
        assert_eq!(
            seen,
            if told {
                "Some(300000) 300000"
            } else {
                "None 300000"
            }
        );
    }
}

#[tokio::test]
async fn a_client_cannot_send_more_than_is_read() {
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let service = Scripted::new(limits(), move |mut request: Request| {
        let held = held.clone();
        async move {
            if request.head.method == http::Method::POST {
                held.notified().await;
            }
            text(
                StatusCode::OK,
                content(&mut request).await.len().to_string(),
            )
        }
    });
    let mut client = Client::new(&service).await;
    let (answer, mut out) = client.ask(request("POST", "/"), false).await;
    out.reserve_capacity(1 << 20);
    let mut sent = 0;
    // Until the window is used up.
    while sent < 65_535 {
        let room = poll_fn(|cx| out.poll_capacity(cx)).await.unwrap().unwrap();
        out.send_data(vec![0; room].into(), false).unwrap();
        sent += room;
    }
    assert_eq!((sent, out.capacity()), (65_535, 0));
    // It was asked, and answered, behind the content: what would have opened the window has come by then.
    client.get("/").await;
    out.reserve_capacity(10);
    assert_eq!(out.capacity(), 0);
    gate.notify_one();
    assert!(poll_fn(|cx| out.poll_capacity(cx)).await.unwrap().unwrap() > 0);
    out.send_data(vec![0; 10].into(), true).unwrap();
    assert_eq!(
        all_of(answer.await.unwrap().into_body()).await.unwrap(),
        "65545"
    );
}

#[tokio::test]
async fn a_response_is_made_only_as_fast_as_it_is_taken() {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    let service = Scripted::new(limits(), move |_: Request| {
        let counted = counted.clone();
        async move {
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                for _ in 0..200 {
                    if sender
                        .send(Ok(Bytes::from(vec![b'x'; 16 << 10])))
                        .await
                        .is_err()
                    {
                        return;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            });
            with_body(Body::stream(Pieces(receiver)))
        }
    });
    let mut client = Client::new(&service).await;
    let (answer, _) = client.ask(request("GET", "/"), true).await;
    let answer = answer.await.unwrap();
    assert!(!answer.headers().contains_key("content-length"));
    // Everybody has turns, far more than 200 pieces would take.
    for _ in 0..5000 {
        tokio::task::yield_now().await;
    }
    // The window (64 KiB), one piece in hand, one in the channel, one that waits to be put there.
    let before = made.load(Ordering::SeqCst);
    assert!(before <= 8, "{before} pieces of 16 KiB");
    assert_eq!(
        all_of(answer.into_body()).await.unwrap().len(),
        200 * (16 << 10)
    );
}

#[tokio::test]
async fn a_response_without_content_is_its_head() {
    let service = Scripted::new(limits(), |request: Request| async move {
        match request.head.target.path() {
            b"/204" => text(StatusCode::NO_CONTENT, "not sent"),
            b"/304" => text(StatusCode::NOT_MODIFIED, "not sent"),
            _ => text(StatusCode::OK, "hello"),
        }
    });
    let mut client = Client::new(&service).await;
    for (method, target, length) in [
        ("HEAD", "/", Some("5")),
        ("GET", "/204", None),
        ("GET", "/304", None),
    ] {
        let (answer, _) = client.ask(request(method, target), true).await;
        let answer = answer.await.unwrap();
        let told = answer
            .headers()
            .get("content-length")
            .map(|value| value.to_str().unwrap());
        assert_eq!(told, length, "{method} {target}");
        assert!(answer.body().is_end_stream());
    }
}

#[tokio::test]
async fn interim_responses_come_first_and_100_only_when_content_is_wanted() {
    let service = Scripted::new(limits(), |mut request: Request| async move {
        if request.head.target.path() == b"/hints" {
            let mut fields = http_wire::fields::Fields::new();
            fields.append("Link", "</a.css>; rel=preload").unwrap();
            assert!(request.interim().send(StatusCode::EARLY_HINTS, &fields));
        }
        text(
            StatusCode::OK,
            content(&mut request).await.len().to_string(),
        )
    });
    let mut client = Client::new(&service).await;
    let (mut answer, _) = client.ask(request("GET", "/hints"), true).await;
    let hints = poll_fn(|cx| answer.poll_informational(cx))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (hints.status(), hints.headers()["link"].to_str().unwrap()),
        (StatusCode::EARLY_HINTS, "</a.css>; rel=preload")
    );
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);

    let mut expecting = request("POST", "/");
    expecting
        .headers_mut()
        .insert("expect", http::HeaderValue::from_static("100-continue"));
    let (mut answer, mut out) = client.ask(expecting, false).await;
    let go_on = poll_fn(|cx| answer.poll_informational(cx))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(go_on.status(), StatusCode::CONTINUE);
    out.send_data(Bytes::from_static(b"12345"), true).unwrap();
    assert_eq!(
        all_of(answer.await.unwrap().into_body()).await.unwrap(),
        "5"
    );
}

#[tokio::test]
async fn trailers_follow_the_content() {
    struct Ending(Option<http::HeaderMap>);
    impl http_body::Body for Ending {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
            std::task::Poll::Ready(self.0.take().map(http_body::Frame::trailers).map(Ok))
        }
    }
    let service = Scripted::new(limits(), |_: Request| async {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("7"));
        with_body(Body::stream(Ending(Some(trailers))))
    });
    let mut client = Client::new(&service).await;
    let (answer, _) = client.ask(request("GET", "/"), true).await;
    let mut content = answer.await.unwrap().into_body();
    assert!(content.data().await.is_none());
    assert_eq!(content.trailers().await.unwrap().unwrap()["x-sum"], "7");
}

/// Answers 200 to content that can be read.
async fn reads(mut request: Request) -> Response {
    loop {
        match request.content.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => return text(StatusCode::OK, "read"),
            Err(error) => {
                return text(
                    error.status().unwrap_or(StatusCode::BAD_GATEWAY),
                    error.to_string(),
                );
            }
        }
    }
}

#[tokio::test]
async fn trailers_of_requests_keep_the_rules_of_http_1() {
    let service = Scripted::new(limits(), reads);
    let mut client = Client::new(&service).await;
    let many: Vec<String> = (0..200).map(|number| format!("x-{number}")).collect();
    for (names, status) in [
        (vec!["x-sum"], 200),
        (vec!["x-sum", "authorization"], 400),
        (vec!["host"], 400),
        (vec!["content-length"], 400),
        (many.iter().map(String::as_str).collect(), 431),
    ] {
        let (answer, mut content) = client.ask(request("POST", "/"), false).await;
        content
            .send_data(Bytes::from_static(b"some"), false)
            .unwrap();
        let mut trailers = http::HeaderMap::new();
        for name in &names {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            trailers.insert(name, http::HeaderValue::from_static("7"));
        }
        content.send_trailers(trailers).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status, "{names:?}");
        let told = all_of(answer.into_body()).await.unwrap();
        assert_eq!(told == "read", status == 200, "{names:?}: {told}");
    }
}

#[tokio::test]
async fn content_that_is_not_what_was_promised_breaks_the_stream_and_only_that() {
    let service = Scripted::new(limits(), |request: Request| async move {
        let (sender, receiver) = mpsc::channel(4);
        sender.send(Ok(Bytes::from_static(b"12345"))).await.unwrap();
        let mut response = with_body(Body::stream(Pieces(receiver)));
        match request.head.target.path() {
            b"/fails" => sender
                .send(Err(BodyError::Incomplete("gone".to_owned())))
                .await
                .unwrap(),
            b"/short" => response.fields.append("Content-Length", "9").unwrap(),
            b"/long" => response.fields.append("Content-Length", "3").unwrap(),
            _ => return text(StatusCode::OK, "well"),
        }
        response
    });
    let mut client = Client::new(&service).await;
    for target in ["/fails", "/short", "/long"] {
        let (answer, _) = client.ask(request("GET", target), true).await;
        let answer = answer.await.unwrap();
        let broken = all_of(answer.into_body()).await.expect_err(target);
        assert!(broken.is_reset(), "{target}: {broken}");
        noted(
            || service.sent(),
            |sent| sent.starts_with(target) && sent.contains("BodyFailed"),
        )
        .await;
    }
    assert_eq!(client.get("/").await.1, "well");
}

#[tokio::test]
async fn a_request_that_is_reset_is_given_up_unless_it_is_to_be_finished() {
    struct Given(mpsc::UnboundedSender<&'static str>, &'static str);
    impl Drop for Given {
        fn drop(&mut self) {
            let _ = self.0.send(self.1);
        }
    }
    let (told, mut tells) = mpsc::unbounded_channel();
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let service = Scripted::new(limits(), move |request: Request| {
        let (told, held) = (told.clone(), held.clone());
        async move {
            if request.head.target.path() == b"/kept" {
                request.connection.ignore_client_abort(true);
                told.send("begun").unwrap();
                let _given = Given(told.clone(), "kept dropped");
                held.notified().await;
                told.send("kept done").unwrap();
            } else {
                told.send("begun").unwrap();
                let _given = Given(told, "left");
                std::future::pending::<()>().await;
            }
            text(StatusCode::OK, "")
        }
    });
    let mut client = Client::new(&service).await;
    for target in ["/left", "/kept"] {
        let (answer, mut out) = client.ask(request("GET", target), false).await;
        assert_eq!(tells.recv().await, Some("begun"));
        out.send_reset(h2::Reason::CANCEL);
        drop(answer);
        if target == "/left" {
            assert_eq!(tells.recv().await, Some("left"));
        }
    }
    gate.notify_one();
    assert_eq!(tells.recv().await, Some("kept done"));
}

#[tokio::test]
async fn heads_that_are_not_accepted_are_answered_and_noted() {
    let strict = Limits {
        head: http_wire::head::HeadLimits {
            line_bytes: 100,
            ..http_wire::head::HeadLimits::default()
        },
        ..limits()
    };
    let service = Scripted::new(strict, hello);
    let mut client = Client::new(&service).await;
    let mut other_host = request("GET", "/");
    other_host
        .headers_mut()
        .insert("host", http::HeaderValue::from_static("other.test"));
    let mut plain_connect = http::Request::new(());
    *plain_connect.method_mut() = http::Method::CONNECT;
    *plain_connect.uri_mut() = "shop.test:443".parse().unwrap();
    for (asked, status) in [
        (request("GET", &format!("/{}", "x".repeat(200))), 414),
        (other_host, 400),
        (plain_connect, 400),
    ] {
        let (answer, _) = client.ask(asked, true).await;
        assert_eq!(answer.await.unwrap().status().as_u16(), status);
    }
    assert_eq!(service.refused().len(), 3, "{:?}", service.refused());
    assert_eq!(client.get("/").await.1, "hello");
}

#[tokio::test]
async fn content_that_nobody_reads_does_not_hold_up_others() {
    let service = Scripted::new(limits(), hello);
    let mut client = Client::new(&service).await;
    for _ in 0..40 {
        let (answer, mut out) = client.ask(request("POST", "/"), false).await;
        out.reserve_capacity(60_000);
        let room = poll_fn(|cx| out.poll_capacity(cx)).await.unwrap().unwrap();
        let _ = out.send_data(vec![0; room].into(), false);
        assert_eq!(
            all_of(answer.await.unwrap().into_body()).await.unwrap(),
            "hello"
        );
    }
    assert_eq!(client.get("/").await.1, "hello");
}
