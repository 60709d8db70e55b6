//! Thousands of clients that send or read a byte a second, at the application server itself: others hardly notice.
//!
//! One worker with more to do than it can. What it does for others is counted in turn while the crowd trickles and while it is silent, as
//! answers for a second of the worker's processor; that must not fall by more than a tenth. The clients' seconds are the worker's own, so a
//! machine that is busy with something else slows both sides alike, and each pair of figures is taken within a moment.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::http::Client;
use testkit::{Deadline, FreePort, StopFlag, TempPrefix};

use self::crowd::{Clients, READER_BYTES, Valve};
use crate::install::Venv;
use crate::load::{Content, Load, Want};
use crate::process::{self, Guarded};
use crate::shop::Kind;
use crate::tree;

mod crowd;

/// How many of them, and for how long.
#[derive(Clone, Debug)]
pub struct Crowd {
    pub senders: usize,
    pub readers: usize,
    /// Of the worker's processor, for each figure.
    pub slice: Duration,
    /// As many pairs of figures; three times as many, while they say that too much is lost.
    pub pairs: usize,
    /// The part of their answers that others may lose.
    pub loss_max: f64,
}

/// Some tenths of a millisecond of Python, and more than sockets hold.
const WSGI: &str = "
import os

BIG = b'x' * READER_BYTES

def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/work':
        body = str(sum(range(20000))).encode()
    elif path == '/big':
        body = BIG
    elif path == '/worker':
        body = str(os.getpid()).encode()
    else:
        body = str(len(environ['wsgi.input'].read())).encode()
    start_response('200 OK', [])
    return [body]
";
/// The same with an event loop. Content is taken as it comes.
const ASGI: &str = "
import os

BIG = b'x' * READER_BYTES

async def application(scope, receive, send):
    if scope['path'] == '/work':
        body = str(sum(range(20000))).encode()
    elif scope['path'] == '/big':
        body = BIG
    elif scope['path'] == '/worker':
        body = str(os.getpid()).encode()
    else:
        size, more = 0, True
        while more:
            event = await receive()
            size, more = size + len(event.get('body', b'')), event.get('more_body', False)
        body = str(size).encode()
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': body})
";
/// How long a crowd is made to last: the server gives a head a minute.
const LIFE: Duration = Duration::from_secs(25);
const WORKED: &[u8] = b"199990000";
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// What was done for others in a time.
#[derive(Clone, Copy, Debug)]
struct Measured {
    per_second: f64,
    per_worked_second: f64,
}

/// What was measured.
#[derive(Default)]
struct Figures {
    /// Before there was a crowd, and after it was gone.
    alone: Vec<Measured>,
    /// While it was silent, and then while it trickled.
    pairs: Vec<[Measured; 2]>,
}

