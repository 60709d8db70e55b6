//! Master and worker: dying, draining, leaving the terminal, being replaced.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use testkit::http::Client;
use testkit::{Address, Child, Ending};

use crate::server::{House, Server, SlowOrigin, Stray, children_of, eventually, output, stderr_of};

const OK: &str = "server { listen 127.0.0.1:{port}; location / { return 200 ok; } }";

fn serving() -> Server {
    let house = House::new();
    house.configure(OK);
    house.start()
}

/// A server with a request under way, to an origin server that waits before it answers.
fn busy(top: &str) -> (Server, SlowOrigin, Client) {
    let origin = SlowOrigin::listen(1);
    let house = House::new();
    house.configure_all(
        top,
        &"server { listen 127.0.0.1:{port}; location / { return 200 ok; } location /slow { proxy_pass http://{origin}; } }"
            .replace("{origin}", &origin.address().to_string()),
    );
    let server = house.start();
    let mut client = server.connect();
    client.ask("GET", "/slow", &[]).expect("edge reads");
    origin.await_request();
    (server, origin, client)
}

#[test]
fn a_killed_worker_is_replaced_and_nobody_is_refused() {
    let server = serving();
    let mut before = server.worker();
    for _ in 0..3 {
        kill_process(before, Signal::KILL).expect("it runs");
        // Whoever comes now waits in the queue of the socket, which the master holds.
        assert_eq!(server.get("/").text(), "ok");
        let words = format!("worker process {} exited on signal 9", before.as_raw_pid());
        server.await_text("error.log", &words);
        let after = server.worker();
        assert_ne!(after, before);
        before = after;
    }
}

#[test]
fn quit_finishes_what_is_under_way_and_refuses_the_rest() {
    let (mut server, origin, mut client) = busy("");
    let mut idle = server.connect();
    assert_eq!(idle.get("/").expect("an answer").text(), "ok");
    server.signal(Signal::QUIT);
    server.await_refusal();
    // It would be answered within half a second, which a slow machine may have used up; then it is closed.
    let (rest, ending) = idle.wire().take_rest().expect("it ends");
    assert_eq!((rest.len(), ending), (0, Ending::Closed));
    origin.answer();
    let answer = client.response().expect("the answer comes");
    assert_eq!(answer.text(), "slow");
    assert_eq!(answer.field("Connection").as_deref(), Some("close"));
    assert_eq!(server.end(), 0);
    assert!(!server.prefix.join("nginx.pid").exists());
}

#[test]
fn what_outlives_the_shutdown_timeout_is_cut() {
    let (mut server, _origin, mut client) = busy("worker_shutdown_timeout 50ms;");
    server.signal(Signal::QUIT);
    assert!(client.response().is_err());
    assert_eq!(server.end(), 0);
    assert!(
        server
            .read("error.log")
            .contains("outlive worker_shutdown_timeout")
    );
}

#[test]
fn term_and_int_end_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut server, _origin, mut client) = busy("");
        assert_eq!(server.get("/").text(), "ok");
        server.signal(signal);
        assert_eq!(server.end(), 0);
        assert!(client.response().is_err());
        assert!(!server.prefix.join("nginx.pid").exists());
        // What was served is in the log, whatever the hurry; so is what was cut.
        let log = server.read("access.log");
        assert!(log.contains("\"GET / HTTP/1.1\" 200 "), "{log}");
        assert!(log.contains("\"GET /slow HTTP/1.1\" 499 "), "{log}");
    }
}

#[test]
fn a_drain_can_be_hurried() {
    let (mut server, _origin, _client) = busy("");
    server.signal(Signal::QUIT);
    server.await_refusal();
    server.signal(Signal::TERM);
    assert_eq!(server.end(), 0);
}

#[test]
fn a_worker_does_not_outlive_its_master() {
    let mut server = serving();
    let worker = server.worker();
    server.child.signal(Signal::KILL).expect("it runs");
    server.end();
    eventually("the worker ends", || {
        let state = fs::read_to_string(format!("/proc/{}/stat", worker.as_raw_pid()));
        state
            .map_or(true, |state| state.contains(") Z "))
            .then_some(())
    });
    server.await_refusal();
}

