//! `ServeDir` as a tower service.

use std::os::unix::fs::symlink;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use static_files::{FileBody, Freshness, ListingOptions, Root, Rules, ServeDir, Types, Variants};
use tower::ServiceExt;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir_all(at.join("with")).unwrap();
    std::fs::create_dir_all(at.join("without/a:b")).unwrap();
    std::fs::write(at.join("with/index.html"), "<p>index").unwrap();
    std::fs::write(at.join("page one.html"), "<p>one").unwrap();
    std::fs::write(at.join("empty.txt"), "").unwrap();
    std::fs::write(at.join("README"), "read me").unwrap();
    symlink("/etc/passwd", at.join("passwd")).unwrap();
    folder
}

async fn ask(
    service: &ServeDir,
    method: Method,
    target: &str,
    lines: &[(&str, &str)],
) -> Response<FileBody> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    service
        .clone()
        .oneshot(request.body(()).unwrap())
        .await
        .unwrap()
}

async fn get(service: &ServeDir, target: &str) -> (u16, String) {
    let response = ask(service, Method::GET, target, &[]).await;
    let status = response.status().as_u16();
    let promised = field(&response, "content-length").map(|value| value.parse().unwrap());
    let content = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(promised, Some(content.len()), "{target}");
    (status, String::from_utf8(content.to_vec()).unwrap())
}

fn field(response: &Response<FileBody>, name: &str) -> Option<String> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn paths_are_decoded_and_contained() {
    let folder = folder();
    let service = ServeDir::new(folder.path());
    let cases: &[(&str, u16, &str)] = &[
        ("/README", 200, "read me"),
        ("//README", 200, "read me"),
        ("/with/../README", 200, "read me"),
        ("/page%20one.html", 200, "<p>one"),
        ("/empty.txt", 200, ""),
        ("/with/", 200, "<p>index"),
        ("/with/index.html", 200, "<p>index"),
        ("/README/", 404, "404 Not Found\n"),
        ("/README/x", 404, "404 Not Found\n"),
        ("/nothing", 404, "404 Not Found\n"),
        ("/nothing/", 404, "404 Not Found\n"),
        ("/without/", 403, "403 Forbidden\n"),
        ("/passwd", 403, "403 Forbidden\n"),
        ("/..%2f..%2fetc/passwd", 400, "400 Bad Request\n"),
        ("/a%00b", 400, "400 Bad Request\n"),
        ("/%zz", 400, "400 Bad Request\n"),
    ];
    for (target, status, content) in cases {
        assert_eq!(
            get(&service, target).await,
            (*status, (*content).to_owned()),
            "{target}"
        );
    }
}

#[tokio::test]
async fn directories_are_redirected_relative_to_what_was_asked() {
    let folder = folder();
    let service = ServeDir::new(folder.path());
    for (target, location) in [
        ("/with", "./with/"),
        ("/with?a=b&c", "./with/?a=b&c"),
        ("//with", "./with/"),
        ("/without/a:b", "./a:b/"),
        ("/without%2Fa:b", "./without%2Fa:b/"),
    ] {
        let response = ask(&service, Method::GET, target, &[]).await;
        assert_eq!(response.status(), 301, "{target}");
        assert_eq!(
            field(&response, "location").as_deref(),
            Some(location),
            "{target}"
        );
    }
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let folder = folder();
    let service = ServeDir::new(folder.path());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = ask(&service, method, "/README", &[]).await;
        assert_eq!(response.status(), 405);
        assert_eq!(field(&response, "allow").as_deref(), Some("GET, HEAD"));
    }
}

#[tokio::test]
async fn head_promises_what_get_sends() {
    let folder = folder();
    let service = ServeDir::new(folder.path());
    for target in ["/README", "/nothing", "/with"] {
        let head = ask(&service, Method::HEAD, target, &[]).await;
        let get = ask(&service, Method::GET, target, &[]).await;
        assert_eq!(head.status(), get.status());
        assert_eq!(head.headers(), get.headers());
        assert!(head.into_body().is_empty());
    }
}

