//! Life under a service manager: what it is told, and the sockets that it gives.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use socket_activation::Successor;
use testkit::PATIENCE;
use testkit::http::Client;

use crate::server::{House, Stray, children_of, eventually};

const OK: &str = "server { listen 127.0.0.1:{port}; location / { return 200 ok; } }";

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(house: &House) -> Self {
        let path = house.prefix.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("it can be set");
        Self { socket, path }
    }

    /// The next message with this line in it.
    fn await_line(&self, wanted: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let count = testkit::uninterrupted(|| self.socket.recv(&mut buffer))
                .unwrap_or_else(|error| panic!("{wanted}: {error}"));
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text;
            }
        }
    }
}

#[test]
fn the_manager_is_told_where_the_service_stands() {
    let house = House::new();
    house.configure(OK);
    let manager = Manager::listen(&house);
    let path = manager.path.clone();
    let mut server = house.start_with(|command| {
        command
            .args(["-g", "daemon off;"])
            .env("NOTIFY_SOCKET", &path)
    });
    let status = format!("STATUS=serving 127.0.0.1:{}", server.port);
    let ready = manager.await_line("READY=1");
    assert!(ready.lines().any(|line| line == status), "{ready}");
    server.signal(Signal::HUP);
    assert!(
        manager
            .await_line("RELOADING=1")
            .contains("MONOTONIC_USEC=")
    );
    manager.await_line("READY=1");
    server.configure("nonsense on;");
    server.signal(Signal::HUP);
    manager.await_line("RELOADING=1");
    // A reload that fails is over, too.
    let over = manager.await_line("READY=1");
    assert!(over.contains("STATUS=the last reload failed"), "{over}");
    server.signal(Signal::QUIT);
    manager.await_line("STOPPING=1");
    assert_eq!(server.end(), 0);
}

#[test]
fn the_watchdog_is_kept_quiet() {
    let house = House::new();
    house.configure(OK);
    let manager = Manager::listen(&house);
    let path = manager.path.clone();
    let _server = house.start_with(|command| {
        command
            .args(["-g", "daemon off;"])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "100000")
    });
    for _ in 0..3 {
        manager.await_line("WATCHDOG=1");
    }
}

#[test]
fn an_upgrade_tells_which_process_is_the_main_one() {
    let house = House::new();
    house.configure(OK);
    let manager = Manager::listen(&house);
    let path = manager.path.clone();
    let mut server = house.start_with(|command| {
        command
            .args(["-g", "daemon off;"])
            .env("NOTIFY_SOCKET", &path)
    });
    let old = server.pid();
    server.signal(Signal::USR2);
    let told = manager.await_line("MAINPID=");
    let number: i32 = told
        .lines()
        .find_map(|line| line.strip_prefix("MAINPID="))
        .and_then(|number| number.parse().ok())
        .expect("a number");
    let new = Pid::from_raw(number).expect("a process");
    let _guard = Stray(new);
    assert_ne!(new, old);
    assert_eq!(server.pid(), new);
    server.signal(Signal::QUIT);
    assert_eq!(server.end(), 0);
    assert_eq!(server.get("/").text(), "ok");
}

#[test]
fn sockets_of_the_manager_are_found_by_their_addresses() {
    let mut house = House::new();
    let (wanted, other) = (
        TcpListener::bind("127.0.0.1:0").expect("a port is free"),
        TcpListener::bind("127.0.0.1:0").expect("a port is free"),
    );
    house.port = wanted.local_addr().expect("it is bound").port();
    house.configure(OK);
    // Whoever comes before there is a server waits.
    let mut early = house.connect();
    early.ask("GET", "/", &[]).expect("the kernel takes it");
    let child = Successor::new(env!("CARGO_BIN_EXE_edge"))
        .silent()
        .args(["-p".into(), house.prefix.path().as_os_str().to_owned()])
        .args(["-c", "nginx.conf", "-g", "daemon off;"])
        .socket("other", &other)
        .and_then(|successor| successor.socket("web", &wanted))
        .and_then(Successor::spawn)
        .expect("edge starts");
    let mut child = Ended(child);
    drop(wanted);
    assert_eq!(early.response().expect("an answer").text(), "ok");
    let unused = format!(
        "a socket for {} was handed over, but",
        other.local_addr().expect("it is bound")
    );
    house.await_text("error.log", &unused);
    let master = Pid::from_child(&child.0);
    let [worker] = children_of(child.0.id())[..] else {
        panic!("there is one worker");
    };
    kill_process(worker, Signal::KILL).expect("it runs");
    assert_eq!(house.get("/").text(), "ok");
    kill_process(master, Signal::QUIT).expect("it runs");
    let status = eventually("it ends", || {
        child.0.try_wait().expect("it can be waited for")
    });
    assert_eq!(status.code(), Some(0));
    assert!(Client::connect(house.address()).is_err());
}

/// A child that does not outlive the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
