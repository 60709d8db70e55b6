//! Gateways in front: the real nginx with uwsgi_pass, and whoever speaks the PROXY protocol.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use support::{PATIENCE, Server, Setup, get_from};
use testkit::http::Client;
use testkit::{Address, Child, FreePort, TempPrefix};

const NGINX: &str = "/usr/sbin/nginx";

const WSGI: &str = "
def application(environ, start_response):
    content = environ['wsgi.input'].read()
    if environ['PATH_INFO'] == '/stream':
        start_response('200 OK', [])
        return (b'%d,' % number for number in range(20000))
    if environ['PATH_INFO'] == '/missing':
        start_response('404 Not Here', [('X-Own', 'yes')])
        return [b'gone']
    keys = ('REQUEST_METHOD', 'PATH_INFO', 'QUERY_STRING', 'REMOTE_ADDR', 'wsgi.url_scheme', 'HTTP_HOST', 'HTTP_X_A')
    text = '|'.join(environ.get(key, '-') for key in keys) + '|%d' % len(content)
    start_response('200 OK', [('Content-Length', str(len(text)))])
    return [text.encode('latin-1')]
";

const ASGI: &str = "
async def application(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            event = (await receive())['type']
            await send({'type': event + '.complete'})
            if event == 'lifespan.shutdown':
                return
    assert scope['type'] == 'http', scope['type']
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get('body', b''))
        more = message.get('more_body', False)
    fields = dict(scope['headers'])
    client = (scope['client'] or ('-',))[0]
    text = '|'.join([scope['method'], scope['path'], scope['query_string'].decode(), client, scope['scheme'],
                     fields[b'host'].decode(), fields.get(b'x-a', b'-').decode(), str(length)])
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': text[:5].encode(), 'more_body': True})
    await send({'type': 'http.response.body', 'body': text[5:].encode()})
";

/// nginx in front of a server.
struct Front {
    _child: Child,
    _prefix: TempPrefix,
    address: Address,
}

impl Front {
    fn of(backend: &str) -> Self {
        assert!(Path::new(NGINX).is_file(), "{NGINX} is installed");
        let prefix = TempPrefix::new().unwrap();
        let home = prefix.path().display();
        let text = format!(
            "daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log;\nevents {{}}\nhttp {{\n  access_log off;\n  \
             client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; \
             scgi_temp_path {home}/s;\n  server {{\n    listen unix:{home}/front.sock;\n    client_max_body_size 10m;\n    location / {{\n      \
             include uwsgi_params;\n      uwsgi_pass {backend};\n    }}\n  }}\n}}\n"
        );
        let params = [
            "QUERY_STRING $query_string",
            "REQUEST_METHOD $request_method",
            "CONTENT_TYPE $content_type",
            "CONTENT_LENGTH $content_length",
            "REQUEST_URI $request_uri",
            "PATH_INFO $document_uri",
            "DOCUMENT_ROOT $document_root",
            "SERVER_PROTOCOL $server_protocol",
            "REQUEST_SCHEME $scheme",
            "HTTPS $https if_not_empty",
            "REMOTE_ADDR $remote_addr",
            "REMOTE_PORT $remote_port",
            "SERVER_PORT $server_port",
            "SERVER_NAME $server_name",
        ];
        let params: String = params
            .iter()
            .map(|line| format!("uwsgi_param {line};\n"))
            .collect();
        prefix.write("uwsgi_params", params).unwrap();
        let file = prefix.write("nginx.conf", text).unwrap();
        let mut command = Command::new(NGINX);
        command.arg("-p").arg(prefix.path()).arg("-c").arg(file);
        let child = Child::spawn(&mut command).unwrap();
        Self {
            _child: child,
            address: Address::Unix(prefix.join("front.sock")),
            _prefix: prefix,
        }
    }

    fn client(&self, server: &Server) -> Client {
        let mut client = server.until("an answer of nginx", || {
            Client::connect(self.address.clone()).ok()
        });
        client.wire().set_patience(PATIENCE);
        client
    }
}

