//! How workers begin: finding and loading the application, users, what cannot boot.

use super::*;

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
