//! The template: the configuration file, settings, hooks, and what it says when something is wrong.

mod common;

use std::collections::BTreeMap;

use appserver_protocol::{ConfigValue, Failure, FromTemplate, Hook, Stage, ToTemplate, exit};
use common::{Master, SETTLED, body, get};
use rustix::process::Signal;
use serde_json::json;

const HELLO: &str = "def app(e, s):\n    s('200 OK', [])\n    return [b'hello']\n";

fn values(answer: FromTemplate) -> BTreeMap<String, ConfigValue> {
    match answer {
        FromTemplate::Config { values, .. } => values,
        other => panic!("{other:?}"),
    }
}

fn failure(answer: FromTemplate) -> Failure {
    match answer {
        FromTemplate::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_configuration_file_is_python_and_only_settings_are_taken_from_it() {
    let conf = "
import os, multiprocessing, pathlib
workers = '3' if os.getcwd() else 0
threads = 2
bind = ('127.0.0.1:0', 'unix:x')
keepalive = 2.5
accesslog = None
preload_app = True
secure_scheme_headers = {'X-FORWARDED-PROTO': 'https'}
chdir = pathlib.Path('/')
class Own: pass
logger_class = Own
helper = multiprocessing.cpu_count
def when_ready(server): pass
post_fork = 'os.path.join'
";
    let mut master = Master::start(&[("gunicorn.conf.py", conf)]);
    let names = [
        "workers",
        "threads",
        "bind",
        "keepalive",
        "accesslog",
        "preload_app",
        "secure_scheme_headers",
        "chdir",
        "logger_class",
        "timeout",
    ];
    let FromTemplate::Config {
        location, values, ..
    } = master.read_config(None, &names)
    else {
        panic!("is read")
    };
    assert_eq!(location.as_deref(), Some("./gunicorn.conf.py"));
    let plain = |name: &str| match &values[name] {
        ConfigValue::Plain(value) => value.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(plain("workers"), json!("3"));
    assert_eq!(plain("threads"), json!(2));
    assert_eq!(plain("bind"), json!(["127.0.0.1:0", "unix:x"]));
    assert_eq!(plain("keepalive"), json!(2.5));
    assert_eq!(plain("accesslog"), json!(null));
    assert_eq!(plain("preload_app"), json!(true));
    assert_eq!(
        plain("secure_scheme_headers"),
        json!({"X-FORWARDED-PROTO": "https"})
    );
    assert_eq!(plain("chdir"), json!("/"));
    assert!(matches!(&values["logger_class"], ConfigValue::Other { kind, .. } if kind == "type"));
    assert!(
        matches!(&values["when_ready"], ConfigValue::Callable { repr } if repr.contains("when_ready"))
    );
    assert!(matches!(&values["post_fork"], ConfigValue::Callable { .. }));
    assert!(!values.contains_key("timeout") && !values.contains_key("helper"));
}

#[test]
fn files_and_modules_are_found_by_name_and_none_is_no_fault() {
    let mut master = Master::start(&[
        ("conf.py", "workers = 1"),
        ("plain.cfg", "workers = 2"),
        ("app.py", HELLO),
    ]);
    for (location, workers) in [
        ("conf.py", 1),
        ("file:conf.py", 1),
        ("python:conf", 1),
        ("plain.cfg", 2),
    ] {
        let values = values(master.read_config(Some(location), &["workers"]));
        assert_eq!(
            values["workers"],
            ConfigValue::Plain(json!(workers)),
            "{location}"
        );
    }
    assert_eq!(
        master.read_config(None, &["workers"]),
        FromTemplate::Config {
            location: None,
            values: BTreeMap::new(),
            places: BTreeMap::new()
        }
    );
}

#[test]
fn values_have_their_lines() {
    let conf = "
import os
workers, threads = 2, 4
if os.environ.get('NO_SUCH_VARIABLE'):
    timeout = 10
else:
    timeout = 20
if not os.environ.get('NO_SUCH_VARIABLE'):
    keepalive = 5
else:
    keepalive = 7
bind: str = 'a'
def post_fork(server, worker):
    chdir = 'not the setting'
for backlog in range(3):
    pass
with open(os.devnull) as errorlog:
    pass
globals()['umask'] = 3
loglevel = (proc_name := 'info')
max_requests = 1
max_requests += 1
";
    let names = [
        "workers",
        "threads",
        "timeout",
        "keepalive",
        "bind",
        "post_fork",
        "chdir",
        "backlog",
        "errorlog",
        "umask",
        "loglevel",
        "proc_name",
        "max_requests",
    ];
    let mut master = Master::start(&[("gunicorn.conf.py", conf)]);
    let FromTemplate::Config { places, .. } = master.read_config(None, &names) else {
        panic!("is read")
    };
    let lines: BTreeMap<_, _> = places
        .iter()
        .map(|(name, place)| {
            let line = place.strip_prefix("./gunicorn.conf.py:").unwrap();
            (name.as_str(), line.parse::<u32>().unwrap())
        })
        .collect();
    let expected = [
        ("workers", 3),
        ("threads", 3),
        ("timeout", 7),
        ("keepalive", 9),
        ("bind", 12),
        ("post_fork", 13),
        ("backlog", 15),
        ("errorlog", 17),
        ("loglevel", 20),
        ("proc_name", 20),
        ("max_requests", 22),
    ];
    assert_eq!(lines, BTreeMap::from(expected));
}

#[test]
fn a_broken_configuration_file_is_told_with_its_line_and_traceback() {
    let mut master = Master::start(&[
        ("a.py", "import os\n\nworkers = 1 / 0"),
        ("b.py", "workers = 3\nbind = = 3"),
        ("c.py", "import sys; sys.exit(3)"),
        (
            "d.py",
            "def workers():\n    import helper\n    return helper.number()\n\nworkers = workers()",
        ),
        (
            "helper.py",
            "def number():\n    raise ValueError('no\\nnumber')",
        ),
        ("e.py", "# encoding: latin-1\nimport broken"),
        ("broken.py", "def"),
    ]);
    for (location, place, words) in [
        (
            "a.py",
            "a.py:3: ZeroDivisionError: division by zero",
            "workers = 1 / 0",
        ),
        ("b.py", "b.py:2:", "bind = = 3"),
        ("file:b.py", "file:b.py: b.py:2:", "bind = = 3"),
        ("c.py", "c.py:1: SystemExit: 3", "SystemExit"),
        (
            "d.py",
            "d.py:3: ValueError: no (raised in ",
            "helper.py\", line 2",
        ),
        ("e.py", "e.py:2: SyntaxError: ", "broken.py\", line 1"),
        ("python:a", "a.py:3: ZeroDivisionError: ", "workers = 1 / 0"),
        ("python:no_such", "python:no_such", "ModuleNotFoundError"),
    ] {
        let failure = failure(master.read_config(Some(location), &[]));
        // A file may end the program with a status of its own.
        let exit = if location == "c.py" { 3 } else { 1 };
        assert_eq!((failure.stage, failure.exit), (Stage::Config, exit));
        assert!(
            failure.message.starts_with("Failed to read config file: ")
                && failure.message.contains(place)
                && failure.message.lines().count() == 1,
            "{place}: {failure:?}"
        );
        let traceback = failure.traceback.unwrap();
        assert!(traceback.contains(words), "{traceback}");
        let ours = traceback.contains("viaduct_worker") && location != "python:no_such";
        assert!(!ours, "our own code is nobody's business: {traceback}");
    }
    let missing = failure(master.read_config(Some("missing.py"), &[]));
    assert_eq!(missing.message, "Error: 'missing.py' doesn't exist");
}

#[test]
fn settings_that_cannot_be_are_named() {
    let mut master = Master::start(&[("app.py", HELLO)]);
    for (settings, words) in [
        (json!({"threads": "many"}), "Invalid value for threads"),
        (
            json!({"forwarded_allow_ips": ["nowhere"]}),
            "Invalid value for forwarded_allow_ips",
        ),
        (
            json!({"header_map": "often"}),
            "Invalid value for header_map",
        ),
        (json!({"access_log_format": "%(h"}), "access_log_format"),
        (json!({"access_log_format": "%h"}), "access_log_format"),
        (
            json!({"errorlog": "/nowhere/error.log"}),
            "/nowhere/error.log",
        ),
        (json!({"chdir": "/nowhere/at/all"}), "/nowhere/at/all"),
    ] {
        let failure = failure(master.settle("app:app", settings));
        assert_eq!(
            (failure.stage, failure.exit),
            (Stage::Settle, 1),
            "{failure:?}"
        );
        assert!(failure.message.contains(words), "{failure:?}");
    }
    assert_eq!(master.settle("app:app", json!({})), SETTLED);
}

#[test]
fn orders_before_the_settings_are_refused() {
    let mut master = Master::start(&[]);
    for order in [
        ToTemplate::LoadApplication,
        ToTemplate::Hook(Hook::OnStarting),
        ToTemplate::Fork(common::FIRST),
    ] {
        assert_eq!(
            failure(master.order(&order)).stage,
            Stage::Protocol,
            "{order:?}"
        );
    }
}

#[test]
fn hooks_that_cannot_be_called_are_told_when_the_settings_come() {
    for (conf, words) in [
        ("when_ready = 3", "Invalid value for when_ready: 3"),
        (
            "when_ready = 'nothing.at.all'",
            "Invalid value for when_ready: 'nothing.at.all'",
        ),
        (
            "when_ready = 'word'",
            "Invalid value for when_ready: 'word'",
        ),
        (
            "def when_ready(): pass",
            "Error: ./gunicorn.conf.py:1: when_ready: Value must have an arity of: 1",
        ),
        (
            "def pre_fork(server): pass",
            "Value must have an arity of: 2",
        ),
        (
            "def post_request(worker): pass",
            "Value must have an arity of: 4",
        ),
    ] {
        let mut master = Master::start(&[("gunicorn.conf.py", conf)]);
        values(master.read_config(None, &[]));
        let failure = failure(master.settle("app", json!({})));
        assert!(
            failure.message.contains(words) && failure.exit == 1,
            "{conf}: {failure:?}"
        );
    }
}

#[test]
fn every_hook_runs_where_and_when_gunicorn_runs_it() {
    let conf = "
import os
def note(text):
    with open('notes', 'a') as file: file.write('%s %s\\n' % (text, 'T' if os.getpid() == template else 'W'))
template = os.getpid()
def on_starting(server): note('on_starting %s' % server.cfg.workers)
def nworkers_changed(server, new, old): note('nworkers_changed %s %s' % (new, old))
def when_ready(server): note('when_ready %s' % list(map(str, server.LISTENERS)))
def on_reload(server): note('on_reload')
def pre_exec(server): note('pre_exec')
def on_exit(server): note('on_exit')
def pre_fork(server, worker): note('pre_fork %s %s' % (worker.age, worker.pid))
def post_fork(server, worker): note('post_fork %s' % (worker.pid == os.getpid()))
def post_worker_init(worker): note('post_worker_init %s' % callable(worker.wsgi))
def pre_request(worker, req): note('pre_request %s %s %s %s' % (req.method, req.path, req.query, [h for h in req.headers if h[0] == 'X-A']))
def post_request(worker, req, environ, resp): note('post_request %s %s %s %s' % (environ['PATH_INFO'], resp.status, resp.sent, resp.headers))
def worker_int(worker): note('worker_int')
def worker_exit(server, worker): note('worker_exit'); server.log.info('exit of %s', worker.age)
def child_exit(server, worker): note('child_exit %s' % worker.age)
";
    let app = "def app(e, s):\n    s('200 OK', [('X-B', 'c')])\n    return [b'hello']\n";
    for threads in [1, 2] {
        let mut master = Master::start(&[("gunicorn.conf.py", conf), ("app.py", app)]);
        values(master.read_config(None, &[]));
        assert_eq!(
            master.settle("app:app", json!({"workers": 2, "threads": threads})),
            SETTLED
        );
        for hook in [
            Hook::NworkersChanged { new: 2, old: None },
            Hook::OnStarting,
            Hook::WhenReady {
                listeners: vec!["http://127.0.0.1:1".into()],
            },
        ] {
            assert_eq!(master.hook(hook), FromTemplate::HookDone);
        }
        let (worker, address) = master.serve(threads);
        common::ask(
            address,
            "GET /p?q HTTP/1.1\r\nHost: a\r\nx-a: b\r\nConnection: close\r\n\r\n",
        );
        master.await_words("notes", "post_request");
        worker.signal(Signal::INT);
        assert_eq!(worker.wait(), 0);
        let pid = u32::try_from(worker.pid.as_raw_nonzero().get()).expect("is a pid");
        assert_eq!(
            master.order(&ToTemplate::ChildExit {
                age: worker.age,
                pid
            }),
            FromTemplate::HookDone
        );
        for hook in [Hook::OnReload, Hook::PreExec, Hook::OnExit] {
            assert_eq!(master.hook(hook), FromTemplate::HookDone);
        }
        let expected = "nworkers_changed 2 None T
on_starting 2 T
when_ready ['http://127.0.0.1:1'] T
pre_fork 1 [booting] T
post_fork True W
post_worker_init True W
pre_request GET /p q [('X-A', 'b')] W
post_request /p 200 OK 5 [('X-B', 'c')] W
worker_int W
worker_exit W
child_exit 1 T
on_reload T
pre_exec T
on_exit T
";
        assert_eq!(master.file("notes"), expected);
        master.await_words("stderr.txt", "[INFO] exit of 1");
    }
}

#[test]
fn a_hook_that_raises_is_told_and_does_not_end_the_template() {
    let conf = "def on_starting(server): raise ValueError('not today')\ndef pre_fork(server, worker): raise OSError('no fork')\n";
    let mut master = Master::start(&[("gunicorn.conf.py", conf), ("app.py", HELLO)]);
    values(master.read_config(None, &[]));
    assert_eq!(master.settle("app:app", json!({})), SETTLED);
    let told = failure(master.hook(Hook::OnStarting));
    assert_eq!(
        (told.stage, told.message.as_str()),
        (
            Stage::Hook,
            "hook on_starting failed: ValueError: not today"
        )
    );
    assert_eq!(master.hook(Hook::OnExit), FromTemplate::HookDone);
    let told = failure(master.order(&ToTemplate::Fork(common::FIRST)));
    assert_eq!(
        (told.stage, told.message.as_str()),
        (Stage::Fork, "OSError: no fork")
    );
}

#[test]
fn a_hook_before_a_request_that_raises_is_500_and_one_after_is_logged() {
    let conf = "
def pre_request(worker, req):
    if req.path == '/before': raise ValueError('before')
def post_request(worker, req):
    if req.path == '/after': raise ValueError('after')
";
    let mut master = Master::start(&[("gunicorn.conf.py", conf), ("app.py", HELLO)]);
    values(master.read_config(None, &[]));
    assert_eq!(master.settle("app:app", json!({})), SETTLED);
    let (worker, address) = master.serve(1);
    assert!(get(address, "/before").starts_with("HTTP/1.1 500 "));
    assert_eq!(body(&get(address, "/after")), "hello");
    master.await_words("stderr.txt", "Exception in post_request hook");
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0);
}

#[test]
fn the_application_can_be_tried_in_the_template() {
    let mut master = Master::start(&[("app.py", HELLO), ("bad.py", "raise ValueError('no')")]);
    for (application, expected) in [
        ("app:app", None),
        ("bad", Some(exit::WORKER_BOOT)),
        ("app:none", Some(exit::APP_LOAD)),
    ] {
        assert_eq!(master.settle(application, json!({})), SETTLED);
        let answer = master.order(&ToTemplate::LoadApplication);
        match expected {
            None => assert_eq!(answer, FromTemplate::Loaded),
            Some(status) => assert_eq!(failure(answer).exit, status, "{application}"),
        }
    }
    let preload = failure(master.settle("bad", json!({"preload_app": true})));
    assert_eq!(
        (preload.stage, preload.exit),
        (Stage::Application, exit::WORKER_BOOT)
    );
    assert!(
        preload
            .traceback
            .is_some_and(|text| text.contains("ValueError: no"))
    );
}

#[test]
fn settings_reach_environment_path_and_directory() {
    let app = "
import os, sys
import extra
def app(environ, start_response):
    start_response('200 OK', [])
    words = [os.environ['SHOP'], os.path.basename(os.getcwd()), extra.NAME, sys.path[1].split('/')[-1]]
    return [' '.join(words + sys.argv + os.environ['SERVER_SOFTWARE'].split() + [str('' in sys.path)]).encode()]
";
    let mut master = Master::start(&[]);
    let folder = master.folder.path().to_owned();
    for name in ["work", "lib"] {
        std::fs::create_dir(folder.join(name)).expect("makes");
    }
    std::fs::write(folder.join("work/app.py"), app).expect("writes");
    std::fs::write(folder.join("lib/extra.py"), "NAME = 'extra'").expect("writes");
    let settings = json!({
        "raw_env": ["SHOP=open", "EMPTY="],
        "chdir": folder.join("work").display().to_string(),
        "pythonpath": folder.join("lib").display().to_string(),
    });
    assert_eq!(master.settle("app:app", settings), SETTLED);
    let (worker, address) = master.serve(1);
    assert_eq!(
        body(&get(address, "/")),
        format!(
            "open work extra work appserver app:app gunicorn/27.0.1 viaduct/{} False",
            env!("CARGO_PKG_VERSION")
        )
    );
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0);
}

#[test]
fn the_template_ignores_signals_and_ends_with_its_channel() {
    let mut master = Master::start(&[("app.py", HELLO)]);
    assert_eq!(master.settle("app:app", json!({})), SETTLED);
    let pid = rustix::process::Pid::from_child(&master.template);
    for signal in [
        Signal::INT,
        Signal::TERM,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
    ] {
        rustix::process::kill_process(pid, signal).expect("signals");
    }
    assert_eq!(master.hook(Hook::OnStarting), FromTemplate::HookDone);
    let child = r"
import signal, subprocess, sys
code = 'import signal; print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)'
answer = subprocess.run([sys.executable, '-c', code], capture_output=True).stdout
open('child', 'wb').write(answer)
def app(e, s): pass
";
    std::fs::write(master.folder.path().join("starts.py"), child).expect("writes");
    assert_eq!(
        master.settle("starts:app", json!({"preload_app": true})),
        SETTLED
    );
    assert_eq!(master.file("child").trim(), "True");
    master.close();
    assert_eq!(master.template.wait().expect("ends").code(), Some(0));
}
