//! A server of two kinds of processes: the master holds the socket, its workers (this program again) answer on it.
//!
//! ```text
//! cargo run -p supervisor --example greeter -- 127.0.0.1:8000
//! kill -HUP PID     # new workers, then the old ones go
//! kill -TERM PID    # stop; again to stop at once
//! ```

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket_activation::{Notifier, Sockets, Successor};
use supervisor::{
    Config, Ending, Event, Link, Listeners, Master, Notice, Pid, Policy, Program, Signal,
    SpawnOrder, Spawned, Wanted,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut inherited = Sockets::take()?;
    match Link::take(&mut inherited) {
        Ok(link) => work(link, inherited),
        Err(_) => supervise(inherited),
    }
}

struct Greeter {
    listeners: Listeners,
    manager: Notifier,
}

fn supervise(mut inherited: Sockets) -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8000".into());
    let mut listeners = Listeners::new();
    if let Err(faults) = listeners.apply(&[Wanted::new(address.parse()?)], &mut inherited) {
        faults.iter().for_each(|fault| eprintln!("{fault}"));
        std::process::exit(1);
    }
    let mut master = Master::new(Config {
        policy: Policy::default(),
        workers: 2,
        lanes: 1,
        signals: vec![
            Signal::TERM,
            Signal::INT,
            Signal::HUP,
            Signal::TTIN,
            Signal::TTOU,
        ],
    })?;
    eprintln!("process {} listens on {address}", std::process::id());
    let mut greeter = Greeter {
        listeners,
        manager: Notifier::from_env()?,
    };
    let outcome = master.run(&mut greeter)?;
    drop(greeter); // removes what belongs to it; `exit` would not
    std::process::exit(outcome.exit_code().into())
}

impl Program for Greeter {
    type Order = ();
    type Report = ();

    fn spawn(&mut self, order: SpawnOrder, _: &mut Master) -> Result<Spawned, Box<dyn Error>> {
        let listener = self.listeners.iter().next().ok_or("no listener")?;
        let mut next = order
            .kit
            .attach(Successor::new("/proc/self/exe").arg0("worker").silent())?;
        for fd in listener.fds() {
            next = next.socket("listener", fd)?;
        }
        Ok(Spawned::Now(Pid::from_child(&next.spawn()?)))
    }

    fn on_signal(&mut self, signal: Signal, master: &mut Master) {
        let workers = master.fleet().target();
        match (signal, master.fleet().stopping()) {
            (Signal::HUP, _) => master.reload(),
            (Signal::TTIN, _) => master.scale(workers + 1),
            (Signal::TTOU, _) => master.scale(workers.saturating_sub(1).max(1)),
            (_, None) => master.stop(Ending::Graceful),
            (_, Some(Ending::Graceful)) => master.stop(Ending::Quick),
            (_, Some(_)) => master.stop(Ending::Kill),
        }
    }

    fn on_event(&mut self, event: &Event, _: &mut Master) {
        eprintln!("{:?}: {event}", event.level());
        if let Event::Fleet(Notice::Started { .. }) = event {
            let _ = self.manager.ready();
        }
    }
}

fn work(mut link: Link, mut sockets: Sockets) -> Result<(), Box<dyn Error>> {
    let listener = sockets
        .take_named("listener")
        .ok_or("no listener")?
        .into_tcp_listener()?;
    listener.set_nonblocking(true)?;
    link.ready()?;
    loop {
        link.board().lane(0).beat();
        let mut fds = [
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            PollFd::new(&link, PollFlags::IN),
        ];
        poll(
            &mut fds,
            Some(&Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            }),
        )?;
        answer_all(&listener)?;
        // Every order of this program means: go. So does a master that is gone.
        if !matches!(link.try_next::<()>(), Ok(None)) {
            return Ok(());
        }
    }
}

fn answer_all(listener: &TcpListener) -> Result<(), Box<dyn Error>> {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nonblocking(false)?;
        let mut request = [0; 1024];
        if stream.read(&mut request).is_ok_and(|count| count > 0) {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n");
        }
    }
    Ok(())
}
