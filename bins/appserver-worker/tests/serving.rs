//! Workers: booting, serving, signals, logs, ends.

mod common;

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
fn term_lets_the_request_in_hand_finish_and_quit_does_not() {
    let source = "
import os, threading
def app(environ, start_response):
    open('running', 'w').close()
    if environ['PATH_INFO'] == '/slow':
        while not os.path.exists('go'): threading.Event().wait(0.01)
    start_response('200 OK', [])
    return [b'finished']
";
    for (threads, signal, answered) in [
        (1, Signal::TERM, true),
        (2, Signal::TERM, true),
        (1, Signal::QUIT, false),
        (2, Signal::QUIT, false),
    ] {
        let mut master = Master::with_app(source, json!({"threads": threads}));
        let (worker, address) = master.serve(threads);
        let client = std::thread::spawn(move || {
            std::panic::catch_unwind(|| get(address, "/slow")).unwrap_or_default()
        });
        while !master.folder.path().join("running").exists() {
            std::thread::yield_now();
        }
        assert!(
            worker
                .board
                .lanes()
                .iter()
                .any(|lane| lane.note().as_deref() == Some("GET /slow"))
        );
        worker.signal(signal);
        if answered {
            std::fs::write(master.folder.path().join("go"), "").expect("writes");
        }
        assert_eq!(worker.wait(), exit::NORMAL, "{}", master.stderr());
        let answer = client.join().expect("ends");
        assert_eq!(
            answer.ends_with("finished"),
            answered,
            "{threads} threads, {signal:?}: {answer}"
        );
        assert!(
            worker
                .board
                .lanes()
                .iter()
                .all(|lane| lane.busy_for().is_none())
                || !answered
        );
    }
}

#[test]
fn a_stuck_request_is_ended_by_abort_with_its_stack_in_the_log() {
    let source = "
import time
def stuck_here():
    open('running', 'w').close()
    while True: time.sleep(0.01)
def app(environ, start_response):
    stuck_here()
";
    let conf = "def worker_abort(worker): worker.log.info('abort hook of %s', worker.pid)\ndef worker_exit(server, worker): server.log.info('exit hook')\n";
    for threads in [1, 2] {
        let mut master = Master::start(&[("app.py", source), ("gunicorn.conf.py", conf)]);
        assert!(matches!(
            master.read_config(None, &[]),
            FromTemplate::Config { .. }
        ));
        assert_eq!(
            master.settle("app:app", json!({"threads": threads})),
            SETTLED
        );
        let (worker, address) = master.serve(threads);
        let client = std::thread::spawn(move || {
            std::panic::catch_unwind(|| get(address, "/")).unwrap_or_default()
        });
        while !master.folder.path().join("running").exists() {
            std::thread::yield_now();
        }
        worker.signal(Signal::ABORT);
        assert_eq!(worker.wait(), exit::ABORTED, "{}", master.stderr());
        let log = master.stderr();
        for words in [
            "in stuck_here",
            "abort hook of",
            "exit hook",
            "Worker exiting",
        ] {
            assert!(log.contains(words), "{words} in {log}");
        }
        client.join().expect("ends");
    }
}

#[test]
fn orders_over_the_channel_end_a_worker_and_so_does_the_masters_end() {
    let mut master = Master::with_app(HELLO, json!({}));
    let (worker, _) = master.serve(1);
    worker.tell(Order::EndGracefully);
    assert_eq!(worker.wait(), 0);
    let (worker, _) = master.serve(1);
    worker.tell(Order::EndQuickly);
    assert_eq!(worker.wait(), 0);
    let (worker, address) = master.serve(1);
    assert_eq!(body(&get(address, "/a")), "hello from /a");
    let common::Worker { pid, channel, .. } = worker;
    drop(channel);
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).expect("waits");
    master.await_words("stderr.txt", "The master is gone");
}