#[test]
fn the_worker_gives_up_the_rights_of_root() {
    let server = serving();
    // Who answers has become who it is to be.
    assert_eq!(server.get("/").text(), "ok");
    let worker = server.worker().as_raw_pid();
    let owner = |pid: i32| fs::metadata(format!("/proc/{pid}")).expect("it runs").uid();
    let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("it runs");
    let uids = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .expect("there is a line");
    let uids: Vec<&str> = uids.split_whitespace().skip(1).collect();
    let master = owner(i32::try_from(server.child.id()).expect("a small number"));
    // nobody, for the configuration says nothing; somebody who is not root stays who they are.
    let expected = if master == 0 {
        "65534".to_owned()
    } else {
        master.to_string()
    };
    assert_eq!(uids, vec![expected.as_str(); 4]);
}

/// Also when nobody has collected it yet: its parent is now the first process, which may be slow or none that does.
fn has_ended(process: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid())) else {
        return true;
    };
    let after_the_name = stat.rsplit(") ").next().expect("fields follow the name");
    after_the_name.starts_with('Z')
}

#[test]
fn a_daemon_is_there_when_the_command_returns() {
    let house = House::new();
    house.configure(OK);
    let started = output(&mut house.command());
    assert_eq!(started.status.code(), Some(0), "{}", stderr_of(&started));
    let master = house.pid();
    let guard = Stray(master);
    assert_eq!(house.get("/").text(), "ok");
    // Its log tells a fault once, though standard error is the log by now.
    let good = house.read("nginx.conf");
    house.configure("nonsense on;");
    kill_process(master, Signal::HUP).expect("it runs");
    house.await_text("error.log", "the old one serves on");
    assert_eq!(house.read("error.log").matches("\"nonsense\"").count(), 1);
    house.write("nginx.conf", &good);
    // The tests' own session may be one from outside the container: it has no number, and /proc says 0.
    let session = |process: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
        let fields = stat.rsplit(") ").next().expect("fields follow the name");
        fields
            .split(' ')
            .nth(3)
            .expect("it has a session")
            .to_owned()
    };
    let daemon = session(&master.as_raw_pid().to_string());
    assert_ne!(daemon, session("self"));
    assert_eq!(
        output(house.command().args(["-s", "stop"])).status.code(),
        Some(0)
    );
    eventually("the daemon ends", || has_ended(master).then_some(()));
    assert!(!house.prefix.join("nginx.pid").exists());
    std::mem::forget(guard);
}

#[test]
fn a_daemon_that_cannot_serve_says_so_to_the_command() {
    let house = House::new();
    house.configure_all("working_directory {prefix}/nowhere;", OK);
    let started = output(&mut house.command());
    assert_eq!(started.status.code(), Some(1));
    let text = stderr_of(&started);
    assert!(
        text.contains("can't serve the configuration: cannot change to the folder"),
        "{text}"
    );
    assert!(
        house
            .read("error.log")
            .contains("cannot change to the folder")
    );
    assert!(!house.prefix.join("nginx.pid").exists());
}

#[test]
fn winch_rests_a_daemon_and_hup_wakes_it() {
    let house = House::new();
    house.configure(OK);
    assert_eq!(output(&mut house.command()).status.code(), Some(0));
    let master = house.pid();
    let _guard = Stray(master);
    let children = || children_of(master.as_raw_pid().unsigned_abs());
    kill_process(master, Signal::WINCH).expect("it runs");
    eventually("the worker is gone", || children().is_empty().then_some(()));
    // The socket is still there: whoever comes now waits.
    let mut early = house.connect();
    early.ask("GET", "/", &[]).expect("the kernel takes it");
    kill_process(master, Signal::HUP).expect("it runs");
    assert_eq!(early.response().expect("an answer").text(), "ok");
    assert_eq!(children().len(), 1);
}

#[test]
fn a_new_binary_takes_over_the_sockets() {
    let mut server = serving();
    let old = server.pid();
    server.signal(Signal::USR2);
    let new = eventually("the new master has written its number", || {
        let number: i32 = server.read("nginx.pid").trim().parse().ok()?;
        Pid::from_raw(number).filter(|pid| *pid != old)
    });
    let _guard = Stray(new);
    assert_eq!(
        server.read("nginx.pid.oldbin").trim(),
        old.as_raw_pid().to_string()
    );
    eventually("both have a worker", || {
        let of_new = children_of(new.as_raw_pid().unsigned_abs());
        (of_new.len() == 1).then_some(())
    });
    server.await_text(
        "error.log",
        &format!("{}#0: all 1 workers are ready", new.as_raw_pid()),
    );
    server.signal(Signal::QUIT);
    for _ in 0..20 {
        assert_eq!(server.get("/").text(), "ok");
    }
    assert_eq!(server.end(), 0);
    assert!(!server.prefix.join("nginx.pid.oldbin").exists());
    assert_eq!(server.get("/").text(), "ok");
    assert_eq!(
        output(server.command().args(["-s", "quit"])).status.code(),
        Some(0)
    );
    eventually("the new one ends", || has_ended(new).then_some(()));
}

