//! Real processes, end to end: spawn, death, reload, drain, hanging, scaling, a template that forks.

mod support;

use std::collections::BTreeSet;

use rustix::process::{kill_process, test_kill_process};
use supervisor::Signal;
use support::{Load, Server};

const READY: &str = "workers are ready";

#[test]
fn it_starts_serves_and_stops_leaving_nothing_behind() {
    let mut server = Server::start(&["workers=2"]);
    server.until(READY);
    assert_eq!(
        supervisor::pidfile::read(&server.path("pid")),
        Some(server.master)
    );
    let (pid, generation) = server.who();
    assert_eq!(generation, 1);
    server.signal(Signal::TERM);
    server.until("stopped with code 0");
    assert_eq!(server.wait().code(), Some(0));
    assert!(test_kill_process(pid).is_err(), "the worker is gone");
    assert!(!server.path("pid").exists() && !server.path("listen").exists());
}

#[test]
fn a_killed_worker_is_replaced_at_once_and_nobody_is_refused() {
    for settings in [&["workers=1"][..], &["workers=1", "template=1"]] {
        let server = Server::start(settings);
        server.until(READY);
        let mut seen = BTreeSet::new();
        for _ in 0..5 {
            let (pid, _) = server.who();
            assert!(seen.insert(pid.as_raw_pid()), "a new process each time");
            kill_process(pid, Signal::KILL).unwrap();
            let gone = server.until("was ended by SIGKILL");
            assert!(gone.contains("another one is started"), "{gone}");
            // Connects at once: the socket never closed, the successor answers.
        }
    }
}

#[test]
fn only_what_is_in_flight_on_a_killed_worker_fails() {
    let server = Server::start(&["workers=2"]);
    server.until(READY);
    let load = Load::on(&server.path("listen"));
    for _ in 0..10 {
        let (pid, _) = server.who();
        kill_process(pid, Signal::KILL).unwrap();
        server.until("is ready");
    }
    let (answered, faults) = load.end();
    assert!(answered > 0);
    assert!(
        faults.iter().all(|fault| !fault.starts_with("connect")),
        "{faults:?}"
    );
    assert!(faults.len() <= 10 * 3, "{faults:?}");
}

#[test]
fn reloads_under_load_lose_nothing() {
    for settings in [&["workers=2"][..], &["workers=2", "template=1"]] {
        let server = Server::start(settings);
        server.until(READY);
        let load = Load::on(&server.path("listen"));
        for generation in 2..12 {
            server.signal(Signal::HUP);
            server.until(&format!("workers of generation {generation} are ready"));
            server.until(&format!("generation {} is over", generation - 1));
        }
        let (answered, faults) = load.end();
        assert_eq!(faults, Vec::<String>::new());
        assert!(answered > 100);
        assert_eq!(server.who().1, 11);
    }
}

#[test]
fn a_reload_onto_broken_code_keeps_the_old_workers() {
    for settings in [&["workers=2"][..], &["workers=2", "template=1"]] {
        let server = Server::start(settings);
        server.until(READY);
        server.set_manners("exit 3");
        server.signal(Signal::HUP);
        let line = server.until("is given up");
        assert!(
            line.contains("exited with code 3; the old workers serve on"),
            "{line}"
        );
        assert_eq!(server.who().1, 1);
        server.set_manners("good");
        server.signal(Signal::HUP);
        server.until("workers of generation 3 are ready");
        server.until("generation 1 is over");
        assert_eq!(server.who().1, 3);
    }
}

#[test]
fn a_start_that_fails_ends_with_the_workers_code() {
    for (manners, code) in [("exit 3", 3), ("exit 9", 9), ("crash", 128 + 6)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("manners");
        std::fs::write(&file, manners).unwrap();
        let mut server = Server::start(&[&format!("manners={}", file.display())]);
        server.until(&format!("stopped with code {code}"));
        assert_eq!(server.wait().code(), Some(code));
    }
}

