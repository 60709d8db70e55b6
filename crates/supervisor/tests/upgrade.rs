//! A new binary takes over beside the old one, under load.

mod support;

use rustix::process::kill_process;
use supervisor::pidfile::{read, with_suffix};
use supervisor::{Pid, Signal};
use support::{Load, Server};

const READY: &str = "workers are ready";

/// The number behind the last word of the line.
fn last_number(line: &str) -> Pid {
    supervisor::Pid::from_raw(line.rsplit(' ').next().unwrap().parse().unwrap()).unwrap()
}

#[test]
fn an_upgrade_loses_nothing_and_the_files_change_hands() {
    let mut server = Server::start(&["workers=1"]);
    server.until(READY);
    let (old, pid_path) = (server.master, server.path("pid"));
    let load = Load::on(&server.path("listen"));
    server.signal(Signal::USR2);
    let new = last_number(&server.until("upgrade: process"));
    server.until(&format!("[{}] all 1 workers are ready", new.as_raw_pid()));
    assert_eq!(read(&with_suffix(&pid_path, ".oldbin")), Some(old));
    assert_eq!(read(&with_suffix(&pid_path, ".2")), Some(new));

    server.signal(Signal::USR2);
    server.until("an upgrade is under way already");
    server.signal(Signal::TERM);
    server.until("stopped with code 0");
    server.wait();
    server.until("promoted");
    assert_eq!(read(&pid_path), Some(new));
    assert!(!with_suffix(&pid_path, ".oldbin").exists());
    let (answered, faults) = load.end();
    assert_eq!(faults, Vec::<String>::new());
    assert!(answered > 0);
    server.who();

    // Now the new one is the owner of everything.
    kill_process(new, Signal::TERM).unwrap();
    server.until("stopped with code 0");
    server.rest(); // to the end of its output, which is its own end
    assert!(!pid_path.exists() && !server.path("listen").exists());
}

#[test]
fn a_new_binary_that_fails_leaves_everything_as_it_was() {
    let mut server = Server::start(&["workers=1"]);
    server.until(READY);
    server.set_manners("exit 3");
    server.signal(Signal::USR2);
    server.until("the new binary exited with code 3");
    assert_eq!(read(&server.path("pid")), Some(server.master));
    server.who();
    server.signal(Signal::TERM);
    server.until("stopped with code 0");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.path("pid").exists() && !server.path("listen").exists());
}
