//! Connections that speak another protocol.

use super::*;

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
