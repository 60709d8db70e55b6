//! Workers with an event loop.

mod support;

use rustix::process::Signal;
use support::{Load, Setup};

/// Tells its process; sleeps, blocks, and ends in other ways by path.
const APP: &str = "
import asyncio, os, time

async def application(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            event = (await receive())['type']
            print(event, flush=True)
            if event == 'lifespan.startup':
                scope['state']['number'] = 7
            await send({'type': event + '.complete'})
            if event == 'lifespan.shutdown':
                return
    path = scope['path']
    if path == '/sleep':
        await asyncio.sleep(0.5)
    if path == '/block':
        time.sleep(1000)
    if path == '/block-later':
        await asyncio.sleep(0)
        time.sleep(1000)
    text = str(os.getpid()) if path != '/state' else str(scope['state']['number'])
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': text.encode()})
";

fn asgi() -> Setup {
    Setup::new(APP).args(&["-k", "asgi", "--asgi-loop", "asyncio"])
}

#[test]
fn every_name_of_the_worker_class_runs_an_application_and_its_lifespan() {
    for class in [
        "asgi",
        "uvicorn.workers.UvicornWorker",
        "uvicorn.workers.UvicornH11Worker",
        "uvicorn_worker.UvicornWorker",
    ] {
        let mut server = Setup::new(APP).args(&["-k", class]).start();
        assert_eq!(server.text("/state"), "7");
        server.until_log(&format!("Using worker: {class}"), 1);
        assert_eq!(server.stop(), 0, "{}", server.log());
        assert_eq!(
            server.read("stdout.log"),
            "lifespan.startup\nlifespan.shutdown\n"
        );
    }
}

#[test]
fn what_a_worker_does_by_setting_it_does_with_an_event_loop_too() {
    let server = asgi()
        .args(&[
            "--max-requests",
            "3",
            "--access-logfile",
            "access.log",
            "--access-logformat",
            "%(m)s %(U)s %(s)s %(B)s %({host}i)s",
            "--limit-request-line",
            "100",
            "--keep-alive",
            "5",
        ])
        .start();
    let first = server.text("/");
    let line = server.until("a line", || {
        Some(server.read("access.log")).filter(|log| log.contains('\n'))
    });
    assert!(
        line.starts_with(&format!("GET / 200 {} ", first.len())),
        "{line}"
    );
    let other = server.until("another worker", || {
        Some(server.text("/")).filter(|pid| *pid != first)
    });
    assert_ne!(other, first);
    server.until_log("Autorestarting worker after current request.", 1);
    assert_eq!(server.get(&format!("/{}", "x".repeat(200))).status, 414);
}

#[test]
fn a_reload_under_load_loses_nothing() {
    let mut server = asgi().args(&["--workers", "2"]).start();
    let load = Load::on(server.socket());
    for round in 1..=2 {
        server.signal(Signal::HUP);
        server.until_log("Booting worker with pid", 2 + 2 * round);
        server.until_log("Worker exiting", 2 * round);
    }
    let (answered, faults) = load.end();
    assert!(
        faults.is_empty() && answered > 20,
        "{answered}: {faults:?}\n{}",
        server.log()
    );
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_request_that_runs_is_answered_before_the_end() {
    let mut server = asgi().start();
    let mut client = server.client();
    client.ask("GET", "/sleep", &[]).unwrap();
    // What is asked later is answered: the first one has begun.
    server.get("/");
    server.signal(Signal::TERM);
    assert_eq!(client.response().unwrap().status, 200);
    assert_eq!(server.wait(), 0, "{}", server.log());
    assert!(server.read("stdout.log").ends_with("lifespan.shutdown\n"));
}

#[test]
fn last_words_that_take_longer_than_a_request_may_are_no_sickness() {
    let app = "
import asyncio

async def asgi(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        await asyncio.sleep(6)
        print('said', flush=True)
        await send({'type': 'lifespan.shutdown.complete'})
        return
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'ok'})

def wsgi(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
";
    let ends = |kind: &[&str]| {
        let limits = ["--timeout", "1", "--bind", "unix:app.sock"];
        let mut server = Setup::new(app).only_args(&[kind, &limits].concat()).start();
        assert_eq!(server.stop(), 0, "{kind:?} {}", server.log());
        assert_eq!(server.read("stdout.log"), "said\n", "{}", server.log());
        assert!(!server.log().contains("WORKER TIMEOUT"), "{}", server.log());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| ends(&["app:asgi", "-k", "asgi"]));
        scope.spawn(|| ends(&["app:wsgi", "--asgi", "app:asgi"]));
    });
}

