//! Between a client and an origin server.

use super::*;

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
