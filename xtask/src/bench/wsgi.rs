//! WSGI: the same application under appserver and under others.

use std::path::Path;

use super::load::Load;
use super::peers::{Peer, Peers};
use super::server::configuration;
use super::table::{Compared, Report};

const HELLO_PEERS: [Peer; 4] = [
    (
        "granian",
        "granian",
        "--interface wsgi --workers 1 --no-ws --log-level warning --host 127.0.0.1 --port PORT hello:application",
    ),
    (
        "uWSGI",
        "uwsgi",
        "--http11-socket 127.0.0.1:PORT --wsgi-file hello.py --master --processes 1 --disable-logging --die-on-term",
    ),
    (
        "gunicorn gthread",
        "gunicorn",
        "hello:application --workers 1 --threads 4 --bind 127.0.0.1:PORT",
    ),
    (
        "gunicorn sync",
        "gunicorn",
        "hello:application --workers 1 --bind 127.0.0.1:PORT",
    ),
];

const POST_PEERS: [Peer; 2] = [
    (
        "granian",
        "granian",
        "--interface wsgi --workers 1 --no-ws --log-level warning --host 127.0.0.1 --port PORT echo:application",
    ),
    (
        "gunicorn gthread",
        "gunicorn",
        "echo:application --workers 1 --threads 4 --bind 127.0.0.1:PORT",
    ),
];
/// What is posted.
const POST_BYTES: usize = 10 << 10;

const THREADS_PEERS: [Peer; 2] = [
    (
        "granian",
        "granian",
        "--interface wsgi --workers 1 --blocking-threads 4 --no-ws --log-level warning --host 127.0.0.1 --port PORT echo:sleeper",
    ),
    (
        "gunicorn gthread",
        "gunicorn",
        "echo:sleeper --workers 1 --threads 4 --bind 127.0.0.1:PORT",
    ),
];

/// What is asked of `small_view.py`.
const VIEWS: [(&str, &str); 2] = [
    ("a small Django view, JSON", "/stock/7/"),
    ("a Django page from a template", "/prints/7/"),
];

const SERVERS: &str = "    upstream app { server unix:SOCKET; }

    server {
        listen  LISTEN;
        location / {
            proxy_pass        http://app;
            proxy_set_header  Host $host;
            proxy_set_header  X-Real-IP $remote_addr;
            proxy_set_header  X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header  X-Forwarded-Proto $scheme;
        }
    }
";

/// The smallest application.
pub fn hello(peers: &Peers<'_>, report: &mut Report) -> Result<(), String> {
    let mut subjects = vec![peers.ours("appserver", "hello:application")?];
    subjects.extend(peers.bjoern("hello")?);
    subjects.extend(peers.others(&HELLO_PEERS)?);
    let goals = [("bjoern", 1.1), ("granian", 2.0), ("gthread", 20.0)];
    peers.compare(
        report,
        "WSGI hello",
        &subjects,
        Load::Get("/"),
        Compared::Cpu,
        &goals,
    )?;
    Peers::show(report, "hello.py");
    Ok(())
}

/// The same with an access log, beside itself without.
pub fn access_log(peers: &Peers<'_>, report: &mut Report) -> Result<(), String> {
    let subjects = [
        peers.ours(
            "appserver with its access log",
            "hello:application --access-logfile access.log",
        )?,
        peers.ours("appserver without", "hello:application")?,
    ];
    // At most a tenth more.
    let goals = [("without", 1.0 / 1.1)];
    let title = "WSGI hello, with an access log in a file";
    let (load, compared) = (Load::Get("/"), Compared::Cpu);
    peers.compare(report, title, &subjects, load, compared, &goals)
}

/// Content that is sent back.
pub fn post(peers: &Peers<'_>, report: &mut Report) -> Result<(), String> {
    let mut subjects = vec![peers.ours("appserver", "echo:application")?];
    subjects.extend(peers.others(&POST_PEERS)?);
    let title = "WSGI, POST of 10 KiB that is sent back";
    let load = Load::Post("/", POST_BYTES);
    let goals = [("granian", 1.8)];
    peers.compare(report, title, &subjects, load, Compared::Cpu, &goals)?;
    Peers::show(report, "echo.py");
    Ok(())
}

/// Threads that wait.
pub fn threads(peers: &Peers<'_>, report: &mut Report) -> Result<(), String> {
    let mut subjects = vec![peers.ours("appserver", "echo:sleeper --threads 4")?];
    subjects.extend(peers.others(&THREADS_PEERS)?);
    let title = "WSGI, 4 threads, a view that sleeps 10 ms";
    let goals = [("granian", 1.0)];
    let (load, compared) = (Load::Get("/"), Compared::Speed);
    peers.compare(report, title, &subjects, load, compared, &goals)
}

/// A Django view, asked for directly.
pub fn view(peers: &Peers<'_>, report: &mut Report) -> Result<(), String> {
    let mut subjects = vec![peers.ours("appserver", "small_view:application")?];
    subjects.extend(peers.bjoern("small_view")?);
    let goals = [("bjoern", 1.0)];
    for (view, target) in VIEWS {
        let title = format!("{view}, asked for directly");
        let (load, compared) = (Load::Get(target), Compared::Cpu);
        peers.compare(report, &title, &subjects, load, compared, &goals)?;
    }
    Ok(())
}

/// The same behind a front.
pub fn django(peers: &Peers<'_>, report: &mut Report) -> Result<(), String> {
    let nginx = Path::new("/usr/sbin/nginx");
    let (gunicorn, bench) = (peers.program("gunicorn"), peers.bench);
    let behind =
        |name, front: &Path, app: &Path, more| peers.behind(name, front, app, SERVERS, more);
    let subjects = [
        behind("edge and appserver", &bench.edge, &bench.appserver, "")?,
        behind("nginx and gunicorn", nginx, &gunicorn, "")?,
        behind(
            "nginx and gunicorn with 4 threads",
            nginx,
            &gunicorn,
            "--threads 4",
        )?,
    ];
    let goals = [("gunicorn", 2.0)];
    for (view, target) in VIEWS {
        let (load, compared) = (Load::Get(target), Compared::Speed);
        peers.compare(report, view, &subjects, load, compared, &goals)?;
    }
    Peers::show(report, "small_view.py");
    report.add_source("nginx.conf of both", &configuration(SERVERS, "LISTEN"));
    Ok(())
}
