//! Exchanges with an origin server that follows a script.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Body as _;
use http_wire::Known;
use http_wire::head::{RequestHead, ResponseHead, Target, TargetRule};
use proptest::prelude::*;
use proxy_core::body::{Body, BodyError};
use proxy_core::client::{
    Answer, Blame, Cause, ClientError, Outgoing, Phase, Pool, PoolSettings, Settings, Upload,
    connect, tunnel,
};
use proxy_core::server::{Address, Request, Socket, TunnelEnd, Upgraded};
use support::{Client, Scripted, field, limits, text, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An origin server on loopback.
struct OriginServer {
    listener: TcpListener,
    address: Address,
}

impl OriginServer {
    async fn new() -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let address = Address::Inet(listener.local_addr().unwrap());
        Self { listener, address }
    }

    async fn accept(&self) -> Talk {
        Talk(self.listener.accept().await.unwrap().0)
    }
}

/// The origin server's end of a connection.
struct Talk(TcpStream);

impl Talk {
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("a request"));
        }
        String::from_utf8(head).unwrap()
    }

    async fn exactly(&mut self, bytes: usize) -> String {
        let mut content = vec![0; bytes];
        self.0.read_exact(&mut content).await.unwrap();
        String::from_utf8(content).unwrap()
    }

    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads until the peer closes.
    async fn ended(&mut self) -> bool {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest).await;
        rest.is_empty()
    }
}

fn request(method: Method, target: &str) -> RequestHead {
    let target = Target::parse(target.as_bytes(), &method, &TargetRule::default()).unwrap();
    let mut head = RequestHead {
        method,
        target,
        ..RequestHead::default()
    };
    head.fields.append(Known::Host, "origin.example").unwrap();
    head
}

fn settings() -> Settings {
    Settings {
        read_timeout: Duration::from_secs(20),
        ..Settings::default()
    }
}

async fn ask(
    pool: &Pool,
    address: &Address,
    method: Method,
    upload: &mut Upload,
) -> Result<Answer, ClientError> {
    let head = request(method, "/path");
    pool.exchange(
        address,
        Outgoing {
            head: &head,
            interim: None,
        },
        upload,
        &settings(),
    )
    .await
}

async fn get(pool: &Pool, address: &Address) -> Result<Answer, ClientError> {
    ask(pool, address, Method::GET, &mut Upload::Empty).await
}

/// All of a body.
async fn read(mut body: Body) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        all.extend_from_slice(&frame?.into_data().unwrap());
    }
    Ok(all)
}

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
async fn a_connection_is_used_again_within_its_limits() {
    let origin = OriginServer::new().await;
    let pool = Pool::new(PoolSettings {
        requests_max: 2,
        ..PoolSettings::default()
    });
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let serving = async {
        let mut first = origin.accept().await;
        for _ in 0..2 {
            first.head().await;
            first.say(ok).await;
        }
        assert!(first.ended().await);
        let mut second = origin.accept().await;
        second.head().await;
        second.say(ok).await;
        second
    };
    let asking = async {
        for reused in [false, true, false] {
            let answer = get(&pool, &origin.address).await.unwrap();
            assert_eq!(answer.reused, reused);
            assert_eq!(read(answer.body).await.unwrap(), b"ok");
        }
    };
    let ((), _second) = tokio::join!(asking, serving);
}

#[tokio::test]
async fn the_connection_that_was_idle_longest_makes_room() {
    let pool = Pool::new(PoolSettings {
        idle_max: 2,
        ..PoolSettings::default()
    });
    let mut origins = Vec::new();
    for _ in 0..3 {
        let origin = OriginServer::new().await;
        let serving = async {
            let mut talk = origin.accept().await;
            talk.head().await;
            talk.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            talk
        };
        let (answer, talk) = tokio::join!(get(&pool, &origin.address), serving);
        read(answer.unwrap().body).await.unwrap();
        origins.push((origin, talk));
    }
    assert_eq!(pool.idle(), 2);
    assert!(origins[0].1.ended().await);
    pool.clear();
    assert_eq!(pool.idle(), 0);
    assert!(origins[2].1.ended().await);
}

#[tokio::test]
async fn idle_connections_end_with_their_time_or_their_origin_server() {
    let origin = OriginServer::new().await;
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (idle_timeout, origin_closes) in [
        (Duration::from_millis(20), false),
        (Duration::from_secs(60), true),
    ] {
        let pool = Pool::new(PoolSettings {
            idle_timeout,
            ..PoolSettings::default()
        });
        let serving = async {
            let mut talk = origin.accept().await;
            talk.head().await;
            talk.say(ok).await;
            talk
        };
        let (answer, mut talk) = tokio::join!(get(&pool, &origin.address), serving);
        read(answer.unwrap().body).await.unwrap();
        assert_eq!(pool.idle(), 1);
        if origin_closes {
            drop(talk);
            until(|| pool.idle() == 0).await;
        } else {
            assert!(talk.ended().await);
            assert_eq!(pool.idle(), 0);
        }
    }
}