#[test]
fn an_end_at_once_asks_nobody() {
    let mut server = asgi().start();
    let mut client = server.client();
    client.ask("GET", "/sleep", &[]).unwrap();
    server.get("/");
    server.signal(Signal::INT);
    assert_eq!(server.wait(), 0, "{}", server.log());
    assert_eq!(server.read("stdout.log"), "lifespan.startup\n");
}

#[test]
fn a_loop_that_is_blocked_ends_its_worker() {
    for (target, words) in [
        ("/block?x=1", "GET /block?x=1 has been running for "),
        ("/block-later", "GET /block-later"),
    ] {
        let server = asgi().args(&["--timeout", "2"]).start();
        let stuck = server.try_get(target);
        assert!(stuck.is_err() || stuck.is_ok_and(|answer| answer.status == 500));
        server.until("an answer", || server.try_get("/").ok());
        server.until_log("WORKER TIMEOUT", 1);
        assert!(server.log().contains(words), "{}", server.log());
        server.until_log("in application", 1);
        assert_eq!(server.booted().len(), 2);
    }
}

#[test]
fn an_application_that_cannot_start_ends_the_server() {
    let app = "
async def application(scope, receive, send):
    await receive()
    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
";
    let (code, _, log) = Setup::new(app).args(&["-k", "asgi"]).run();
    assert_eq!(code, 3, "{log}");
    assert!(
        log.contains("ASGI lifespan startup failed: no database"),
        "{log}"
    );
    let raises = "
async def application(scope, receive, send):
    assert scope['type'] == 'http'
    await send({'type': 'http.response.start', 'status': 200})
    await send({'type': 'http.response.body', 'body': b'ok'})
";
    let (code, _, log) = Setup::new(raises)
        .args(&["-k", "asgi", "--asgi-lifespan", "on"])
        .run();
    assert!(code == 3 && log.contains("AssertionError"), "{code}: {log}");
    for lifespan in ["auto", "off"] {
        let setup = Setup::new(raises).args(&["-k", "asgi", "--asgi-lifespan", lifespan]);
        assert_eq!(setup.start().text("/"), "ok");
    }
}

#[test]
fn an_application_of_the_other_kind_is_refused_with_what_to_do() {
    let (code, _, log) = Setup::new(APP).run();
    assert!(
        code == 4 && log.contains("This is an ASGI application") && log.contains("-k asgi"),
        "{code}: {log}"
    );
    let (code, _, log) = Setup::new(&support::saying("x"))
        .args(&["-k", "asgi"])
        .run();
    assert!(
        code == 4 && log.contains("This is a WSGI application"),
        "{code}: {log}"
    );
}

#[test]
fn threads_of_an_event_loop_are_told_to_be_of_no_use() {
    let server = asgi().args(&["--threads", "4"]).start();
    server.until_log("threads is 4, but workers of class asgi have one thread", 1);
}

#[test]
fn extensions_that_send_files_are_offered_unless_sendfile_is_off() {
    let app = "
async def application(scope, receive, send):
    if scope['type'] == 'lifespan':
        raise RuntimeError('none')
    text = ' '.join(sorted(name.rpartition('.')[2] for name in scope['extensions']))
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': text.encode()})
";
    let offered = |more: &[&str]| {
        let arguments = [&["-k", "asgi"], more].concat();
        Setup::new(app).args(&arguments).start().text("/")
    };
    assert_eq!(offered(&[]), "early_hint pathsend trailers zerocopysend");
    assert_eq!(offered(&["--no-sendfile"]), "early_hint trailers");
}

/// A stand-in for uvicorn's worker class; nothing but its name and `CONFIG_KWARGS` is looked at.
const UVICORN: &str = "
class UvicornWorker:
    CONFIG_KWARGS = {'loop': 'auto', 'http': 'auto'}
    def run(self): raise RuntimeError('this is not called')
