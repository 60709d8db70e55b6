//! Connections that are used again.

use super::*;

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
