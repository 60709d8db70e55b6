//! Internal redirects, error pages, try_files, return, fields, bodies that are too large.

use crate::world::{Origin, World};

#[tokio::test]
async fn error_pages_take_the_places_that_nginx_gives_them() {
    let world = World::new();
    world
        .put("html/404.html", "custom page")
        .put("html/index.html", "home");
    let site = world
        .serve_one(
            r#"
            root {root}/html;
            error_page 404 /404.html;
            error_page 403 =200 /friendly;
            error_page 410 https://elsewhere.example/gone;
            error_page 418 = @tea;
            error_page 503 =502 @busy;
            location = /404.html { internal; }
            location = /friendly { return 200 "friendly $request_uri"; }
            location @tea { return 202 "tea"; }
            location @busy { return 200 "busy"; }
            location /403 { return 403; }
            location /410 { return 410; }
            location /418 { return 418; }
            location /503 { return 503; }
            location /own { error_page 404 /own-404; location = /own-404 { return 200 "own"; } }
            location /chain { error_page 404 /403; }
            location /recursive { recursive_error_pages on; error_page 404 /403; }
            "#,
        )
        .await;
    for (target, status, text) in [
        ("/missing", 404, "custom page"),
        ("/404.html", 404, "custom page"),
        ("/403", 200, "friendly /403"),
        ("/418", 202, "tea"),
        ("/503", 502, "busy"),
        ("/", 200, "home"),
    ] {
        let reply = site.get(target).await;
        assert_eq!((reply.status, reply.text()), (status, text), "{target}");
    }
    let gone = site.get("/410").await;
    assert_eq!(
        (gone.status, gone.field("Location")),
        (302, Some("https://elsewhere.example/gone"))
    );
    // The page of a page is not asked for unless recursive_error_pages says so; its own failure is what is told.
    let chain = site.get("/chain").await;
    assert_eq!(chain.status, 403);
    assert!(chain.text().contains("403 Forbidden"));
    assert_eq!(site.get("/recursive").await.text(), "friendly /recursive");
}

#[tokio::test]
async fn a_cycle_of_internal_redirects_ends_after_ten_turns() {
    let world = World::new();
    let site = world
        .serve_one("root {root}; location / { try_files /none /other; }")
        .await;
    let reply = site.get("/x").await;
    assert_eq!(reply.status, 500);
    let log = world.log_with("error.log", "cycle").await;
    assert!(
        log.contains(
            "rewrite or internal redirection cycle while internally redirecting to \"/other\""
        ),
        "{log}"
    );
}

#[tokio::test]
async fn try_files_takes_what_there_is_first() {
    let world = World::new();
    world
        .put("html/page.html", "page")
        .put("html/dir/index.html", "directory")
        .put("html/maintenance.html", "maintenance");
    let site = world
        .serve_one(
            r#"
            root {root}/html;
            location / { try_files $uri $uri.html $uri/ @last; }
            location @last { return 200 "last $uri"; }
            location /status { try_files /nothing =410; }
            location /args { try_files /nothing /echo?was=$uri; }
            location /echo { return 200 "$args"; }
            location /always { try_files /maintenance.html =404; }
            "#,
        )
        .await;
    for (target, status, text) in [
        ("/page", 200, "page"),
        ("/page.html", 200, "page"),
        ("/dir/", 200, "directory"),
        ("/none", 200, "last /none"),
        ("/args/x", 200, "was=/args/x"),
        ("/always/x", 200, "maintenance"),
    ] {
        let reply = site.get(target).await;
        assert_eq!((reply.status, reply.text()), (status, text), "{target}");
    }
    assert_eq!(site.get("/status/x").await.status, 410);
}

#[tokio::test]
async fn return_answers_in_all_of_its_forms() {
    let world = World::new();
    let site = world
        .serve_one(
            r#"
            location /text { default_type text/x; return 200 "to $remote_addr"; }
            location /empty { return 204; }
            location /moved { return 301 /there?$args; }
            location /url { return https://$host/u; }
            location /relative { absolute_redirect off; return 307 /r; }
            location /close { return 444; }
            location /page { return 404; }
            "#,
        )
        .await;
    let text = site.get("/text").await;
    assert_eq!(
        (text.text(), text.field("Content-Type")),
        ("to 127.0.0.1", Some("text/x"))
    );
    let empty = site.get("/empty").await;
    assert_eq!((empty.status, empty.field("Content-Length")), (204, None));
    for (target, status, location) in [
        (
            "/moved?a=b",
            301,
            format!("http://localhost:{}/there?a=b", site.port),
        ),
        ("/url", 302, "https://localhost/u".to_owned()),
        ("/relative", 307, "/r".to_owned()),
    ] {
        let reply = site.get(target).await;
        assert_eq!(
            (reply.status, reply.field("Location")),
            (status, Some(&*location)),
            "{target}"
        );
    }
    assert!(
        site.raw("GET /close HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .is_none()
    );
    assert!(
        site.get("/page")
            .await
            .text()
            .contains("<title>404 Not Found</title>")
    );
}

#[tokio::test]
async fn added_fields_are_inherited_only_by_blocks_that_add_none() {
    let world = World::new();
    let site = world
        .serve(
            r#"
            add_header X-Http http;
            server {
                listen 127.0.0.1:{port};
                location /inherits { return 200 a; }
                location /own { add_header X-Own "$uri"; return 200 a; }
                location /always { add_header X-Always yes always; add_header X-Sometimes yes; return 404; }
                location /expires { expires 1h; return 200 a; }
            }
            "#,
        )
        .await;
    let reply = site.get("/inherits").await;
    assert_eq!(
        (reply.field("X-Http"), reply.field("X-Own")),
        (Some("http"), None)
    );
    let reply = site.get("/own").await;
    assert_eq!(
        (reply.field("X-Http"), reply.field("X-Own")),
        (None, Some("/own"))
    );
    let reply = site.get("/always").await;
    assert_eq!(
        (reply.field("X-Always"), reply.field("X-Sometimes")),
        (Some("yes"), None)
    );
    let reply = site.get("/expires").await;
    assert_eq!(reply.field("Cache-Control"), Some("max-age=3600"));
    assert_eq!(reply.field("X-Http"), Some("http"));
}

#[tokio::test]
async fn content_that_is_too_large_is_refused_before_and_while_it_comes() {
    let world = World::new();
    let origin = Origin::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let port = origin.port;
    let site = world
        .serve_one(&format!(
            "client_max_body_size 10; location / {{ proxy_pass http://127.0.0.1:{port}; }} \
             location /more {{ client_max_body_size 0; proxy_pass http://127.0.0.1:{port}; }}"
        ))
        .await;
    assert_eq!(site.post("/", "0123456789").await.status, 200);
    assert_eq!(site.post("/", "0123456789a").await.status, 413);
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let few = format!("{chunked}5\r\nabcde\r\n0\r\n\r\n");
    let many = format!("{chunked}6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n");
    assert_eq!(site.raw(few).await.unwrap().status, 200);
    assert_eq!(site.raw(many).await.unwrap().status, 413);
    assert_eq!(site.post("/more", &"x".repeat(100_000)).await.status, 200);
    assert_eq!(origin.requests(), 3);
    assert!(
        world
            .log_with("error.log", "client_max_body_size")
            .await
            .contains("too large body")
    );
}
