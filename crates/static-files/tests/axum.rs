//! The example `axum_static`, talked to over a socket.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[path = "../examples/axum_static.rs"]
mod example;

/// Serves the folder as the example does; the address to ask.
async fn serve(folder: &Path) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let application = example::application(folder);
    // Ends with the test's runtime.
    tokio::spawn(async move { axum::serve(listener, application).await });
    address
}

/// Head and content of the answer.
async fn ask(address: std::net::SocketAddr, request: &str) -> (String, Vec<u8>) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let content = answer.split_off(end + 4);
    (
        String::from_utf8(answer).unwrap().to_ascii_lowercase(),
        content,
    )
}

#[tokio::test]
async fn an_axum_application_serves_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let big: Vec<u8> = (0..1_000_000u32).map(|at| (at % 251) as u8).collect();
    std::fs::create_dir(folder.path().join("img")).unwrap();
    std::fs::write(folder.path().join("app.css"), "body { color: red }").unwrap();
    std::fs::write(folder.path().join("app.css.gz"), "pretend").unwrap();
    std::fs::write(folder.path().join("img/a.png"), &big).unwrap();
    let address = serve(folder.path()).await;

    let (head, content) = ask(address, "GET / HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(content, b"hello");

    let (head, content) = ask(address, "GET /assets/app.css HTTP/1.1").await;
    assert!(head.contains("content-type: text/css\r\n"), "{head}");
    assert!(head.contains("vary: accept-encoding\r\n"), "{head}");
    assert_eq!(content, b"body { color: red }");

    let (head, content) = ask(
        address,
        "GET /assets/app.css HTTP/1.1\r\nAccept-Encoding: gzip",
    )
    .await;
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    assert!(head.contains("content-type: text/css\r\n"), "{head}");
    assert_eq!(content, b"pretend");

    let (head, content) = ask(address, "GET /assets/img/a.png HTTP/1.1").await;
    assert!(head.contains("content-length: 1000000\r\n"), "{head}");
    assert!(content == big);

    let (head, content) = ask(
        address,
        "GET /assets/img/a.png HTTP/1.1\r\nRange: bytes=500000-500009",
    )
    .await;
    assert!(head.starts_with("http/1.1 206"), "{head}");
    assert_eq!(content, big[500_000..500_010]);

    let (head, content) = ask(address, "HEAD /assets/img/a.png HTTP/1.1").await;
    assert!(head.contains("content-length: 1000000\r\n"), "{head}");
    assert!(content.is_empty());

    let (head, _) = ask(address, "GET /assets/img?x=1 HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 301"), "{head}");
    assert!(head.contains("location: ./img/?x=1\r\n"), "{head}");

    let (head, content) = ask(address, "GET /assets/img/ HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(
        String::from_utf8(content)
            .unwrap()
            .contains("<a href=\"a.png\">a.png</a>")
    );

    let (head, _) = ask(address, "GET /assets/../../etc/passwd HTTP/1.1").await;
    assert!(!head.starts_with("http/1.1 200"), "{head}");
    let (head, _) = ask(address, "GET /assets/%2e%2e/%2e%2e/etc/passwd HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
}
