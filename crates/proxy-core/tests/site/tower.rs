//! A site that is called without sockets, by those who bring connections of their own.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as _;
use proxy_core::body::Body;
use proxy_core::engine::ports::ListenAddress;
use proxy_core::engine::{Serving, SiteService};
use proxy_core::server::Address;
use proxy_core::tower::Handler;
use tower_service::Service;

use crate::probe::Lines;
use crate::world::{Origin, World};

fn handler(world: &World, server: &str) -> Handler<SiteService> {
    let site = world.compile(&format!("server {{ listen 127.0.0.1:8080; {server} }}"), 0);
    let local = ([127, 0, 0, 1], 8080).into();
    let service = Serving::new(site).at(ListenAddress::Inet(local));
    let peer = Address::Inet(([192, 0, 2, 7], 4000).into());
    Handler::new(Arc::new(service), peer, Address::Inet(local))
}

async fn call(
    handler: &mut Handler<SiteService>,
    request: Request<Body>,
) -> (Response<()>, String) {
    let Ok(response) = handler.call(request).await;
    let (parts, mut body) = response.into_parts();
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        text.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    (
        Response::from_parts(parts, ()),
        String::from_utf8(text).unwrap(),
    )
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::Empty).unwrap()
}

#[tokio::test]
async fn requests_are_answered_as_over_a_socket() {
    let world = World::new();
    world.put("html/page.html", "<p>page");
    let mut handler = handler(
        &world,
        r#"root {root}/html; location /who { return 200 "$remote_addr $host $request_uri $scheme"; }
           location /gone { return 410; } location /moved { return 301 /there; }"#,
    );
    let (who, text) = call(&mut handler, get("http://shop.example/who?a=b")).await;
    assert_eq!(
        (who.status().as_u16(), &*text),
        (200, "192.0.2.7 shop.example /who?a=b http")
    );
    assert_eq!(
        who.headers()["server"],
        concat!("edge/", env!("CARGO_PKG_VERSION"))
    );
    let (page, text) = call(&mut handler, get("/page.html")).await;
    assert_eq!(
        (page.headers()["content-length"].to_str().unwrap(), &*text),
        ("7", "<p>page")
    );
    let (gone, text) = call(&mut handler, get("/gone")).await;
    assert_eq!(gone.status(), 410);
    assert!(text.contains("410 Gone"));
    let (moved, _) = call(&mut handler, get("http://shop.example/moved")).await;
    assert_eq!(
        moved.headers()["location"],
        "http://shop.example:8080/there"
    );
    let head = Request::builder()
        .method(Method::HEAD)
        .uri("/page.html")
        .body(Body::Empty)
        .unwrap();
    let (head, text) = call(&mut handler, head).await;
    assert_eq!(
        (head.headers()["content-length"].to_str().unwrap(), &*text),
        ("7", "")
    );
}

#[tokio::test]
async fn content_goes_in_and_comes_out_and_limits_hold() {
    let world = World::new();
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    )
    .await;
    let mut handler = handler(
        &world,
        &format!(
            "client_max_body_size 5; location / {{ proxy_pass http://127.0.0.1:{}; }}",
            origin.port
        ),
    );
    for (content, status) in [("12345", 200), ("123456", 413)] {
        let body = Body::from(Bytes::from_static(content.as_bytes()));
        let request = Request::post("/").header("host", "a").body(body).unwrap();
        let (response, text) = call(&mut handler, request).await;
        assert_eq!(response.status(), status, "{content}");
        if status == 200 {
            assert_eq!(text, "abcde");
        }
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn the_log_phase_runs_when_the_content_has_ended() {
    let world = World::new();
    let mut handler = handler(&world, r#"probe_tag t; location / { return 200 "12345"; }"#);
    let lines = world.zones.entry("probe", "lines", Lines::default);
    let Ok(response) = handler.call(get("/whole")).await;
    assert!(
        lines.0.lock().unwrap().is_empty(),
        "nobody has read the content yet"
    );
    drop(response);
    call(&mut handler, get("/whole")).await;
    let lines = lines.0.lock().unwrap().clone();
    assert_eq!(lines, ["/whole 200 0", "/whole 200 5"]);
}
