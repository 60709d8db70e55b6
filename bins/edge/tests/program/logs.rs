//! Log files: rotation, the shape of lines, standard streams.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use rustix::process::Signal;
use testkit::{Child, Deadline, PATIENCE};

use crate::server::{House, eventually, output};

const OK: &str = "server { listen 127.0.0.1:{port}; location / { return 200 ok; } }";

#[test]
fn logs_are_opened_anew_after_a_rotation() {
    let house = House::new();
    house.configure(OK);
    let mut server = house.start();
    for round in 0..3 {
        server.get(&format!("/before/{round}"));
        server.await_text("access.log", &format!("/before/{round}"));
        let rotated = [
            ("access.log", format!("access.{round}")),
            ("error.log", format!("error.{round}")),
        ];
        for (from, to) in &rotated {
            fs::rename(server.prefix.join(from), server.prefix.join(to)).expect("it is ours");
        }
        if round % 2 == 0 {
            server.signal(Signal::USR1);
        } else {
            assert_eq!(
                output(server.command().args(["-s", "reopen"]))
                    .status
                    .code(),
                Some(0)
            );
        }
        eventually("lines go to the new file", || {
            server.get(&format!("/after/{round}"));
            server.read("access.log").contains("/after/").then_some(())
        });
        assert!(server.prefix.join("error.log").exists());
        assert!(!server.read("access.log").contains("/before/"));
        let count = |path: &str| server.read(path).lines().count();
        assert!(count(&format!("access.{round}")) > 0);
    }
    // As with nginx, the worker's user owns what was opened for it.
    let (worker, file) = (
        fs::metadata(format!("/proc/{}", server.worker().as_raw_pid())).expect("it runs"),
        fs::metadata(server.prefix.join("access.log")).expect("it is there"),
    );
    assert_eq!(file.uid(), worker.uid());
}

#[test]
fn a_line_is_written_when_its_answer_was_even_if_the_end_follows() {
    let house = House::new();
    house.configure(OK);
    let mut server = house.start();
    let mut client = server.connect();
    for number in 0..50 {
        client.get(&format!("/{number}")).expect("an answer");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.end(), 0);
    let log = server.read("access.log");
    for number in 0..50 {
        assert!(
            log.contains(&format!("\"GET /{number} HTTP/1.1\" 200 2 ")),
            "{number}: {log}"
        );
    }
}

#[test]
fn logs_may_be_standard_streams() {
    let house = House::new();
    house.write(
        "nginx.conf",
        "daemon off; pid nginx.pid; error_log stderr notice; events {} http { access_log /dev/stdout; server { listen \
         127.0.0.1:{port}; location / { return 200 ok; } } }",
    );
    let (out, err) = (house.prefix.join("out"), house.prefix.join("err"));
    let mut command = house.command();
    command
        .stdout(File::create(&out).expect("it is ours"))
        .stderr(File::create(&err).expect("it is ours"));
    let mut child = Child::spawn(&mut command).expect("it starts");
    house.await_text("err", "start worker process");
    assert_eq!(house.get("/seen").text(), "ok");
    house.await_text("out", "GET /seen");
    // Not twice, though the log is where messages of the start go, too.
    assert_eq!(
        house.read("err").matches("start worker processes").count(),
        1
    );
    child.signal(Signal::TERM).expect("it runs");
    child.wait(Deadline::after(PATIENCE)).expect("it ends");
}

#[test]
fn a_log_that_cannot_be_opened_is_a_fault_with_its_place() {
    let house = House::new();
    house.configure("access_log nowhere/access.log; server { listen 127.0.0.1:{port}; }");
    let told = output(house.command().arg("-t"));
    assert_eq!(told.status.code(), Some(1));
    let text = crate::server::stderr_of(&told);
    assert!(text.contains("nowhere/access.log\" failed ("), "{text}");
    assert!(
        text.contains(&format!(
            "in {}:4",
            house.prefix.join("nginx.conf").display()
        )),
        "{text}"
    );
}
