//! Which server and which location a request comes to.

use crate::world::World;

#[tokio::test]
async fn the_host_chooses_the_server_as_nginx_documents() {
    let world = World::new();
    let site = world
        .serve(
            r#"
            server { listen 127.0.0.1:{port}; server_name first; return 200 first; }
            server { listen 127.0.0.1:{port} default_server; server_name other; return 200 default; }
            server { listen 127.0.0.1:{port}; server_name www.example.org; return 200 exact; }
            server { listen 127.0.0.1:{port}; server_name *.example.org; return 200 leading; }
            server { listen 127.0.0.1:{port}; server_name *.deep.example.org; return 200 longer; }
            server { listen 127.0.0.1:{port}; server_name mail.*; return 200 trailing; }
            server { listen 127.0.0.1:{port}; server_name .both.net; return 200 both; }
            server { listen 127.0.0.1:{port}; server_name ~^(?<user>[a-z]+)\.users\.net$; return 200 "user=$user $1 $host"; }
            "#,
        )
        .await;
    for (host, expected) in [
        ("first", "first"),
        ("FIRST:8080", "first"),
        ("nobody", "default"),
        ("www.example.org", "exact"),
        ("www.example.org.", "exact"),
        ("a.example.org", "leading"),
        ("a.b.example.org", "leading"),
        ("a.deep.example.org", "longer"),
        ("example.org", "default"),
        ("mail.org", "trailing"),
        ("mail.example.org", "leading"),
        ("both.net", "both"),
        ("x.both.net", "both"),
        ("anna.users.net", "user=anna anna anna.users.net"),
        ("a1.users.net", "default"),
    ] {
        assert_eq!(site.get_at(host, "/").await.text(), expected, "{host}");
    }
    let absolute = site
        .raw("GET http://mail.org/ HTTP/1.1\r\nHost: first\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(absolute.unwrap().text(), "trailing");
    assert_eq!(
        site.raw("GET / HTTP/1.0\r\n\r\n").await.unwrap().text(),
        "default"
    );
}

#[tokio::test]
async fn the_uri_chooses_the_location_as_nginx_documents() {
    let world = World::new();
    let site = world
        .serve_one(
            r#"
            location / { return 200 root; }
            location = / { return 200 exact-root; }
            location = /exact { return 200 exact; }
            location /documents/ { return 200 documents; }
            location ^~ /images/ { return 200 images; }
            location ~ \.(gif|jpg)$ { return 200 picture; }
            location ~* \.PNG$ { return 200 "caseless"; }
            location ~ ^/first { return 200 first; }
            location ~ ^/first/second { return 200 never; }
            location ~ ^/user/(?<id>\d+)/(.*)$ { return 200 "$id|$2|$uri"; }
            location /nested/ {
                return 200 nested;
                location /nested/deep/ { return 200 deep; location = /nested/deep/exact { return 200 deep-exact; } }
                location ~ \.txt$ { return 200 nested-txt; }
            }
            location ^~ /closed/ { location ~ \.gif$ { return 200 inside; } return 200 closed; }
            location "/with space/" { return 200 space; }
            location ~ ^/outer/(.+)$ { location ~ inner$ { return 200 "inner"; } return 200 "outer $1"; }
            "#,
        )
        .await;
    for (target, expected) in [
        ("/", "exact-root"),
        ("/index.html", "root"),
        ("/exact", "exact"),
        ("/exact/", "root"),
        ("/documents/a", "documents"),
        ("/documents/a.gif", "picture"),
        ("/images/a.gif", "images"),
        ("/a.PnG", "caseless"),
        ("/a.JPG", "root"),
        ("/first/second", "first"),
        ("/user/42/a/b", "42|a/b|/user/42/a/b"),
        ("/user/4%32/x%20y", "42|x y|/user/42/x y"),
        ("/nested/x", "nested"),
        ("/nested/x.txt", "nested-txt"),
        ("/nested/deep/x", "deep"),
        ("/nested/deep/exact", "deep-exact"),
        ("/nested/a.gif", "picture"),
        ("/closed/a.gif", "inside"),
        ("/closed/b", "closed"),
        ("/with%20space/x", "space"),
        ("/outer/x", "outer x"),
        ("/outer/inner", "inner"),
        ("//documents///a", "documents"),
        ("/x/../documents/./a", "documents"),
        ("/documents/?a=/images/", "documents"),
    ] {
        assert_eq!(site.get(target).await.text(), expected, "{target}");
    }
    assert_eq!(site.get("/../x").await.status, 400);
    assert_eq!(site.get("/%zz").await.status, 400);
}

#[tokio::test]
async fn a_location_that_hands_a_tree_on_adds_its_slash() {
    let world = World::new();
    let site = world
        .serve_one(
            "location /app/ { proxy_pass http://127.0.0.1:1; } location /own/ { return 200 own; }",
        )
        .await;
    let moved = site.get("/app?x=1").await;
    assert_eq!(moved.status, 301);
    assert_eq!(
        moved.field("Location"),
        Some(&*format!("http://localhost:{}/app/?x=1", site.port))
    );
    assert_eq!(site.get("/own").await.status, 404);
}
