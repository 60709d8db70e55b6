//! Workers that die, hang, retire; the template that dies; files that change.

mod support;

use std::time::Duration;

use rustix::process::{Pid, Signal};
use support::{Load, PID_APP, Setup, is_alive, kill, saying};

/// Sleeps for `/stuck`, spins for `/busy`, dies for `/die`.
const FRAGILE_APP: &str = "
import os, time

def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/stuck':
        open('stuck', 'w').close()
        time.sleep(1000)
    if path == '/busy':
        sum(range(10 ** 15))
    if path == '/die':
        os.kill(os.getpid(), 9)
    if path == '/exit':
        os._exit(9)
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']

async def asgi(scope, receive, send):
    assert scope['type'] == 'http'
    if scope['path'] == '/ws/stuck':
        time.sleep(1000)
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'ok'})
";

#[test]
fn a_worker_that_is_killed_is_replaced_and_the_log_says_how_it_died() {
    let server = Setup::new(FRAGILE_APP).start();
    assert!(server.try_get("/die").is_err());
    assert_eq!(server.text("/"), "ok");
    server.until_log("was sent SIGKILL!", 1);
    assert!(server.try_get("/exit").is_err());
    assert_eq!(server.text("/"), "ok");
    server.until_log("exited with code 9.", 1);
    assert_eq!(server.booted().len(), 3);
}

#[test]
fn killed_workers_under_load_cost_only_their_own_requests() {
    let mut server = Setup::new(PID_APP).args(&["--workers", "2"]).start();
    let load = Load::on(server.socket());
    for round in 0..5 {
        let worker = server.text("/");
        kill(
            Pid::from_raw(worker.parse().unwrap()).unwrap(),
            Signal::KILL,
        );
        server.until_log("was sent SIGKILL!", round + 1);
        server.until_log("Booting worker with pid", 3 + round);
    }
    server.until("an answer", || server.try_get("/").ok());
    let (answered, faults) = load.end();
    // Four clients, five deaths: each death fails what these clients had with that worker, no more.
    assert!(
        faults.len() <= 4 * 5,
        "{} of {answered}: {faults:?}",
        faults.len()
    );
    assert!(answered > 20);
    assert_eq!(server.stop(), 0);
}

/// A worker of one kind that comes to a stand is named with what it was doing, for how long and where, and replaced.
fn check_stuck(kind: &[&str], target: &str, frame: &str) {
    let limits = ["--timeout", "1", "--bind", "unix:app.sock"];
    let server = Setup::new(FRAGILE_APP)
        .only_args(&[kind, &limits].concat())
        .start();
    // The worker answers with its last breath, or the connection is cut.
    let stuck = server.try_get(target);
    assert!(stuck.is_err() || stuck.is_ok_and(|answer| answer.status == 500));
    assert_eq!(server.text("/"), "ok");
    let pid = server.booted()[0].as_raw_pid();
    let words =
        format!("[CRITICAL] WORKER TIMEOUT (pid:{pid}): GET {target} has been running for ");
    assert!(server.log().contains(&words), "{words}: {}", server.log());
    // The stack tells where.
    server.until_log(frame, 1);
    assert_eq!(server.booted().len(), 2);
}

#[test]
fn a_request_that_takes_too_long_ends_its_worker_of_any_kind_and_is_named() {
    let both = &[
        "app:application",
        "--asgi",
        "app:asgi",
        "--asgi-path",
        "/ws/",
    ][..];
    let threads = &["app:application", "--threads", "2"][..];
    std::thread::scope(|scope| {
        for (kind, target, frame) in [
            (&["app:application"][..], "/stuck?x=1", " in application"),
            (threads, "/stuck?x=1", " in application"),
            (both, "/stuck?x=1", " in application"),
            (both, "/ws/stuck?x=1", " in asgi"),
            (&["app:asgi", "-k", "asgi"], "/ws/stuck?x=1", " in asgi"),
            // In C, with the lock that every thread of Python needs.
            (&["app:application"], "/busy", " in application"),
            (threads, "/busy", " in application"),
        ] {
            scope.spawn(move || check_stuck(kind, target, frame));
        }
    });
}

#[test]
fn a_worker_that_has_served_its_share_is_replaced_at_once() {
    let server = Setup::new(PID_APP).args(&["--max-requests", "1"]).start();
    let workers: std::collections::HashSet<String> = (0..15)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            server.text("/")
        })
        .collect();
    // With every beat of the heart it would be two or three.
    assert!(workers.len() > 4, "{workers:?}");
}

