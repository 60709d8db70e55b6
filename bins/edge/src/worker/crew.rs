//! The threads that serve: each with its own runtime, each accepting from every listening socket.
//!
//! A thread is told what to do by [`Command`]s. When it is told to [finish](Command::Finish), it accepts no more and ends
//! with its last connection; told to [stop](Command::Stop), it cuts what is left. Either way its log lines are written.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use proxy_core::engine::Serving;
use proxy_core::engine::logs::{self, ErrorLog, Level};
use proxy_core::engine::ports::ListenAddress;
use proxy_core::engine::site::Site;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::door::Door;

/// Most threads of one runtime that wait for disks and name servers.
const BLOCKING_THREADS_MAX: usize = 32;

/// What a thread is told.
pub enum Command {
    /// Accept from this socket, too, and serve this there.
    Open(ListenAddress, OwnedFd, Serving),
    /// Accept no more there; its connections end when they are idle.
    Close(ListenAddress),
    /// Accept no more, end with the last connection.
    Finish,
    /// Cut everything.
    Stop,
}

/// What all threads share.
pub struct Shared {
    /// `worker_connections`: how many connections a thread holds.
    pub connections_max: AtomicUsize,
    /// Where the threads' own faults go.
    errors: Mutex<ErrorLog>,
}

impl Shared {
    /// Says something in the error log of the program.
    pub fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        self.errors().write(level, None, message);
    }

    /// The error log of the program.
    pub fn errors(&self) -> ErrorLog {
        self.errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_errors(&self, errors: ErrorLog) {
        *self.errors.lock().unwrap_or_else(PoisonError::into_inner) = errors;
    }
}

/// All threads, and the sockets that they accept from.
pub struct Crew {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
    /// Those that end with their last connection.
    leaving: Vec<Thread>,
    doors: Vec<Entrance>,
    number: usize,
}

/// A listening socket, and what is served there. Each has its own, so that the connections of an address that leaves the
/// configuration end under the one that knew it.
struct Entrance {
    address: ListenAddress,
    socket: OwnedFd,
    serving: Serving,
}

struct Thread {
    commands: UnboundedSender<Command>,
    ended: oneshot::Receiver<()>,
    handle: Option<thread::JoinHandle<()>>,
}

impl Crew {
    /// No thread yet.
    pub fn new(errors: ErrorLog) -> Self {
        let shared = Shared {
            connections_max: AtomicUsize::new(usize::MAX),
            errors: Mutex::new(errors),
        };
        Self {
            shared: Arc::new(shared),
            threads: Vec::new(),
            leaving: Vec::new(),
            doors: Vec::new(),
            number: 0,
        }
    }

    /// What the threads share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes the settings of a new configuration.
    pub fn configure(&self, connections_max: usize, errors: ErrorLog) {
        let shared = &self.shared;
        shared
            .connections_max
            .store(connections_max, Ordering::Relaxed);
        shared.set_errors(errors);
    }

    /// Serves `site` from these sockets and no others. A socket whose address is known already is not replaced.
    pub fn serve(&mut self, site: &Arc<Site>, wanted: Vec<(ListenAddress, OwnedFd)>) {
        let is_wanted =
            |door: &mut Entrance| wanted.iter().any(|(address, _)| *address == door.address);
        let gone: Vec<Entrance> = self.doors.extract_if(.., |door| !is_wanted(door)).collect();
        for door in gone {
            self.tell_all(|| Some(Command::Close(door.address.clone())));
        }
        for door in &self.doors {
            door.serving.replace(Arc::clone(site));
        }
        for (address, socket) in wanted {
            if self.doors.iter().any(|door| door.address == address) {
                continue;
            }
            let serving = Serving::new(Arc::clone(site));
            let door = Entrance {
                address,
                socket,
                serving,
            };
            self.tell_all(|| self.opening(&door));
            self.doors.push(door);
        }
    }

