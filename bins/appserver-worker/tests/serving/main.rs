//! Workers: booting, serving, signals, logs, ends.

#[path = "../common/mod.rs"]
mod common;

mod boot;
mod ends;

use appserver_protocol::{FromTemplate, FromWorker, Retirement, ToTemplate, ToWorker, exit};
use common::{Master, SETTLED, ask, body, get};
use rustix::process::Signal;
use serde_json::json;
use supervisor::{Order, Report};

const HELLO: &str = "
import os
def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Kind', 'greeting')])
    if environ['PATH_INFO'] == '/pid': return [str(os.getpid()).encode()]
    if environ['PATH_INFO'] == '/ppid': return [str(os.getppid()).encode()]
    if environ['PATH_INFO'] == '/threads': return [repr(environ['wsgi.multithread']).encode()]
    if environ['PATH_INFO'] == '/raise': raise ValueError('broken')
    return [b'hello from ', environ['PATH_INFO'].encode()]
";

#[test]
fn a_worker_is_a_child_of_the_master_and_serves() {
    for threads in [1, 3] {
        let mut master = Master::with_app(HELLO, json!({"threads": threads}));
        let (worker, address) = master.serve(threads);
        assert_eq!(body(&get(address, "/x")), "hello from /x");
        assert_eq!(
            body(&get(address, "/pid")),
            worker.pid.as_raw_nonzero().to_string()
        );
        assert_eq!(body(&get(address, "/ppid")), std::process::id().to_string());
        assert_eq!(
            body(&get(address, "/threads")),
            if threads == 1 { "False" } else { "True" }
        );
        let log = master.await_words("stderr.txt", "Booting worker with pid: ");
        assert!(
            log.starts_with("[20") && log.contains(" +0000] [") && log.contains("] [INFO] Booting"),
            "{log}"
        );
        worker.signal(Signal::TERM);
        assert_eq!(worker.wait(), exit::NORMAL, "{}", master.stderr());
        master.await_words("stderr.txt", "Worker exiting (pid: ");
    }
}

#[test]
fn an_application_that_raises_is_logged_with_its_traceback_and_answered_without() {
    let mut master = Master::with_app(HELLO, json!({}));
    let (worker, address) = master.serve(1);
    let answer = get(address, "/raise");
    assert!(
        answer.starts_with("HTTP/1.1 500 ") && !answer.contains("broken"),
        "{answer}"
    );
    let log = master.await_words("stderr.txt", "ValueError: broken");
    assert!(
        log.contains("[ERROR] Error handling request GET /raise") && log.contains("app.py\", line"),
        "{log}"
    );
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0);
}

#[test]
fn the_access_log_has_gunicorns_atoms() {
    let format = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(m)s %(U)s %(q)s %(H)s %(B)d %({x-a}i)s %({X-Kind}o)s %({wsgi.url_scheme}e)s %({none}i)s %(p)s %(T)s|%(D)s|%(M)s|%(L)s %% %(zz)s [%(s)5s] [%(s)-5s]"#;
    let mut master = Master::start(&[("app.py", HELLO)]);
    let path = master.path("access.log");
    assert_eq!(
        master.settle(
            "app:app",
            json!({"accesslog": path, "access_log_format": format})
        ),
        SETTLED
    );
    let (worker, address) = master.serve(1);
    ask(
        address,
        "GET /a%20b?x=1 HTTP/1.1\r\nHost: a\r\nUser-Agent: say \"hi\"\r\nX-A: b\r\nAuthorization: Basic YW5uYTpzZWNyZXQ=\r\nConnection: close\r\n\r\n",
    );
    let log = master.await_words("access.log", "\n");
    let (start, rest) = log.split_once('[').expect("has a time");
    assert_eq!(start, "127.0.0.1 - anna ");
    let (time, rest) = rest.split_once("] ").expect("has a time");
    assert!(time.ends_with(" +0000") && time.contains("/20"), "{time}");
    let pid = worker.pid.as_raw_nonzero();
    let (known, times) = rest.split_once(&format!("<{pid}> ")).expect("has a pid");
    assert_eq!(
        known,
        r#""GET /a%20b?x=1 HTTP/1.1" 200 15 "-" "say \"hi\"" GET /a b x=1 HTTP/1.1 15 b greeting http - "#
    );
    let (times, end) = times.split_once(' ').expect("has times");
    assert_eq!(times.split('|').count(), 4);
    assert_eq!(end, "% - [  200] [200  ]\n");
    // USR1 after the file was renamed: lines go to a new one.
    std::fs::rename(&path, master.path("old.log")).expect("renames");
    worker.signal(Signal::USR1);
    for _ in 0..2000 {
        if std::path::Path::new(&path).exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    get(address, "/second");
    master.await_words("access.log", "/second");
    assert!(!master.file("old.log").contains("/second"));
    worker.tell(Order::Program(ToWorker::ReopenLogs));
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0);
}