#[test]
fn a_drain_waits_for_the_request_in_flight() {
    let mut server = Server::start(&["workers=1"]);
    server.until(READY);
    let mut client = server.connect();
    assert_eq!(client.ask("wait"), "begun");
    server.signal(Signal::TERM);
    server.until("told to stop gracefully");
    assert!(client.ask("go on").starts_with("done "));
    server.until("stopped with code 0");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_drain_that_takes_too_long_ends_with_sigkill() {
    let mut server = Server::start(&["workers=1", "graceful=200"]);
    server.until(READY);
    let mut client = server.connect();
    assert_eq!(client.ask("hang"), "begun");
    server.signal(Signal::TERM);
    server.until("SIGKILL: it did not finish its requests in time");
    server.until("stopped with code 0");
    assert_eq!(client.hear(), "");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_second_signal_turns_the_drain_quick_and_a_third_kills() {
    let server = Server::start(&["workers=1"]);
    server.until(READY);
    let mut client = server.connect();
    assert_eq!(client.ask("hang"), "begun");
    server.signal(Signal::TERM);
    server.until("told to stop gracefully");
    server.signal(Signal::TERM);
    server.until("told to stop quickly");
    server.signal(Signal::TERM);
    server.until("SIGKILL: everything is to end now");
    server.until("stopped with code 0");
}

#[test]
fn a_worker_that_hangs_is_aborted_and_what_it_did_is_logged() {
    let server = Server::start(&["workers=1", "heartbeat=400"]);
    server.until(READY);
    let (before, _) = server.who();
    assert_eq!(server.connect().ask("hang /report"), "begun");
    let line = server.until("no sign of life");
    assert!(
        line.contains("(its last request: \"hang /report\")"),
        "{line}"
    );
    server.until("was ended by SIGABRT");
    let (after, _) = server.who();
    assert_ne!(before, after);
}

#[test]
fn a_request_that_takes_too_long_ends_its_worker_although_its_heart_beats() {
    let server = Server::start(&["workers=1", "heartbeat=400", "request=800"]);
    server.until(READY);
    assert_eq!(server.connect().ask("busy /export"), "begun");
    let line = server.until("has been busy with \"busy /export\"");
    assert!(line.contains("it is sent SIGABRT"), "{line}");
    server.until("is ready");
    server.who();
}

#[test]
fn a_worker_that_is_never_ready_is_killed() {
    let server = Server::start(&["workers=1", "ready=300"]);
    // It boots before the file of manners is there.
    server.until(READY);
    server.set_manners("never");
    server.signal(Signal::HUP);
    server.until("SIGKILL: it was not ready in time");
    server.until("is given up");
    assert_eq!(server.who().1, 1);
}

#[test]
fn a_worker_that_asks_for_it_is_replaced_without_a_gap() {
    let server = Server::start(&["workers=1"]);
    server.until(READY);
    let (before, _) = server.who();
    let load = Load::on(&server.path("listen"));
    assert_eq!(server.ask("leave"), "leaving");
    server.until("asks to be replaced");
    server.until("exited with code 0");
    let (_, faults) = load.end();
    assert_eq!(faults, Vec::<String>::new());
    assert_ne!(server.who().0, before);
}

#[test]
fn more_and_fewer_workers() {
    let server = Server::start(&["workers=1"]);
    server.until(READY);
    let first = server.who().0;
    server.signal(Signal::TTIN);
    server.until("started in seat 1");
    server.signal(Signal::TTIN);
    server.until("started in seat 2");
    server.signal(Signal::TTOU);
    let gone = server.until("exited with code 0");
    assert!(
        gone.contains(&format!("pid:{}", first.as_raw_pid())),
        "the oldest goes: {gone}"
    );
}

#[test]
fn orders_of_the_program_reach_every_worker_and_their_answers_come_back() {
    let server = Server::start(&["workers=2"]);
    server.until(READY);
    server.signal(Signal::USR1);
    let (one, other) = (
        server.until("says: heard reopen"),
        server.until("says: heard reopen"),
    );
    assert_ne!(one, other);
}

#[test]
fn workers_end_when_their_master_is_killed() {
    let mut server = Server::start(&["workers=1"]);
    server.until(READY);
    let (worker, _) = server.who();
    server.signal(Signal::KILL);
    server.wait();
    // The end of the output is the end of its last writer: the worker holds it too.
    server.rest();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while test_kill_process(worker).is_ok() && !is_zombie(worker) {
        assert!(std::time::Instant::now() < end, "the worker lives on");
        std::thread::yield_now();
    }
}

/// Ended, but whoever is its parent now has not collected it.
fn is_zombie(pid: supervisor::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
    stat.is_ok_and(|stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    })
}

#[test]
fn a_second_server_is_refused_with_its_reason() {
    let server = Server::start(&["workers=1"]);
    server.until(READY);
    let listen = format!("listen={}", server.path("listen").display());
    let mut second = Server::start(&[&listen]);
    let line = second.until("cannot listen");
    assert!(
        line.contains("another process answers on this socket"),
        "{line}"
    );
    assert_eq!(second.wait().code(), Some(1));
    server.who();
}
