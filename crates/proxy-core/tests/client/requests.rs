//! The framing of what is sent.

use super::*;

#[tokio::test]
async fn the_framing_of_a_request_follows_from_its_content() {
    let origin = OriginServer::new().await;
    let pool = Pool::new(PoolSettings {
        idle_max: 0,
        ..PoolSettings::default()
    });
    let stream = || Upload::Stream(Box::pin(Once(Some(Bytes::from("piece")))));
    for (method, upload, wire) in [
        (
            Method::GET,
            Upload::Empty,
            "GET /path HTTP/1.1\r\nHost: origin.example\r\n\r\n",
        ),
        (
            Method::POST,
            Upload::Empty,
            "POST /path HTTP/1.1\r\nHost: origin.example\r\n\r\n",
        ),
        (
            Method::POST,
            Upload::Bytes(Bytes::from("hello")),
            "POST /path HTTP/1.1\r\nHost: origin.example\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            Method::POST,
            stream(),
            "POST /path HTTP/1.1\r\nHost: origin.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npiece\r\n0\r\n\r\n",
        ),
    ] {
        let mut upload = upload;
        let serving = async {
            let mut talk = origin.accept().await;
            let seen = talk.exactly(wire.len()).await;
            talk.say("HTTP/1.1 204 No Content\r\n\r\n").await;
            assert_eq!(seen, wire);
            assert!(talk.ended().await, "more than expected was sent");
        };
        let (answer, ()) = tokio::join!(ask(&pool, &origin.address, method, &mut upload), serving);
        assert_eq!(answer.unwrap().head.status, StatusCode::NO_CONTENT);
    }
}

/// One frame of unknown total length.
struct Once(Option<Bytes>);

impl http_body::Body for Once {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

#[tokio::test]
async fn stale_framing_fields_are_replaced() {
    let origin = OriginServer::new().await;
    let mut head = request(Method::GET, "/");
    head.fields.append(Known::ContentLength, "77").unwrap();
    head.fields
        .append(Known::TransferEncoding, "chunked")
        .unwrap();
    head.fields.append("X-Last", "1").unwrap();
    let pool = Pool::default();
    let serving = async {
        let mut talk = origin.accept().await;
        let seen = talk.head().await;
        talk.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        seen
    };
    let outgoing = Outgoing {
        head: &head,
        interim: None,
    };
    let mut upload = Upload::Bytes(Bytes::from("abc"));
    let settings = settings();
    let asking = pool.exchange(&origin.address, outgoing, &mut upload, &settings);
    let (answer, seen) = tokio::join!(asking, serving);
    answer.unwrap();
    assert_eq!(
        seen,
        "GET / HTTP/1.1\r\nHost: origin.example\r\nX-Last: 1\r\nContent-Length: 3\r\n\r\n"
    );
}
