//! The engine without sockets: choosing a location and a server, expanding a template, a whole exchange.
//!
//! `cargo bench -p proxy-core`. For instruction counts: `valgrind --tool=callgrind` over the bench's program with
//! `--count NAME`, which makes ten thousand exchanges of that name and nothing else.

use std::future::Future;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use criterion::Criterion;
use http_wire::head::{HeadLimits, RequestHead, RequestParser};
use nginx_conf::SourceSet;
use proxy_core::engine::compile::{Features, Outside};
use proxy_core::engine::logs::{ErrorLog, LogFile};
use proxy_core::engine::site::Site;
use proxy_core::engine::{Serving, SiteService};
use proxy_core::features::headers::Headers;
use proxy_core::features::index::Index;
use proxy_core::features::return_::Return;
use proxy_core::features::static_content::StaticContent;
use proxy_core::features::try_files::TryFiles;
use proxy_core::server::{Address, Connection, Content, Outcome, Request, Response, Sent, Service};

struct Disk(PathBuf);

impl Outside for Disk {
    fn prefix(&self) -> &Path {
        &self.0
    }
    fn open_log(&self, _: &Path) -> io::Result<Arc<LogFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn default_error_log(&self) -> ErrorLog {
        ErrorLog::default()
    }
}

const HTTP: &str = r#"
    server {
        listen 127.0.0.1:8080 default_server;
        server_name localhost;
        location = /ping { return 200 pong; }
        location /template { return 200 "$scheme://$host$request_uri from $remote_addr"; }
        location /static/ { root {root}; expires 30d; }
        location /api/ { location /api/v1/ { return 200 1; } location /api/v2/ { return 200 2; } }
        location /media/ { return 200 media; }
        location ~ \.php$ { return 404; }
        location ~* \.(gif|jpg|png)$ { return 200 picture; }
        location / { return 200 root; }
    }
    server { listen 127.0.0.1:8080; server_name www.example.org example.org; return 200 exact; }
    server { listen 127.0.0.1:8080; server_name *.example.org; return 200 leading; }
    server { listen 127.0.0.1:8080; server_name mail.*; return 200 trailing; }
"#;

fn compile(root: &Path) -> Arc<Site> {
    let text = format!("events {{}} http {{ {HTTP} }}").replace("{root}", &root.to_string_lossy());
    let (tree, mut faults) = SourceSet::of([("bench.conf", text)]).parse();
    let features = Features::new(&[&Headers, &Return, &TryFiles, &Index, &StaticContent]);
    let outside = Disk(root.to_owned());
    let compiled = features.compile(&tree, &outside, &Arc::default(), &mut faults);
    compiled
        .expect("the bench's configuration has no faults")
        .site
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here has to wait"),
    }
}

struct World {
    service: SiteService,
    connection: Arc<Connection>,
}

impl World {
    fn head(target: &str) -> RequestHead {
        let text = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n\r\n"
        );
        let mut head = RequestHead::default();
        let parsed = RequestParser::new(HeadLimits::default()).parse(text.as_bytes(), &mut head);
        parsed.expect("a good request").expect("a whole head");
        head
    }

    fn exchange(&self, head: RequestHead, received: Instant) -> Response {
        let request = Request {
            head,
            content: Content::empty(),
            connection: Arc::clone(&self.connection),
            ordinal: 1,
            received,
            head_bytes: 80,
        };
        let (response, record) = now(self.service.serve(request));
        let sent = Sent {
            bytes: 200,
            body_bytes: 100,
            request_bytes: 80,
            outcome: Outcome::Complete,
        };
        self.service.sent(record, &sent);
        response
    }
}

const EXCHANGES: &[(&str, &str, u16)] = &[
    ("return", "/ping", 200),
    ("template", "/template/a?b=c", 200),
    ("static", "/static/1k.txt", 200),
    ("error-page", "/x.php", 404),
];

fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(directory.path().join("static")).expect("a directory");
    std::fs::write(directory.path().join("static/1k.txt"), [b'x'; 1024]).expect("a file");
    let site = compile(directory.path());
    let local = ([127, 0, 0, 1], 8080).into();
    let address = site.ports[0].address.clone();
    let peer = Address::Inet(([127, 0, 0, 1], 40000).into());
    let world = World {
        service: Serving::new(Arc::clone(&site)).at(address),
        connection: Arc::new(Connection::new(peer, Address::Inet(local), false)),
    };
    let received = Instant::now();
    let mut args = std::env::args().skip_while(|arg| arg != "--count").skip(1);
    if let Some(name) = args.next() {
        let (_, target, _) = EXCHANGES
            .iter()
            .find(|(known, ..)| *known == name)
            .expect("a name of an exchange");
        let head = World::head(target);
        for _ in 0..10_000 {
            black_box(world.exchange(head.clone(), received));
        }
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("location");
    let locations = &site.ports[0].default.locations;
    for (name, path) in [
        ("exact", "/ping"),
        ("prefix", "/media/a.txt"),
        ("nested", "/api/v2/x"),
        ("regex", "/a/b/c.JPG"),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| black_box(locations.find(black_box(path.as_bytes()))).is_ok());
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("server name");
    let names = &site.ports[0].names;
    for (name, host) in [
        ("exact", "www.example.org"),
        ("leading", "a.b.example.org"),
        ("trailing", "mail.net"),
        ("unknown", "nobody"),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| {
                black_box(names.find(black_box(host.as_bytes()), |_| None::<()>)).is_some()
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("exchange");
    for (name, target, status) in EXCHANGES {
        let head = World::head(target);
        assert_eq!(
            world.exchange(head.clone(), received).status.as_u16(),
            *status,
            "{name}"
        );
        group.bench_function(*name, |bench| {
            bench.iter_batched(
                || head.clone(),
                |head| world.exchange(head, received),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
