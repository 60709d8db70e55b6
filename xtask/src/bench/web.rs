//! nginx and edge with the same file.

use std::path::Path;
use std::process::Command;

use testkit::{Address, TempPrefix};

use super::Bench;
use super::load::Load;
use super::machine::{label, version};
use super::measure::in_turn;
use super::server::{Subject, configuration, front};
use super::table::{Compared, Report};

const NGINX: &str = "/usr/sbin/nginx";

const SERVERS: &str = "    upstream origin { server ORIGIN; keepalive 64; }

    server {
        listen  LISTEN;
        location / { root  FILES; }
        location /proxied/ {
            proxy_pass          http://origin/;
            proxy_http_version  1.1;
            proxy_set_header    Connection \"\";
        }
    }
";

/// Bench, target, title, and what nginx's cost divided by ours should reach.
const BENCHES: [(&str, &str, &str, f64); 5] = [
    ("static-1k", "/1k", "static 1 KiB", 1.35),
    ("static-100k", "/100k", "static 100 KiB", 1.0),
    ("static-10m", "/10m", "static 10 MiB", 1.0),
    (
        "proxied-1k",
        "/proxied/1k",
        "proxied 1 KiB, connections to the origin server stay",
        1.1,
    ),
    (
        "proxied-100k",
        "/proxied/100k",
        "proxied 100 KiB, connections to the origin server stay",
        1.5,
    ),
];

/// The chosen ones of these benches.
pub fn run(
    bench: &Bench<'_>,
    report: &mut Report,
    has: &impl Fn(&str) -> bool,
) -> Result<(), String> {
    let folder = TempPrefix::new().map_err(|error| error.to_string())?;
    make_files(&folder)?;
    let origin = origin(bench, &folder)?;
    let servers = SERVERS
        .replace("ORIGIN", &origin.address.to_string())
        .replace("FILES", &folder.join("files").display().to_string());
    let subjects = [
        subject(bench, &folder, &bench.edge, "edge", &servers)?,
        subject(bench, &folder, Path::new(NGINX), "nginx", &servers)?,
    ];
    for (name, target, title, goal) in BENCHES {
        if has(name) {
            let series = in_turn(
                bench.cores,
                &bench.effort,
                Load::Get(target),
                &subjects,
                folder.path(),
            )?;
            report.add(title, Compared::Cpu, &series, &[("nginx", goal)]);
        }
    }
    report.add_source(
        "nginx.conf of edge and nginx",
        &configuration(&servers, "LISTEN"),
    );
    Ok(())
}

fn make_files(folder: &TempPrefix) -> Result<(), String> {
    for (name, bytes) in [("1k", 1 << 10), ("100k", 100 << 10), ("10m", 10 << 20)] {
        folder
            .write(format!("files/{name}"), vec![b'x'; bytes])
            .map_err(|error| format!("can't write a file: {error}"))?;
    }
    Ok(())
}

/// An nginx beside the load: what it costs is not counted.
fn origin(bench: &Bench<'_>, folder: &TempPrefix) -> Result<Subject, String> {
    let mut origin = Subject::new("origin server")?;
    let servers = format!(
        "    server {{ listen LISTEN; location / {{ root {}; }} }}\n",
        folder.join("files").display()
    );
    let command = front(
        Path::new(NGINX),
        folder.join("origin"),
        &servers,
        origin.address,
    )?;
    let address = Address::from(origin.address);
    origin.start(
        bench.cores.load,
        &command,
        &address,
        &folder.join("origin.log"),
    )?;
    Ok(origin)
}

/// edge or nginx with these servers.
pub fn subject(
    bench: &Bench<'_>,
    folder: &TempPrefix,
    program: &Path,
    name: &str,
    servers: &str,
) -> Result<Subject, String> {
    let mut subject = Subject::new(&label(name, &version(program, "-v")))?;
    let command: Command = front(program, folder.join(name), servers, subject.address)?;
    let address = Address::from(subject.address);
    let log = folder.join(format!("{name}.log"));
    subject.start(bench.cores.server, &command, &address, &log)?;
    Ok(subject)
}
