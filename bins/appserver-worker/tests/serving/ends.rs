//! How workers end: signals, orders, stuck requests, retirement.

use super::*;

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
