//! What the counting programs are put through: what browsers, proxies and applications do, each kind often enough to weigh something.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{Address, FreePort, TempPrefix};

use crate::bench::{chat, server};
use crate::certificate;
use crate::process::{self, Guarded};

const APPLICATION: &str = include_str!("training.py");
/// How often each kind of request is made.
const TIMES: usize = 3000;
/// How long messages go to and fro.
const SECONDS: u64 = 2;
const CONNECTIONS: usize = 16;
const END_LIMIT: Duration = Duration::from_secs(60);
const CURL_LIMIT: &str = "120";

/// A browser says more than `curl` does.
const BROWSER: [&str; 6] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: sessionid=0123456789abcdefghijklmnopqrstuv; csrftoken=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",
    "Referer: http://127.0.0.1/prints/",
];

const SERVERS: &str = "    upstream app { server unix:SOCKET; keepalive 16; }

    server {
        listen  LISTEN;
        location /static/ { alias  FILES; expires  30d; }
        location / {
            proxy_pass          http://app;
            proxy_http_version  1.1;
            proxy_set_header    Connection \"\";
            proxy_set_header    Host $host;
            proxy_set_header    X-Real-IP $remote_addr;
            proxy_set_header    X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header    X-Forwarded-Proto $scheme;
        }
        location /ws/ {
            proxy_pass          http://app;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection \"upgrade\";
        }
    }
";

/// Runs the programs in `folder` under every kind of load. Needs `curl` and `openssl`.
pub fn run(folder: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let prefix = TempPrefix::new().map_err(told)?;
    prefix.write("training.py", APPLICATION).map_err(told)?;
    prefix.write("small", "x".repeat(1 << 10)).map_err(told)?;
    prefix.write("large", "x".repeat(100 << 10)).map_err(told)?;
    certificate::make(&prefix)?;
    behind_a_front(folder, &prefix)?;
    for kind in [&["-k", "sync"][..], &["--threads", "2"]] {
        alone(folder, &prefix, &[&["training:wsgi"], kind].concat())?;
    }
    alone(folder, &prefix, &["training:asgi", "-k", "asgi"])
}

/// edge, and appserver with both kinds of applications behind it.
fn behind_a_front(folder: &Path, prefix: &TempPrefix) -> Result<(), String> {
    let socket = prefix.join("app.sock");
    let bind = format!("unix:{}", socket.display());
    let both = [
        "training:wsgi",
        "--asgi",
        "training:asgi",
        "--asgi-path",
        "/ws/",
    ];
    let more = ["--access-logfile", "access.log", "--bind", &bind];
    let app = appserver(folder, prefix, &[&both[..], &more].concat());
    let app = start(app, &Address::Unix(socket.clone()), prefix)?;
    let port = FreePort::find().map_err(|error| error.to_string())?;
    let servers = SERVERS
        .replace("SOCKET", &socket.display().to_string())
        .replace("FILES", &format!("{}/", prefix.path().display()));
    let front = server::front(
        &folder.join("edge"),
        prefix.join("front"),
        &servers,
        port.address(),
    )?;
    let front = start(front, &Address::from(port.address()), prefix)?;
    let site = format!("http://{}", port.address());
    pages(&site, &["--http1.1"])?;
    for path in ["/static/small", "/static/large"] {
        ask(&site, path, &["--http1.1"])?;
    }
    ask(
        &site,
        "/static/small",
        &["-H", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"],
    )?;
    ask(&site, "/static/large", &["-r", "1000-1999"])?;
    messages(port.address(), "/ws/")?;
    end([front, app])
}

/// appserver by itself, in the clear and encrypted.
fn alone(folder: &Path, prefix: &TempPrefix, application: &[&str]) -> Result<(), String> {
    let encrypted = [
        "--certfile",
        certificate::CERTIFICATE,
        "--keyfile",
        certificate::KEY,
    ];
    for (scheme, more) in [("http", &[][..]), ("https", &encrypted)] {
        let port = FreePort::find().map_err(|error| error.to_string())?;
        let bind = port.address().to_string();
        let shared = ["--http-protocols", "h2,h1", "--bind", &bind];
        let app = appserver(folder, prefix, &[application, &shared, more].concat());
        let app = start(app, &Address::from(port.address()), prefix)?;
        let site = format!("{scheme}://{bind}");
        pages(&site, &["--http1.1"])?;
        if scheme == "https" {
            pages(&site, &["--http2"])?;
        } else if application.contains(&"asgi") {
            messages(port.address(), "/")?;
        }
        end([app])?;
    }
    Ok(())
}

/// What an application is asked.
fn pages(site: &str, version: &[&str]) -> Result<(), String> {
    ask(site, "/", version)?;
    let browser: Vec<&str> = BROWSER.iter().flat_map(|line| ["-H", line]).collect();
    ask(site, "/prints/7/", &[version, &browser].concat())?;
    ask(site, "/pieces", version)?;
    let form =
        "sku=viaduct-print-7&quantity=2&csrfmiddlewaretoken=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef";
    ask(
        site,
        "/cart",
        &[version, &browser, &["--data", form]].concat(),
    )
}

/// The same request, again and again.
fn ask(site: &str, path: &str, more: &[&str]) -> Result<(), String> {
    process::check_interrupted()?;
    let mut curl = Command::new("curl");
    curl.args(["-sSfk", "--max-time", CURL_LIMIT, "-o", "/dev/null"])
        .args(more)
        .arg(format!("{site}{path}?n=[1-{TIMES}]"));
    process::output(&mut curl).map(drop)
}

fn messages(address: SocketAddr, path: &str) -> Result<(), String> {
    let core = crate::bench::machine::Cores::choose().load;
    for bytes in [64, 16 << 10] {
        let counted = chat::run(core, address, path, bytes, SECONDS, CONNECTIONS)?;
        if counted.errors > 0 {
            return Err(format!("{} messages were lost", counted.errors));
        }
    }
    Ok(())
}

fn appserver(folder: &Path, prefix: &TempPrefix, arguments: &[&str]) -> Command {
    let mut command = Command::new(folder.join("appserver"));
    command
        .args(arguments)
        .args(["--workers", "1"])
        .current_dir(prefix.path())
        .env("PWD", prefix.path())
        .env("XDG_RUNTIME_DIR", prefix.path())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn start(mut command: Command, listens: &Address, prefix: &TempPrefix) -> Result<Guarded, String> {
    let log = prefix.join("log");
    let mut started = Guarded::spawn_logged(&mut command, &log)?;
    match server::wait_for(listens, &mut started) {
        true => Ok(started),
        false => Err(format!(
            "it did not start\n$ {}\n{}",
            process::describe(&command),
            process::tail(&log, 20)
        )),
    }
}

/// Ends them as an operator does: what was counted is written at the end.
fn end(servers: impl IntoIterator<Item = Guarded>) -> Result<(), String> {
    for mut server in servers {
        server.signal(rustix::process::Signal::TERM);
        let status = server.wait(END_LIMIT)?;
        process::success(status, "a server in training")?;
    }
    Ok(())
}