#[tokio::test]
async fn conditional_and_range_requests_are_answered() {
    let folder = folder();
    let service = ServeDir::new(folder.path());
    let first = ask(&service, Method::GET, "/README", &[]).await;
    let tag = field(&first, "etag").unwrap();
    assert_eq!(field(&first, "accept-ranges").as_deref(), Some("bytes"));

    let second = ask(&service, Method::GET, "/README", &[("If-None-Match", &tag)]).await;
    assert_eq!(second.status(), 304);
    assert_eq!(field(&second, "etag"), Some(tag));
    assert_eq!(field(&second, "content-length"), None);
    assert!(second.into_body().is_empty());

    let part = ask(&service, Method::GET, "/README", &[("Range", "bytes=5-")]).await;
    assert_eq!(part.status(), 206);
    assert_eq!(
        field(&part, "content-range").as_deref(),
        Some("bytes 5-6/7")
    );
    assert_eq!(part.into_body().collect().await.unwrap().to_bytes(), "me");

    let refused = ask(&service, Method::GET, "/README", &[("Range", "bytes=7-")]).await;
    assert_eq!(refused.status(), 416);
    assert_eq!(
        field(&refused, "content-range").as_deref(),
        Some("bytes */7")
    );
    assert_eq!(
        field(&refused, "content-type").as_deref(),
        Some("text/plain; charset=utf-8")
    );

    let failed = ask(&service, Method::GET, "/README", &[("If-Match", "\"x\"")]).await;
    assert_eq!(failed.status(), 412);
    assert!(!failed.into_body().is_empty());
}

#[tokio::test]
async fn variants_are_chosen_also_for_index_files() {
    let folder = folder();
    std::fs::write(folder.path().join("with/index.html.br"), "pretend").unwrap();
    let service = ServeDir::new(folder.path())
        .with_variants(Variants::default().freshness(Freshness::Unchecked));
    let lines = [("Accept-Encoding", "gzip"), ("Accept-Encoding", "br;q=0.1")];
    let response = ask(&service, Method::GET, "/with/", &lines).await;
    assert_eq!(field(&response, "content-encoding").as_deref(), Some("br"));
    assert_eq!(
        field(&response, "content-type").as_deref(),
        Some("text/html")
    );
    assert_eq!(field(&response, "vary").as_deref(), Some("Accept-Encoding"));
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "pretend"
    );
    let plain = ask(&service, Method::GET, "/with/", &[]).await;
    assert_eq!(field(&plain, "content-encoding"), None);
    assert_eq!(field(&plain, "vary").as_deref(), Some("Accept-Encoding"));
}

#[tokio::test]
async fn everything_can_be_chosen() {
    let folder = folder();
    let service = ServeDir::of(Root::new(folder.path()))
        .with_types(Types::new("").with("x/y", ["html"]))
        .with_rules(Rules {
            entity_tags: false,
            ..Rules::default()
        })
        .with_index(["nothing.html", "README"])
        .with_listing(ListingOptions::default());
    let index = ask(&service, Method::GET, "/", &[]).await;
    assert_eq!(field(&index, "content-type"), None);
    assert_eq!(field(&index, "etag"), None);
    assert_eq!(
        index.into_body().collect().await.unwrap().to_bytes(),
        "read me"
    );
    let (status, page) = get(&service, "/without/").await;
    assert_eq!(status, 200);
    assert!(page.contains("<a href=\"a%3Ab/\">a:b/</a>"), "{page}");
    let (status, _) = get(&service, "/passwd/").await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_root_that_is_missing_is_not_found() {
    let folder = folder();
    let service = ServeDir::new(folder.path().join("no")).with_listing(ListingOptions::default());
    for target in ["/", "/x", "/x/"] {
        assert_eq!(get(&service, target).await.0, 404, "{target}");
    }
}