#[test]
fn an_upgrade_under_load_loses_nothing() {
    let mut server = serving();
    let (address, old) = (server.address(), server.pid());
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut client = Client::connect(address).expect("connections are accepted");
                    let answer = client.get("/").expect("every request is answered");
                    assert_eq!(answer.text(), "ok");
                }
            })
        })
        .collect();
    server.signal(Signal::USR2);
    let new = eventually("the new master has written its number", || {
        let number: i32 = server.read("nginx.pid").trim().parse().ok()?;
        Pid::from_raw(number).filter(|pid| *pid != old)
    });
    let _guard = Stray(new);
    let ready = format!("{}#0: all 1 workers are ready", new.as_raw_pid());
    server.await_text("error.log", &ready);
    server.signal(Signal::QUIT);
    assert_eq!(server.end(), 0);
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no client saw a fault");
    }
}

#[test]
fn a_new_binary_that_fails_leaves_the_old_one_serving() {
    let house = House::new();
    house.configure(OK);
    let program = house.prefix.join("edge");
    fs::copy(env!("CARGO_BIN_EXE_edge"), &program).expect("it can be copied");
    let mut command = std::process::Command::new(&program);
    command
        .args(["-p"])
        .arg(house.prefix.path())
        .args(["-c", "nginx.conf", "-g", "daemon off;"]);
    let child = Child::spawn(&mut command).expect("it starts");
    let mut server = Server { house, child };
    eventually("it serves", || {
        Client::connect(server.address()).is_ok().then_some(())
    });
    fs::remove_file(&program).expect("it is ours");
    fs::write(&program, "#!/bin/sh\nexit 3\n").expect("it is ours");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    server.signal(Signal::USR2);
    server.await_text(
        "error.log",
        "the new binary exited with code 3; this one serves on",
    );
    eventually("the pid file has its name again", || {
        server.prefix.join("nginx.pid").exists().then_some(())
    });
    assert_eq!(server.pid().as_raw_pid().unsigned_abs(), server.child.id());
    // A worker is still started from the file that the master runs.
    let before = server.worker();
    kill_process(before, Signal::KILL).expect("it runs");
    assert_eq!(server.get("/").text(), "ok");
    assert!(!server.prefix.join("nginx.pid.oldbin").exists());
}

#[test]
fn one_process_serves_without_a_master() {
    let house = House::new();
    house.configure_all("master_process off;", OK);
    let mut server = house.start();
    assert_eq!(server.get("/").text(), "ok");
    assert_eq!(server.workers(), []);
    server.configure_all("master_process off;", &OK.replace("ok", "new"));
    server.signal(Signal::HUP);
    server.await_answer("/", "new");
    server.configure("nonsense on;");
    server.signal(Signal::HUP);
    server.await_text("error.log", "unknown directive \"nonsense\"");
    assert_eq!(server.get("/").text(), "new");
    server.signal(Signal::QUIT);
    assert_eq!(server.end(), 0);
    assert!(!server.prefix.join("nginx.pid").exists());
}

#[test]
fn the_file_of_a_unix_socket_is_anybodys_to_connect_to_and_goes_with_the_server() {
    let house = House::new();
    house.configure(
        "server { listen unix:{prefix}/edge.sock; listen 127.0.0.1:{port}; return 200 ok; }",
    );
    // What a server that was killed left behind.
    drop(std::os::unix::net::UnixListener::bind(house.prefix.join("edge.sock")).expect("a socket"));
    let mut server = house.start();
    let path = server.prefix.join("edge.sock");
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o666);
    let mut client = Client::connect(Address::Unix(path.clone())).expect("it listens");
    assert_eq!(client.get("/").expect("an answer").text(), "ok");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), 0);
    assert!(!path.exists());
}
