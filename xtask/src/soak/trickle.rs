//! Thousands of clients that send or read a byte a second, at the application server itself: what is left for the others?
//!
//! One worker with work to do. How much it does for others, in answers and in time of its own processor, is told for times with and
//! without the slow ones, in turn; only answers that are lost, theirs or the others', are a failure.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, sockopt};
use testkit::{Deadline, FreePort, StopFlag, TempPrefix};

use super::slow::Slow;
use crate::install::Venv;
use crate::load::{Content, Load, Want};
use crate::process::{self, Guarded};
use crate::shop::Kind;
use crate::tree;

/// How many of them, and for how long.
#[derive(Clone, Debug)]
pub struct Crowd {
    pub senders: usize,
    pub readers: usize,
    pub seconds: u64,
    pub rounds: usize,
}

/// Some tenths of a millisecond of Python, and more than sockets hold.
const APP: &str = "
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/work':
        body = str(sum(range(20000))).encode()
    elif path == '/big':
        body = b'x' * (512 << 10)
    else:
        body = str(len(environ['wsgi.input'].read())).encode()
    start_response('200 OK', [])
    return [body]
";
const WORKED: &[u8] = b"199990000";
const BIG_BYTES: usize = 512 << 10;
/// What a slow sender has left to send: enough for as many seconds.
const SENDER_BYTES: usize = 600;
/// What a slow reader's socket holds.
const READER_BUFFER: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(120);

/// What was done for others in a time.
#[derive(Clone, Copy, Debug)]
struct Measured {
    per_second: f64,
    cpu_us: f64,
}

/// One worker without threads, then one with.
pub fn run(venv: &Venv, kind: &Kind, crowd: &Crowd) -> Result<String, String> {
    let mut told = Vec::new();
    for (name, arguments) in [
        ("sync", &[][..]),
        (
            "threads",
            &["--threads", "2", "--worker-connections", "10000"],
        ),
    ] {
        let figures = with_kind(venv, kind, crowd, arguments)
            .map_err(|problem| format!("{name}: {problem}"))?;
        told.push(format!("{name}: {figures}"));
    }
    Ok(format!(
        "{} send and {} read a byte a second; {}",
        crowd.senders,
        crowd.readers,
        told.join("; ")
    ))
}

fn with_kind(
    venv: &Venv,
    kind: &Kind,
    crowd: &Crowd,
    arguments: &[&str],
) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    let prefix = TempPrefix::new().map_err(told)?;
    prefix.write("trickle.py", APP).map_err(told)?;
    let port = FreePort::find().map_err(told)?;
    let address = port.address();
    let mut server = Guarded::spawn_logged(
        Command::new(&kind.app)
            .args(["trickle:application", "--workers", "1", "--backlog", "4096"])
            .args(["--bind", &address.to_string()])
            .args(arguments)
            .current_dir(prefix.path())
            .env("PWD", prefix.path())
            .env("XDG_RUNTIME_DIR", prefix.path())
            .env("VIRTUAL_ENV", &venv.path)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
        &prefix.join("log"),
    )?;
    Deadline::after(PATIENCE)
        .poll(&StopFlag::default(), || TcpStream::connect(address).ok())
        .ok_or("the server does not listen")?;
    let load = Load::start(address, wants());
    let measured = rounds(address, &server, &load, crowd);
    let failures = super::none_lost(&load.take_failures());
    drop(load);
    server.signal(rustix::process::Signal::TERM);
    let ended = server
        .wait(PATIENCE)
        .and_then(|status| process::success(status, "the application server"));
    let log = || process::tail(&prefix.join("log"), 20);
    let (without, with) = measured
        .and_then(|measured| failures.and(ended).map(|()| measured))
        .map_err(|problem| format!("{problem}\n{}", log()))?;
    Ok(figures(&without, &with))
}

/// Measures with and without the crowd, in turn, and without at the end again.
fn rounds(
    address: SocketAddr,
    server: &Guarded,
    load: &Load,
    crowd: &Crowd,
) -> Result<(Vec<Measured>, Vec<Measured>), String> {
    let seconds = Duration::from_secs(crowd.seconds);
    let alone = || -> Result<Measured, String> {
        load.settle()?;
        measure(load, server.id(), seconds)
    };
    let (mut without, mut with) = (vec![alone()?], Vec::new());
    for _ in 0..crowd.rounds {
        with.push(crowded(address, server.id(), load, crowd)?);
        without.push(alone()?);
    }
    Ok((without, with))
}