/// A server, on a unix socket and on a port, that nginx is in front of.
fn behind_nginx(app: &str, arguments: &[&str]) {
    let port = FreePort::find().unwrap();
    let server = Setup::new(app)
        .args(&["--protocol", "uwsgi", "-b", &port.address().to_string()])
        .args(arguments)
        .spawn();
    server.until_log("Booting worker", 1);
    let socket = format!("unix:{}", server.prefix.join("app.sock").display());
    for (backend, peer) in [
        (socket, None),
        (port.address().to_string(), Some("127.0.0.1")),
    ] {
        let front = Front::of(&backend);
        let peer = peer.unwrap_or(if app == ASGI { "-" } else { "" });
        let mut client = front.client(&server);
        let answer = server.until("an answer through nginx", || {
            let answer = client.get("/caf%C3%A9%20x?a=b%20c").unwrap();
            (answer.status == 200).then(|| answer.text())
        });
        assert_eq!(
            answer,
            format!("GET|/café x|a=b%20c|{peer}|http|localhost|-|0")
        );
        let content = "x".repeat(3_000_000);
        let fields = [("X-A", "1"), ("Content-Length", "3000000")];
        client.ask("POST", "/up", &fields).unwrap();
        client.send(&content).unwrap();
        let answer = client.response().unwrap().text();
        assert_eq!(answer, format!("POST|/up||{peer}|http|localhost|1|3000000"));
        client
            .ask("PUT", "/", &[("Transfer-Encoding", "chunked")])
            .unwrap();
        client.send("3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n").unwrap();
        let answer = client.response().unwrap().text();
        assert_eq!(answer, format!("PUT|/||{peer}|http|localhost|-|7"));
        if app == WSGI {
            let streamed = client.get("/stream").unwrap().text();
            assert!(streamed.starts_with("0,1,2,") && streamed.ends_with(",19999,"));
            let missing = client.get("/missing").unwrap();
            assert_eq!(
                (missing.status, missing.field("X-Own").as_deref()),
                (404, Some("yes"))
            );
            assert_eq!(missing.text(), "gone");
        }
    }
}

#[test]
fn nginx_passes_requests_by_uwsgi_to_wsgi_applications() {
    behind_nginx(WSGI, &[]);
    behind_nginx(WSGI, &["--threads", "3"]);
}

#[test]
fn nginx_passes_requests_by_uwsgi_to_asgi_applications() {
    behind_nginx(ASGI, &["-k", "asgi"]);
}

#[test]
fn asgi_scopes_name_the_client_of_the_proxy_protocol() {
    let server = Setup::new(ASGI)
        .args(&["-k", "asgi", "--proxy-protocol"])
        .start();
    let mut client = server.client();
    client
        .send("PROXY TCP4 192.0.2.1 198.51.100.9 4711 443\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    assert_eq!(
        client.response().unwrap().text(),
        "GET|/||192.0.2.1|http|h|-|0"
    );
    let bare = get_from(&server.socket(), "/").unwrap().text();
    assert_eq!(bare, "GET|/||-|http|localhost|-|0");
}

#[test]
fn the_header_of_the_proxy_protocol_comes_before_tls() {
    use support::tls::{Authority, encrypted};
    let authority = Authority::new();
    let port = FreePort::find().unwrap();
    let server = Setup::new(WSGI)
        .with_tls(&authority.signs("shop.test"))
        .args(&[
            "--proxy-protocol",
            "auto",
            "-b",
            &port.address().to_string(),
        ])
        .start();
    let mut stream = TcpStream::connect(port.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n")
        .unwrap();
    let mut stream = encrypted(Box::new(stream), authority.client(None, &[]));
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(
        answer.ends_with("GET|/||2001:db8::1|https|shop.test|-|0"),
        "{answer}\n{}",
        server.log()
    );
}

#[test]
fn what_uwsgi_cannot_be_used_with_is_told() {
    for arguments in [
        &["--proxy-protocol", "v1"][..],
        &["--http-protocols", "h2,h1"],
        &["--certfile", "x.pem"],
    ] {
        let (code, _, log) = Setup::new(WSGI)
            .args(&["--protocol", "uwsgi"])
            .args(arguments)
            .run();
        assert_eq!(code, 1, "{log}");
        assert!(
            log.contains("protocol (--protocol) uwsgi cannot be used together with"),
            "{log}"
        );
    }
}
