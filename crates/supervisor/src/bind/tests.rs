//! Listeners with real sockets: loopback, files in temporary folders, names nobody else uses.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use socket_activation::{Address, Sockets};

use super::*;

fn local() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

fn none() -> Sockets {
    Sockets::from_fds([]).unwrap()
}

fn folder() -> (tempfile::TempDir, PathBuf, Address) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let address = Address::Path(path.clone());
    (folder, path, address)
}

fn inet(fd: &OwnedFd) -> SocketAddr {
    Address::of(fd).unwrap().inet().unwrap()
}

#[test]
fn a_tcp_listener_accepts_and_its_port_can_be_bound_again_at_once() {
    let (fd, _) = bind_one(&local(), &BindOptions::default()).unwrap();
    let address = inet(&fd);
    let client = TcpStream::connect(address).unwrap();
    let (server, _) = TcpListener::from(fd).accept().unwrap();
    drop((server, client)); // the server closes first, so the port is in TIME_WAIT
    bind_one(&Address::Inet(address), &BindOptions::default()).unwrap();
}

#[test]
fn a_taken_port_is_in_use_and_shared_ports_are_not() {
    let options = BindOptions {
        reuse_port: true,
        ..BindOptions::default()
    };
    let (fd, _) = bind_one(&local(), &options).unwrap();
    let address = Address::Inet(inet(&fd));
    bind_one(&address, &options).unwrap();
    let error = bind_one(&address, &BindOptions::default()).unwrap_err();
    assert!(error.in_use());
    let words = error.to_string();
    assert!(
        words.contains(&format!("cannot listen on {address}")),
        "{words}"
    );
    assert!(words.contains("ss -ltnp"), "{words}");
}

#[test]
fn wildcards_of_both_families_go_together_unless_asked_otherwise() {
    let (six, _) = bind_one(&"[::]:0".parse().unwrap(), &BindOptions::default()).unwrap();
    let port = inet(&six).port();
    let four = Address::Inet(SocketAddr::from(([0, 0, 0, 0], port)));
    bind_one(&four, &BindOptions::default()).unwrap();

    let both = BindOptions {
        v6_only: false,
        ..BindOptions::default()
    };
    let (six, _) = bind_one(&"[::]:0".parse().unwrap(), &both).unwrap();
    TcpStream::connect(("127.0.0.1", inet(&six).port())).unwrap();
}

#[test]
fn every_option_is_taken_by_the_kernel() {
    let options = BindOptions {
        backlog: 16,
        defer_accept: Some(Duration::from_secs(1)),
        fast_open: Some(16),
        receive_buffer: Some(64 * 1024),
        send_buffer: Some(64 * 1024),
        keepalive: Some(Keepalive {
            on: true,
            idle: Some(Duration::from_secs(60)),
            interval: Some(Duration::from_secs(10)),
            count: Some(3),
        }),
        ..BindOptions::default()
    };
    let (fd, _) = bind_one(&local(), &options).unwrap();
    assert!(rustix::net::sockopt::socket_keepalive(&fd).unwrap());
    assert_eq!(rustix::net::sockopt::tcp_keepcnt(&fd).unwrap(), 3);
}

#[test]
fn a_unix_socket_has_its_mode_and_goes_with_its_listener() {
    let (_folder, path, address) = folder();
    let options = BindOptions {
        mode: Some(0o660),
        ..BindOptions::default()
    };
    let (_fd, file) = bind_one(&address, &options).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o660
    );
    UnixStream::connect(&path).unwrap();
    drop(file);
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_has_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return testkit::nothing_checked("only root can give files away");
    }
    let (_folder, path, address) = folder();
    let options = BindOptions {
        owner: (Some(54321), Some(54322)),
        ..BindOptions::default()
    };
    let _listener = bind_one(&address, &options).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid()), (54321, 54322));
}