#[tokio::test]
async fn what_met_a_closed_idle_connection_is_sent_again_where_that_is_safe() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (method, repeats) in [
        (Method::GET, true),
        (Method::PUT, true),
        (Method::POST, false),
    ] {
        let origin = OriginServer::new().await;
        let pool = Pool::default();
        let serving = async {
            let mut first = origin.accept().await;
            first.head().await;
            first.say(ok).await;
            // Takes the second request and closes without an answer.
            first.head().await;
            drop(first);
            if repeats {
                let mut second = origin.accept().await;
                second.head().await;
                assert_eq!(second.exactly(7).await, "content");
                second.say(ok).await;
            }
        };
        let asking = async {
            read(get(&pool, &origin.address).await.unwrap().body)
                .await
                .unwrap();
            let mut upload = Upload::Bytes(Bytes::from("content"));
            let result = ask(&pool, &origin.address, method.clone(), &mut upload).await;
            match result {
                Ok(answer) => assert!(repeats && !answer.reused, "{method}"),
                Err(error) => {
                    assert!(
                        !repeats && error.reused && !error.nothing_sent(),
                        "{method}: {error}"
                    );
                    // Another peer may be asked, if somebody takes that upon himself.
                    assert!(upload.is_whole());
                }
            }
        };
        tokio::join!(asking, serving);
    }
}

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
            "POST /path HTTP/1.1\r\nHost: origin.example\r\nContent-Length: 0\r\n\r\n",
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

/// Passes everything on to one origin server.
fn relay(address: Address, pool: Pool) -> Arc<Scripted> {
    Scripted::new(limits(), move |request: Request| {
        let (pool, address) = (pool.clone(), address.clone());
        async move {
            let Request {
                mut head, content, ..
            } = request;
            head.fields.remove(Known::Expect);
            let mut upload = if content.is_end() {
                Upload::Empty
            } else {
                Upload::Content(content)
            };
            let outgoing = Outgoing {
                head: &head,
                interim: None,
            };
            match pool
                .exchange(&address, outgoing, &mut upload, &settings())
                .await
            {
                Ok(answer) => {
                    let mut response = proxy_core::server::Response::new(answer.head.status);
                    response.fields = answer.head.fields;
                    response.body = answer.body;
                    response
                }
                Err(error) => match &error.cause {
                    Cause::Content(cause) => text(
                        cause.status().unwrap_or(StatusCode::BAD_REQUEST),
                        error.to_string(),
                    ),
                    _ => text(StatusCode::BAD_GATEWAY, error.to_string()),
                },
            }
        }
    })
}

#[tokio::test]
async fn content_flows_through_both_ways() {
    let origin = OriginServer::new().await;
    let service = relay(origin.address.clone(), Pool::default());
    let size = 3_000_000;
    let serving = async {
        let mut talk = origin.accept().await;
        for _ in 0..2 {
            let head = talk.head().await;
            let mut content = vec![0; size];
            if field(&head, "Content-Length").is_some() {
                talk.0.read_exact(&mut content).await.unwrap();
            } else {
                let mut decoder = http_wire::chunked::Decoder::new(Default::default());
                content.clear();
                let mut buffer = vec![0; 1 << 16];
                while !decoder.is_complete() {
                    let read = talk.0.read(&mut buffer).await.unwrap();
                    let mut rest = &buffer[..read];
                    while !rest.is_empty() {
                        let step = decoder.decode(rest).unwrap();
                        if let http_wire::chunked::Event::Data(range) = step.event {
                            content.extend_from_slice(&rest[range]);
                        }
                        rest = &rest[step.used..];
                    }
                }
            }
            talk.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"))
                .await;
            content.reverse();
            talk.say(content).await;
        }
        talk
    };
    let content: Vec<u8> = (0..size as u32).map(|at| (at % 253) as u8).collect();
    let mut reversed = content.clone();
    reversed.reverse();
    let asking = async {
        let mut client = Client::connect(&service);
        for chunked in [false, true] {
            let mut wire = if chunked {
                b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()
            } else {
                format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").into_bytes()
            };
            if chunked {
                content
                    .chunks(70_001)
                    .for_each(|chunk| http_wire::chunked::write_chunk(chunk, &mut wire));
                wire.extend_from_slice(b"0\r\n\r\n");
            } else {
                wire.extend_from_slice(&content);
            }
            client.send(wire).await;
            assert!(client.response_to("PUT").await.1 == reversed);
        }
    };
    let ((), _talk) = tokio::join!(asking, serving);
}

#[tokio::test]
async fn broken_content_is_the_fault_of_its_client() {
    let origin = OriginServer::new().await;
    let service = relay(origin.address.clone(), Pool::default());
    let mut client = Client::connect(&service);
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n")
        .await;
    let (head, said) = client.response().await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}{said}");
    // No origin server sees half a request as a whole one.
    assert!(origin.accept().await.ended().await);
}

#[tokio::test]
async fn half_a_request_is_cut_off() {
    let origin = OriginServer::new().await;
    let service = relay(origin.address.clone(), Pool::default());
    let mut client = Client::connect(&service);
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab")
        .await;
    let mut talk = origin.accept().await;
    talk.head().await;
    assert_eq!(talk.exactly(2).await, "ab");
    client.stream.shutdown().await.unwrap();
    assert!(talk.ended().await);
}

