//! HUP: a new configuration under a server that loses nothing.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use testkit::http::{Client, Head};
use testkit::{Ending, FreePort, ScriptedPeer};

use crate::server::{House, Server, SlowOrigin, eventually, output};

const RELOADS: usize = 20;

fn answering(text: &str) -> String {
    format!("server {{ listen 127.0.0.1:{{port}}; location / {{ return 200 {text}; }} }}")
}

fn serving(text: &str) -> Server {
    let house = House::new();
    house.configure(&answering(text));
    house.start()
}

#[test]
fn no_response_is_lost_under_load() {
    let mut server = serving("old");
    let address = server.address();
    let worker = server.worker();
    let (done, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut client = Client::connect(address).expect("connections are accepted");
                while !done.load(Ordering::Relaxed) {
                    if number % 2 == 0 {
                        client = Client::connect(address).expect("connections are accepted");
                    }
                    let answer = client.get("/").expect("every request is answered");
                    assert!(
                        ["old", "new"].contains(&answer.text().as_str()),
                        "{answer:?}"
                    );
                    if answer.field("Connection").as_deref() == Some("close") {
                        // keepalive_requests
                        client = Client::connect(address).expect("connections are accepted");
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..RELOADS {
        let text = ["new", "old"][round % 2];
        server.configure(&answering(text));
        server.reload();
        let before = answered.load(Ordering::Relaxed);
        eventually("clients are answered", || {
            (answered.load(Ordering::Relaxed) > before + 6).then_some(())
        });
        assert_eq!(server.get("/").text(), text);
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no client saw a fault");
    }
    assert_eq!(server.worker(), worker);
    assert_eq!(
        server.read("error.log").matches("[error]").count(),
        0,
        "{}",
        server.read("error.log")
    );
}

#[test]
fn a_connection_lives_on_and_sees_the_new_configuration() {
    let mut server = serving("old");
    let mut client = server.connect();
    assert_eq!(client.get("/").expect("an answer").text(), "old");
    server.configure(&answering("new"));
    server.reload();
    assert_eq!(client.get("/").expect("an answer").text(), "new");
}

#[test]
fn a_request_under_way_ends_under_the_old_configuration() {
    let house = House::new();
    let origin = ScriptedPeer::listen(|peer| {
        let mut connection = peer.accept();
        Head::receive(&mut connection, "a request head").expect("a request");
        connection
            .send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbef")
            .expect("edge reads");
        // The test says when the rest may come.
        let mut go = peer.accept();
        go.take(2, "the word").expect("the word");
        connection.send(b"ore").expect("edge reads");
    });
    house.configure(
        &"server { listen 127.0.0.1:{port}; location / { proxy_pass http://{origin}; add_header X-Config old; } }"
            .replace("{origin}", &origin.address().to_string()),
    );
    let mut server = house.start();
    let mut client = server.connect();
    client.ask("GET", "/", &[]).expect("edge reads");
    let head = Head::receive(client.wire(), "a response head").expect("a head");
    server.configure(&answering("new"));
    server.reload();
    assert_eq!(server.get("/").text(), "new");
    let mut go = Client::connect(origin.address()).expect("the origin accepts");
    go.wire().send(b"go").expect("the origin reads");
    assert_eq!(
        client.wire().take(6, "the content").expect("all of it"),
        b"before"
    );
    assert_eq!(head.field("X-Config").as_deref(), Some("old"));
    origin.finish();
}

#[test]
fn a_fault_leaves_the_old_configuration_serving_and_is_told() {
    let mut server = serving("old");
    server.configure("nonsense on;\nsendfile yes;");
    server.signal(Signal::HUP);
    server.await_text("error.log", "the old one serves on");
    let log = server.read("error.log");
    let conf = server.prefix.join("nginx.conf").display().to_string();
    for words in [
        format!(
            "[emerg] {}#0: unknown directive \"nonsense\"",
            server.child.id()
        ),
        format!("in {conf}:4"),
        "invalid value \"yes\" in \"sendfile\" directive".to_owned(),
        format!("in {conf}:5"),
    ] {
        assert!(log.contains(&words), "{words}: {log}");
    }
    assert!(
        server
            .read("stderr.log")
            .contains("edge: [emerg] unknown directive \"nonsense\"")
    );
    assert_eq!(server.get("/").text(), "old");
    server.configure(&answering("new"));
    server.reload();
    assert_eq!(server.get("/").text(), "new");
}

#[test]
fn the_command_refuses_to_reload_what_is_broken() {
    let server = serving("old");
    server.configure("nonsense on;");
    assert_eq!(
        output(server.command().args(["-s", "reload"]))
            .status
            .code(),
        Some(1)
    );
    server.configure(&answering("new"));
    assert_eq!(
        output(server.command().args(["-s", "reload"]))
            .status
            .code(),
        Some(0)
    );
    server.await_answer("/", "new");
}

#[test]
fn new_addresses_are_opened_and_gone_ones_closed() {
    let mut server = serving("old");
    let mut client = server.connect();
    assert_eq!(client.get("/").expect("an answer").text(), "old");
    let reserved = FreePort::find().expect("a free port");
    let other = reserved.number();
    server.configure(&format!(
        "server {{ listen 127.0.0.1:{other}; listen unix:{{prefix}}/edge.sock; return 200 new; }}"
    ));
    server.reload();
    server.await_refusal();
    // The connection of before is closed, when it has not been used for a while.
    let (rest, ending) = client.wire().take_rest().expect("it ends");
    assert_eq!((rest.len(), ending), (0, Ending::Closed));
    for address in [
        testkit::Address::Tcp(([127, 0, 0, 1], other).into()),
        testkit::Address::Unix(server.prefix.join("edge.sock")),
    ] {
        let mut client = Client::connect(address).expect("the new address is open");
        assert_eq!(client.get("/").expect("an answer").text(), "new");
    }
    server.configure(&format!(
        "server {{ listen 127.0.0.1:{other}; return 200 new; }}"
    ));
    server.reload();
    assert!(!server.prefix.join("edge.sock").exists());
}

#[test]
fn an_address_widens_and_narrows_without_a_restart() {
    let mut server = serving("old");
    for (listen, text) in [
        ("{port}", "wide"),
        ("127.0.0.1:{port}", "narrow"),
        ("{port}", "wide"),
    ] {
        server.configure(&format!("server {{ listen {listen}; return 200 {text}; }}"));
        server.reload();
        server.await_answer("/", text);
    }
}

#[test]
fn an_address_that_goes_answers_what_is_under_way_as_it_did() {
    let origin = SlowOrigin::listen(1);
    let house = House::new();
    house.configure(
        &"server { listen 127.0.0.1:{port}; error_page 502 503 /x; location / { proxy_pass http://{origin}; } }"
            .replace("{origin}", &origin.address().to_string()),
    );
    let mut server = house.start();
    let mut client = server.connect();
    client.ask("GET", "/", &[]).expect("edge reads");
    origin.await_request();
    server.configure("server { listen unix:{prefix}/edge.sock; return 200 new; }");
    server.reload();
    server.await_refusal();
    origin.answer();
    assert_eq!(client.response().expect("an answer").text(), "slow");
}

#[test]
fn an_address_that_is_taken_leaves_the_old_ones_serving() {
    let mut server = serving("old");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound");
    server.configure(&format!(
        "server {{ listen 127.0.0.1:{{port}}; listen {address}; return 200 new; }}"
    ));
    server.signal(Signal::HUP);
    server.await_text("error.log", "the old one serves on");
    assert!(server.read("error.log").contains(&format!(
        "bind() to {address} failed (98: Address already in use)"
    )));
    assert_eq!(server.get("/").text(), "old");
}

#[test]
fn threads_come_and_go_in_the_same_process() {
    let mut server = serving("old");
    let worker = server.worker();
    for count in [3, 1, 2] {
        server.configure_all(&format!("worker_processes {count};"), &answering("new"));
        server.reload();
        eventually("there are as many threads", || {
            (serving_threads(&server) == count).then_some(())
        });
        assert_eq!(server.get("/").text(), "new");
    }
    assert_eq!(server.worker(), worker);
}

#[test]
fn what_a_process_cannot_change_about_itself_brings_up_another() {
    let mut server = serving("old");
    let before = server.worker();
    let mut client = server.connect();
    assert_eq!(client.get("/").expect("an answer").text(), "old");
    server.write("cores/kept", "");
    server.configure_all("working_directory {prefix}/cores;", &answering("new"));
    server.signal(Signal::HUP);
    let after = eventually("another worker serves", || match server.workers()[..] {
        [worker] if worker != before => Some(worker),
        _ => None,
    });
    assert_eq!(server.get("/").text(), "new");
    if let Ok(folder) = fs::read_link(format!("/proc/{}/cwd", after.as_raw_pid())) {
        assert_eq!(folder, server.prefix.join("cores"));
    }
    // The old worker ended in order.
    server.await_text(
        "error.log",
        &format!("worker process {} exited with code 0", before.as_raw_pid()),
    );
}

#[test]
fn the_pid_file_moves_with_its_directive() {
    let mut server = serving("old");
    let text = server
        .read("nginx.conf")
        .replace("pid nginx.pid;", "pid other.pid;");
    server.write("nginx.conf", &text);
    server.reload();
    assert_eq!(
        server.read("other.pid").trim(),
        server.child.id().to_string()
    );
    assert!(!server.prefix.join("nginx.pid").exists());
}

fn serving_threads(server: &Server) -> usize {
    let tasks =
        fs::read_dir(format!("/proc/{}/task", server.worker().as_raw_pid())).expect("it runs");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("serving-")).count()
}
