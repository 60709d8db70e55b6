//! A feature that the engine has never heard of: its directives, its variable, all kinds of its handlers.

use crate::probe::Lines;
use crate::world::{World, within};

#[tokio::test]
async fn handlers_of_every_kind_run_in_their_order() {
    let world = World::new();
    world.put("html/file", "file");
    let site = world
        .serve_one(
            r#"
            root {root}/html;
            location = /now { probe now; }
            location = /waiting { probe waiting; }
            location = /try-settled { probe try-settled; }
            location = /try-waiting { probe try-waiting; }
            location = /file { probe never; probe_tag "$probe_steps $uri"; }
            "#,
        )
        .await;
    for (target, text) in [
        ("/now", "now"),
        ("/waiting", "now+waited"),
        ("/try-settled", "now+waited+tried"),
        ("/try-waiting", "now+waited+tried"),
        ("/file", "file"),
    ] {
        let reply = site.get(target).await;
        assert_eq!((reply.status, reply.text()), (200, text), "{target}");
        let tagged = (target == "/file").then_some("now+waited+tried /file");
        assert_eq!(reply.field("X-Probe"), tagged, "{target}");
    }
}

#[tokio::test]
async fn the_log_phase_sees_what_was_sent() {
    let world = World::new();
    let site = world
        .serve_one(
            r#"probe_tag t; location /five { return 200 "12345"; } location /none { return 404; }"#,
        )
        .await;
    site.get("/five").await;
    site.get("/none").await;
    let lines = world.zones.entry("probe", "lines", Lines::default);
    within("two lines", async {
        while lines.0.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let lines = lines.0.lock().unwrap().clone();
    assert_eq!(lines[0], "/five 200 5");
    assert!(lines[1].starts_with("/none 404 "), "{lines:?}");
}

#[tokio::test]
async fn variables_of_all_origins_meet_in_a_log_line() {
    let world = World::new();
    let site = world
        .serve(
            r#"
            log_format all '$remote_addr "$request" $status $body_bytes_sent "$http_user_agent" '
                           '$probe_steps $server_name $arg_a $cookie_b [$sent_http_x_out] $1 $upstream_addr;';
            server {
                listen 127.0.0.1:{port}; server_name named;
                access_log access.log all;
                location ~ ^/(l.g)/ { probe_tag x; add_header X-Out "out"; return 200 "body"; }
                location = /silent { access_log off; return 200 silent; }
            }
            "#,
        )
        .await;
    site.get("/silent").await;
    let request = "GET /log/?a=1 HTTP/1.1\r\nHost: named\r\nUser-Agent: te\"st\r\nCookie: a=0; b=2\r\nConnection: close\r\n\r\n";
    site.raw(request).await.unwrap();
    let log = world.log_with("access.log", ";\n").await;
    assert_eq!(
        log,
        "127.0.0.1 \"GET /log/?a=1 HTTP/1.1\" 200 4 \"te\\x22st\" - named 1 2 [out] log -;\n"
    );
}
