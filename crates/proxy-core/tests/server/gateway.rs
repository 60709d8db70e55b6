//! What gateways say ahead of a connection, and instead of HTTP.

use std::os::unix::net::UnixStream as StdUnixStream;

use http_wire::proxy_protocol::Versions;
use proxy_core::server::{
    Address, Allowed, Connection, Drain, ProxyProtocol, Socket, UwsgiProtocol, serve_connection,
};
use tokio::net::UnixStream;

use super::*;

const LINE: &str = "PROXY TCP4 192.0.2.1 198.51.100.9 4711 443\r\n";

fn all() -> Allowed {
    Arc::new(|_| true)
}

fn pair(tls: bool) -> (UnixStream, Socket, Connection) {
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let unix = || Address::Unix(None);
    (
        UnixStream::from_std(ours).unwrap(),
        Socket::new(theirs.into()).unwrap(),
        Connection::new(unix(), unix(), tls),
    )
}

fn proxied(service: &Arc<Scripted>, allowed: Allowed, tls: bool) -> Client {
    let (stream, socket, connection) = pair(tls);
    let drain = Drain::new();
    let then = {
        let drain = drain.clone();
        move |socket, connection, service| async move {
            serve_connection(socket, connection, service, &drain).await;
        }
    };
    let proxy = ProxyProtocol::new(Versions::Any, allowed);
    let task = tokio::spawn(proxy.serve(socket, connection, service.clone(), &drain, then));
    Client {
        stream,
        task,
        drain,
    }
}

fn uwsgi(service: &Arc<Scripted>, allowed: Allowed) -> Client {
    let (stream, socket, connection) = pair(false);
    let drain = Drain::new();
    let uwsgi = UwsgiProtocol::new(allowed);
    let task = tokio::spawn(uwsgi.serve(socket, connection, service.clone(), &drain));
    Client {
        stream,
        task,
        drain,
    }
}

/// Tells who asks for what.
fn telling() -> Arc<Scripted> {
    Scripted::new(limits(), |mut request| async move {
        let connection = request.connection.clone();
        let proxied = connection.proxied.as_ref();
        let said = format!(
            "{} {} {:?} {:?}",
            connection.client(),
            proxied.map_or("-", |proxied| proxied.protocol),
            proxied.and_then(|proxied| proxied.destination),
            connection.uwsgi.map(|uwsgi| uwsgi.https),
        );
        let content = support::content(&mut request).await;
        with_body(format!("{said} {}", content.len()))
    })
}

fn packet(variables: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
    let rest: Vec<u8> = variables
        .iter()
        .flat_map(|(key, value)| [text(key), text(value)].concat())
        .collect();
    [&[0][..], &(rest.len() as u16).to_le_bytes(), &[0], &rest].concat()
}

#[tokio::test]
async fn the_client_that_a_gateway_names_asks_for_all_requests_however_the_header_is_split() {
    let service = telling();
    let wire = format!("{LINE}GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let told = "192.0.2.1:4711 TCP4 Some(198.51.100.9:443) None 0";
    for piece in [1, 7, LINE.len(), wire.len()] {
        let mut client = proxied(&service, all(), false);
        for part in wire.as_bytes().chunks(piece) {
            client.send(part).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.response_to("GET").await.1, told.as_bytes());
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.response_to("GET").await.1, told.as_bytes());
    }
    let mut client = proxied(&service, all(), false);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response_to("GET").await.1, b"unix: - None None 0");
}

#[tokio::test]
async fn headers_that_are_broken_or_not_allowed_are_answered_and_the_connection_ends() {
    for (allowed, wire, status) in [
        (true, "PROXY TCP9 1.2.3.4 1.2.3.4 1 2\r\n", 400),
        (false, LINE, 403),
        (false, "PROXY TCP9 1.2.3.4 1.2.3.4 1 2\r\n", 403),
    ] {
        let service = telling();
        let mut client = proxied(&service, Arc::new(move |_| allowed), false);
        client.send(wire).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = client.rest_text().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert_eq!(service.refused().len(), 1);
    }
}

#[tokio::test]
async fn where_tls_follows_nothing_is_answered_in_the_clear() {
    let service = telling();
    let mut client = proxied(&service, Arc::new(|_| false), true);
    client.send(LINE).await;
    assert_eq!(client.rest_text().await, "");
    assert!(service.refused().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_come_in_time_is_not_waited_for() {
    let service = telling();
    let mut silent = proxied(&service, all(), false);
    let mut slow = proxied(&service, all(), false);
    slow.send("PROXY TCP4 192.0.2.1 ").await;
    assert_eq!(silent.rest_text().await, "");
    let answer = slow.rest_text().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let mut half = uwsgi(&service, all());
    half.send([0, 9, 0, 0, 1]).await;
    let answer = half.rest_text().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_gateways_that_say_nothing() {
    let service = telling();
    for client in [proxied(&service, all(), false), uwsgi(&service, all())] {
        client.drain.start();
        client.drain.ended().await;
        client.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_ends_within_its_header_is_no_request() {
    let service = telling();
    for wire in ["", "PROXY TCP4", "\r\n\r\n"] {
        let mut client = proxied(&service, all(), false);
        client.send(wire).await;
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.rest_text().await, "", "{wire:?}");
    }
    assert!(service.refused().is_empty() && service.sent().is_empty());
}

#[tokio::test]
async fn a_packet_is_a_request_and_the_connection_ends_with_its_answer() {
    let service = telling();
    let mut wire = packet(&[
        ("REQUEST_METHOD", "POST"),
        ("PATH_INFO", "/"),
        ("HTTP_CONNECTION", "keep-alive"),
        ("HTTP_EXPECT", "100-continue"),
        ("CONTENT_LENGTH", "5"),
        ("HTTPS", "on"),
    ]);
    wire.extend_from_slice(b"hello");
    for piece in [1, 3, wire.len()] {
        let mut client = uwsgi(&service, all());
        for part in wire.chunks(piece) {
            client.send(part).await;
            tokio::task::yield_now().await;
        }
        let answer = client.rest_text().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        assert!(
            answer.ends_with("\r\n\r\nunix: - None Some(true) 5"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn content_of_no_known_length_is_not_chunked_for_a_gateway() {
    let service = Scripted::new(limits(), |request| async move {
        let interim = request.interim();
        assert!(!interim.send(StatusCode::EARLY_HINTS, &http_wire::Fields::new()));
        let (frames, content) = mpsc::unbounded_channel();
        for frame in ["one ", "two"] {
            frames.send(Ok(frame)).unwrap();
        }
        with_body(Body::Stream(Box::pin(Frames(content))))
    });
    let mut client = uwsgi(&service, all());
    client.send(packet(&[])).await;
    let answer = client.rest_text().await;
    assert!(
        !answer.contains("chunked") && !answer.contains("103"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\none two"), "{answer}");
}

#[tokio::test]
async fn packets_that_are_broken_or_not_allowed_are_answered() {
    for (allowed, wire, status) in [
        (true, &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], 501),
        (true, b"\0\x02\0\0\x05\0", 400),
        (false, b"\0\0\0\0", 403),
    ] {
        let service = telling();
        let mut client = uwsgi(&service, Arc::new(move |_| allowed));
        client.send(wire).await;
        let answer = client.rest_text().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert_eq!(service.refused().len(), 1);
    }
}