/// Measures while the crowd trickles; then all of it has to be served to its end.
fn crowded(
    address: SocketAddr,
    server: u32,
    load: &Load,
    crowd: &Crowd,
) -> Result<Measured, String> {
    let told = |error: std::io::Error| format!("a slow reader: {error}");
    let bytes = SENDER_BYTES;
    let mut senders = Vec::new();
    for number in 0..crowd.senders {
        senders.push(Slow::open(address, number % 2 == 1, bytes, &["200"])?);
    }
    let mut readers = Vec::new();
    for _ in 0..crowd.readers {
        readers.push(Reader::open(address).map_err(told)?);
    }
    let over = AtomicBool::new(false);
    let measured = std::thread::scope(|scope| {
        let dripping = scope.spawn(|| drip(&mut senders, &over));
        let sipping = scope.spawn(|| sip(&mut readers, &over));
        let measured = load
            .settle()
            .and_then(|()| measure(load, server, Duration::from_secs(crowd.seconds)));
        over.store(true, Ordering::SeqCst);
        let sipped = sipping.join().map_err(|_| "the slow readers panicked")?;
        let dripped = dripping.join().map_err(|_| "the slow senders panicked")?;
        dripped?;
        sipped.map_err(told)?;
        measured
    })?;
    senders.iter_mut().try_for_each(Slow::answered)?;
    readers.into_iter().try_for_each(Reader::finish)?;
    Ok(measured)
}

/// What is done for others in a while. The pause is what is measured.
fn measure(load: &Load, server: u32, time: Duration) -> Result<Measured, String> {
    let (begin, done, cpu) = (Instant::now(), load.finished(), tree::cpu_us(server));
    while begin.elapsed() < time {
        process::check_interrupted()?;
        std::thread::sleep(Duration::from_millis(100).min(time));
    }
    let done = (load.finished() - done).max(1) as f64;
    Ok(Measured {
        per_second: done / begin.elapsed().as_secs_f64(),
        cpu_us: tree::cpu_us(server).saturating_sub(cpu) as f64 / done,
    })
}

fn figures(without: &[Measured], with: &[Measured]) -> String {
    let pair = |of: fn(&Measured) -> f64| (median(without, of), median(with, of));
    let (alone, crowded) = pair(|it| it.per_second);
    let (cost_alone, cost_crowded) = pair(|it| it.cpu_us);
    format!(
        "{crowded:.0} answers/s to others beside them, {alone:.0} without ({:+.1} %), {cost_crowded:.0} and {cost_alone:.0} µs of processor each ({:+.1} %)",
        (crowded / alone - 1.0) * 100.0,
        (cost_crowded / cost_alone - 1.0) * 100.0
    )
}

fn median(of: &[Measured], number: fn(&Measured) -> f64) -> f64 {
    let mut numbers: Vec<f64> = of.iter().map(number).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Others: enough of them that the worker always has something to do.
fn wants() -> Vec<Want> {
    let content = Arc::new(WORKED.to_vec());
    (0..4)
        .map(|_| Want {
            target: "/work".to_owned(),
            content: Content::Same(content.clone()),
            requests_per_connection: 1_000_000,
        })
        .collect()
}

/// A client that has asked for much and reads little.
struct Reader {
    stream: TcpStream,
    read: usize,
}

impl Reader {
    fn open(address: SocketAddr) -> std::io::Result<Self> {
        use std::io::Write;
        let socket: OwnedFd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        // Before it connects: the window that it announces follows from it.
        sockopt::set_socket_recv_buffer_size(socket.as_fd(), READER_BUFFER)?;
        rustix::net::connect(&socket, &address)?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        Ok(Reader { stream, read: 0 })
    }

    /// The rest, as fast as it comes.
    fn finish(mut self) -> Result<(), String> {
        let mut rest = Vec::new();
        let count = testkit::uninterrupted(|| self.stream.read_to_end(&mut rest))
            .map_err(|error| format!("a slow reader: {error}"))?;
        // The head comes on top.
        match self.read + count > BIG_BYTES {
            true => Ok(()),
            false => Err(format!(
                "a slow reader was given {} bytes of {BIG_BYTES}",
                self.read + count
            )),
        }
    }
}

/// A byte of each in every second, and in the end what is left.
fn drip(senders: &mut [Slow], over: &AtomicBool) -> Result<(), String> {
    let mut at = 0;
    while !over.load(Ordering::SeqCst) && at < SENDER_BYTES {
        let start = Instant::now();
        senders
            .iter_mut()
            .try_for_each(|sender| sender.send(at..at + 1))?;
        at += 1;
        std::thread::sleep(Duration::from_secs(1).saturating_sub(start.elapsed()));
    }
    senders
        .iter_mut()
        .try_for_each(|sender| sender.send(at..SENDER_BYTES))
}

/// A byte of each in every second.
fn sip(readers: &mut [Reader], over: &AtomicBool) -> std::io::Result<()> {
    while !over.load(Ordering::SeqCst) {
        let start = Instant::now();
        for reader in readers.iter_mut() {
            let mut byte = [0];
            reader.read += testkit::uninterrupted(|| reader.stream.read(&mut byte))?;
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(start.elapsed()));
    }
    Ok(())
}
