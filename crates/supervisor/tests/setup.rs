//! What changes a process for good: another user, a daemon.

mod support;

use std::process::{Command, Output};

use support::PROBE;

fn run(arguments: &[&str]) -> Output {
    Command::new(PROBE).args(arguments).output().unwrap()
}

#[test]
fn another_user_in_every_thread_and_for_good() {
    if !rustix::process::geteuid().is_root() {
        return testkit::nothing_checked("only root can become another user");
    }
    let output = run(&["become", "54321", "54322"]);
    let words = String::from_utf8(output.stdout).unwrap();
    let mut lines = words.lines();
    let ids = "Uid: 54321 54321 54321 54321 | Gid: 54322 54322 54322 54322 | Groups: 54322";
    assert_eq!(lines.next(), Some(ids));
    assert_eq!(lines.next(), Some(ids), "the other thread");
    assert_eq!(lines.next(), Some("NotDumpable"));
    assert_eq!(lines.next(), Some("Dumpable"));
    assert_eq!(lines.next(), Some("again: true"));
    let back = lines.next().unwrap();
    assert!(back.contains("only root can become user 0"), "{back}");
    assert!(output.status.success());
}

#[test]
fn a_named_user_gets_the_groups_of_the_database() {
    if !rustix::process::geteuid().is_root() {
        return testkit::nothing_checked("only root can become another user");
    }
    let words = String::from_utf8(run(&["become", "nobody", "nogroup"]).stdout).unwrap();
    assert!(
        words.starts_with("Uid: 65534 65534 65534 65534 | Gid: 65534"),
        "{words}"
    );
}

/// As `/proc` tells them: in a container the tests' own session can be one from outside, whose number is 0.
fn session_and_terminal(process: &str) -> (i32, i32) {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[3].parse().unwrap(), fields[4].parse().unwrap())
}

#[test]
fn a_daemon_leaves_the_terminal_and_tells_its_starter_how_it_went() {
    for code in [0, 7] {
        let folder = tempfile::tempdir().unwrap();
        let (pid, until) = (folder.path().join("pid"), folder.path().join("until"));
        let (pid_text, until_text) = (pid.to_str().unwrap(), until.to_str().unwrap());
        // Returns only when the daemon has let go of the pipe that is read here.
        let output = run(&["daemon", pid_text, until_text, &code.to_string()]);
        assert_eq!(output.status.code(), Some(code));
        assert!(output.stdout.is_empty(), "its output goes to /dev/null");
        let daemon = supervisor::pidfile::read(&pid).unwrap().as_raw_pid();
        let (session, terminal) = session_and_terminal(&daemon.to_string());
        assert_eq!(terminal, 0, "no terminal");
        assert_ne!(session, daemon, "not the leader, so it never gets one");
        assert_ne!(session, session_and_terminal("self").0);
        std::fs::write(&until, "").unwrap();
        while pid.exists() {
            std::thread::yield_now();
        }
    }
}
