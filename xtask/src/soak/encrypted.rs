//! Large content over TLS, by HTTP/1.1 and HTTP/2, straight to the application server: memory stays.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use testkit::{Deadline, FreePort, StopFlag, TempPrefix};

use super::large;
use crate::certificate::{self, CERTIFICATE, KEY};
use crate::install::Venv;
use crate::process::{self, Guarded};
use crate::shop::Kind;

/// How much is uploaded and downloaded, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub upload_mb: usize,
    pub download_mb: usize,
}

/// Both kinds of applications: they count what comes, and send as many MiB as they are asked for.
const APP: &str = "
PIECE = b'x' * (64 << 10)

def wsgi(environ, start_response):
    start_response('200 OK', [])
    if environ['REQUEST_METHOD'] == 'GET':
        return (PIECE for _ in range(16 * int(environ['QUERY_STRING'])))
    total = 0
    while True:
        piece = environ['wsgi.input'].read(64 << 10)
        total += len(piece)
        if not piece:
            return [str(total).encode()]

async def asgi(scope, receive, send):
    if scope['type'] != 'http':
        return
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    total, more = 0, scope['method'] != 'GET'
    while more:
        message = await receive()
        total, more = total + len(message['body']), message['more_body']
    if scope['method'] == 'GET':
        for _ in range(16 * int(scope['query_string'])):
            await send({'type': 'http.response.body', 'body': PIECE, 'more_body': True})
        await send({'type': 'http.response.body', 'body': b''})
    else:
        await send({'type': 'http.response.body', 'body': str(total).encode()})
";
/// Slower than the server: what it makes too early would have to be kept.
const DOWNLOAD_RATE: &str = "200M";
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker of each kind.
pub fn run(venv: &Venv, kind: &Kind, sizes: Sizes) -> Result<String, String> {
    let mut told = Vec::new();
    for (name, arguments) in [
        ("sync", &["large:wsgi"][..]),
        ("threads", &["large:wsgi", "--threads", "2"]),
        ("asgi", &["large:asgi", "-k", "asgi"]),
    ] {
        let figures = with_worker(venv, kind, sizes, arguments)
            .map_err(|problem| format!("{name}: {problem}"))?;
        told.push(format!("{name}: {figures}"));
    }
    Ok(format!(
        "{} MiB up and {} MiB down by HTTP/1.1 and HTTP/2; {}",
        sizes.upload_mb,
        sizes.download_mb,
        told.join("; ")
    ))
}

fn with_worker(
    venv: &Venv,
    kind: &Kind,
    sizes: Sizes,
    arguments: &[&str],
) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    let prefix = TempPrefix::new().map_err(told)?;
    prefix.write("large.py", APP).map_err(told)?;
    certificate::make(&prefix)?;
    let port = FreePort::find().map_err(told)?;
    let address = port.address();
    let mut server = Guarded::spawn_logged(
        Command::new(&kind.app)
            .args(arguments)
            .args(["--certfile", CERTIFICATE, "--keyfile", KEY])
            .args(["--http-protocols", "h2,h1"])
            .args(["--bind", &address.to_string()])
            .current_dir(prefix.path())
            .env("PWD", prefix.path())
            .env("XDG_RUNTIME_DIR", prefix.path())
            .env("VIRTUAL_ENV", &venv.path)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
        &prefix.join("log"),
    )?;
    let listens = Deadline::after(PATIENCE)
        .poll(&StopFlag::default(), || TcpStream::connect(address).ok())
        .ok_or_else(|| "the server does not listen".to_owned());
    let exercise = |sizes| -> Result<(), String> {
        for version in ["1.1", "2"] {
            upload(&prefix, address, version, sizes)?;
            download(address, version, sizes)?;
        }
        Ok(())
    };
    // What is loaded when it is first used is no growth.
    let small = Sizes {
        upload_mb: 4,
        download_mb: 4,
    };
    let stayed = listens
        .and_then(|_| exercise(small))
        .and_then(|()| large::stays(&[("memory", server.id())], || exercise(sizes)));
    server.signal(rustix::process::Signal::TERM);
    let ended = server
        .wait(PATIENCE)
        .and_then(|status| process::success(status, "the application server"));
    let log = || process::tail(&prefix.join("log"), 20);
    stayed
        .and_then(|figures| ended.map(|()| figures))
        .map_err(|problem| format!("{problem}\n{}", log()))
}

fn upload(
    prefix: &TempPrefix,
    address: SocketAddr,
    version: &str,
    sizes: Sizes,
) -> Result<(), String> {
    let path = prefix.join("upload");
    let bytes = (sizes.upload_mb as u64) << 20;
    File::create(&path)
        .and_then(|file| file.set_len(bytes))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let mut curl = curl(version);
    curl.args(["-w", " %{http_version} %{response_code}", "-T"]);
    curl.arg(&path).arg(format!("https://{address}/"));
    expect(&mut curl, &format!("{bytes} {version} 200"))
}

fn download(address: SocketAddr, version: &str, sizes: Sizes) -> Result<(), String> {
    let megabytes = sizes.download_mb;
    let mut curl = curl(version);
    curl.args(["-w", "%{size_download} %{http_version} %{response_code}"]);
    curl.args(["-o", "/dev/null", "--limit-rate", DOWNLOAD_RATE]);
    curl.arg(format!("https://{address}/?{megabytes}"));
    expect(&mut curl, &format!("{} {version} 200", megabytes << 20))
}

fn curl(version: &str) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sSk", "--max-time", "600"]);
    curl.arg(match version {
        "2" => "--http2",
        _ => "--http1.1",
    });
    curl
}

fn expect(curl: &mut Command, expected: &str) -> Result<(), String> {
    let told = process::output(curl)?;
    match told.trim() == expected {
        true => Ok(()),
        false => Err(format!("curl tells {told:?}, not {expected:?}")),
    }
}