/// A server of each kind of worker in turn.
pub fn run(venv: &Venv, kind: &Kind, crowd: &Crowd) -> Result<String, String> {
    let crowd = &crowd::fitting(crowd);
    let mut told = Vec::new();
    for (name, app, arguments) in [
        ("sync", WSGI, &[][..]),
        ("threads", WSGI, &["--threads", "2"]),
        ("asgi", ASGI, &["-k", "asgi", "--asgi-lifespan", "off"]),
    ] {
        let figures = with_kind(venv, kind, crowd, app, arguments)
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
    app: &str,
    arguments: &[&str],
) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    let prefix = TempPrefix::new().map_err(told)?;
    let app = app.replace("READER_BYTES", &READER_BYTES.to_string());
    prefix.write("trickle.py", app).map_err(told)?;
    let port = FreePort::find().map_err(told)?;
    let address = port.address();
    let mut server = Guarded::spawn_logged(
        Command::new(&kind.app)
            .args(["trickle:application", "--workers", "1", "--backlog", "4096"])
            .args(["--worker-connections", "10000"])
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
    let worker = worker(address)?;
    let load = Load::start(address, wants());
    let measured = measure_all(address, worker, &load, crowd);
    let failures = super::none_lost(&load.take_failures());
    drop(load);
    server.signal(rustix::process::Signal::TERM);
    let ended = server
        .wait(PATIENCE)
        .and_then(|status| process::success(status, "the application server"));
    let log = || process::tail(&prefix.join("log"), 20);
    let figures = measured
        .and_then(|figures| failures.and(ended).map(|()| figures))
        .map_err(|problem| format!("{problem}\n{}", log()))?;
    if figures.loss() > crowd.loss_max {
        return Err(format!("the slow clients cost others too much: {figures}"));
    }
    Ok(figures.to_string())
}

/// The process that answers.
fn worker(address: SocketAddr) -> Result<u32, String> {
    let mut client = Client::connect(address).map_err(|error| error.to_string())?;
    let answer = client
        .get("/worker")
        .map_err(|error| format!("the server does not answer: {error}"))?
        .text();
    answer
        .parse()
        .map_err(|_| format!("the worker is no process: {answer}"))
}

/// Alone, then in turn beside crowds, then alone again.
fn measure_all(
    address: SocketAddr,
    worker: u32,
    load: &Load,
    crowd: &Crowd,
) -> Result<Figures, String> {
    let mut figures = Figures::default();
    let alone = || {
        load.settle()?;
        measure(load, worker, crowd.slice * 2)
    };
    figures.alone.push(alone()?);
    while !figures.are_enough(crowd) {
        beside(&mut figures, address, worker, load, crowd)?;
    }
    figures.alone.push(alone()?);
    Ok(figures)
}

/// Pairs beside one crowd; all of it has to be served to its end.
fn beside(
    figures: &mut Figures,
    address: SocketAddr,
    worker: u32,
    load: &Load,
    crowd: &Crowd,
) -> Result<(), String> {
    let life = Deadline::after(LIFE);
    let mut clients = Clients::connect(address, crowd)?;
    let valve = Valve::default();
    let measured = |open| {
        valve.set(open);
        measure(load, worker, crowd.slice)
    };
    std::thread::scope(|scope| {
        let trickling = scope.spawn(|| clients.trickle(worker, &valve));
        let mut result = load.settle();
        while result.is_ok() {
            let pair = measured(false).and_then(|silent| Ok([silent, measured(true)?]));
            result = pair.map(|pair| figures.pairs.push(pair));
            if life.passed() || figures.are_enough(crowd) {
                break;
            }
        }
        valve.end();
        trickling
            .join()
            .map_err(|_| "the slow clients panicked")??;
        result
    })?;
    clients.finish()
}

/// What is done for others while the worker works for so long.
fn measure(load: &Load, worker: u32, slice: Duration) -> Result<Measured, String> {
    let (begin, done, worked) = (Instant::now(), load.finished(), tree::worked_ns(worker));
    let spent = Deadline::after(PATIENCE)
        .poll(&StopFlag::default(), || {
            let spent = Duration::from_nanos(tree::worked_ns(worker).saturating_sub(worked));
            (spent >= slice || process::interrupted()).then_some(spent)
        })
        .ok_or("the worker hardly works, though there is enough to do")?;
    process::check_interrupted()?;
    let done = (load.finished() - done).max(1) as f64;
    Ok(Measured {
        per_second: done / begin.elapsed().as_secs_f64(),
        per_worked_second: done / spent.as_secs_f64(),
    })
}

impl Figures {
    fn are_enough(&self, crowd: &Crowd) -> bool {
        match self.pairs.len() {
            few if few < crowd.pairs => false,
            many => many >= crowd.pairs * 3 || self.loss() <= crowd.loss_max,
        }
    }

    /// The part of the others' answers that the crowd costs while it trickles.
    fn loss(&self) -> f64 {
        1.0 - self.left(|it| it.per_worked_second)
    }

    /// What is left to others beside a crowd that trickles, of what it is when the crowd is silent.
    fn left(&self, of: fn(&Measured) -> f64) -> f64 {
        let ratios = self
            .pairs
            .iter()
            .map(|[silent, trickling]| of(trickling) / of(silent));
        median(ratios)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worked = |it: &Measured| it.per_worked_second;
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
        write!(
            f,
            "{:.0} answers to others in a second of processor alone, {:.0} beside the crowd in silence, {:+.1} % while it trickles \
             ({:+.1} % in a second of the clock; {} pairs)",
            median(self.alone.iter().map(worked)),
            median(self.pairs.iter().map(|[silent, _]| worked(silent))),
            percent(self.left(worked)),
            percent(self.left(|it| it.per_second)),
            self.pairs.len()
        )
    }
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => numbers[middle],
        _ => f64::midpoint(numbers[middle - 1], numbers[middle]),
    }
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
