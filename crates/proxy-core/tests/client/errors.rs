//! What is told when it does not work.

use super::*;

#[tokio::test]
async fn errors_tell_what_happened_when_and_whose_fault_it_is() {
    let origin = OriginServer::new().await;
    let short = Settings {
        read_timeout: Duration::from_millis(20),
        ..Settings::default()
    };
    for (wire, phase, words) in [
        (
            Some(""),
            Phase::FirstByte,
            "the origin server closed the connection while waiting for the response",
        ),
        (
            Some("HTTP/1.1 200"),
            Phase::Head,
            "the origin server closed the connection while reading the head",
        ),
        (
            Some("HTP/1.1 200 OK\r\n\r\n"),
            Phase::Head,
            "sent a malformed head: the status line",
        ),
        (
            Some("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Phase::Head,
            "ambiguous head",
        ),
        (
            Some("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
            Phase::Head,
            "was not asked for",
        ),
        (
            None,
            Phase::FirstByte,
            "nothing happened for 20ms (proxy_read_timeout) while waiting for the response",
        ),
    ] {
        let pool = Pool::default();
        let serving = async {
            let mut talk = origin.accept().await;
            talk.head().await;
            if let Some(wire) = wire {
                talk.say(wire).await;
                return None;
            }
            Some(talk)
        };
        let head = request(Method::GET, "/path");
        let outgoing = Outgoing {
            head: &head,
            interim: None,
        };
        let asking = async {
            pool.exchange(&origin.address, outgoing, &mut Upload::Empty, &short)
                .await
        };
        let (result, _talk) = tokio::join!(asking, serving);
        let error = result.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!((error.phase, error.blame()), (phase, Blame::Origin));
        assert_eq!(error.is_timeout(), wire.is_none());
        assert!(error.sent_bytes > 0);
    }
}

#[tokio::test]
async fn nobody_listens() {
    let origin = OriginServer::new().await;
    let address = origin.address.clone();
    drop(origin);
    let error = get(&Pool::default(), &address).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "connection refused (errno 111) while connecting"
    );
    let missing = Address::Unix(Some(std::path::Path::new("/nonexistent/app.sock").into()));
    let error = get(&Pool::default(), &missing).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no such file or directory (errno 2) while connecting"
    );
    assert_eq!((error.phase, error.nothing_sent()), (Phase::Connect, true));
}
