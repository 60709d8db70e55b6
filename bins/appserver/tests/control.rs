//! The control socket, `appserver ctl`, and the metrics.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use support::{PID_APP, PROGRAM, Server, Setup, get_from};
use testkit::Address;

fn ctl(server: &Server, words: &[&str]) -> (i32, String, String) {
    let socket = server.prefix.join("gunicorn.ctl");
    let output = Command::new(PROGRAM)
        .args(["ctl", "-s"])
        .arg(socket)
        .args(words)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn json(server: &Server, words: &[&str]) -> Value {
    let (code, out, err) = ctl(server, &[words, &["--json"]].concat());
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

/// The process ids of workers that serve.
fn serving(server: &Server) -> Vec<i64> {
    let all = json(server, &["workers"]);
    let workers = all["workers"].as_array().unwrap().iter();
    workers
        .filter(|worker| worker["state"] == "serving")
        .map(|worker| worker["pid"].as_i64().unwrap())
        .collect()
}

#[test]
fn workers_are_listed_added_removed_and_replaced() {
    let server = Setup::new(PID_APP).args(&["--workers", "1"]).start();
    let before = serving(&server);
    assert_eq!(before.len(), 1);
    assert_eq!(json(&server, &["worker", "add", "2"])["total"], 3);
    server.until("three workers", || {
        (serving(&server).len() == 3).then_some(())
    });
    assert_eq!(json(&server, &["worker", "remove", "9"])["removed"], 2);
    server.until("one worker", || (serving(&server).len() == 1).then_some(()));
    let last = serving(&server)[0];
    let killed = json(&server, &["worker", "kill", &last.to_string()]);
    assert_eq!(killed["success"], true);
    server.until("another worker", || {
        let now = serving(&server);
        (now.len() == 1 && now[0] != last).then_some(())
    });
    assert_eq!(json(&server, &["worker", "kill", "1"])["success"], false);
    // The one that was asked to go may still be there, when its successor serves.
    let stats = server.until("three ends", || {
        let stats = json(&server, &["stats"]);
        (stats["worker_ends"]["asked"] == 3).then_some(stats)
    });
    assert_eq!(stats["workers_spawned"], 4);
    assert_eq!(stats["pid"], server.child.id());
}

#[test]
fn gunicorns_commands_text_and_errors() {
    let server = Setup::new(PID_APP).start();
    let (code, out, _) = ctl(&server, &["show", "workers"]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("count: 1\n") && out.contains("PID") && out.contains("serving"),
        "{out}"
    );
    let all = json(&server, &["show", "all"]);
    assert_eq!(all["arbiter"]["pid"], server.child.id());
    assert_eq!(json(&server, &["show", "config"])["workers"], 1);
    let listeners = json(&server, &["show", "listeners"]);
    assert_eq!(listeners["listeners"][0]["type"], "unix");
    let (code, _, err) = ctl(&server, &["nonsense"]);
    assert_eq!(code, 1);
    assert!(err.contains("Unknown command: nonsense"), "{err}");
    let (code, _, err) = ctl(&server, &["worker", "add", "many"]);
    assert_eq!(code, 1);
    assert!(err.contains("\"many\" is no number of workers"), "{err}");
}

#[test]
fn a_reload_and_the_end_can_be_asked_for() {
    let mut server = Setup::new(PID_APP).start();
    json(&server, &["reload"]);
    server.until("the reload", || {
        (json(&server, &["stats"])["reloads"] == 1).then_some(())
    });
    json(&server, &["shutdown"]);
    assert_eq!(server.wait(), 0);
    assert!(!server.prefix.join("gunicorn.ctl").exists());
}

#[test]
fn the_socket_has_its_mode_or_is_not_there() {
    use std::os::unix::fs::PermissionsExt;
    let server = Setup::new(PID_APP)
        .args(&[
            "--control-socket",
            "mine.ctl",
            "--control-socket-mode",
            "0660",
        ])
        .start();
    let mode = std::fs::metadata(server.prefix.join("mine.ctl"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let server = Setup::new(PID_APP).args(&["--no-control-socket"]).start();
    assert!(!server.prefix.join("gunicorn.ctl").exists());
    let (code, _, err) = ctl(&server, &["workers"]);
    assert_eq!(code, 1);
    assert!(err.contains("no server listens on"), "{err}");
}

#[test]
fn metrics_are_told_on_a_socket_of_their_own() {
    let server = Setup::new(PID_APP)
        .args(&[
            "--metrics-bind",
            "unix:metrics.sock",
            "--max-requests",
            "1000",
        ])
        .start();
    for _ in 0..3 {
        server.get("/");
    }
    let place = Address::Unix(server.prefix.join("metrics.sock"));
    let page = server.until("the requests in the metrics", || {
        let response = get_from(&place, "/metrics").ok()?;
        let page = response.text();
        let counted = values(&page)["appserver_requests_total"] >= 4.0;
        counted.then_some(page)
    });
    let values = values(&page);
    for name in [
        "appserver_workers",
        "appserver_workers_target",
        "appserver_workers_spawned_total",
    ] {
        assert_eq!(values[name], 1.0, "{name}\n{page}");
    }
    let count = values["appserver_requests_total"];
    for name in [
        "appserver_request_duration_seconds_count",
        "appserver_request_duration_seconds_bucket{le=\"+Inf\"}",
        "appserver_queue_wait_seconds_count",
        "appserver_responses_total{status=\"2xx\"}",
    ] {
        assert_eq!(values[name], count, "{name}\n{page}");
    }
    assert!(
        values["appserver_request_duration_seconds_sum"] > 0.0,
        "{page}"
    );
    assert!(
        page.contains("appserver_worker_memory_bytes{worker=\"1\""),
        "{page}"
    );
    // The numbers of a worker that is gone stay.
    json(&server, &["reload"]);
    server.until("the old worker's end among the metrics", || {
        let page = get_from(&place, "/metrics").ok()?.text();
        let values = self::values(&page);
        let gone = values.get("appserver_worker_ends_total{reason=\"asked\"}") == Some(&1.0);
        (gone && values["appserver_requests_total"] >= count).then_some(())
    });
}

#[test]
fn a_reload_moves_the_side_sockets_where_the_settings_want_them() {
    let conf = |control: &str, mode: &str, metrics: &str| {
        format!(
            "control_socket = '{control}'\ncontrol_socket_mode = {mode}\nmetrics_bind = '{metrics}'\n"
        )
    };
    let mut server = Setup::new(PID_APP)
        .file(
            "gunicorn.conf.py",
            &conf("a.ctl", "0o600", "unix:a.metrics"),
        )
        .start();
    let is_there = |name: &str| server.prefix.join(name).exists();
    let mode = |name: &str| std::fs::metadata(server.prefix.join(name)).unwrap().mode() & 0o777;
    let page = |name: &str| {
        let place = Address::Unix(server.prefix.join(name));
        get_from(&place, "/metrics").map(|response| response.text())
    };
    assert_eq!(mode("a.ctl"), 0o600);
    let pid = server.pid();
    let mut reloads = 0;
    let mut reload = |control: &str, bits: &str, metrics: &str| {
        server.write("gunicorn.conf.py", &conf(control, bits, metrics));
        support::kill(pid, Signal::HUP);
        reloads += 1;
        server.until_log("Reloaded: 1 new workers", reloads);
    };
    reload("a.ctl", "0o660", "unix:a.metrics");
    assert_eq!(mode("a.ctl"), 0o660);
    assert!(page("a.metrics").is_ok());
    reload("b.ctl", "0o600", "unix:b.metrics");
    assert_eq!(mode("b.ctl"), 0o600);
    assert!(
        page("b.metrics")
            .unwrap()
            .contains("appserver_reloads_total 2")
    );
    assert!(!is_there("a.ctl") && !is_there("a.metrics"));
    // A place that cannot be had: the old one stays, and the new workers serve.
    let taken = UnixListener::bind(server.prefix.join("taken")).unwrap();
    reload("b.ctl", "0o600", "unix:taken");
    server.until_log("another process listens there (metrics_bind", 1);
    assert!(page("b.metrics").is_ok());
    drop(taken);
    // One that is none: the reload fails.
    server.write("gunicorn.conf.py", &conf("b.ctl", "0o600", "fd://3"));
    support::kill(pid, Signal::HUP);
    server.until_log(
        "Reload failed, the old workers serve on: metrics are told at",
        1,
    );
    server.write("gunicorn.conf.py", "control_socket_disable = True");
    support::kill(pid, Signal::HUP);
    server.until_log("Reloaded: 1 new workers", 4);
    server.until("both are gone", || {
        (!is_there("b.ctl") && !is_there("b.metrics")).then_some(())
    });
    assert_eq!(server.stop(), 0);
}

#[test]
fn the_depth_of_the_queue_is_told_for_tcp_and_unix_sockets() {
    let metrics = ["--metrics-bind", "unix:metrics.sock"];
    let app = Setup::new(PID_APP).args(&metrics);
    let by_tcp = app.args(&["--bind", "127.0.0.1:0"]).start();
    let log = by_tcp.log();
    let (_, rest) = log.split_once("Listening at: http://").unwrap();
    let (address, _) = rest.split_once([' ', ',']).unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    depth_is_told(&by_tcp, &address.into());
    let by_unix = Setup::new(PID_APP).args(&metrics).start();
    match depth(&by_unix) {
        Some(_) => depth_is_told(&by_unix, &by_unix.socket()),
        None => println!("skipped: this kernel does not tell it of unix sockets"),
    }
}

/// What metrics say of the queue.
fn depth(server: &Server) -> Option<f64> {
    let place = Address::Unix(server.prefix.join("metrics.sock"));
    let page = get_from(&place, "/").unwrap().text();
    values(&page).get("appserver_queue_depth").copied()
}

fn depth_is_told(server: &Server, address: &Address) {
    let worker = server.booted()[0];
    support::kill(worker, Signal::STOP);
    let stat = format!("/proc/{}/stat", worker.as_raw_pid());
    server.until("the worker stands still", || {
        let stat = std::fs::read_to_string(&stat).unwrap();
        stat.contains(") T ").then_some(())
    });
    let connect = || testkit::http::Client::connect(address.clone()).unwrap();
    let waiting = [connect(), connect(), connect()];
    server.until("all wait", || (depth(server) == Some(3.0)).then_some(()));
    support::kill(worker, Signal::CONT);
    server.until("nobody waits", || {
        (depth(server) == Some(0.0)).then_some(())
    });
    drop(waiting);
}

#[test]
fn a_websocket_that_a_thread_has_is_no_request_that_hangs() {
    let app = "
def application(environ, start_response):
    if 'gunicorn.socket' not in environ:
        start_response('200 OK', [])
        return [b'ok']
    sock = environ['gunicorn.socket']
    sock.sendall(b'HTTP/1.1 101 \\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n')
    sock.sendall(sock.recv(100).upper())
    raise StopIteration
";
    let server = Setup::new(app)
        .args(&["--threads", "2", "--metrics-bind", "unix:metrics.sock"])
        .start();
    let place = Address::Unix(server.prefix.join("metrics.sock"));
    let mut client = server.client();
    let asked = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
    client.ask("GET", "/", &asked).unwrap();
    let head = client.wire().take_until(b"\r\n\r\n", "a head").unwrap();
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    server.until("nothing counts as busy", || {
        let page = get_from(&place, "/").unwrap().text();
        (values(&page)["appserver_busy"] == 0.0).then_some(())
    });
    client.wire().send(b"hello").unwrap();
    assert_eq!(client.wire().take_rest().unwrap().0, b"HELLO");
    let log = server.log();
    assert!(!log.contains("Error"), "{log}");
}

fn values(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}
