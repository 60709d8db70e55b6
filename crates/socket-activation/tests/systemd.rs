//! Against systemd's own tools: `systemd-socket-activate` starts our probe, `systemd-notify` says what we say.

mod support;

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use socket_activation::{Address, Notifier};
use support::{Manager, PROBE};

/// Says so when the tool is missing, so that nobody takes silence for success.
fn installed(tool: &str) -> bool {
    let there = Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !there {
        eprintln!("SKIPPED: {tool} is not installed (Debian package systemd)");
    }
    there
}

fn activate(arguments: &[&str], task: &str) -> Child {
    Command::new("systemd-socket-activate")
        .args(arguments)
        .args([PROBE, task])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Ends what serves on, whatever becomes of the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The tool says nothing when it listens, so connecting is tried until it does.
fn until_connected<T>(mut connect: impl FnMut() -> std::io::Result<T>) -> T {
    let start = Instant::now();
    loop {
        match connect() {
            Ok(connection) => return connection,
            Err(error) if start.elapsed() > Duration::from_secs(20) => panic!("{error}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

fn greeting(mut stream: impl Read) -> String {
    let mut words = String::new();
    stream.read_to_string(&mut words).unwrap();
    words
}

fn unix(path: &Path) -> UnixStream {
    until_connected(|| UnixStream::connect(path))
}

/// A port that was free a moment ago; the tool does not take port 0.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn a_unix_listener_comes_with_its_name() {
    if !installed("systemd-socket-activate") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let child = activate(&["-l", path.to_str().unwrap(), "--fdname=app"], "greet");
    assert_eq!(greeting(unix(&path)), "hello from app\n");
    let words = support::output(child);
    let expected = format!(
        "0 app | a listening unix stream socket | unix:{}\n",
        path.display()
    );
    assert_eq!(words, expected);
}

#[test]
fn tcp_and_unix_listeners_come_in_order() {
    if !installed("systemd-socket-activate") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let tcp = format!("127.0.0.1:{}", free_port());
    let child = activate(
        &["-l", &tcp, "-l", path.to_str().unwrap(), "--fdname=web:app"],
        "greet",
    );
    let stream = until_connected(|| TcpStream::connect(&tcp));
    assert_eq!(greeting(stream), "hello from web\n");
    let words = support::output(child);
    assert_eq!(
        words,
        format!(
            "0 web | a listening TCP socket | {tcp}\n1 app | a listening unix stream socket | unix:{}\n",
            path.display()
        )
    );
}

#[test]
fn without_names_they_are_called_unknown_and_the_protocol_can_be_unset() {
    if !installed("systemd-socket-activate") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let child = activate(&["-l", path.to_str().unwrap()], "unset");
    drop(unix(&path));
    let words = support::output(child);
    let (first, second) = words.split_once('\n').unwrap();
    assert!(
        first.ends_with(&format!("unix:{}", path.display())),
        "{words}"
    );
    assert_eq!(second, "variables: \n");
}

#[test]
fn a_datagram_socket_is_udp() {
    if !installed("systemd-socket-activate") {
        return;
    }
    let address = format!("127.0.0.1:{}", free_port());
    let mut child = activate(&["-d", "-l", &address], "");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(&address).unwrap();
    until_connected(|| {
        client.send(b"wake up")?;
        match child.try_wait()? {
            Some(_) => Ok(()),
            None => Err(std::io::ErrorKind::WouldBlock.into()),
        }
    });
    let words = support::output(child);
    assert!(
        words.contains(&format!("a UDP socket | {address}")),
        "{words}"
    );
}

#[test]
fn an_accepted_connection_is_a_connection() {
    if !installed("systemd-socket-activate") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    // With --accept the tool serves on, so the probe reports over the folder and the tool is ended by us.
    let report = folder.path().join("report");
    let tool = Command::new("systemd-socket-activate")
        .args(["--accept", "-l", path.to_str().unwrap(), "sh", "-c"])
        .arg(format!("LISTEN_PID=$$ exec {PROBE} >{}", report.display()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let tool = Ended(tool);
    greeting(unix(&path)); // ends when the probe has ended
    drop(tool);
    let words = std::fs::read_to_string(report).unwrap();
    assert!(
        words.contains("a unix stream socket that does not listen"),
        "{words}"
    );
}

#[test]
fn we_say_what_systemd_notify_says() {
    if !installed("systemd-notify") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let theirs = |argument: &str| {
        let done = Command::new("systemd-notify")
            .args(["--no-block", argument])
            .env("NOTIFY_SOCKET", &path)
            .status()
            .unwrap();
        assert!(done.success());
        manager.text()
    };
    let ours = Notifier::to(Address::Path(path.clone())).unwrap();
    type Say = fn(&Notifier) -> Result<(), socket_activation::NotifyError>;
    let pairs: [(&str, Say); 4] = [
        ("--ready", Notifier::ready),
        ("--status=up and running", |notifier| {
            notifier.status("up and running")
        }),
        ("STOPPING=1", Notifier::stopping),
        ("WATCHDOG=1", Notifier::watchdog),
    ];
    for (argument, say) in pairs {
        let theirs = theirs(argument);
        say(&ours).unwrap();
        assert_eq!(manager.text().trim_end(), theirs.trim_end(), "{argument}");
    }
}

#[test]
fn a_barrier_of_systemd_notify_is_one_of_ours() {
    if !installed("systemd-notify") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    // Without --no-block the tool sends a barrier after the message and waits.
    let mut tool = Command::new("systemd-notify")
        .arg("--ready")
        .env("NOTIFY_SOCKET", &path)
        .spawn()
        .unwrap();
    assert_eq!(manager.text().trim_end(), "READY=1");
    let (words, fds) = manager.receive();
    assert_eq!((words.trim_end(), fds.len()), ("BARRIER=1", 1));
    drop(fds);
    assert!(tool.wait().unwrap().success());
}