#[tokio::test]
async fn a_full_queue_of_a_unix_socket_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    rustix::net::bind(&listener, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = Address::Unix(Some(path.as_path().into()));
    let first = connect(&address, Duration::from_secs(5))
        .await
        .unwrap()
        .unwrap();
    // The queue holds one; the second has to wait for its time or for an accept.
    assert!(
        connect(&address, Duration::from_millis(20))
            .await
            .unwrap()
            .is_none()
    );
    let waiting = tokio::spawn({
        let address = address.clone();
        async move { connect(&address, Duration::from_secs(20)).await }
    });
    tokio::task::yield_now().await;
    let accepted = rustix::net::accept(&listener).unwrap();
    assert!(waiting.await.unwrap().unwrap().is_some());
    drop((first, accepted));
}

fn pair() -> (Upgraded, tokio::net::UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let socket = Arc::new(Socket::new(ours.into()).unwrap());
    (
        Upgraded::new(socket, Bytes::from("ahead ")),
        tokio::net::UnixStream::from_std(theirs).unwrap(),
    )
}

#[tokio::test]
async fn a_tunnel_copies_both_ways_and_passes_on_a_half_close() {
    let ((client, mut user), (origin, mut server)) = (pair(), pair());
    let task = tokio::spawn(tunnel(client, origin, Duration::from_secs(20)));
    user.write_all(b"question").await.unwrap();
    user.shutdown().await.unwrap();
    let mut asked = String::new();
    server.read_to_string(&mut asked).await.unwrap();
    assert_eq!(asked, "ahead question");
    let large = vec![b'x'; 1 << 20];
    let sending = async {
        server.write_all(&large).await.unwrap();
        server.shutdown().await.unwrap();
    };
    let mut answered = Vec::new();
    let (read, ()) = tokio::join!(user.read_to_end(&mut answered), sending);
    assert_eq!(read.unwrap(), large.len() + "ahead ".len());
    let end = task.await.unwrap();
    assert_eq!(
        end,
        TunnelEnd {
            sent_bytes: answered.len() as u64,
            received_bytes: asked.len() as u64
        }
    );
}

#[tokio::test]
async fn a_tunnel_ends_when_nothing_moves_or_one_side_breaks() {
    let ((client, mut user), (origin, _server)) = (pair(), pair());
    tunnel(client, origin, Duration::from_millis(20)).await;
    let mut rest = Vec::new();
    user.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"ahead ");
    let ((client, user), (origin, server)) = (pair(), pair());
    drop((user, server));
    tunnel(client, origin, Duration::from_secs(20)).await;
}

#[tokio::test]
async fn an_upgrade_gives_both_directions_and_what_was_read() {
    let origin = OriginServer::new().await;
    let pool = Pool::default();
    let mut head = request(Method::GET, "/ws");
    head.fields.append(Known::Connection, "upgrade").unwrap();
    head.fields.append(Known::Upgrade, "websocket").unwrap();
    let serving = async {
        let mut talk = origin.accept().await;
        talk.head().await;
        talk.say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst ").await;
        assert_eq!(talk.exactly(2).await, "hi");
        talk.say("second").await;
    };
    let outgoing = Outgoing {
        head: &head,
        interim: None,
    };
    let settings = settings();
    let asking = async {
        let answer = pool
            .exchange(&origin.address, outgoing, &mut Upload::Empty, &settings)
            .await
            .unwrap();
        let mut upgraded = answer.upgraded.expect("a tunnel");
        upgraded.write_all(b"hi").await.unwrap();
        let mut all = String::new();
        upgraded.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "first second");
    };
    tokio::join!(asking, serving);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_response_is_the_same_however_it_arrives(
        content in proptest::collection::vec(any::<u8>(), 0..4000),
        chunk in 1usize..900,
        chunked in any::<bool>(),
        cuts in proptest::collection::vec(1usize..700, 1..12),
    ) {
        let mut wire = if chunked {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()
        } else {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()).into_bytes()
        };
        if chunked {
            content.chunks(chunk).for_each(|chunk| http_wire::chunked::write_chunk(chunk, &mut wire));
            wire.extend_from_slice(b"0\r\n\r\n");
        } else {
            wire.extend_from_slice(&content);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seen = runtime.block_on(async {
            let origin = OriginServer::new().await;
            let pool = Pool::default();
            let serving = async {
                let mut talk = origin.accept().await;
                talk.head().await;
                let mut rest = &wire[..];
                for cut in cuts.iter().cycle() {
                    let (now, later) = rest.split_at((*cut).min(rest.len()));
                    talk.say(now).await;
                    tokio::task::yield_now().await;
                    rest = later;
                    if rest.is_empty() {
                        break;
                    }
                }
                talk
            };
            let asking = async { read(get(&pool, &origin.address).await.unwrap().body).await.unwrap() };
            let (seen, talk) = tokio::join!(asking, serving);
            assert_eq!(pool.idle(), 1);
            pool.clear();
            drop(talk);
            seen
        });
        prop_assert_eq!(seen, content);
    }
}