#[test]
fn a_stale_socket_is_replaced_a_live_one_or_another_file_is_not() {
    let (_folder, path, address) = folder();
    drop(UnixListener::bind(&path).unwrap()); // leaves its file behind
    let first = bind_one(&address, &BindOptions::default()).unwrap();

    let error = bind_one(&address, &BindOptions::default()).unwrap_err();
    assert!(
        error.in_use() && error.to_string().contains("another process answers"),
        "{error}"
    );
    UnixStream::connect(&path).unwrap();
    drop(first);

    fs::write(&path, "text").unwrap();
    let error = bind_one(&address, &BindOptions::default()).unwrap_err();
    assert!(
        !error.in_use() && error.to_string().contains("no socket is in the way"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "text");
}

#[test]
fn a_file_that_somebody_else_put_there_is_left_alone() {
    let (_folder, path, address) = folder();
    let (_fd, file) = bind_one(&address, &BindOptions::default()).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(file);
    assert!(path.exists());
}

#[test]
fn abstract_names_need_no_file() {
    let (_folder, path, _) = folder();
    let address: Address = format!("unix:@{}", path.display()).parse().unwrap();
    let (fd, file) = bind_one(&address, &BindOptions::default()).unwrap();
    assert!(file.is_none() && !path.exists());
    assert_eq!(Address::of(&fd).unwrap(), address);
    assert!(
        bind_one(&address, &BindOptions::default())
            .unwrap_err()
            .in_use()
    );
}

#[test]
fn faults_say_what_to_do() {
    for (address, may_pass, advice) in [
        (
            "unix:/no/such/folder/s",
            false,
            "the folder \"/no/such/folder\" is not there",
        ),
        (
            "192.0.2.1:80",
            true,
            "no interface of this machine has the address 192.0.2.1",
        ),
    ] {
        let error = bind_one(&address.parse().unwrap(), &BindOptions::default()).unwrap_err();
        assert!(error.to_string().contains(advice), "{error}");
        assert!(!error.in_use());
        assert_eq!(error.may_pass(), may_pass, "{address}");
    }
}

fn numbers(listeners: &Listeners) -> Vec<i32> {
    listeners
        .iter()
        .flat_map(Listener::fds)
        .map(|fd| fd.as_fd().as_raw_fd())
        .collect()
}

/// Two listeners on the loopback with ports of the kernel's choice, under the names a configuration would use.
fn two() -> (Vec<Wanted>, Listeners) {
    let mut listeners = Listeners::new();
    let wanted: Vec<_> = ["127.0.0.1:0", "[::1]:0"]
        .map(|text| Wanted::new(text.parse().unwrap()))
        .into_iter()
        .collect();
    listeners.apply(&wanted, &mut none()).unwrap();
    (wanted, listeners)
}

#[test]
fn what_stays_in_the_configuration_keeps_its_socket() {
    let (mut wanted, mut listeners) = two();
    let before = numbers(&listeners);
    let (_folder, path, unix) = folder();
    wanted.remove(0);
    wanted.insert(0, Wanted::new(unix.clone()));
    wanted[1].options.backlog = 7;
    let change = listeners.apply(&wanted, &mut none()).unwrap();
    assert_eq!(
        (change.added, change.kept.len(), change.closed.len()),
        (vec![unix], 1, 1)
    );
    // In the order of the configuration, the old socket among them.
    assert_eq!(numbers(&listeners)[1], before[1]);
    assert_eq!(listeners.len(), 2);

    assert!(path.exists());
    let change = listeners.apply(&wanted[1..], &mut none()).unwrap();
    assert_eq!(change.closed.len(), 1);
    assert!(
        !path.exists(),
        "the file of a socket that is closed goes with it"
    );
}

#[test]
fn a_configuration_that_cannot_be_had_changes_nothing() {
    let (mut wanted, mut listeners) = two();
    let before = numbers(&listeners);
    let (_folder, path, unix) = folder();
    wanted.remove(0);
    wanted.push(Wanted::new(unix));
    wanted.push(Wanted::new("192.0.2.1:80".parse().unwrap()));
    wanted.push(Wanted::new("unix:/no/such/folder/s".parse().unwrap()));
    let faults = listeners.apply(&wanted, &mut none()).unwrap_err();
    assert_eq!(faults.len(), 2, "all faults at once");
    assert_eq!(numbers(&listeners), before);
    assert!(!path.exists());
}

#[test]
fn sockets_that_were_handed_over_are_taken_by_address_and_their_files_stay() {
    let (_folder, path, unix) = folder();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let inet = Address::of(&tcp).unwrap();
    let handed = [
        (
            "a".to_owned(),
            OwnedFd::from(UnixListener::bind(&path).unwrap()),
        ),
        ("b".to_owned(), OwnedFd::from(tcp)),
    ];
    let mut sockets = Sockets::from_fds(handed).unwrap();
    let mut listeners = Listeners::new();
    let wanted = [Wanted::new(inet), Wanted::new(unix)];
    listeners.apply(&wanted, &mut sockets).unwrap();
    assert!(sockets.is_empty() && listeners.iter().all(Listener::is_inherited));
    drop(listeners);
    assert!(path.exists(), "the file is not ours to remove");
}

#[test]
fn a_socket_for_both_families_serves_the_ipv4_wildcard() {
    for (v6_only, inherited) in [(false, true), (true, false)] {
        let options = BindOptions {
            v6_only,
            ..BindOptions::default()
        };
        let (six, _) = bind_one(&"[::]:0".parse().unwrap(), &options).unwrap();
        let four = Address::Inet(SocketAddr::from(([0, 0, 0, 0], inet(&six).port())));
        let mut sockets = Sockets::from_fds([("web".to_owned(), six)]).unwrap();
        let mut listeners = Listeners::new();
        listeners.apply(&[Wanted::new(four)], &mut sockets).unwrap();
        assert_eq!(listeners.iter().next().unwrap().is_inherited(), inherited);
    }
}

#[test]
fn each_wildcard_gets_its_own_socket_when_both_are_wanted() {
    let (six, _) = bind_one(&"[::]:0".parse().unwrap(), &BindOptions::default()).unwrap();
    let port = inet(&six).port();
    let wanted = ["0.0.0.0", "[::]"].map(|ip| Wanted::new(format!("{ip}:{port}").parse().unwrap()));
    let mut sockets = Sockets::from_fds([("web".to_owned(), six)]).unwrap();
    let mut listeners = Listeners::new();
    listeners.apply(&wanted, &mut sockets).unwrap();
    let inherited: Vec<_> = listeners.iter().map(Listener::is_inherited).collect();
    assert_eq!(inherited, [false, true]);
}

#[test]
fn an_overlap_with_ourselves_is_told_from_one_with_others() {
    let (_, mut listeners) = two();
    let port = listeners
        .iter()
        .next()
        .unwrap()
        .address()
        .inet()
        .unwrap()
        .port();
    let wanted = [Wanted::new(format!("0.0.0.0:{port}").parse().unwrap())];
    let faults = listeners.apply(&wanted, &mut none()).unwrap_err();
    let words = faults[0].to_string();
    assert!(
        words.contains(&format!("this server itself listens on 127.0.0.1:{port}")),
        "{words}"
    );
    assert!(!faults[0].in_use(), "waiting would not help");
}

#[test]
fn patience_waits_for_a_socket_that_is_being_closed() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = [Wanted::new(Address::of(&held).unwrap())];
    let patience = Patience {
        attempts: 5,
        pause: Duration::ZERO,
    };
    let mut held = Some(held);
    let mut attempts = Vec::new();
    let staged =
        Listeners::new().stage_patiently(&wanted, &mut none(), patience, |faults, attempt| {
            assert!(faults[0].in_use());
            attempts.push(attempt);
            if attempt == 3 {
                held = None;
            }
        });
    staged.unwrap();
    assert_eq!(attempts, [1, 2, 3]);
    let _held = bind_one(&wanted[0].address, &BindOptions::default()).unwrap();
    let mut count = 0;
    let failed =
        Listeners::new().stage_patiently(&wanted, &mut none(), patience, |_, _| count += 1);
    assert!(failed.is_err() && count == 4);
}

