//! ASGI applications over HTTP/2, and WebSockets (RFC 8441).

use super::*;

#[test]
fn an_asgi_application_hears_http_2_and_its_clients_leave() {
    let authority = Authority::new();
    let mut server = Setup::new(ASGI)
        .with_tls(&authority.signs("shop.test"))
        .args(&[
            "-k",
            "asgi",
            "--http-protocols",
            "h2,h1",
            "--keep-alive",
            "30",
        ])
        .start();
    run(async {
        let mut client = Client::encrypted(&server, &authority).await;
        let (answer, mut out) = client.ask(request("PUT", "/a"), false).await;
        send_all(&mut out, Bytes::from(vec![b'x'; 500_000])).await;
        let mut content = answer.await.unwrap().into_body();
        let told = content.data().await.unwrap().unwrap();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(
            told.starts_with(r#"["2", "https", "PUT", "/a", 500000,"#),
            "{told}"
        );
        assert!(content.data().await.is_none());
        assert_eq!(content.trailers().await.unwrap().unwrap()["x-sum"], "7");
        let (answer, mut out) = client.ask(request("GET", "/wait"), false).await;
        out.send_data(Bytes::new(), true).unwrap();
        said(&server, "waits").await;
        out.send_reset(h2::Reason::CANCEL);
        drop(answer);
        said(&server, "told http.disconnect").await;
    });
    assert_eq!(server.stop(), 0, "{}", server.log());
}

/// Waits until the application has said this; the client's connection goes on meanwhile.
async fn said(server: &Server, words: &str) {
    let seen = async {
        while !server.read("stdout.log").contains(words) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(support::PATIENCE, seen).await;
    assert!(waited.is_ok(), "the application never said {words:?}");
}

/// A masked text frame.
fn text_frame(text: &str) -> Bytes {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 1, 2, 3, 4];
    frame.extend(
        text.bytes()
            .enumerate()
            .map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]),
    );
    frame.into()
}

/// The next frame of the server's: its first byte and its content.
async fn frame(content: &mut RecvStream, held: &mut Vec<u8>) -> (u8, Vec<u8>) {
    loop {
        if held.len() >= 2 && held.len() >= 2 + usize::from(held[1]) {
            let length = usize::from(held[1]);
            let frame = (held[0], held[2..2 + length].to_vec());
            held.drain(..2 + length);
            return frame;
        }
        let bytes = content.data().await.unwrap().unwrap();
        content
            .flow_control()
            .release_capacity(bytes.len())
            .unwrap();
        held.extend_from_slice(&bytes);
    }
}

#[test]
fn requests_that_keep_an_event_loop_busy_are_all_answered() {
    let authority = Authority::new();
    let pair = authority.signs("shop.test");
    let server = Setup::new(ASGI)
        .with_tls(&pair)
        .args(&["-k", "asgi", "--http-protocols", "h2"])
        .start();
    run(async {
        let mut client = Client::encrypted(&server, &authority).await;
        let mut answers = Vec::new();
        for _ in 0..40 {
            answers.push(client.ask(request("GET", "/busy"), true).await.0);
        }
        for answer in answers {
            let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap();
            assert_eq!(answer.unwrap().status().as_u16(), 200);
        }
    });
}

#[test]
fn websockets_have_a_stream_each() {
    let authority = Authority::new();
    let pair = authority.signs("shop.test");
    let asgi = Setup::new(ASGI).with_tls(&pair).args(&["-k", "asgi"]);
    let both = Setup::new(WSGI)
        .with_tls(&pair)
        .file("chat.py", ASGI)
        .args(&["--asgi", "chat:application"]);
    for setup in [asgi, both] {
        let mut server = setup
            .args(&["--http-protocols", "h2", "--keep-alive", "30"])
            .start();
        run(async {
            let mut client = Client::encrypted(&server, &authority).await;
            client.get("/").await;
            assert!(client.requests.is_extended_connect_protocol_enabled());
            let mut asked = request("CONNECT", "/ws/chat");
            asked
                .extensions_mut()
                .insert(h2::ext::Protocol::from_static("websocket"));
            asked
                .headers_mut()
                .insert("sec-websocket-version", 13.into());
            asked
                .headers_mut()
                .insert("sec-websocket-protocol", "chat".parse().unwrap());
            let (answer, mut out) = client.ask(asked, false).await;
            let answer = answer.await.unwrap();
            assert_eq!(answer.status().as_u16(), 200);
            assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
            assert!(!answer.headers().contains_key("sec-websocket-accept"));
            let (mut content, mut held) = (answer.into_body(), Vec::new());
            let first = frame(&mut content, &mut held).await;
            assert_eq!(
                String::from_utf8_lossy(&first.1),
                r#"["2", "wss", "/ws/chat", "shop.test", null]"#
            );
            out.send_data(text_frame("hello"), false).unwrap();
            assert_eq!(
                frame(&mut content, &mut held).await,
                (0x81, b"HELLO".to_vec())
            );
            // Pages besides.
            assert_eq!(client.get("/").await.0, 200);
            out.send_data(Bytes::from_static(&[0x88, 0x82, 0, 0, 0, 0, 3, 232]), false)
                .unwrap();
            assert_eq!(frame(&mut content, &mut held).await, (0x88, vec![3, 232]));
        });
        server.until("the application hears of it", || {
            server
                .read("stdout.log")
                .contains("websocket left 1000")
                .then_some(())
        });
        assert_eq!(server.stop(), 0, "{}", server.log());
    }
}

#[test]
fn a_handshake_of_another_version_is_refused() {
    let authority = Authority::new();
    let server = Setup::new(ASGI)
        .with_tls(&authority.signs("shop.test"))
        .args(&["-k", "asgi", "--http-protocols", "h2"])
        .start();
    run(async {
        let mut client = Client::encrypted(&server, &authority).await;
        client.get("/").await;
        let mut asked = request("CONNECT", "/");
        asked
            .extensions_mut()
            .insert(h2::ext::Protocol::from_static("websocket"));
        let (answer, _out) = client.ask(asked, false).await;
        let answer = answer.await.unwrap();
        assert_eq!(answer.status().as_u16(), 426);
        assert_eq!(answer.headers()["sec-websocket-version"], "13");
    });
}
