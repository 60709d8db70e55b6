//! The configurations that users have today, paths and ports aside.

use std::os::unix::net::UnixListener;

use testkit::ScriptedPeer;
use testkit::http::Head;

use crate::server::House;

/// Answers every request with its own head.
fn echo(head: &Head) -> Vec<u8> {
    let lines: Vec<String> = std::iter::once(String::from_utf8_lossy(&head.line).into_owned())
        .chain(
            head.fields
                .iter()
                .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))),
        )
        .collect();
    let body = lines.join("\n");
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[test]
fn static_files_and_a_front_end_behind() {
    let origin = ScriptedPeer::listen(|peer| peer.serve(|head, _| echo(head)));
    let house = House::new();
    house.write("mime.types", "types { text/css css; }");
    house.write("static/site.css", "a{}");
    house.write(
        "nginx.conf",
        &"pid nginx.pid;
events { worker_connections 1024; }
http {
    include       mime.types;
    default_type  application/octet-stream;
    sendfile        on;
    keepalive_timeout  65;
    server {
        listen       127.0.0.1:{port};
        server_name  localhost;
        location /static/ { alias {prefix}/static/; expires 30d; }
        location / {
            proxy_pass http://{origin};
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }
    }
}
"
        .replace("{origin}", &origin.address().to_string()),
    );
    let server = house.start();
    let mut client = server.connect();
    let file = client.get("/static/site.css").expect("an answer");
    assert_eq!((file.status, file.text().as_str()), (200, "a{}"));
    assert_eq!(file.field("Content-Type").as_deref(), Some("text/css"));
    assert_eq!(
        file.field("Cache-Control").as_deref(),
        Some("max-age=2592000")
    );
    client
        .ask("GET", "/shop?q=1", &[("X-Forwarded-For", "192.0.2.7")])
        .expect("edge reads");
    let answer = client.response().expect("an answer").text();
    assert!(answer.starts_with("GET /shop?q=1 HTTP/1."), "{answer}");
    for line in [
        "Host: localhost",
        "X-Real-IP: 127.0.0.1",
        "X-Forwarded-For: 192.0.2.7, 127.0.0.1",
        "X-Forwarded-Proto: http",
    ] {
        assert!(answer.lines().any(|has| has == line), "{line}: {answer}");
    }
}

#[test]
fn a_shop_with_media_a_socket_and_web_sockets() {
    let sockets = ScriptedPeer::listen(|peer| {
        let mut connection = peer.accept();
        let head = Head::receive(&mut connection, "a request head").expect("a request");
        assert_eq!(head.field("Upgrade").as_deref(), Some("websocket"));
        assert_eq!(head.field("Connection").as_deref(), Some("upgrade"));
        connection
            .send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .expect("edge reads");
        assert_eq!(connection.take(4, "a frame").expect("a frame"), b"ping");
        connection.send(b"pong").expect("edge reads");
    });
    let house = House::new();
    house.write("staticfiles/a.txt", "static");
    house.write("media/b.txt", "media");
    let path = house.prefix.join("gunicorn.sock");
    let application = UnixListener::bind(&path).expect("a socket");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .expect("it is ours");
    let answering = std::thread::spawn(move || {
        let (stream, _) = application.accept().expect("a connection");
        let mut wire = testkit::Wire::from_unix(stream);
        let head = Head::receive(&mut wire, "a request head").expect("a request");
        wire.send(&echo(&head)).expect("edge reads");
    });
    house.configure(
        &"server {
    listen 127.0.0.1:{port};
    location /static/ { alias {prefix}/staticfiles/; }
    location /media/  { alias {prefix}/media/; }
    location /ws/ {
        proxy_pass http://{sockets};
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection \"upgrade\";
    }
    location / { proxy_pass http://unix:{prefix}/gunicorn.sock; }
}"
        .replace("{sockets}", &sockets.address().to_string()),
    );
    let server = house.start();
    assert_eq!(server.get("/static/a.txt").text(), "static");
    assert_eq!(server.get("/media/b.txt").text(), "media");
    assert!(server.get("/cart").text().starts_with("GET /cart HTTP/1."));
    answering.join().expect("the application was asked");

    let mut client = server.connect();
    client
        .ask(
            "GET",
            "/ws/chat",
            &[("Upgrade", "websocket"), ("Connection", "Upgrade")],
        )
        .expect("edge reads");
    assert_eq!(client.response().expect("an answer").status, 101);
    client.wire().send(b"ping").expect("the tunnel is open");
    assert_eq!(client.wire().take(4, "a frame").expect("a frame"), b"pong");
    sockets.finish();
}
