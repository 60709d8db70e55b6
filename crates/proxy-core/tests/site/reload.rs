//! A configuration takes another's place while requests are under way.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::world::{Origin, World, within};

#[tokio::test]
async fn a_request_in_flight_ends_under_the_site_it_began_with() {
    let world = World::new();
    let release = Arc::new(Notify::new());
    let origin = Origin::new({
        let release = release.clone();
        move |_, mut stream| {
            let release = release.clone();
            async move {
                release.notified().await;
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
                    .await
                    .ok()?;
                Some(stream)
            }
        }
    })
    .await;
    let old = format!(
        "server {{ listen 127.0.0.1:{{port}}; add_header X-Site old; location / {{ proxy_pass http://127.0.0.1:{}; }} }}",
        origin.port
    );
    let new = "server { listen 127.0.0.1:{port}; add_header X-Site new; return 200 new; }";
    let site = world.serve(&old).await;
    let mut kept = site.connect().await;
    kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    within("the request at the origin", async {
        while origin.requests() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    site.serving.replace(world.compile(new, site.port));
    let reply = site.get("/").await;
    assert_eq!((reply.text(), reply.field("X-Site")), ("new", Some("new")));

    release.notify_one();
    let first = read_until(&mut kept, "\r\n\r\nold").await;
    assert!(first.contains("X-Site: old\r\n"), "{first}");
    // The same connection comes under the new one with its next request.
    kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let second = read_until(&mut kept, "\r\n\r\nnew").await;
    assert!(second.contains("X-Site: new\r\n"), "{second}");
}

#[tokio::test]
async fn a_tunnel_lives_on() {
    let world = World::new();
    let origin = Origin::new(|_, mut stream| async move {
        let switch =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(switch).await.ok()?;
        let mut buffer = [0; 100];
        loop {
            let read = stream
                .read(&mut buffer)
                .await
                .ok()
                .filter(|read| *read > 0)?;
            stream.write_all(&buffer[..read]).await.ok()?;
        }
    })
    .await;
    let old = format!(
        "server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://127.0.0.1:{}; \
         proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }}",
        origin.port
    );
    let site = world.serve(&old).await;
    let mut tunnel = site.connect().await;
    tunnel
        .write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        .await
        .unwrap();
    let head = read_until(&mut tunnel, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for word in ["before", "after"] {
        tunnel.write_all(word.as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut tunnel, word).await, word);
        site.serving
            .replace(world.compile("server { listen 127.0.0.1:{port}; return 404; }", site.port));
        assert_eq!(site.get("/ws").await.status, 404);
        world.zones.forget_unused();
    }
}

async fn read_until(stream: &mut tokio::net::TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    within(end, async {
        while !all.ends_with(end.as_bytes()) {
            all.push(stream.read_u8().await.expect("more bytes"));
        }
    })
    .await;
    String::from_utf8(all).unwrap()
}
