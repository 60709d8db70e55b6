//! How long a connection stays, and what ends it.

use super::*;

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

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_idle_connections_their_grace() {
    let within = |grace, promised| {
        let limits = Limits {
            idle_grace: Duration::from_secs(grace),
            ..limits()
        };
        Scripted::new(limits, move |_| async move {
            let mut response = text(StatusCode::OK, "hello");
            response.ending.keep_alive_min_timeout = Duration::from_secs(promised);
            response
        })
    };
    for (grace, promised, lasts) in [(2, 0, 2), (0, 5, 5), (2, 5, 5)] {
        let service = within(grace, promised);
        let mut used = Client::connect(&service);
        used.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        used.response().await;
        let mut unused = Client::connect(&service);
        unused.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        unused.response().await;
        let start = tokio::time::Instant::now();
        used.drain.start();
        unused.drain.start();
        tokio::time::sleep(Duration::from_millis(1000 * lasts - 100)).await;
        used.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (head, _) = used.response().await;
        assert_eq!(field(&head, "Connection"), Some("close"));
        used.drain.ended().await;
        unused.drain.ended().await;
        let waited = start.elapsed();
        assert!(
            waited >= Duration::from_secs(lasts) && waited < Duration::from_secs(lasts + 1),
            "{waited:?}"
        );
    }
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
