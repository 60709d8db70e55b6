//! Reading what an origin server answers.

use super::*;

#[tokio::test]
async fn content_is_read_by_each_framing() {
    let origin = OriginServer::new().await;
    for (wire, content, reusable) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
            1,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 1),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", 1),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX-T: 1\r\n\r\n",
            "hello",
            1,
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
            0,
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
            1,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
            0,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloexcess",
            "hello",
            0,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            "hi",
            1,
        ),
    ] {
        for cut in [1, 7, wire.len()] {
            let pool = Pool::default();
            let serving = async {
                let mut talk = origin.accept().await;
                assert_eq!(
                    talk.head().await,
                    "GET /path HTTP/1.1\r\nHost: origin.example\r\n\r\n"
                );
                for piece in wire.as_bytes().chunks(cut) {
                    talk.say(piece).await;
                    tokio::task::yield_now().await;
                }
                talk
            };
            let (answer, talk) = tokio::join!(get(&pool, &origin.address), serving);
            let answer = answer.unwrap();
            assert!(!answer.reused);
            assert_eq!(
                String::from_utf8(read(answer.body).await.unwrap()).unwrap(),
                content,
                "{wire:?} in {cut}"
            );
            // What came behind a whole response in a later read is only found on the idle connection.
            if !wire.ends_with("excess") || cut == wire.len() {
                assert_eq!(pool.idle(), reusable, "{wire:?} in {cut}");
            }
            drop(talk);
        }
    }
}

#[tokio::test]
async fn content_until_the_end_of_the_connection_is_read_to_it() {
    let origin = OriginServer::new().await;
    let pool = Pool::default();
    let serving = async {
        let mut talk = origin.accept().await;
        talk.head().await;
        talk.say("HTTP/1.1 200 OK\r\n\r\nhello ").await;
        talk.say("world").await;
    };
    let (answer, ()) = tokio::join!(get(&pool, &origin.address), serving);
    assert_eq!(read(answer.unwrap().body).await.unwrap(), b"hello world");
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn small_content_that_came_with_the_head_is_bytes() {
    let origin = OriginServer::new().await;
    let pool = Pool::default();
    let serving = async {
        let mut talk = origin.accept().await;
        talk.head().await;
        talk.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        talk
    };
    let (answer, _talk) = tokio::join!(get(&pool, &origin.address), serving);
    assert!(matches!(answer.unwrap().body, Body::Bytes(bytes) if bytes == "hello"));
}

#[tokio::test]
async fn content_that_breaks_off_is_an_error() {
    let origin = OriginServer::new().await;
    for (wire, words) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "after 5 bytes of content, 4 bytes missing",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "the last chunk missing",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
            "broken chunked coding",
        ),
    ] {
        let pool = Pool::default();
        let serving = async {
            let mut talk = origin.accept().await;
            talk.head().await;
            talk.say(wire).await;
        };
        let (answer, ()) = tokio::join!(get(&pool, &origin.address), serving);
        let error = read(answer.unwrap().body).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(pool.idle(), 0);
    }
}

#[tokio::test]
async fn interim_responses_are_told_of() {
    let origin = OriginServer::new().await;
    let seen = Mutex::new(Vec::new());
    let note = |head: &ResponseHead| seen.lock().unwrap().push(head.status.as_u16());
    let head = request(Method::GET, "/");
    let pool = Pool::default();
    let serving = async {
        let mut talk = origin.accept().await;
        talk.head().await;
        talk.say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
            .await;
        talk.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        talk
    };
    let outgoing = Outgoing {
        head: &head,
        interim: Some(&note),
    };
    let settings = settings();
    let mut upload = Upload::Empty;
    let (answer, _talk) = tokio::join!(
        pool.exchange(&origin.address, outgoing, &mut upload, &settings),
        serving
    );
    assert_eq!(answer.unwrap().head.status, StatusCode::OK);
    assert_eq!(*seen.lock().unwrap(), [103, 102]);
}

#[tokio::test]
async fn a_response_may_come_before_the_request_is_sent() {
    let origin = OriginServer::new().await;
    let pool = Pool::default();
    let serving = async {
        let mut talk = origin.accept().await;
        talk.head().await;
        talk.say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            .await;
        let mut taken = 0;
        let mut buffer = vec![0; 1 << 16];
        while taken < 8 << 20 {
            taken += talk.0.read(&mut buffer).await.unwrap();
        }
        talk.say("got them").await;
        talk
    };
    let asking = async {
        let mut upload = Upload::Bytes(vec![b'x'; 8 << 20].into());
        let answer = ask(&pool, &origin.address, Method::POST, &mut upload)
            .await
            .unwrap();
        assert!(answer.sent_bytes < 8 << 20);
        assert_eq!(read(answer.body).await.unwrap(), b"got them");
    };
    let ((), _talk) = tokio::join!(asking, serving);
    assert_eq!(pool.idle(), 1);
}

#[tokio::test]
async fn an_answer_counts_even_when_the_content_was_not_wanted() {
    let origin = OriginServer::new().await;
    let pool = Pool::default();
    let serving = async {
        let mut talk = origin.accept().await;
        talk.head().await;
        talk.say("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            .await;
        // Closes its sending side, so that what is unread does not reset what was said.
        talk.0.shutdown().await.unwrap();
        talk
    };
    let asking = async {
        let mut upload = Upload::Bytes(vec![b'x'; 8 << 20].into());
        let answer = ask(&pool, &origin.address, Method::POST, &mut upload)
            .await
            .unwrap();
        assert_eq!(answer.head.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(read(answer.body).await.unwrap(), b"no");
    };
    let ((), _talk) = tokio::join!(asking, serving);
    assert_eq!(pool.idle(), 0);
}
