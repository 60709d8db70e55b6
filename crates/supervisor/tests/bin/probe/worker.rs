//! One worker: answers a line on each connection, one after another, and listens to its master in between.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket_activation::Sockets;
use supervisor::{ChannelError, Counter, Link, Order};

/// How a worker behaves; read from a file when it boots, so that a reload brings new manners.
pub fn manners(file: &str) -> String {
    std::fs::read_to_string(file)
        .unwrap_or_else(|_| "good".into())
        .trim()
        .to_owned()
}

pub fn run_executed(arguments: &[String]) -> i32 {
    let mut sockets = Sockets::take().unwrap();
    let link = Link::take(&mut sockets).unwrap();
    let listener = sockets
        .take_named("listener")
        .unwrap()
        .into_unix_listener()
        .unwrap();
    run(link, listener, &arguments[0], arguments[1].parse().unwrap())
}

pub fn run(link: Link, listener: UnixListener, manners_file: &str, generation: u32) -> i32 {
    let manners = manners(manners_file);
    let mut words = manners.split(' ');
    match words.next().unwrap_or_default() {
        "exit" => return words.next().unwrap().parse().unwrap(),
        "crash" => std::process::abort(),
        "never" => loop {
            std::thread::park();
        },
        _ => {}
    }
    listener.set_nonblocking(true).unwrap();
    let mut worker = Worker {
        link,
        listener: Some(listener),
        generation,
        deaf: manners == "deaf",
    };
    if worker.link.ready().is_err() {
        return 0; // the master changed its mind and is gone
    }
    while worker.turn() {}
    0
}

struct Worker {
    link: Link,
    listener: Option<UnixListener>,
    generation: u32,
    deaf: bool,
}

impl Worker {
    /// One turn of the loop; `false` when it is over.
    fn turn(&mut self) -> bool {
        self.link.board().lane(0).beat();
        self.wait();
        while let Some(stream) = self.listener.as_ref().and_then(|it| it.accept().ok()) {
            self.link.board().lane(0).add(Counter::Requests, 1);
            let _ = self.answer(stream.0);
        }
        match self.link.try_next::<String>() {
            Ok(None) => self.listener.is_some(),
            Ok(Some(received)) => self.listen_to(received.message),
            Err(ChannelError::Closed) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn wait(&self) {
        let mut fds = vec![PollFd::new(&self.link, PollFlags::IN)];
        fds.extend(
            self.listener
                .as_ref()
                .map(|it| PollFd::from_borrowed_fd(it.as_fd(), PollFlags::IN)),
        );
        let often = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        let _ = poll(&mut fds, Some(&often));
    }

    fn listen_to(&mut self, order: Order<String>) -> bool {
        match order {
            Order::Program(text) => self.link.report(format!("heard {text}"), &[]).is_ok(),
            _ => self.deaf,
        }
    }

    /// A line in, a line out.
    fn answer(&mut self, stream: UnixStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim();
        let lane = self.link.board().lane(0);
        lane.begin(line.as_bytes());
        let answer = match line.split_once(' ').unwrap_or((line, "")) {
            ("who", _) => format!("{} {}", std::process::id(), self.generation),
            // Finished only when the client says so.
            ("wait", _) => {
                (&stream).write_all(b"begun\n")?;
                reader.read_line(&mut String::new())?;
                format!("done {}", std::process::id())
            }
            ("hang", _) => {
                (&stream).write_all(b"begun\n")?;
                loop {
                    std::thread::park();
                }
            }
            ("busy", _) => {
                (&stream).write_all(b"begun\n")?;
                loop {
                    lane.beat();
                    std::thread::yield_now();
                }
            }
            ("leave", _) => {
                self.link.leaving().unwrap();
                "leaving".to_owned()
            }
            ("exit", code) => std::process::exit(code.parse().unwrap()),
            // A grandchild that outlives its parent.
            ("orphan", _) => {
                Command::new("sh")
                    .args(["-c", "(exit 7) & exit 0"])
                    .status()?;
                "orphaned".to_owned()
            }
            (other, _) => format!("unknown {other:?}"),
        };
        lane.finish();
        (&stream).write_all(answer.as_bytes())?;
        (&stream).write_all(b"\n")
    }
}
