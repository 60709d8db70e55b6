//! The hooks of the configuration file: their order, and what they are given.

mod support;

use rustix::process::Signal;
use support::Setup;

const APP: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

const HOOKS: &str = "
import os

def tell(*words):
    with open('trace.log', 'a') as trace:
        trace.write(' '.join(str(word) for word in words) + '\\n')

def on_starting(server): tell('on_starting', server.address, server.cfg.workers, server.num_workers, server.LISTENERS, server.WORKERS)
def on_reload(server): tell('on_reload')
def when_ready(server): tell('when_ready', len(server.LISTENERS))
def pre_fork(server, worker): tell('pre_fork', worker.age, worker.pid)
def post_fork(server, worker): tell('post_fork', worker.age, worker.pid == os.getpid(), worker.nr, worker.alive, worker.booted)
def post_worker_init(worker): tell('post_worker_init', worker.age, callable(worker.wsgi), worker.cfg.proc_name, worker.timeout)
def worker_int(worker): tell('worker_int', worker.age, worker.alive)
def pre_request(worker, req):
    tell('pre_request', worker.nr, req.method, req.uri, req.path, req.query, req.fragment, req.version, req.scheme, dict(req.headers)['X-A'])
def post_request(worker, req, environ, resp):
    tell('post_request', worker.nr, resp.status, resp.status_code, resp.headers, resp.sent, resp.response_length, environ['PATH_INFO'])
def child_exit(server, worker): tell('child_exit', worker.age, worker.pid in server.WORKERS)
def worker_exit(server, worker): tell('worker_exit', worker.age, worker.pid == os.getpid())
def nworkers_changed(server, new, old): tell('nworkers_changed', new, old)
def on_exit(server): tell('on_exit')
";

#[test]
fn the_order_and_the_attributes_are_gunicorns() {
    let mut server = Setup::new(APP)
        .file("gunicorn.conf.py", HOOKS)
        .args(&["--bind", "127.0.0.1:0"])
        .spawn();
    server.until_log("Booting worker", 1);
    let mut client = server.until("the socket", || {
        testkit::http::Client::connect(server.socket()).ok()
    });
    client.wire().set_patience(support::PATIENCE);
    client
        .ask(
            "GET",
            "/p%20a?q=1#f",
            &[("X-A", "b"), ("Connection", "close")],
        )
        .unwrap();
    assert_eq!(client.response().unwrap().status, 200);
    server.until("the hook after the request", || {
        server
            .read("trace.log")
            .contains("post_request")
            .then_some(())
    });
    server.signal(Signal::INT);
    assert_eq!(server.wait(), 0);
    let trace = server.read("trace.log");
    assert_eq!(
        trace,
        "nworkers_changed 1 None
on_starting [('127.0.0.1', 0), 'app.sock'] 1 1 [] {}
when_ready 2
pre_fork 1 [booting]
post_fork 1 True 0 True False
post_worker_init 1 True app:application 15.0
pre_request 0 GET /p%20a?q=1#f /p%20a q=1 f (1, 1) http b
post_request 1 200 OK 200 [('Content-Length', '2')] 2 2 /p a
worker_int 1 False
worker_exit 1 True
child_exit 1 False
on_exit
"
    );
}

#[test]
fn a_signal_that_comes_late_breaks_off_no_hook() {
    // The master gives an order and sends a signal; either may come first.
    let conf = "
import os, signal
def tell(worker, word):
    os.kill(os.getpid(), signal.SIGQUIT)
    worker.log.info('%s of %s to its end', word, worker.age)
def worker_int(worker): tell(worker, 'worker_int')
def worker_exit(server, worker): tell(worker, 'worker_exit')
";
    for threads in ["1", "2"] {
        let mut server = Setup::new(APP)
            .file("gunicorn.conf.py", conf)
            .args(&["--threads", threads])
            .start();
        server.signal(Signal::INT);
        assert_eq!(server.wait(), 0);
        let log = server.read("stderr.log");
        for word in ["worker_int", "worker_exit"] {
            let line = format!("{word} of 1 to its end");
            assert_eq!(log.matches(&line).count(), 1, "{word}: {log}");
        }
    }
}

