//! Connections that wait: what one costs in memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use testkit::{Deadline, StopFlag, TempPrefix};

use super::measure::Series;
use super::table::{Compared, Report};
use super::{Bench, web};
use crate::process;

const SERVERS: &str = "    server {
        listen  LISTEN;
        location / { root  FILES; }
    }
";

/// How long memory is watched for falling again after the last request.
const REST: Duration = Duration::from_secs(3);

/// nginx and edge in turn, each freshly started.
pub fn run(bench: &Bench<'_>, report: &mut Report) -> Result<(), String> {
    let folder = TempPrefix::new().map_err(|error| error.to_string())?;
    folder
        .write("files/1k", vec![b'x'; 1024])
        .map_err(|error| format!("can't write a file: {error}"))?;
    let servers = SERVERS.replace("FILES", &folder.join("files").display().to_string());
    let count = bench.effort.idle_connections;
    let rounds = if bench.effort.quick { 1 } else { 3 };
    let mut series = [Series::default(), Series::default()];
    let mut growth = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (at, (name, program)) in [
            ("edge", bench.edge.as_path()),
            ("nginx", Path::new("/usr/sbin/nginx")),
        ]
        .into_iter()
        .enumerate()
        {
            let subject = web::subject(bench, &folder, program, name, &servers)?;
            let before = subject.pss_kib();
            let held = open(subject.address, count)?;
            let after = least(|| subject.pss_kib());
            let waiting = held.iter().filter(|stream| waits(stream)).count();
            if waiting < count {
                return Err(format!(
                    "{} closed {} of {count} connections",
                    subject.name,
                    count - waiting
                ));
            }
            eprintln!(
                "  idle {}: {} KiB, {} KiB before",
                subject.name, after, before
            );
            series[at].memory_mib.add(after as f64 / 1024.0);
            series[at].name.clone_from(&subject.name);
            series[at].commands.clone_from(&subject.commands);
            growth[at].push(after.saturating_sub(before) as f64 * 1024.0 / count as f64);
        }
    }
    let title = format!("{count} connections that wait, each has asked for 1 KiB once");
    report.add(&title, Compared::Memory, &series, &[("nginx", 1.0)]);
    let each: Vec<String> = series
        .iter()
        .zip(&growth)
        .map(|(series, growth)| {
            format!(
                "{}: {:.0} bytes",
                series.name,
                growth.iter().sum::<f64>() / growth.len() as f64
            )
        })
        .collect();
    report.add_text(format!(
        "For each connection, the kernel's buffers not counted: {}\n",
        each.join("; ")
    ));
    Ok(())
}

/// So many connections, each with one response behind it.
fn open(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>, String> {
    let mut held = Vec::with_capacity(count);
    let told = |error: std::io::Error| format!("connection to {address}: {error}");
    for number in 0..count {
        let mut stream = TcpStream::connect(address).map_err(told)?;
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .map_err(told)?;
        stream
            .write_all(b"GET /1k HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .map_err(told)?;
        let mut answer = Vec::new();
        while !whole(&answer) {
            let mut piece = [0; 4096];
            match testkit::uninterrupted(|| stream.read(&mut piece)).map_err(told)? {
                0 => return Err(format!("connection {number} to {address} was closed")),
                got => answer.extend_from_slice(&piece[..got]),
            }
        }
        held.push(stream);
        if number % 256 == 0 {
            process::check_interrupted()?;
        }
    }
    Ok(held)
}

fn whole(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    end.is_some_and(|end| answer.len() >= end + 4 + 1024)
}

fn waits(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    matches!(stream.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// The least that is seen while nothing happens.
fn least(mut read: impl FnMut() -> u64) -> u64 {
    let mut least = u64::MAX;
    let _ = Deadline::after(REST).poll(&StopFlag::default(), || {
        least = least.min(read());
        None::<()>
    });
    least
}
