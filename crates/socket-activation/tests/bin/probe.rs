//! A service for the tests: takes its sockets, reports what it got, and does what its first argument says.

use std::io::{self, Read, Write};

use socket_activation::{Notifier, Socket, Sockets, Watchdog};

fn main() {
    let task = std::env::args().nth(1).unwrap_or_default();
    let taken = match task.as_str() {
        // SAFETY: no thread has been started yet.
        "unset" => unsafe { Sockets::take_and_unset() },
        _ => Sockets::take(),
    };
    let mut sockets = match taken {
        Ok(sockets) => sockets,
        Err(error) => return println!("error: {error}"),
    };
    if let Some(absence) = sockets.absence() {
        println!("absent: {absence}");
    }
    for socket in sockets.iter() {
        let (index, name) = (socket.index(), socket.name());
        println!("{index} {name} | {} | {}", socket.kind(), socket.address());
    }
    match task.as_str() {
        "twice" => println!("again: {}", Sockets::take().expect_err("the second time")),
        "unset" | "variables" => report_variables(),
        "arguments" => println!("{:?}", std::env::args().collect::<Vec<_>>()),
        "folder" => println!("{}", std::env::current_dir().unwrap().display()),
        "greet" => greet(&mut sockets).unwrap(),
        "number" => take_number(),
        "read" => read(&mut sockets).unwrap(),
        "notify" => notify(),
        "watchdog" => println!("{:?}", Watchdog::from_env().unwrap().map(|w| w.interval())),
        _ => {}
    }
}

fn report_variables() {
    let mut found: Vec<_> = std::env::vars()
        .filter(|(name, _)| {
            ["LISTEN_", "NOTIFY_", "PROBE"]
                .iter()
                .any(|start| name.starts_with(start))
        })
        .map(|(name, value)| {
            let own = name == "LISTEN_PID" && value == std::process::id().to_string();
            format!("{name}={}", if own { "own" } else { &value })
        })
        .collect();
    found.sort();
    println!("variables: {}", found.join(" "));
}

/// Takes descriptor 5, which nobody announced.
fn take_number() {
    for fd in [5, 5, 6, -1] {
        match Socket::inherited(fd) {
            Ok(socket) => {
                println!("{fd}: index {}, {}", socket.index(), socket.kind());
                std::mem::forget(socket);
            }
            Err(error) => println!("{fd}: {error}"),
        }
    }
}

/// Answers one connection on the first listener.
fn greet(sockets: &mut Sockets) -> io::Result<()> {
    let socket = sockets.take_index(0).expect("a socket");
    let greeting = format!("hello from {}\n", socket.name());
    if socket.address().is_unix() {
        let listener = socket.into_unix_listener().unwrap();
        listener.set_nonblocking(false)?;
        listener.accept()?.0.write_all(greeting.as_bytes())
    } else {
        let listener = socket.into_tcp_listener().unwrap();
        listener.set_nonblocking(false)?;
        listener.accept()?.0.write_all(greeting.as_bytes())
    }
}

/// Prints what a file that was handed over holds.
fn read(sockets: &mut Sockets) -> io::Result<()> {
    let mut text = String::new();
    std::fs::File::from(sockets.take_index(0).expect("a file").into_fd())
        .read_to_string(&mut text)?;
    println!("text: {text}");
    Ok(())
}

fn notify() {
    let notifier = Notifier::from_env().unwrap();
    notifier.ready().unwrap();
    notifier.status("as a child").unwrap();
}