#[test]
fn the_end_of_every_worker_of_the_release_before_is_told() {
    let conf = "
import time
def child_exit(server, worker):
    # The others' ends come meanwhile, and the template is dismissed.
    while sum('Worker exiting' in line for line in open('stderr.log')) < 3: time.sleep(0.01)
    server.log.info('the end of %s', worker.age)
";
    let mut server = Setup::new(APP)
        .file("gunicorn.conf.py", conf)
        .args(&["--workers", "3"])
        .start();
    server.signal(Signal::HUP);
    server.until_log("Reloaded: 3 new workers", 1);
    for age in 1..=3 {
        server.until_log(&format!("the end of {age}\n"), 1);
    }
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_hook_may_be_named_and_an_exception_in_it_has_gunicorns_consequences() {
    // Before a request: 500. After it: a line in the log. Elsewhere in a worker: it does not boot.
    let conf = "
def pre_request(worker, req):
    if req.path == '/before': raise ValueError('in pre_request')
def post_request(worker, req):
    if req.path == '/after': raise ValueError('in post_request')
when_ready = 'mine.ready'
";
    let server = Setup::new(APP)
        .file("gunicorn.conf.py", conf)
        .file(
            "mine.py",
            "def ready(server): server.log.warning('named hook ran')\n",
        )
        .start();
    assert_eq!(server.get("/before").status, 500);
    assert_eq!(server.get("/after").status, 200);
    server.until_log("ValueError: in post_request", 1);
    server.until_log("named hook ran", 1);
    for (conf, code) in [
        (
            "def post_fork(server, worker): raise ValueError('in a hook')",
            3,
        ),
        ("def on_starting(server): raise ValueError('in a hook')", 1),
    ] {
        let (ended, _, err) = Setup::new(APP).file("gunicorn.conf.py", conf).run();
        assert_eq!(ended, code, "{err}");
        assert!(err.contains("ValueError: in a hook"), "{err}");
    }
}

#[test]
fn requests_of_an_asgi_application_are_surrounded_as_gunicorns_are() {
    let app = "
async def application(scope, receive, send):
    if scope['type'] == 'http' and scope['path'] != '/broken':
        await send({'type': 'http.response.start', 'status': 201, 'headers': [(b'content-length', b'2')]})
        await send({'type': 'http.response.body', 'body': b'ok'})
";
    let conf = "
def tell(worker, *words):
    worker.log.info('hook: %s', ' '.join(str(word) for word in words))

def pre_request(worker, req):
    tell(worker, 'pre_request', req.method, req.uri, req.path, req.query, req.version, dict(req.headers)['X-A'])
    if req.path == '/refused': raise ValueError('in pre_request')
    if req.path == '/last': req.force_close()

def post_request(worker, req, environ, resp):
    tell(worker, 'post_request', req.path, environ['RAW_URI'], environ['HTTP_X_A'], environ['REMOTE_ADDR'], resp.status_code, resp.headers, resp.sent)
";
    let server = Setup::new(app)
        .file("gunicorn.conf.py", conf)
        .args(&["-k", "asgi", "--bind", "127.0.0.1:0"])
        .start();
    let ask = |path: &str| {
        let mut client = server.client();
        client.ask("GET", path, &[("X-A", "b")]).unwrap();
        client.response().unwrap().status
    };
    assert_eq!(ask("/p%20a?q=1"), 201);
    server.until_log("hook: pre_request GET /p%20a?q=1 /p%20a q=1 (1, 1) b", 1);
    server.until_log("hook: post_request /p%20a /p%20a?q=1 b", 1);
    server.until_log("201 [('content-length', '2')] 2", 1);
    assert_eq!(ask("/broken"), 500);
    server.until_log("hook: post_request /broken /broken b", 1);
    server.until_log("500 [] 0", 1);
    assert_eq!(ask("/refused"), 500);
    server.until_log("ValueError: in pre_request", 1);
    let mut client = server.client();
    for (path, connection) in [("/", "keep-alive"), ("/last", "close")] {
        client.ask("GET", path, &[("X-A", "b")]).unwrap();
        let response = client.response().unwrap();
        assert_eq!(response.field("Connection").as_deref(), Some(connection));
    }
}

#[test]
fn a_hook_may_say_how_many_workers_there_are() {
    let conf = |when_ready: &str| {
        format!(
            "
import os, threading, time
def tell(*words):
    with open('trace.log', 'a') as trace: trace.write(' '.join(map(str, words)) + '\\n')
def nworkers_changed(server, new, old): tell('changed', new, old, server.num_workers)
def on_starting(server): server.num_workers = 2
def when_ready(server): {when_ready}
def on_reload(server): server.num_workers += 3
def post_fork(server, worker): server.num_workers = 9
def child_exit(server, worker):
    if server.num_workers == 3: server.num_workers = 5
"
        )
    };
    let mut server = Setup::new(APP)
        .file("gunicorn.conf.py", &conf("server.num_workers += 1"))
        .start();
    server.until_log("Booting worker", 3);
    server.signal(Signal::TTIN);
    server.until_log("Booting worker", 4);
    let booted = server.log().matches("Booting worker").count();
    assert_eq!(booted, 4, "a worker has a copy of its own");
    // On a reload there is no when_ready, and the setting counts again.
    server.signal(Signal::HUP);
    server.until_log("Reloaded: 4 new workers", 1);
    server.signal(Signal::TTOU);
    server.until_log("Booting worker", 4 + 4 + 2);
    assert_eq!(server.stop(), 0);
    let expected = [
        "changed 1 None 1",
        "changed 2 1 2",
        "changed 3 2 3",
        "changed 4 3 4",
        "changed 1 4 1",
        "changed 4 1 4",
        "changed 3 4 3",
        "changed 5 3 5",
    ];
    let trace = server.read("trace.log");
    let of_master: Vec<_> = trace
        .lines()
        .filter(|line| !line.starts_with("changed 9"))
        .collect();
    assert_eq!(of_master, expected, "{trace}");
}

#[test]
fn a_thread_of_a_hook_may_change_the_number_of_workers() {
    let conf = "
import threading
def when_ready(server):
    def grow(): server.num_workers = 2
    threading.Timer(0, grow).start()
";
    let mut server = Setup::new(APP).file("gunicorn.conf.py", conf).start();
    server.until_log("Booting worker", 2);
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_number_of_workers_that_cannot_be_is_refused() {
    for (value, told) in [("-1", "-1"), ("'4'", "'4'"), ("True", "True")] {
        let conf = format!("def on_starting(server): server.num_workers = {value}\n");
        let (ended, _, err) = Setup::new(APP).file("gunicorn.conf.py", &conf).run();
        let words = format!("server.num_workers takes a number from 0 to 65535, got {told}");
        assert!(ended == 1 && err.contains(&words), "{ended}: {err}");
    }
}

#[test]
fn a_setting_that_a_hook_cannot_change_is_refused_by_name() {
    for (statement, words) in [
        (
            "server.cfg.set('bind', ['127.0.0.1:1'])",
            "cfg.set('bind'): the server has read this setting when hooks run; write it in the configuration file",
        ),
        (
            "server.cfg.set('keepalive', 'long')",
            "Invalid value for keepalive: \"long\"",
        ),
        (
            "server.cfg.set('access_log_format', '%(h')",
            "access_log_format",
        ),
        (
            "server.cfg.keepalive = 3",
            "Invalid access! Settings are changed by cfg.set('keepalive', value)",
        ),
        (
            "server.mine = server.timeout; server.timeout = 60",
            "server.timeout is not heeded when a hook sets it; write timeout in the configuration file",
        ),
        ("server.cfg.set('post_fork', 3)", "Value is not callable: 3"),
    ] {
        let conf = format!("def on_starting(server): {statement}\n");
        let (ended, _, err) = Setup::new(APP).file("gunicorn.conf.py", &conf).run();
        assert!(ended == 1 && err.contains(words), "{ended}: {err}");
    }
    let late = "def pre_request(worker, req): worker.cfg.set('keepalive', 3)\n";
    let server = Setup::new(APP).file("gunicorn.conf.py", late).start();
    assert_eq!(server.get("/").status, 500);
    server.until_log(
        "cfg.set('keepalive'): the worker has read this setting when it serves",
        1,
    );
}

#[test]
fn a_worker_that_a_hook_ends_serves_nothing_more_though_its_successor_is_slow() {
    let conf = "
import os, time
def post_fork(server, worker):
    while worker.age > 1 and not os.path.exists('go'): time.sleep(0.01)
def pre_request(worker, req):
    if req.path == '/enough': worker.alive = False
";
    for threads in ["1", "2"] {
        let server = Setup::new(support::PID_APP)
            .file("gunicorn.conf.py", conf)
            .args(&["--threads", threads])
            .start();
        let first = server.text("/");
        let mut client = server.client();
        client.ask("GET", "/enough", &[]).unwrap();
        let last = client.response().unwrap();
        assert_eq!(last.field("Connection").as_deref(), Some("close"));
        assert_eq!(last.text(), first);
        server.until_log(&format!("[{first}] [INFO] Worker exiting"), 1);
        // Nobody is refused meanwhile.
        let mut waits = server.client();
        waits.ask("GET", "/", &[]).unwrap();
        server.write("go", "");
        assert_ne!(waits.response().unwrap().text(), first);
    }
}

#[test]
fn hooks_have_the_sockets() {
    let conf = "
import os, socket
def facts(listener, of):
    told = listener.sock.getsockname() == listener.getsockname() == listener.cfg_addr or listener.family == socket.AF_UNIX
    listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    kept = listener.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    place = os.fstat(listener.fileno()).st_ino == os.fstat(listener.sock.fileno()).st_ino
    of.log.info('%s: %s %s %s %s %s', of, listener.family.name, told, listening, kept, place)
def when_ready(server):
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        facts(listener, server)
def pre_fork(server, worker):
    for listener in worker.sockets: facts(listener, worker)
def post_worker_init(worker):
    for listener in worker.sockets: facts(listener, worker)
    held = worker.tmp.fileno() > 2
    worker.log.info('me: %s %s %s', worker.ppid == os.getppid(), worker.pid == os.getpid(), held)
def child_exit(server, worker):
    listener = server.LISTENERS[0]
    server.log.info('after: %s %s %s', listener, listener.getsockname()[1] > 0, listener.sock)
    try: listener.fileno()
    except AttributeError as error: server.log.info('%s', error)
";
    let mut server = Setup::new(APP)
        .file("gunicorn.conf.py", conf)
        .args(&["--bind", "127.0.0.1:0", "--bind", "[::1]:0"])
        .start();
    let server_pid = server.pid();
    for family in ["AF_INET", "AF_INET6", "AF_UNIX"] {
        let facts = format!("{family} True 1 1 True");
        server.until_log(&format!("<Server {server_pid}>: {facts}"), 1);
        server.until_log(&format!("<Worker [booting]>: {facts}"), 1);
        server.until_log(&facts, 3);
    }
    server.until_log("me: True True True", 1);
    // A reload: the sockets are the same, and when_ready does not run again.
    server.signal(Signal::HUP);
    server.until_log("AF_INET6 True 1 1 True", 5);
    server.until_log("after: http://127.0.0.1:", 1);
    server.until_log("True None", 1);
    server.until_log("fileno of http://127.0.0.1:", 1);
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_reload_tells_the_number_of_workers_before_and_after() {
    let conf = |workers: usize| format!("workers = {workers}\n{HOOKS}");
    let mut server = Setup::new(APP).file("gunicorn.conf.py", &conf(1)).start();
    server.signal(Signal::TTIN);
    server.until_log("Booting worker", 2);
    server.write("gunicorn.conf.py", &conf(3));
    server.signal(Signal::HUP);
    server.until_log("Reloaded: 3 new workers", 1);
    // As many as before: gunicorn tells that too.
    server.signal(Signal::HUP);
    server.until_log("Reloaded: 3 new workers", 2);
    let trace = server.read("trace.log");
    let heard: Vec<_> = trace
        .lines()
        .filter(|line| line.starts_with("nworkers_changed") || line.starts_with("on_"))
        .map(|line| line.split(" [").next().unwrap())
        .collect();
    let expected = [
        "nworkers_changed 1 None",
        "on_starting",
        "nworkers_changed 2 1",
        "nworkers_changed 3 2",
        "on_reload",
        "nworkers_changed 3 3",
        "on_reload",
    ];
    assert_eq!(heard, expected, "{trace}");
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_thread_that_a_hook_has_started_does_not_outlive_the_server() {
    let conf = "
import os, threading
def when_ready(server):
    threading.Thread(target=threading.Event().wait).start()
    open('template.pid', 'w').write(str(os.getpid()))
";
    let mut server = Setup::new(APP).file("gunicorn.conf.py", conf).start();
    let pid = server.read("template.pid").parse().unwrap();
    let template = rustix::process::Pid::from_raw(pid).unwrap();
    assert_eq!(server.stop(), 0);
    server.until("the end of the template", || {
        (!support::is_alive(template)).then_some(())
    });
}
