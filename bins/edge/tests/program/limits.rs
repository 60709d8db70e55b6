//! `worker_connections`.

use testkit::http::Client;

use crate::server::{House, SlowOrigin};

fn house(location: &str) -> House {
    let house = House::new();
    let text = format!(
        "pid nginx.pid; error_log error.log info;\nevents {{ worker_connections 2; }}\nhttp {{ access_log off;\n\
         server {{ listen 127.0.0.1:{{port}}; location / {{ return 200 ok; }} {location} }} }}\n"
    );
    house.write("nginx.conf", &text);
    house
}

#[test]
fn idle_connections_make_room_for_new_ones() {
    let server = house("").start();
    let mut idle: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = server.connect();
            assert_eq!(client.get("/").expect("an answer").text(), "ok");
            client
        })
        .collect();
    for _ in 0..5 {
        let mut client = server.connect();
        assert_eq!(client.get("/").expect("an answer").text(), "ok");
        idle.push(client);
    }
    server.await_text(
        "error.log",
        "2 worker_connections are not enough, reusing connections",
    );
}

#[test]
fn a_full_server_takes_the_next_connection_when_one_ends() {
    let origin = SlowOrigin::listen(2);
    let proxied = format!(
        "location /slow {{ proxy_pass http://{}; }}",
        origin.address()
    );
    let server = house(&proxied).start();
    let mut busy: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = server.connect();
            client.ask("GET", "/slow", &[]).expect("edge reads");
            origin.await_request();
            client
        })
        .collect();
    let mut waiting = server.connect();
    waiting.ask("GET", "/", &[]).expect("the kernel takes it");
    server.await_text("error.log", "2 worker_connections are not enough");
    waiting.wire().poll();
    assert!(waiting.wire().pending().is_empty());
    origin.answer();
    assert_eq!(busy[0].response().expect("an answer").text(), "slow");
    assert_eq!(waiting.response().expect("an answer").text(), "ok");
    origin.answer();
    assert_eq!(busy[1].response().expect("an answer").text(), "slow");
}

#[test]
fn used_up_descriptors_are_told_and_connections_wait() {
    let house = House::new();
    house.configure_all(
        "worker_rlimit_nofile 100;",
        "server { listen 127.0.0.1:{port}; location / { return 200 ok; } }",
    );
    let server = house.start();
    let mut clients: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    server.await_text("error.log", "failed (24: Too many open files)");
    assert!(
        server
            .read("error.log")
            .contains("raise worker_rlimit_nofile")
    );
    let mut last = clients.pop().expect("there are a hundred");
    last.ask("GET", "/", &[]).expect("the kernel takes it");
    drop(clients);
    assert_eq!(last.response().expect("an answer").text(), "ok");
}
