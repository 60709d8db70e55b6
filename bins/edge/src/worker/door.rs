//! Accepting connections at one address, in one thread: not more than `worker_connections` at a time.
//!
//! When a thread is full, idle connections are closed to make room, as in nginx; if that does not help, it accepts no more
//! until a connection ends. What waits then is taken by other threads or stays in the kernel's queue, where nginx would
//! close it.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use proxy_core::engine::SiteService;
use proxy_core::engine::logs::Level;
use proxy_core::engine::ports::ListenAddress;
use proxy_core::server::{Accepted, Connection, Drain, Listener, serve_connection};
use tokio::sync::Notify;

use super::crew::Shared;
use crate::logs::reason;

/// A full thread says so in the log at most this often.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(1);

/// How many connections a thread holds.
pub struct Room {
    taken: AtomicUsize,
    freed: Notify,
    complained: Mutex<Option<Instant>>,
}

impl Room {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            freed: Notify::new(),
            complained: Mutex::default(),
        })
    }

    fn take(self: &Arc<Self>) -> Seat {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::clone(self))
    }

    fn is_full(&self, shared: &Shared) -> bool {
        self.taken.load(Ordering::Relaxed) >= shared.connections_max.load(Ordering::Relaxed)
    }

    fn may_complain(&self) -> bool {
        let mut complained = lock(&self.complained);
        let may = complained.is_none_or(|last| last.elapsed() >= COMPLAINT_PAUSE);
        if may {
            *complained = Some(Instant::now());
        }
        may
    }
}

/// A connection's place in the [`Room`].
struct Seat(Arc<Room>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

pin_project! {
    /// A connection with its place.
    struct Seated<F> {
        #[pin]
        served: F,
        _seat: Seat,
    }
}

impl<F: Future<Output = ()>> Future for Seated<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().served.poll(cx)
    }
}

/// The connections of one address in one thread.
pub struct Door {
    inside: Arc<Inside>,
    closing: Drain,
}

struct Inside {
    service: Arc<SiteService>,
    shared: Arc<Shared>,
    room: Arc<Room>,
    /// The first is that of new connections; the others were started to make room.
    drains: Mutex<Vec<Drain>>,
    address: ListenAddress,
}

impl Door {
    /// Accepts from now on, in the runtime in which it is called.
    ///
    /// # Errors
    /// When the socket can't be waited for.
    pub fn open(
        address: ListenAddress,
        socket: OwnedFd,
        service: SiteService,
        shared: &Arc<Shared>,
        room: &Arc<Room>,
    ) -> io::Result<Self> {
        let (errors, place) = (Arc::clone(shared), address.clone());
        let listener = Listener::new(socket)?.on_exhausted(move |error| {
            errors.log(
                Level::Crit,
                format_args!(
                    "accept4() on {place} failed ({}); connections wait until one ends; raise worker_rlimit_nofile, or lower \
                     worker_connections so that idle ones make room",
                    reason(error)
                ),
            );
        });
        let inside = Arc::new(Inside {
            service: Arc::new(service),
            shared: Arc::clone(shared),
            room: Arc::clone(room),
            drains: Mutex::new(vec![Drain::new()]),
            address,
        });
        let closing = Drain::new();
        tokio::spawn(Arc::clone(&inside).accept(listener, closing.clone()));
        Ok(Self { inside, closing })
    }

    /// Accepts no more; connections end when they are idle.
    pub fn close(self) -> Self {
        self.closing.start();
        self.inside.drains().iter().for_each(Drain::start);
        self
    }

    /// How many connections there are.
    pub fn live(&self) -> usize {
        self.inside.drains().iter().map(Drain::live).sum()
    }

    /// Waits for the last connection of a closed door.
    pub async fn ended(&self) {
        // What is in the list is only ever added to while the door is open.
        let drains: Vec<Drain> = self.inside.drains().clone();
        for drain in drains {
            drain.ended().await;
        }
    }
}

impl Inside {
    /// Owns the socket, so that it is closed as soon as nothing more is accepted.
    async fn accept(self: Arc<Self>, listener: Listener, closing: Drain) {
        let begun = closing.begun();
        tokio::pin!(begun);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut begun => break,
                accepted = self.next(&listener) => accepted,
            };
            match accepted {
                Ok(accepted) => self.serve(accepted),
                Err(error) => {
                    self.shared.log(
                        Level::Emerg,
                        format_args!(
                            "accept4() on {} failed ({}); this thread accepts no more there",
                            self.address,
                            reason(&error)
                        ),
                    );
                    return;
                }
            }
            // So that a connection is read before the next is taken: what one thread does not get to, another takes.
            tokio::task::yield_now().await;
        }
        self.accept_rest(&listener).await;
    }

    /// The next connection, when there is room for one.
    async fn next(&self, listener: &Listener) -> io::Result<Accepted> {
        if self.room.is_full(&self.shared) {
            self.make_room().await;
        }
        listener.accept().await
    }

    /// What was already waiting when the address went: it was promised an answer.
    async fn accept_rest(&self, listener: &Listener) {
        let accept = listener.accept();
        tokio::pin!(accept);
        while let Poll::Ready(Ok(accepted)) = poll_once(accept.as_mut()).await {
            self.serve(accepted);
            accept.set(listener.accept());
        }
    }

    fn serve(&self, accepted: Accepted) {
        let Accepted {
            socket,
            peer,
            local,
        } = accepted;
        let connection = Arc::new(Connection::new(peer, local, false));
        let seat = self.room.take();
        let served = {
            let drains = self.drains();
            serve_connection(socket, connection, Arc::clone(&self.service), &drains[0])
        };
        tokio::spawn(Seated {
            served,
            _seat: seat,
        });
    }

    /// Closes idle connections, then waits until there is room.
    async fn make_room(&self) {
        let max = self.shared.connections_max.load(Ordering::Relaxed);
        if self.room.may_complain() {
            self.shared.log(
                Level::Warn,
                format_args!("{max} worker_connections are not enough, reusing connections"),
            );
        }
        {
            let mut drains = self.drains();
            drains.retain(|drain| drain.live() > 0);
            drains.iter().for_each(Drain::start);
            drains.insert(0, Drain::new());
        }
        while self.room.is_full(&self.shared) {
            self.room.freed.notified().await;
        }
        // Another door of this thread may be waiting, too.
        self.room.freed.notify_one();
    }

    fn drains(&self) -> MutexGuard<'_, Vec<Drain>> {
        lock(&self.drains)
    }
}

/// Polls a future once.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