#[test]
fn files_change_hands_with_the_sockets() {
    let (_folder, path, unix) = folder();
    let mut old = Listeners::new();
    old.apply(&[Wanted::new(unix.clone())], &mut none())
        .unwrap();
    old.give_files_away();
    let copy = old
        .iter()
        .next()
        .unwrap()
        .fds()
        .next()
        .unwrap()
        .try_clone_to_owned()
        .unwrap();
    let mut sockets = Sockets::from_fds([("app".to_owned(), copy)]).unwrap();
    let mut new = Listeners::new();
    new.apply(&[Wanted::new(unix)], &mut sockets).unwrap();
    drop(old);
    assert!(path.exists());
    new.adopt_files(|_| true);
    drop(new);
    assert!(!path.exists());
}

#[test]
fn shared_ports_have_a_socket_for_each_thread() {
    let mut wanted = Wanted::new(local());
    wanted.copies = 3;
    let mut listeners = Listeners::new();
    listeners
        .apply(&[wanted.clone(), wanted.clone()], &mut none())
        .unwrap();
    let before = numbers(&listeners);
    assert_eq!(before.len(), 3);
    wanted.copies = 4;
    listeners
        .apply(std::slice::from_ref(&wanted), &mut none())
        .unwrap();
    assert_eq!(numbers(&listeners)[..3], before);
    assert_eq!(numbers(&listeners).len(), 4);
    wanted.copies = 1;
    listeners.apply(&[wanted], &mut none()).unwrap();
    assert_eq!(numbers(&listeners), before[..1]);
}
