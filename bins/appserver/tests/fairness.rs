//! Workers share the work: under a steady load none gets much more than its part.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use support::Setup;
use testkit::http::Client;
use testkit::{Address, FreePort};

const WORKERS: usize = 4;
/// A part and a third of one.
const MOST: f64 = 1.3;

/// Tells its process after a moment of work, as a real page does.
const WORKING_APP: &str = "
import os

def application(environ, start_response):
    sum(range(20000))
    text = str(os.getpid()).encode()
    start_response('200 OK', [('Content-Length', str(len(text)))])
    return [text]
";

/// The same for ASGI.
const WORKING_ASGI_APP: &str = "
import os

async def application(scope, receive, send):
    assert scope['type'] == 'http'
    sum(range(20000))
    text = str(os.getpid()).encode()
    length = str(len(text)).encode()
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', length)]})
    await send({'type': 'http.response.body', 'body': text})
";

/// Requests by worker.
type Shares = BTreeMap<String, usize>;

fn largest_share(shares: &Shares) -> f64 {
    let all: usize = shares.values().sum();
    let most = shares.values().max().copied().unwrap_or(0);
    most as f64 * WORKERS as f64 / all as f64
}

/// `clients` at once, each in a thread of its own; the shares of all of them together.
fn together(clients: usize, each: impl Fn(&Barrier) -> Shares + Send + Sync + 'static) -> Shares {
    let (each, begin) = (Arc::new(each), Arc::new(Barrier::new(clients)));
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let (each, begin) = (each.clone(), begin.clone());
            thread::spawn(move || each(&begin))
        })
        .collect();
    let mut shares = Shares::new();
    for thread in threads {
        for (worker, count) in thread.join().unwrap() {
            *shares.entry(worker).or_default() += count;
        }
    }
    shares
}

fn client(address: &Address) -> Client {
    let mut client = Client::connect(address.clone()).unwrap();
    client.wire().set_patience(support::PATIENCE);
    client
}

/// Requests on one connection, and on another when that is closed after a response.
struct Keeping {
    address: Address,
    open: Option<Client>,
}

impl Keeping {
    fn ask(&mut self) -> String {
        let mut client = self.open.take().unwrap_or_else(|| client(&self.address));
        let answer = client.get("/").unwrap();
        let closes = answer
            .field("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.open = (!closes).then_some(client);
        answer.text()
    }

    fn count(&mut self, requests: usize) -> Shares {
        let mut shares = Shares::new();
        for _ in 0..requests {
            *shares.entry(self.ask()).or_default() += 1;
        }
        shares
    }
}

/// Shares are even in one of a few rounds: where the machine has other things to do, a worker may not run for longer than the others
/// leave its connections to it. Where shares are uneven by nature, no round is even.
fn evenly(how: &str, mut round: impl FnMut() -> Shares) {
    const ROUNDS: usize = 4;
    let uneven: Vec<_> = (0..ROUNDS)
        .map(|_| round())
        .take_while(|shares| largest_share(shares) > MOST)
        .collect();
    assert!(uneven.len() < ROUNDS, "{how}: {uneven:?}");
}

fn check(app: &str, arguments: &[&str], port: Option<FreePort>) {
    let workers = WORKERS.to_string();
    let place = port.as_ref().map(|port| port.address().to_string());
    let bind: Vec<_> = place.iter().flat_map(|place| ["--bind", place]).collect();
    let server = Setup::new(app)
        // Connections wait for each other at a barrier: on a loaded machine for longer than the usual two seconds.
        .args(&["--workers", &workers, "--keep-alive", "600"])
        .args(arguments)
        .args(&bind)
        .start();
    server.until("all workers", || {
        (server.booted().len() == WORKERS).then_some(())
    });
    let address = port.map_or_else(|| server.socket(), |port| Address::Tcp(port.address()));

    let one_by_one = |address: &Address, requests: usize| {
        let mut shares = Shares::new();
        for _ in 0..requests {
            let worker = client(address).get("/").unwrap().text();
            *shares.entry(worker).or_default() += 1;
        }
        shares
    };
    evenly("one by one", || one_by_one(&address, 200));
    evenly("a connection for each", || {
        let to = address.clone();
        together(6, move |begin| {
            begin.wait();
            one_by_one(&to, 100)
        })
    });
    evenly("kept connections", || {
        let to = address.clone();
        together(8, move |begin| {
            let mut keeping = Keeping {
                address: to.clone(),
                open: None,
            };
            begin.wait();
            // Until the connections are where they stay.
            keeping.count(100);
            begin.wait();
            let shares = keeping.count(100);
            // Nobody leaves before the last: its place would be filled from the others.
            begin.wait();
            shares
        })
    });
}

#[test]
fn no_worker_gets_much_more_than_its_part() {
    check(WORKING_APP, &[], None);
}

#[test]
fn nor_with_threads_and_over_tcp() {
    let port = FreePort::find().unwrap();
    check(WORKING_APP, &["--threads", "2"], Some(port));
}

#[test]
fn nor_on_an_event_loop() {
    let port = FreePort::find().unwrap();
    check(WORKING_ASGI_APP, &["-k", "asgi"], Some(port));
}

/// Newcomers are not let in one by one, with a request of every connection that stays in between.
#[test]
fn a_crowd_of_new_connections_is_let_in_within_a_few_turns() {
    const STAYING: usize = 16;
    const NEW: usize = 64;
    // Let in one by one, the last would wait for 64 turns.
    const TURNS: usize = 24;

    let server = Setup::new(WORKING_APP).start();
    let address = server.socket();
    let (answered, done) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let begin = Arc::new(Barrier::new(STAYING + 1));
    let staying: Vec<_> = (0..STAYING)
        .map(|_| {
            let (address, begin) = (address.clone(), begin.clone());
            let (answered, done) = (answered.clone(), done.clone());
            thread::spawn(move || {
                let mut client = client(&address);
                client.get("/").unwrap();
                begin.wait();
                while !done.load(Ordering::Relaxed) {
                    client.get("/").unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    begin.wait();
    let mut crowd: Vec<_> = (0..NEW)
        .map(|_| {
            let mut client = client(&address);
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            client
        })
        .collect();
    let before = answered.load(Ordering::Relaxed);
    for client in &mut crowd {
        client.response().unwrap();
    }
    let meanwhile = answered.load(Ordering::Relaxed) - before;
    done.store(true, Ordering::Relaxed);
    for thread in staying {
        thread.join().unwrap();
    }
    assert!(
        meanwhile <= STAYING * TURNS,
        "{meanwhile} answers to {STAYING} others before the last of {NEW} was answered"
    );
}
