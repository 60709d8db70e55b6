//! What a request costs between the connection and the application: environ, call, checked response. No sockets.

use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use http_wire::head::RequestHead;
use proxy_core::server::{Address, Connection, Content, Request, Service};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wsgi_bridge::{Hooks, Level, Settings, WsgiService};

struct Silent;

impl Hooks for Silent {
    fn log(&self, _level: Level, _message: &str) {}
}

const HELLO: &std::ffi::CStr = c"
def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '13')])
    return [b'Hello, World!']
";

/// The fields of a request by a load generator, and by a browser.
const PLAIN: &[(&str, &str)] = &[("Host", "shop.example")];
const BROWSER: &[(&str, &str)] = &[
    ("Host", "shop.example"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("Accept-Language", "en-GB,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("X-Forwarded-For", "192.0.2.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Real-IP", "192.0.2.7"),
    (
        "Cookie",
        "sessionid=0123456789abcdef0123456789abcdef; csrftoken=0123456789abcdef",
    ),
    ("Sec-Fetch-Mode", "navigate"),
];

fn calls(criterion: &mut Criterion) {
    Python::initialize();
    Python::attach(|py| {
        let scope = PyDict::new(py);
        py.run(HELLO, Some(&scope), None).expect("runs");
        let app = scope
            .get_item("app")
            .expect("looks")
            .expect("is there")
            .unbind();
        let service =
            WsgiService::new(py, app, Settings::default(), Arc::new(Silent), 1).expect("is made");
        let here = Address::Inet("127.0.0.1:8000".parse().expect("is an address"));
        let connection = Arc::new(Connection::new(here.clone(), here, false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("builds");
        for (name, fields) in [("plain", PLAIN), ("browser", BROWSER)] {
            let mut head = RequestHead::default();
            for (name, value) in fields {
                head.fields.append(*name, *value).expect("is a field");
            }
            criterion.bench_function(&format!("hello, {name} request"), |bencher| {
                bencher.iter(|| {
                    let request = Request {
                        head: head.clone(),
                        content: Content::empty(),
                        connection: connection.clone(),
                        ordinal: 1,
                        received: Instant::now(),
                        head_bytes: 0,
                    };
                    runtime.block_on(service.serve(request))
                });
            });
        }
    });
}

criterion_group!(benches, calls);
criterion_main!(benches);