";

/// Tells path and root, and says something through uvicorn's logger.
const SAYING: &str = "
import logging

class Quiet(logging.Filter):
    def filter(self, record):
        return record.args[2] != '/root/health'

logging.getLogger('uvicorn.access').addFilter(Quiet())

async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        raise RuntimeError('is not to be called')
    logging.getLogger('uvicorn.error').info('said to uvicorn')
    text = '%s %s %s' % (scope['root_path'], scope['path'], scope['raw_path'])
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': text.encode()})

def application():
    return app
";

fn derived(class: &str) -> Setup {
    let module = format!("from uvicorn.workers import UvicornWorker\n{class}");
    Setup::new(SAYING)
        .file("uvicorn/workers.py", UVICORN)
        .file("classes.py", &module)
        .args(&["-k", "classes.Own"])
}

#[test]
fn what_a_class_that_derives_from_uvicorns_tells_uvicorn_is_taken_for_settings() {
    let class = "
class Own(UvicornWorker):
    CONFIG_KWARGS = {
        'root_path': '/root', 'lifespan': 'off', 'loop': 'asyncio', 'http': 'h11', 'factory': True, 'limit_concurrency': 9,
        'log_config': {
            'version': 1,
            'disable_existing_loggers': False,
            'formatters': {'own': {'format': 'OWN %(levelname)s %(message)s'}},
            'handlers': {'own': {'class': 'logging.FileHandler', 'formatter': 'own', 'filename': 'own.log'}},
            'loggers': {'uvicorn.access': {'handlers': ['own'], 'level': 'INFO', 'propagate': False}},
        },
    }
";
    let mut server = derived(class).start_when("/health");
    assert_eq!(server.text("/a?b=1"), "/root /root/a b'/root/a'");
    server.until_log("[INFO] said to uvicorn", 1);
    server.until_log(
        "CONFIG_KWARGS has limit_concurrency, which has no effect here",
        1,
    );
    let lines = server.until("a line", || {
        Some(server.read("own.log")).filter(|log| log.ends_with('\n'))
    });
    assert_eq!(lines, "OWN INFO  - \"GET /root/a?b=1 HTTP/1.1\" 200\n");
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_class_that_mends_the_loop_of_its_like_is_served_without_and_told() {
    let class = "
import os, signal, threading, time

class Own(UvicornWorker):
    CONFIG_KWARGS = {'factory': True, 'lifespan': 'off', 'log_level': 'critical'}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def run(self):
        self._thread.start()
        super().run()

    def _watch(self):
        os.kill(os.getpid(), signal.SIGINT)
";
    let mut server = derived(class).args(&["--access-logfile", "-"]).start();
    assert_eq!(server.text("/a"), " /a b'/a'");
    server.until_log(
        "classes.Own has a method run of its own, which nothing calls here",
        1,
    );
    assert_eq!(server.stop(), 0);
    let told = server.log();
    assert!(told.contains("has a method __init__ of its own"), "{told}");
    assert!(
        !told.contains("_watch") && !told.contains("said to uvicorn") && !told.contains("GET /a"),
        "{told}"
    );
}

#[test]
fn classes_of_ones_own_that_cannot_be_honoured_are_refused_by_name() {
    for (class, words) in [
        (
            "class Own(UvicornWorker):\n    def init_process(self): pass",
            "worker_class (-k) \"classes.Own\" is refused: classes.Own has a method init_process of its own",
        ),
        ("class Own: pass", "it derives from none of the classes"),
        ("Own = UvicornWorker()", "it is no class"),
        (
            "class Own(UvicornWorker):\n    CONFIG_KWARGS = {'limit_max_requests': 'many'}",
            "classes.Own.CONFIG_KWARGS has limit_max_requests = 'many'",
        ),
        (
            "import no_such_module",
            "worker_class (-k) \"classes.Own\" cannot be imported: No module named 'no_such_module'",
        ),
    ] {
        let (status, _, told) = derived(class).args(&["--check-config"]).run();
        assert!(status == 1 && told.contains(words), "{class}: {told}");
    }
}
