//! Which peer is asked, and what is sent and passed on.

use tokio::io::AsyncWriteExt;

use crate::world::{Origin, World, dead_port};

fn ok(text: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

#[tokio::test]
async fn a_peer_that_fails_is_followed_by_the_next() {
    let world = World::new();
    let (closing, good) = (Origin::closing().await, Origin::saying(ok("good")).await);
    let dead = dead_port();
    let site = world
        .serve(&format!(
            r#"
            log_format peers '$upstream_addr|$upstream_status;';
            upstream dead {{ server 127.0.0.1:{dead}; server 127.0.0.1:{good}; }}
            upstream closing {{ server 127.0.0.1:{closing}; server 127.0.0.1:{good} backup; }}
            server {{
                listen 127.0.0.1:{{port}};
                access_log access.log peers;
                location /dead {{ proxy_pass http://dead; }}
                location /closing {{ proxy_pass http://closing; }}
                location /off {{ proxy_pass http://closing; proxy_next_upstream off; }}
            }}
            "#,
            good = good.port,
            closing = closing.port,
        ))
        .await;
    assert_eq!(site.get("/dead").await.text(), "good");
    assert_eq!(site.get("/closing").await.text(), "good");
    let log = world
        .log_with("access.log", &format!("{}, ", closing.port))
        .await;
    assert!(
        log.contains(&format!(
            "127.0.0.1:{dead}, 127.0.0.1:{}|502, 200;",
            good.port
        )),
        "{log}"
    );
    let errors = world.log_with("error.log", "trying the next peer").await;
    assert!(errors.contains("111: Connection refused"), "{errors}");
}

#[tokio::test]
async fn a_request_that_can_do_harm_twice_is_sent_once() {
    let world = World::new();
    let (closing, good) = (Origin::closing().await, Origin::saying(ok("good")).await);
    let dead = dead_port();
    let upstreams = format!(
        "upstream closing {{ server 127.0.0.1:{closing} max_fails=0; server 127.0.0.1:{good} backup; }} \
         upstream dead {{ server 127.0.0.1:{dead}; server 127.0.0.1:{good}; }}",
        closing = closing.port,
        good = good.port,
    );
    let site = world
        .serve(&format!(
            "{upstreams} server {{ listen 127.0.0.1:{{port}}; \
             location /closing {{ proxy_pass http://closing; }} \
             location /dead {{ proxy_pass http://dead; }} \
             location /bold {{ proxy_pass http://closing; proxy_next_upstream error non_idempotent; }} }}"
        ))
        .await;
    assert_eq!(site.post("/closing", "x").await.status, 502);
    assert_eq!((closing.requests(), good.requests()), (1, 0));
    // Nothing was sent to the dead one.
    assert_eq!(site.post("/dead", "x").await.status, 200);
    assert_eq!(site.post("/bold", "x").await.status, 200);
    assert_eq!((closing.requests(), good.requests()), (2, 2));
}

#[tokio::test]
async fn a_status_may_lead_to_the_next_peer_and_the_last_one_is_passed_on() {
    let world = World::new();
    let busy = Origin::saying("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy").await;
    let good = Origin::saying(ok("good")).await;
    let site = world
        .serve(&format!(
            "upstream one {{ server 127.0.0.1:{busy} max_fails=0; server 127.0.0.1:{good} backup; }} \
             upstream all {{ server 127.0.0.1:{busy} max_fails=0; }} \
             server {{ listen 127.0.0.1:{{port}}; proxy_next_upstream http_503; \
             location /one {{ proxy_pass http://one; }} location /all {{ proxy_pass http://all; }} }}",
            busy = busy.port,
            good = good.port,
        ))
        .await;
    assert_eq!(site.get("/one").await.text(), "good");
    let last = site.get("/all").await;
    assert_eq!((last.status, last.text()), (503, "busy"));
}

#[tokio::test]
async fn the_request_is_sent_as_the_location_says() {
    let world = World::new();
    let origin = Origin::saying(ok("")).await;
    let site = world
        .serve_one(&format!(
            "location /plain/ {{ proxy_pass http://127.0.0.1:{port}; }} \
             location /mapped/ {{ proxy_pass http://127.0.0.1:{port}/to/; proxy_set_header Host $host; \
             proxy_set_header X-Real-IP $remote_addr; proxy_set_header Accept \"\"; }}",
            port = origin.port
        ))
        .await;
    site.raw("GET /plain/a%20b?c HTTP/1.1\r\nHost: site\r\nX-Mine: 1\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    site.raw(
        "GET /mapped/a%20b?c HTTP/1.1\r\nHost: site\r\nAccept: all\r\nConnection: close\r\n\r\n",
    )
    .await
    .unwrap();
    let heads = origin.heads.lock().unwrap().clone();
    assert!(
        heads[0].starts_with("GET /plain/a%20b?c HTTP/1.1\r\n"),
        "{}",
        heads[0]
    );
    assert!(
        heads[0].contains(&format!("Host: 127.0.0.1:{}\r\n", origin.port)),
        "{}",
        heads[0]
    );
    assert!(heads[0].contains("X-Mine: 1\r\n"), "{}", heads[0]);
    assert!(
        heads[1].starts_with("GET /to/a%20b?c HTTP/1.1\r\n"),
        "{}",
        heads[1]
    );
    assert!(
        heads[1].contains("Host: site\r\n") && heads[1].contains("X-Real-IP: 127.0.0.1\r\n"),
        "{}",
        heads[1]
    );
    assert!(!heads[1].contains("Accept"), "{}", heads[1]);
}

#[tokio::test]
async fn a_head_larger_than_proxy_buffer_size_is_refused_in_its_name() {
    let world = World::new();
    let long = format!(
        "HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(3000)
    );
    let origin = Origin::saying(long).await;
    let site = world
        .serve_one(&format!(
            "location /default {{ proxy_pass http://127.0.0.1:{port}; }} \
             location /small {{ proxy_pass http://127.0.0.1:{port}; proxy_buffer_size 2k; }} \
             location /fits {{ proxy_pass http://127.0.0.1:{port}; proxy_buffer_size 4k; }}",
            port = origin.port
        ))
        .await;
    assert_eq!(site.get("/default").await.status, 200);
    assert_eq!(site.get("/fits").await.status, 200);
    assert_eq!(site.get("/small").await.status, 502);
    let log = world.log_with("error.log", "too big header").await;
    assert!(log.contains("proxy_buffer_size"), "{log}");
}

#[tokio::test]
async fn content_that_breaks_off_cuts_the_client_and_says_so() {
    let world = World::new();
    let origin = Origin::new(|_, mut stream| async move {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            .await
            .ok()?;
        None
    })
    .await;
    let site = world
        .serve_one(&format!(
            "location / {{ proxy_pass http://127.0.0.1:{}; }}",
            origin.port
        ))
        .await;
    let reply = site.get("/").await;
    assert_eq!(
        (reply.field("Content-Length"), reply.text()),
        (Some("100"), "only this")
    );
    let log = world
        .log_with("error.log", "upstream prematurely closed connection")
        .await;
    assert!(log.contains("while reading upstream"), "{log}");
}
