//! Sockets go to a real child process by the protocol and arrive.

mod support;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use support::{PROBE, output, probe, text};

#[test]
fn every_kind_arrives_named_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp6 = TcpListener::bind("[::1]:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let child = probe("")
        .socket("http", &tcp)
        .and_then(|next| next.socket("http", &tcp6))
        .and_then(|next| next.socket("dns", &udp))
        .and_then(|next| next.socket("app", &unix))
        .and_then(|next| next.socket("log", File::open("/dev/null").unwrap()))
        .and_then(socket_activation::Successor::spawn)
        .unwrap();
    assert_eq!(
        output(child),
        format!(
            "0 http | a listening TCP socket | {}\n1 http | a listening TCP socket | {}\n\
             2 dns | a UDP socket | {}\n3 app | a listening unix stream socket | unix:{}\n\
             4 log | no socket | no address\n",
            tcp.local_addr().unwrap(),
            tcp6.local_addr().unwrap(),
            udp.local_addr().unwrap(),
            path.display()
        )
    );
}

#[test]
fn places_that_are_in_use_here_are_no_obstacle() {
    // Many descriptors open: the copies lie above, the places below belong to others in this process.
    let files: Vec<File> = (0..40)
        .map(|number| {
            let mut file = tempfile::tempfile().unwrap();
            write!(file, "file {number}").unwrap();
            file
        })
        .collect();
    for (number, file) in files.iter().enumerate().rev() {
        let mut file: &File = file;
        file.rewind().unwrap();
        let mut next = probe("read").socket("text", file.as_fd()).unwrap();
        for other in &files {
            next = next.socket("other", other).unwrap();
        }
        let words = output(next.spawn().unwrap());
        assert!(
            words.ends_with(&format!("text: file {number}\n")),
            "{words}"
        );
    }
}

#[test]
fn the_environment_is_the_protocol_and_nothing_stale() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let next = |task: &str| {
        let stale = [
            ("LISTEN_PID", "1"),
            ("LISTEN_PIDFDID", "9"),
            ("NOTIFY_SOCKET", "@x"),
        ];
        let next = stale
            .iter()
            .fold(probe(task), |next, (name, value)| next.env(name, value));
        next.env("PROBE", "yes")
    };
    let with_socket = next("variables")
        .socket("web", &tcp)
        .unwrap()
        .spawn()
        .unwrap();
    let words = output(with_socket);
    assert!(
        words.ends_with(
            "variables: LISTEN_FDNAMES=web LISTEN_FDS=1 LISTEN_PID=own NOTIFY_SOCKET=@x PROBE=yes\n"
        ),
        "{words}"
    );
    let removed = output(
        next("unset")
            .silent()
            .socket("web", &tcp)
            .unwrap()
            .spawn()
            .unwrap(),
    );
    assert!(removed.ends_with("variables: PROBE=yes\n"), "{removed}");
    let without = output(next("variables").env_clear().spawn().unwrap());
    assert_eq!(
        without,
        "absent: LISTEN_FDS and LISTEN_PID are not both set\nvariables: \n"
    );
}

#[test]
fn arguments_and_folder_are_those_of_the_plan() {
    let words = output(
        probe("arguments")
            .arg0("web")
            .args(["--quiet", ""])
            .spawn()
            .unwrap(),
    );
    assert!(
        words.ends_with("[\"web\", \"arguments\", \"--quiet\", \"\"]\n"),
        "{words}"
    );
    let folder = tempfile::tempdir().unwrap();
    let words = output(probe("folder").current_dir(folder.path()).spawn().unwrap());
    assert!(
        words.ends_with(&format!("{}\n", folder.path().display())),
        "{words}"
    );
}

#[test]
fn a_program_is_found_in_the_path() {
    let (folder, name) = PROBE.rsplit_once('/').unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let child = socket_activation::Successor::new(name)
        .env("PATH", format!("/nowhere:{folder}"))
        .stdout(Stdio::piped())
        .socket("web", &tcp)
        .and_then(socket_activation::Successor::spawn)
        .unwrap();
    assert!(output(child).starts_with("0 web | a listening TCP socket"));
}

#[test]
fn a_connection_made_before_the_successor_starts_is_answered_by_it() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let child = probe("greet").socket("web", &tcp).unwrap().spawn().unwrap();
    drop(tcp);
    let mut greeting = String::new();
    client.read_to_string(&mut greeting).unwrap();
    assert_eq!(greeting, "hello from web\n");
    output(child);
}

#[test]
fn the_second_take_is_refused() {
    let (one, _other) = UnixStream::pair().unwrap();
    let child = probe("twice")
        .socket("web", OwnedFd::from(one))
        .unwrap()
        .spawn()
        .unwrap();
    let words = output(child);
    assert!(
        words.contains("again: the sockets announced by LISTEN_FDS were taken before"),
        "{words}"
    );
}

#[test]
fn an_announcement_for_another_process_is_left_alone() {
    let run = Command::new(PROBE)
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1")
        .output()
        .unwrap();
    let words = text(&run);
    assert!(
        words.contains("absent: LISTEN_PID is 1 but this process is"),
        "{words}"
    );
}

#[test]
fn a_false_announcement_is_reported_with_the_number() {
    // The shell announces two descriptors but opens only one.
    let script = format!("exec 4>&-; LISTEN_FDS=2 LISTEN_PID=$$ exec {PROBE} 3</dev/null");
    let words = text(&Command::new("sh").args(["-c", &script]).output().unwrap());
    assert!(words.contains("number 4 is not open"), "{words}");
}

#[test]
fn a_descriptor_is_taken_over_by_its_number() {
    let script = format!("exec 6>&-; exec {PROBE} number 5</dev/null");
    let words = text(&Command::new("sh").args(["-c", &script]).output().unwrap());
    let lines: Vec<_> = words.lines().skip(1).collect();
    assert_eq!(lines[0], "5: index 2, no socket");
    assert!(
        lines[1].contains("this process opened it, or took it before"),
        "{words}"
    );
    assert!(
        lines[2].contains("descriptor 6 cannot be taken over: it is not open"),
        "{words}"
    );
    assert!(lines[3].contains("standard streams"), "{words}");
}
