//! Notifications arrive at a socket of the test's own, by path and by abstract name, with what they carry.

mod support;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use socket_activation::{Address, Message, Notifier};
use support::{Manager, output, probe};

fn pair() -> (tempfile::TempDir, Manager, Notifier) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    (folder, manager, Notifier::to(Address::Path(path)).unwrap())
}

#[test]
fn each_call_is_one_datagram() {
    let (_folder, manager, notifier) = pair();
    notifier.ready().unwrap();
    notifier.status("4 workers\nready").unwrap();
    notifier.stopping().unwrap();
    notifier.main_pid(17).unwrap();
    notifier.errno(13).unwrap();
    notifier.watchdog().unwrap();
    notifier.extend_timeout(Duration::from_secs(2)).unwrap();
    notifier.unstore("upload").unwrap();
    notifier
        .send(&Message::new().ready().status("both"))
        .unwrap();
    notifier.reloading().unwrap();
    for expected in [
        "READY=1\n",
        "STATUS=4 workers ready\n",
        "STOPPING=1\n",
        "MAINPID=17\n",
        "ERRNO=13\n",
        "WATCHDOG=1\n",
        "EXTEND_TIMEOUT_USEC=2000000\n",
        "FDSTOREREMOVE=1\nFDNAME=upload\n",
        "READY=1\nSTATUS=both\n",
    ] {
        assert_eq!(manager.text(), expected);
    }
    assert!(manager.text().starts_with("RELOADING=1\nMONOTONIC_USEC="));
}

#[test]
fn a_child_finds_the_socket_by_path_and_by_abstract_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let shown = path.to_str().unwrap();
    for (manager, target) in [
        (Manager::at(&path), shown.to_owned()),
        (Manager::hidden(&path), format!("@{shown}")),
    ] {
        output(
            probe("notify")
                .env("NOTIFY_SOCKET", &target)
                .spawn()
                .unwrap(),
        );
        assert_eq!(manager.text(), "READY=1\n");
        assert_eq!(manager.text(), "STATUS=as a child\n");
    }
}

#[test]
fn stored_descriptors_travel_with_their_name() {
    let (_folder, manager, notifier) = pair();
    let mut file = tempfile::tempfile().unwrap();
    write!(file, "kept").unwrap();
    file.rewind().unwrap();
    notifier.store("state", &[file.as_fd()]).unwrap();
    let (words, fds) = manager.receive();
    assert_eq!(words, "FDSTORE=1\nFDNAME=state\n");
    let mut kept = String::new();
    File::from(fds.into_iter().next().unwrap())
        .read_to_string(&mut kept)
        .unwrap();
    assert_eq!(kept, "kept");

    let many: Vec<_> = (0..300).map(|_| file.as_fd()).collect();
    notifier.store("many", &many).unwrap();
    assert_eq!(manager.receive().1.len(), 253);
    assert_eq!(manager.receive().1.len(), 47);

    let error = notifier.store("a:b", &[file.as_fd()]).unwrap_err();
    assert!(error.to_string().contains("colon"), "{error}");
}

#[test]
fn a_barrier_waits_until_the_manager_has_read() {
    let (_folder, manager, notifier) = pair();
    let waiting = std::thread::spawn({
        let notifier = notifier.clone();
        move || notifier.barrier(Duration::from_secs(20))
    });
    let (words, fds) = manager.receive();
    assert_eq!((words.as_str(), fds.len()), ("BARRIER=1\n", 1));
    drop(fds); // the manager has dealt with it
    waiting.join().unwrap().unwrap();

    let error = notifier.barrier(Duration::from_millis(20)).unwrap_err();
    assert!(
        error.to_string().contains("did not read the notifications"),
        "{error}"
    );
}

#[test]
fn a_child_finds_its_watchdog() {
    let child = probe("watchdog")
        .env("WATCHDOG_USEC", "2500000")
        .spawn()
        .unwrap();
    assert!(output(child).ends_with("Some(2.5s)\n"));
    let silent = probe("watchdog")
        .env("WATCHDOG_USEC", "2500000")
        .silent()
        .spawn()
        .unwrap();
    assert!(output(silent).ends_with("None\n"));
}