    /// Starts threads, or lets some of them go, until there are `count`.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn resize(&mut self, count: usize) -> std::io::Result<()> {
        self.leaving.retain_mut(|thread| {
            thread.ended.try_recv() == Err(oneshot::error::TryRecvError::Empty)
        });
        while self.threads.len() > count {
            if let Some(thread) = self.threads.pop() {
                let _ = thread.commands.send(Command::Finish);
                self.leaving.push(thread);
            }
        }
        while self.threads.len() < count {
            let thread = self.start()?;
            for command in self.doors.iter().filter_map(|door| self.opening(door)) {
                let _ = thread.commands.send(command);
            }
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Lets all threads end with their last connections. No socket stays open.
    pub fn finish(&mut self) {
        self.doors.clear();
        self.tell_all(|| Some(Command::Finish));
        self.leaving.append(&mut self.threads);
    }

    /// Waits until every thread has ended that was told to.
    pub async fn finished(&mut self) {
        while let Some(thread) = self.leaving.last_mut() {
            let _ = (&mut thread.ended).await;
            self.leaving.pop();
        }
    }

    /// Cuts everything and waits for the threads to have written their log lines.
    pub fn stop(mut self) {
        self.tell_all(|| Some(Command::Stop));
        for thread in self.threads.iter_mut().chain(&mut self.leaving) {
            let _ = thread.commands.send(Command::Stop);
            if let Some(handle) = thread.handle.take() {
                let _ = handle.join();
            }
        }
    }

    fn tell_all(&self, command: impl Fn() -> Option<Command>) {
        for thread in &self.threads {
            if let Some(command) = command() {
                let _ = thread.commands.send(command);
            }
        }
    }

    fn opening(&self, door: &Entrance) -> Option<Command> {
        let copied = door.socket.try_clone().map_err(|error| {
            self.shared.log(
                Level::Alert,
                format_args!(
                    "a listening socket can't be given to a thread: {error}; raise worker_rlimit_nofile"
                ),
            );
        });
        Some(Command::Open(
            door.address.clone(),
            copied.ok()?,
            door.serving.clone(),
        ))
    }

    fn start(&mut self) -> std::io::Result<Thread> {
        let (commands, orders) = unbounded_channel();
        let (ending, ended) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .on_thread_park(logs::flush)
            .build()?;
        self.number += 1;
        let handle = thread::Builder::new()
            .name(format!("serving-{}", self.number))
            .spawn(move || {
                runtime.block_on(serve(orders, shared));
                // The tasks that are cut say so in the log; what they say is then written.
                drop(runtime);
                logs::flush();
                drop(ending);
            })?;
        Ok(Thread {
            commands,
            ended,
            handle: Some(handle),
        })
    }
}

async fn serve(mut commands: UnboundedReceiver<Command>, shared: Arc<Shared>) {
    let mut doors: Vec<(ListenAddress, Door)> = Vec::new();
    // Closed ones, until their last connection has ended.
    let mut closed: Vec<Door> = Vec::new();
    let room = super::door::Room::new();
    loop {
        closed.retain(|door| door.live() > 0);
        match commands.recv().await {
            Some(Command::Open(address, socket, serving)) => {
                let service = serving.at(address.clone());
                match Door::open(address.clone(), socket, service, &shared, &room) {
                    Ok(door) => doors.push((address, door)),
                    Err(error) => shared.log(
                        Level::Emerg,
                        format_args!("connections to {address} can't be accepted: {error}"),
                    ),
                }
            }
            Some(Command::Close(address)) => {
                let gone = doors.extract_if(.., |(known, _)| *known == address);
                closed.extend(gone.map(|(_, door)| door.close()));
            }
            Some(Command::Finish) => break,
            Some(Command::Stop) | None => return,
        }
    }
    closed.extend(doors.into_iter().map(|(_, door)| door.close()));
    let all = async {
        for door in &closed {
            door.ended().await;
        }
    };
    tokio::select! {
        () = all => {}
        _ = commands.recv() => {}
    }
}
