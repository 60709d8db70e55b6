//! How connections end: idle, drained, slow, broken off.

use super::floods::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEAD, HEADERS, frame, next, preface};
use super::*;

#[tokio::test]
async fn an_idle_connection_is_said_goodbye_to() {
    for (keep_alive, head) in [
        (Duration::from_millis(40), Duration::from_secs(60)),
        (Duration::from_secs(60), Duration::from_millis(40)),
    ] {
        let asks = head > keep_alive;
        let limits = Limits {
            keep_alive_timeout: keep_alive,
            head_timeout: head,
            ..limits()
        };
        let service = Scripted::new(limits, hello);
        let mut client = Client::new(&service).await;
        if asks {
            assert_eq!(client.get("/").await.1, "hello");
        }
        client.task.await.unwrap();
        assert_eq!(client.running.await.unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn a_drain_answers_what_was_asked_and_takes_no_more() {
    let (gate, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (held, told) = (gate.clone(), begun.clone());
    let service = Scripted::new(limits(), move |_: Request| {
        let (held, told) = (held.clone(), told.clone());
        async move {
            told.notify_one();
            held.notified().await;
            text(StatusCode::OK, "done")
        }
    });
    let mut client = Client::new(&service).await;
    let (answer, _) = client.ask(request("GET", "/"), true).await;
    begun.notified().await;
    client.drain.start();
    // The client hears of it by GOAWAY.
    while poll_fn(|cx| client.requests.poll_ready(cx)).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gate.notify_one();
    assert_eq!(
        all_of(answer.await.unwrap().into_body()).await.unwrap(),
        "done"
    );
    client.task.await.unwrap();
    client.drain.ended().await;
}

#[tokio::test]
async fn a_drain_ends_idle_and_new_connections_soon() {
    let service = Scripted::new(limits(), hello);
    let mut client = Client::new(&service).await;
    assert_eq!(client.get("/").await.1, "hello");
    client.drain.start();
    client.task.await.unwrap();
    // One that never says anything.
    let silent = Line::open(&service, &Settings::default());
    silent.drain.start();
    silent.task.await.unwrap();
}

#[tokio::test]
async fn a_response_that_asks_for_the_end_of_the_connection_gets_it() {
    let service = Scripted::new(limits(), |_: Request| async {
        let mut response = text(StatusCode::OK, "last");
        response.ending.keep_alive = false;
        response
    });
    let mut client = Client::new(&service).await;
    assert_eq!(client.get("/").await.1, "last");
    client.task.await.unwrap();
}

#[tokio::test]
async fn so_many_requests_and_no_more() {
    let limits = Limits {
        keep_alive_requests: 3,
        ..limits()
    };
    let service = Scripted::new(limits, hello);
    let mut client = Client::new(&service).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.1, "hello");
    }
    client.task.await.unwrap();
}

#[tokio::test]
async fn who_takes_nothing_of_a_response_loses_it() {
    let limits = Limits {
        send_timeout: Duration::from_millis(50),
        ..limits()
    };
    let service = Scripted::new(limits, |request: Request| async move {
        match request.head.target.path() {
            b"/big" => with_body(vec![b'x'; 1 << 20]),
            _ => text(StatusCode::OK, "hello"),
        }
    });
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 20);
    let line = Line::open(&service, &Settings::default());
    let mut client = line.client_with(&mut builder).await;
    let (answer, _) = client.ask(request("GET", "/big"), true).await;
    // Its window is never opened.
    let answer = answer.await.unwrap();
    noted(
        || service.sent(),
        |sent| sent.starts_with("/big") && sent.ends_with("SendTimeout"),
    )
    .await;
    assert_eq!(client.get("/").await.1, "hello");
    assert!(all_of(answer.into_body()).await.is_err());
}

#[tokio::test]
async fn a_client_that_goes_away_ends_everything() {
    let (told, mut tells) = mpsc::unbounded_channel();
    let service = Scripted::new(limits(), move |_: Request| {
        let told = told.clone();
        async move {
            told.send(()).unwrap();
            std::future::pending::<Response>().await
        }
    });
    let mut client = Client::new(&service).await;
    let (answer, _) = client.ask(request("GET", "/"), true).await;
    tells.recv().await.unwrap();
    client.running.abort();
    drop((answer, client.requests));
    client.task.await.unwrap();
    assert!(service.sent().is_empty());
}

#[tokio::test]
async fn the_last_response_goes_before_the_goodbye() {
    let one = Limits {
        keep_alive_requests: 1,
        ..limits()
    };
    for (limits, closes) in [(limits(), true), (one, false)] {
        let service = Scripted::new(limits, move |_: Request| async move {
            let mut response = text(StatusCode::OK, "x".repeat(30_000));
            response.ending.keep_alive = !closes;
            response
        });
        let mut line = Line::open(&service, &Settings::default());
        let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD);
        let asked = [preface(), request].concat();
        line.stream.write_all(&asked).await.unwrap();
        let mut kinds = Vec::new();
        while let Some((kind, ..)) = next(&mut line.stream).await {
            kinds.push(kind);
            if kind == GOAWAY {
                break;
            }
        }
        assert_eq!(kinds, [HEADERS, DATA, DATA, GOAWAY]);
    }
}

#[tokio::test]
async fn a_response_ends_the_connection_only_when_no_other_is_under_way() {
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let service = Scripted::new(limits(), move |request: Request| {
        let held = held.clone();
        async move {
            let mut response = text(StatusCode::OK, "");
            match request.head.target.path() {
                b"/slow" => held.notified().await,
                _ => response.ending.keep_alive = false,
            }
            response
        }
    });
    let mut client = Client::new(&service).await;
    let (slow, _) = client.ask(request("GET", "/slow"), true).await;
    for _ in 0..3 {
        assert_eq!(client.get("/last").await.0, StatusCode::OK);
    }
    gate.notify_one();
    assert_eq!(slow.await.unwrap().status(), StatusCode::OK);
    assert_eq!(client.get("/last").await.0, StatusCode::OK);
    client.task.await.unwrap();
}
