//! ASGI: the same application under appserver and under others; HTTP and WebSockets.

use super::load::Load;
use super::peers::{Peer, Peers};
use super::table::{Compared, Report};

const OURS: &str = "asgi_app:application -k asgi";

const GRANIAN: Peer = (
    "granian",
    "granian",
    "--interface asgi --workers 1 --loop uvloop --log-level warning --host 127.0.0.1 --port PORT asgi_app:application",
);
const UVICORN: Peer = (
    "uvicorn",
    "uvicorn",
    "asgi_app:application --loop uvloop --http httptools --ws websockets --no-access-log --log-level warning --host 127.0.0.1 --port PORT",
);
const GUNICORN: Peer = (
    "gunicorn asgi",
    "gunicorn",
    "asgi_app:application -k asgi --workers 1 --bind 127.0.0.1:PORT",
);
const DAPHNE: Peer = (
    "daphne",
    "daphne",
    "-v 0 -b 127.0.0.1 -p PORT asgi_app:application",
);

/// The smallest application.
pub fn hello(peers: &Peers<'_>, report: &mut Report) -> Result<(), String> {
    let mut subjects = vec![peers.ours("appserver", OURS)?];
    subjects.extend(peers.others(&[GRANIAN, UVICORN, GUNICORN, DAPHNE])?);
    let goals = [("granian", 1.1), ("uvicorn", 1.6), ("gunicorn", 2.5)];
    let (load, compared) = (Load::Get("/"), Compared::Cpu);
    peers.compare(report, "ASGI hello", &subjects, load, compared, &goals)
}

/// Messages of 64 bytes that are sent back.
pub fn small_messages(peers: &Peers<'_>, report: &mut Report) -> Result<(), String> {
    messages(peers, report, "64 bytes", 64)
}

/// Messages of 16 KiB that are sent back.
pub fn large_messages(peers: &Peers<'_>, report: &mut Report) -> Result<(), String> {
    messages(peers, report, "16 KiB", 16 << 10)
}

fn messages(
    peers: &Peers<'_>,
    report: &mut Report,
    size: &str,
    bytes: usize,
) -> Result<(), String> {
    let mut subjects = vec![peers.ours("appserver", OURS)?];
    subjects.extend(peers.others(&[GRANIAN, UVICORN, DAPHNE])?);
    let goals = [("granian", 1.0), ("uvicorn", 1.5), ("daphne", 5.0)];
    let title =
        format!("WebSocket, messages of {size} that are sent back (a request is a message)");
    let (load, compared) = (Load::Messages("/", bytes), Compared::Cpu);
    peers.compare(report, &title, &subjects, load, compared, &goals)?;
    Peers::show(report, "asgi_app.py");
    Ok(())
}