#[test]
fn a_worker_asks_to_be_replaced_after_its_requests_and_serves_on() {
    let mut master = Master::with_app(HELLO, json!({"max_requests": 3}));
    let (mut worker, address) = master.serve(1);
    for _ in 0..3 {
        get(address, "/");
    }
    let why = Retirement::MaxRequests;
    assert_eq!(
        worker.report(),
        Some(Report::Program(FromWorker::Retires { why }))
    );
    assert_eq!(worker.report(), Some(Report::Leaving));
    assert_eq!(body(&get(address, "/more")), "hello from /more");
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
fn a_worker_that_cannot_boot_says_why_and_exits_with_gunicorns_status() {
    for (source, application, status, words) in [
        (
            "import no_such_module_anywhere",
            "app",
            exit::WORKER_BOOT,
            "no_such_module_anywhere",
        ),
        (
            "raise ValueError('at import')",
            "app",
            exit::WORKER_BOOT,
            "ValueError: at import",
        ),
        ("def app(", "app", exit::WORKER_BOOT, "SyntaxError"),
        (
            "import sys; sys.exit(7)",
            "app",
            exit::WORKER_BOOT,
            "SystemExit: 7",
        ),
        (
            "x = 1",
            "app",
            exit::APP_LOAD,
            "Failed to find attribute 'application' in 'app'.",
        ),
        (
            "x = 1",
            "app:x",
            exit::APP_LOAD,
            "Application object must be callable.",
        ),
        (
            "x = None",
            "app:x",
            exit::APP_LOAD,
            "Failed to find application object: 'x'",
        ),
        (
            "x = 1",
            "app:x + y",
            exit::APP_LOAD,
            "Failed to parse 'x + y'",
        ),
        ("x = 1", "app:x(", exit::APP_LOAD, "Failed to parse 'x('"),
        (
            "def x(): pass",
            "app:x(y)",
            exit::APP_LOAD,
            "Failed to parse arguments as literal values: 'x(y)'",
        ),
        (
            "def x(): pass",
            "app:x(1)",
            exit::APP_LOAD,
            "takes 0 positional arguments",
        ),
        (
            "def x(): return len()",
            "app:x()",
            exit::WORKER_BOOT,
            "len() takes exactly one argument",
        ),
        (
            "",
            "app.py",
            exit::WORKER_BOOT,
            "did you mean 'app:application'?",
        ),
    ] {
        let mut master = Master::start(&[("app.py", source)]);
        assert_eq!(master.settle(application, json!({})), SETTLED);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let mut worker = master.fork(&listener, 1);
        match worker.report() {
            Some(Report::Program(FromWorker::Failed { exit, message })) => {
                assert_eq!(exit, status, "{application}: {message}");
                assert!(message.contains(words), "{application}: {message}");
            }
            other => panic!("{application}: {other:?}\n{}", master.stderr()),
        }
        assert_eq!(worker.wait(), status);
        assert!(
            master.stderr().contains(words),
            "{application}: {}",
            master.stderr()
        );
    }
}

#[test]
fn applications_are_found_by_every_form_of_their_name() {
    let source = "
def make(greeting, mark='!'):
    def app(environ, start_response):
        start_response('200 OK', [])
        return [(greeting + mark).encode()]
    return app
application = make('default')
class Shop:
    app = staticmethod(make('attribute'))
";
    for (application, answer) in [
        ("app", "default!"),
        ("app:application", "default!"),
        ("app:make('made')", "made!"),
        ("app:make(\"made\", mark='?')", "made?"),
        ("app:Shop.app", "attribute!"),
    ] {
        let mut master = Master::start(&[("app.py", source)]);
        assert_eq!(master.settle(application, json!({})), SETTLED);
        let (worker, address) = master.serve(1);
        assert_eq!(body(&get(address, "/")), answer, "{application}");
        worker.signal(Signal::QUIT);
        assert_eq!(worker.wait(), 0);
    }
}

#[test]
fn reload_tells_of_a_file_that_changed_and_shows_a_syntax_error() {
    let mut master = Master::start(&[("app.py", HELLO)]);
    assert_eq!(master.settle("app:app", json!({"reload": true})), SETTLED);
    let (mut worker, _) = master.serve(1);
    let path = master.path("app.py");
    std::fs::write(&path, "def app(:").expect("writes");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::options()
        .write(true)
        .open(&path)
        .expect("opens")
        .set_modified(later)
        .expect("sets");
    match worker.report() {
        Some(Report::Program(FromWorker::Changed { file })) => assert_eq!(
            std::fs::canonicalize(file).expect("is there"),
            std::fs::canonicalize(&path).expect("is there")
        ),
        other => panic!("{other:?}: {}", master.stderr()),
    }
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0);
    let (worker, address) = master.serve(1);
    let answer = get(address, "/");
    assert!(
        answer.starts_with("HTTP/1.1 500") && answer.contains("SyntaxError"),
        "{answer}"
    );
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0);
}