#[test]
fn workers_are_replaced_after_max_requests_and_nothing_is_lost() {
    let mut server = Setup::new(PID_APP)
        .args(&["--max-requests", "20", "--max-requests-jitter", "5"])
        .start();
    let load = Load::on(server.socket());
    server.until_log("Autorestarting worker after current request.", 2);
    server.until_log("Worker exiting", 2);
    let (answered, faults) = load.end();
    assert!(
        faults.is_empty(),
        "{} of {answered}: {faults:?}",
        faults.len()
    );
    assert_eq!(server.stop(), 0);
}

/// Grows by what `/grow` asks for, and tells its process.
const GROWING_APP: &str = "
import os
kept = []
def application(environ, start_response):
    if environ['PATH_INFO'] == '/grow':
        kept.append(b'x' * (64 << 20))
    text = str(os.getpid()).encode()
    start_response('200 OK', [('Content-Length', str(len(text)))])
    return [text]
";

#[test]
fn a_worker_that_has_grown_or_is_old_is_replaced_and_nothing_is_lost() {
    for (arguments, grows, words, reason) in [
        (
            ["--worker-max-rss", "120m"],
            true,
            " of memory (worker_max_rss is 120.0 MiB)",
            "max_rss",
        ),
        (
            ["--worker-max-lifetime", "2s"],
            false,
            " s (worker_max_lifetime)",
            "max_lifetime",
        ),
    ] {
        let mut server = Setup::new(GROWING_APP)
            .args(&["--metrics-bind", "unix:metrics.sock"])
            .args(&arguments)
            .start();
        let first = server.text("/");
        let load = Load::on(server.socket());
        if grows {
            server.get("/grow");
            server.get("/grow");
        }
        server.until_log(words, 1);
        server.until("another worker", || {
            (server.text("/") != first).then_some(())
        });
        let place = testkit::Address::Unix(server.prefix.join("metrics.sock"));
        let metric = format!("appserver_worker_ends_total{{reason=\"{reason}\"}}");
        server.until("the reason in the metrics", || {
            let page = support::get_from(&place, "/metrics").ok()?.text();
            page.contains(&metric).then_some(())
        });
        let (answered, faults) = load.end();
        assert!(faults.is_empty(), "{answered}: {faults:?}");
        assert_eq!(server.stop(), 0);
    }
}

#[test]
fn a_limit_of_memory_below_what_a_fresh_worker_has_is_told_and_not_obeyed() {
    let mut server = Setup::new(PID_APP)
        .args(&["--worker-max-rss", "1m", "--max-requests", "50"])
        .start();
    server.until_log(
        "worker_max_rss is 1.0 MiB, but a worker that has served nothing has ",
        1,
    );
    let first = server.text("/");
    // Further beats of its heart do not end it, requests do.
    let load = Load::on(server.socket());
    server.until("another worker", || {
        (server.text("/") != first).then_some(())
    });
    load.end();
    assert!(!server.log().contains("of memory (worker_max_rss"));
    assert_eq!(server.stop(), 0);
}

/// Answers `/big` with more than sockets hold, in either dialect.
const BIG_APP: &str = "
import os

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'x' * (64 << 20) if environ['PATH_INFO'] == '/big' else b'ok']

async def asgi(scope, receive, send):
    if scope['type'] != 'http':
        return
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    body = b'x' * (64 << 20) if scope['path'] == '/big' else b'ok'
    await send({'type': 'http.response.body', 'body': body})
";

#[test]
fn a_drain_longer_than_the_timeout_is_no_sickness() {
    let drained = |kind: &[&str]| {
        let limits = ["--timeout", "1", "--graceful-timeout", "60"];
        let arguments = [kind, &limits, &["--bind", "unix:app.sock"]].concat();
        let mut server = Setup::new(BIG_APP).only_args(&arguments).start();
        let mut client = server.client();
        client.ask("GET", "/big", &[]).unwrap();
        server.get("/");
        server.signal(Signal::TERM);
        // The heart would be missed after five seconds. The client takes its time: that is what is tested.
        std::thread::sleep(Duration::from_secs(7));
        let response = client.response();
        let length = response.map(|response| response.body.len());
        assert_eq!(length.ok(), Some(64 << 20), "{kind:?} {}", server.log());
        assert_eq!(server.wait(), 0, "{kind:?} {}", server.log());
        assert!(!server.log().contains("WORKER TIMEOUT"), "{}", server.log());
    };
    let kinds = [
        &["app:application"][..],
        &["app:application", "--threads", "2"],
        &["app:asgi", "-k", "asgi"],
        &[
            "app:application",
            "--asgi",
            "app:asgi",
            "--asgi-path",
            "/big",
        ],
    ];
    std::thread::scope(|scope| {
        for kind in kinds {
            scope.spawn(move || drained(kind));
        }
    });
}

