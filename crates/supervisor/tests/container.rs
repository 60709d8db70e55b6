//! As PID 1 of a pid namespace, as in a container.

mod support;

use std::process::{Command, Stdio};

use rustix::process::kill_process;
use supervisor::{Pid, Signal};
use support::{PROBE, Server};

/// Starts the probe as PID 1; `None`, and loud, where that is not permitted.
fn container(settings: &[&str]) -> Option<Server> {
    let may = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !may {
        testkit::nothing_checked("unshare --pid --mount-proc is not permitted");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", PROBE]);
    let mut server = Server::start_as(&mut command, settings);
    let line = server.until("started in seat");
    assert!(line.starts_with("[1] "), "the master is PID 1: {line}");
    server.master = only_child(server.master).unwrap_or(server.master);
    Some(server)
}

/// The number of the inner PID 1 as it is out here, unless it has ended already.
fn only_child(parent: Pid) -> Option<Pid> {
    let parent = parent.as_raw_pid();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    Pid::from_raw(children.ok()?.trim().parse().ok()?)
}

#[test]
fn it_collects_orphans_and_obeys_sigterm() {
    let Some(mut server) = container(&["workers=1"]) else {
        return;
    };
    server.until("workers are ready");
    for _ in 0..3 {
        assert_eq!(server.ask("orphan"), "orphaned");
        server.until("an orphan exited with code 7");
    }
    server.signal(Signal::TERM);
    server.until("stopped with code 0");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn signals_are_forwarded_and_workers_replaced() {
    let Some(server) = container(&["workers=2", "template=1"]) else {
        return;
    };
    server.until("workers are ready");
    server.signal(Signal::USR1);
    server.until("says: heard reopen");
    // A worker that ends by itself.
    server.connect().ask("exit 5");
    server.until("exited with code 5; another one is started");
    server.until("is ready");
    server.signal(Signal::HUP);
    server.until("workers of generation 2 are ready");
    server.until("generation 1 is over");
    assert_eq!(server.who().1, 2);
}

#[test]
fn its_exit_code_is_that_of_the_worker_that_could_not_start() {
    for (manners, code) in [("exit 4", 4), ("crash", 134)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("manners");
        std::fs::write(&file, manners).unwrap();
        let Some(mut server) = container(&[&format!("manners={}", file.display())]) else {
            return;
        };
        server.until(&format!("stopped with code {code}"));
        assert_eq!(server.wait().code(), Some(code));
    }
}

#[test]
fn sigkill_from_outside_takes_the_workers_along() {
    let Some(mut server) = container(&["workers=2"]) else {
        return;
    };
    server.until("workers are ready");
    kill_process(server.master, Signal::KILL).unwrap();
    server.wait();
    server.rest(); // every writer of the output is gone
}
