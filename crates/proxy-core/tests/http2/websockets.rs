//! Another protocol on a stream (RFC 8441).

use super::*;

fn asks(protocol: &'static str) -> http::Request<()> {
    let mut asked = request("CONNECT", "/chat");
    asked
        .extensions_mut()
        .insert(h2::ext::Protocol::from_static(protocol));
    asked
}

fn service() -> Arc<Scripted> {
    Scripted::new(limits(), |request: Request| async move {
        if request.head.method != http::Method::CONNECT {
            return text(StatusCode::OK, "page");
        }
        if request.head.target.path() != b"/chat" {
            return text(StatusCode::FORBIDDEN, "no");
        }
        let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
        response.fields.append("Upgrade", "websocket").unwrap();
        response.upgrade = Some(Box::new(|mut upgraded| {
            Box::pin(async move {
                let (mut reader, mut writer) = tokio::io::split(&mut upgraded);
                let copied = tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
                proxy_core::server::TunnelEnd {
                    sent_bytes: copied,
                    received_bytes: copied,
                }
            })
        }));
        response
    })
}

fn settings() -> Settings {
    Settings {
        websockets: true,
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_websocket_has_a_stream_among_others() {
    let service = service();
    let mut client = Line::open(&service, &settings()).client().await;
    assert_eq!(client.get("/").await.1, "page");
    assert!(client.requests.is_extended_connect_protocol_enabled());
    let (answer, mut out) = client.ask(asks("websocket"), false).await;
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(
        !answer.headers().contains_key("upgrade")
            && !answer.headers().contains_key("content-length")
    );
    let mut back = answer.into_body();
    out.send_data(Bytes::from_static(b"ping"), false).unwrap();
    assert_eq!(back.data().await.unwrap().unwrap(), "ping");
    assert_eq!(client.get("/").await.1, "page");
    // More than the windows hold.
    let sender = tokio::spawn(async move {
        let mut left = 300_000_usize;
        while left > 0 {
            out.reserve_capacity(left);
            let room = poll_fn(|cx| out.poll_capacity(cx)).await.unwrap().unwrap();
            left -= room;
            out.send_data(vec![b'x'; room].into(), left == 0).unwrap();
        }
    });
    back.flow_control().release_capacity(4).unwrap();
    assert_eq!(all_of(back).await.unwrap().len(), 300_000);
    sender.await.unwrap();
    noted(|| service.sent(), |sent| sent == "/chat 300004 Complete").await;
}

#[tokio::test]
async fn other_protocols_are_refused_and_a_refusal_is_a_response() {
    let service = service();
    let mut client = Line::open(&service, &settings()).client().await;
    assert_eq!(client.get("/").await.1, "page");
    let (answer, _) = client.ask(asks("connect-udp"), true).await;
    assert_eq!(answer.await.unwrap().status(), StatusCode::BAD_REQUEST);
    let mut elsewhere = asks("websocket");
    *elsewhere.uri_mut() = "https://shop.test/nowhere".parse().unwrap();
    let (answer, _) = client.ask(elsewhere, false).await;
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(all_of(answer.into_body()).await.unwrap(), "no");
}