#[test]
fn a_drain_is_no_excuse_for_a_request_that_is_stuck() {
    let mut server = Setup::new(FRAGILE_APP)
        .args(&["--timeout", "1", "--graceful-timeout", "600"])
        .start();
    let mut client = server.client();
    client.ask("GET", "/stuck", &[]).unwrap();
    server.until("the call of the application", || {
        server.prefix.join("stuck").exists().then_some(())
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), 0);
    server.until_log("WORKER TIMEOUT", 1);
    server.until_log(" in application", 1);
}

#[test]
fn a_worker_that_cannot_boot_later_does_not_take_the_server_down() {
    let mut server = Setup::new(PID_APP).start();
    let first = Pid::from_raw(server.text("/").parse().unwrap()).unwrap();
    server.write("app.py", "raise ValueError('broken later')");
    server.signal(Signal::TTIN);
    server.until_log("Worker failed to boot: ValueError: broken later", 2);
    assert_eq!(server.text("/"), first.as_raw_pid().to_string());
    server.write("app.py", PID_APP);
    server.until("the second worker", || {
        (server.booted().len() > 1 && server.text("/") != first.as_raw_pid().to_string())
            .then_some(())
    });
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_template_that_is_killed_is_replaced() {
    let mut server = Setup::new(PID_APP).start();
    let worker = Pid::from_raw(server.text("/").parse().unwrap()).unwrap();
    let template = children(server.pid())
        .into_iter()
        .find(|pid| *pid != worker)
        .unwrap();
    kill(template, Signal::KILL);
    server.until_log("The template (pid:", 1);
    server.until_log("Reloaded: 1 new workers are ready", 1);
    let next = server.text("/");
    assert_ne!(next, worker.as_raw_pid().to_string());
    kill(Pid::from_raw(next.parse().unwrap()).unwrap(), Signal::KILL);
    server.until("a worker of the new template", || {
        server.try_get("/").ok().filter(|it| it.text() != next)
    });
    assert_eq!(server.stop(), 0);
}

#[test]
fn workers_and_template_end_when_the_master_is_killed() {
    let mut server = Setup::new(PID_APP).args(&["-w", "2"]).start();
    let family = server.until("template and workers", || {
        Some(children(server.pid())).filter(|family| family.len() == 3)
    });
    server.signal(Signal::KILL);
    server.wait();
    server.until("everybody is gone", || {
        family.iter().all(|pid| !is_alive(*pid)).then_some(())
    });
}

#[test]
fn reload_follows_changes_also_after_code_that_did_not_load() {
    let server = Setup::new(&saying("one")).args(&["--reload"]).start();
    server.until_log("Reloader is on", 1);
    server.write("app.py", "raise ValueError('broken on purpose')");
    server.until_log("Reload failed, the old workers serve on", 1);
    assert_eq!(server.text("/"), "one");
    server.write("app.py", &saying("two"));
    server.until("the repaired code", || {
        (server.text("/") == "two").then_some(())
    });
}

#[test]
fn a_symbolic_link_leads_to_the_next_release() {
    let setup = Setup::new("application = None")
        .file("a/app.py", &saying("a"))
        .file("b/app.py", &saying("b"));
    let link = setup.prefix.join("current");
    std::os::unix::fs::symlink("a", &link).unwrap();
    let mut server = setup
        .args(&["--chdir", "current"])
        .only_bind("../app.sock")
        .start();
    assert_eq!(server.text("/"), "a");
    std::os::unix::fs::symlink("b", server.prefix.join("next")).unwrap();
    std::fs::rename(server.prefix.join("next"), link).unwrap();
    server.signal(Signal::HUP);
    server.until("the next release", || {
        (server.text("/") == "b").then_some(())
    });
}

fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_pid();
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    text.split_whitespace()
        .map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap())
        .collect()
}