#[test]
fn logs_go_to_files_and_output_is_captured() {
    let source = "
import logging, sys
def app(environ, start_response):
    print('printed', flush=True)
    print('complained', file=environ['wsgi.errors'])
    logging.getLogger('gunicorn.error').warning('logged by the application')
    start_response('200 OK', [])
    return [b'ok']
";
    let mut master = Master::start(&[("app.py", source)]);
    let path = master.path("error.log");
    assert_eq!(
        master.settle(
            "app:app",
            json!({"errorlog": path, "capture_output": true, "loglevel": "warning"})
        ),
        SETTLED
    );
    let (worker, address) = master.serve(1);
    get(address, "/");
    for words in [
        "printed",
        "complained",
        "[WARNING] logged by the application",
    ] {
        master.await_words("error.log", words);
    }
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0);
    assert!(
        !master.file("error.log").contains("Booting"),
        "loglevel holds"
    );
    assert_eq!(master.stderr(), "");
}

#[test]
fn a_unix_socket_is_served_with_gunicorns_names() {
    let source = "
def app(environ, start_response):
    start_response('200 OK', [])
    keys = ('REMOTE_ADDR', 'SERVER_NAME', 'SERVER_PORT', 'wsgi.url_scheme')
    return [' '.join([repr(environ[key]) for key in keys] + [str('REMOTE_PORT' in environ)]).encode()]
";
    use std::io::{Read, Write};
    let mut master = Master::with_app(source, json!({}));
    let path = master.folder.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("binds");
    let mut worker = master.fork(&listener, 1);
    assert!(matches!(worker.report(), Some(Report::Ready)));
    let ask = |request: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("connects");
        stream.write_all(request.as_bytes()).expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("reads");
        body(&answer).to_owned()
    };
    assert_eq!(
        ask(
            "GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nX-Forwarded-Proto: https\r\n\r\n"
        ),
        "'' 'shop' '443' 'https' False"
    );
    assert_eq!(
        ask("GET / HTTP/1.1\r\nHost: shop:81\r\nConnection: close\r\n\r\n"),
        "'' 'shop' '81' 'http' False"
    );
    assert_eq!(
        ask("GET / HTTP/1.0\r\n\r\n"),
        format!("'' {:?} '' 'http' False", path.display().to_string()).replace('"', "'")
    );
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0);
}

#[test]
fn the_board_beats_and_counts() {
    let mut master = Master::with_app(HELLO, json!({}));
    let (worker, address) = master.serve(1);
    for _ in 0..4 {
        get(address, "/");
    }
    get(address, "/raise");
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0);
    assert!(worker.board.lane(0).sample().beat.is_some());
    assert_eq!(worker.board.count(supervisor::Counter::Requests), 5);
    assert_eq!(worker.board.count(supervisor::Counter::Failed), 1);
    assert_eq!(
        master.order(&ToTemplate::ChildExit {
            age: worker.age,
            pid: 1
        }),
        FromTemplate::HookDone
    );
}