#[test]
fn a_preloaded_application_is_imported_once_in_the_template() {
    let source = "
import os
open('imports', 'a').write('%d\\n' % os.getpid())
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
";
    let mut master = Master::with_app(source, json!({"preload_app": true}));
    let (first, address) = master.serve(1);
    let (second, _) = master.serve(1);
    assert_eq!(body(&get(address, "/")), "ok");
    assert_eq!(
        master.file("imports"),
        format!("{}\n", master.template.id())
    );
    for worker in [first, second] {
        worker.signal(Signal::TERM);
        assert_eq!(worker.wait(), 0);
    }
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
fn an_application_may_have_signal_handlers_of_its_own() {
    let source = "
import signal, os, threading
def app(environ, start_response):
    got = []
    signal.signal(signal.SIGALRM, lambda number, frame: got.append('alarm'))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    while not got: threading.Event().wait(0.01)
    start_response('200 OK', [])
    return [got[0].encode()]
";
    let mut master = Master::with_app(source, json!({}));
    let (worker, address) = master.serve(1);
    assert_eq!(body(&get(address, "/")), "alarm");
    assert_eq!(body(&get(address, "/")), "alarm");
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

#[test]
fn a_kept_connection_is_answered_once_more_before_a_worker_ends() {
    use std::io::{Read, Write};
    let mut master = Master::with_app(HELLO, json!({"keepalive": 60}));
    let (worker, address) = master.serve(1);
    let mut kept = std::net::TcpStream::connect(address).expect("connects");
    let mut ask = || {
        kept.write_all(b"GET /kept HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("sends");
        let mut answer = Vec::new();
        while !answer.ends_with(b"/kept") {
            let mut bytes = [0; 1000];
            let read = kept.read(&mut bytes).expect("reads");
            assert!(read > 0, "cut after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&bytes[..read]);
        }
        String::from_utf8(answer).expect("is text")
    };
    assert!(ask().contains("Connection: keep-alive"));
    worker.signal(Signal::TERM);
    // As soon as the worker has noticed, it says so.
    let mut answers = (0..100_000).map(|_| ask());
    assert!(answers.any(|answer| answer.contains("Connection: close")));
    assert_eq!(worker.wait(), 0);
}

#[test]
fn a_worker_runs_as_the_user_and_group_of_the_settings() {
    let source = "
import os
def app(environ, start_response):
    start_response('200 OK', [])
    mask = os.umask(0)
    return [('%d %d %s %o' % (os.getuid(), os.getgid(), os.getgroups(), mask)).encode()]
";
    // Only root can become somebody else; everybody can stay who they are.
    let root = rustix::process::geteuid().is_root();
    let (user, group) = if root {
        (65_534, 65_533)
    } else {
        (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        )
    };
    let mut master = Master::with_app(
        source,
        json!({"user": user, "group": group, "umask": 0o027}),
    );
    let (worker, address) = master.serve(1);
    let told = get(address, "/");
    let told = body(&told);
    assert!(
        told.starts_with(&format!("{user} {group} ")) && told.ends_with(" 27"),
        "{told}"
    );
    assert!(
        !root || told.contains(&format!("[{group}]")),
        "no group of root's is left: {told}"
    );
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0);
}