/// Objects of all sorts that are alive before the fork: `/` tells what became of them, `/drop` lets go of those that have an end.
const LIVING_APP: &str = "
import gc, json, sys, weakref

ended = []

class Ending:
    def __init__(self, name):
        self.name = name

    def __del__(self, ended=ended):
        ended.append(self.name)

class Kind:
    def method(self, default=None, *, other=('x', 1)):
        return self, default, other

def enclosing(value):
    return lambda: value

def watched():
    pass

watch = weakref.ref(watched, lambda _: ended.append('watched'))
text = 'a text that nobody ' * 3
names = ('one', (2, 3.5, b'four'), None, Kind)
plain = enclosing('text')
instance, enclosed, within = Ending('instance'), enclosing(Ending('enclosed')), (1, Ending('within'))
queue = [Ending('queue')]
kinds = weakref.WeakSet([Kind])

def is_immortal(it):
    return sys.getrefcount(it) > 1 << 30

def application(environ, start_response):
    global watched, instance, enclosed, within, queue
    if environ['PATH_INFO'] == '/drop':
        del watched, instance, enclosed, within, queue
        told = sorted(ended)
    else:
        longer = text
        longer += 'interned'
        assert longer == text + sys.intern('interned') and len(text) == 57 and sys.intern(text) is text
        assert (*names, 5)[-1] == 5 and list(kinds) == [Kind] and Kind().method()[1:] == (None, ('x', 1))
        gc.unfreeze()
        gc.collect()
        shared = [text, names, Kind, Kind.method, Kind.method.__code__, plain, application, Kind.__dict__['method']]
        left = [watched, instance, enclosed, within, queue, ended, environ, json]
        told = [sorted(map(is_immortal, shared)), sorted(map(is_immortal, left))]
    body = json.dumps(told).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

/// Interpreters whose objects can be immortal, by any of the names under which they usually are.
fn newer_python() -> Option<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    let pyenv = std::env::var("PYENV_ROOT").unwrap_or_else(|_| format!("{home}/.pyenv"));
    let installed = std::fs::read_dir(format!("{pyenv}/versions"));
    let installed = installed
        .into_iter()
        .flatten()
        .flatten()
        .map(|it| it.path().join("bin/python3").display().to_string());
    let names = ["python3", "python3.12", "python3.13"].map(str::to_owned);
    let fits = |python: &String| {
        const ASK: &str = "import sys, platform; assert platform.python_implementation() == 'CPython' and (3, 12) <= sys.version_info < (3, 14) and not sys.abiflags";
        std::process::Command::new(python)
            .args(["-c", ASK])
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    names.into_iter().chain(installed).find(fits)
}

#[test]
fn what_is_alive_before_the_fork_is_immortal_unless_somebody_could_see_its_end() {
    let Some(python) = newer_python() else {
        eprintln!("NOT TESTED: immortal objects, for there is no CPython 3.12 or 3.13 here");
        return;
    };
    let arguments = ["--preload", "--log-level", "debug", "--python", &python];
    let mut server = Setup::new(LIVING_APP).args(&arguments).start();
    server.until_log(" objects are immortal: workers share them", 1);
    let trues = ["true"; 8].join(", ");
    let falses = ["false"; 8].join(", ");
    assert_eq!(server.text("/"), format!("[[{trues}], [{falses}]]"));
    let ended = r#"["enclosed", "instance", "queue", "watched", "within"]"#;
    assert_eq!(server.text("/drop"), ended);
    // Nothing adds up, and nothing of it is noticed at the end of an interpreter.
    server.signal(Signal::HUP);
    server.until_log(" objects are immortal: workers share them", 2);
    server.until_log("Worker exiting", 1);
    assert_eq!(server.text("/drop"), ended);
    assert_eq!(server.stop(), 0);
    let log = server.log();
    for word in ["Traceback", "ignored", "Fatal", "SIG", "exited with"] {
        assert!(!log.contains(word), "{word}:\n{log}");
    }
}

#[test]
fn a_thread_that_runs_before_the_fork_keeps_objects_from_being_made_immortal() {
    let app = format!(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n{}",
        saying("one")
    );
    let mut setup = Setup::new(&app).args(&["--preload", "--log-level", "debug"]);
    if let Some(python) = newer_python() {
        setup = setup.args(&["--python", &python]);
    }
    let mut server = setup.start();
    server.until_log("no objects are made immortal: ", 1);
    assert_eq!(server.text("/"), "one");
    assert_eq!(server.stop(), 0);
}
