//! What the command line, the environment and the configuration file say, and what happens when they are wrong.

mod support;

use support::{PID_APP, Setup, saying};
use testkit::FreePort;

fn run(arguments: &[&str]) -> (i32, String, String) {
    Setup::new(PID_APP).only_args(arguments).run()
}

#[test]
fn version_and_help_end_with_0() {
    let (code, out, _) = run(&["--version"]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("appserver (version ") && out.ends_with(")\n"),
        "{out}"
    );
    let (code, out, _) = run(&["-h"]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("usage: appserver [OPTIONS] [APP_MODULE]\n")
            && out.contains("--max-requests-jitter INT"),
        "{out}"
    );
}

#[test]
fn usage_errors_are_argparses_and_end_with_2() {
    for (arguments, words) in [
        (
            &["app", "--no-such-flag"][..],
            "unrecognized arguments: --no-such-flag",
        ),
        (
            &["app", "--workers", "many"],
            "argument -w/--workers: invalid int value: 'many'",
        ),
        (
            &["app", "--bind"],
            "argument -b/--bind: expected one argument",
        ),
        (
            &["app", "--worker", "3"],
            "ambiguous option: --worker could match --workers",
        ),
    ] {
        let (code, _, err) = run(arguments);
        let expected =
            format!("usage: appserver [OPTIONS] [APP_MODULE]\nappserver: error: {words}");
        assert_eq!(code, 2, "{err}");
        assert!(err.starts_with(&expected), "{err}");
    }
}

#[test]
fn words_of_the_variable_count_as_the_command_line_does() {
    let (code, _, err) = Setup::new(PID_APP)
        .env("GUNICORN_CMD_ARGS", "--no-such")
        .run();
    assert_eq!(code, 2);
    assert!(
        err.contains("unrecognized arguments: --no-such (in GUNICORN_CMD_ARGS)"),
        "{err}"
    );
}

#[test]
fn without_an_application_nothing_starts() {
    let (code, _, err) = run(&["--bind", "unix:x.sock"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("Error: No application module specified"),
        "{err}"
    );
}

#[test]
fn check_config_tells_by_its_exit_status() {
    let check = |app: &str, file: &str| {
        Setup::new(PID_APP)
            .file("broken.py", "raise ValueError('at import')")
            .file("gunicorn.conf.py", file)
            .only_args(&["--check-config", app])
            .run()
    };
    assert_eq!(check("app:application", "").0, 0);
    for (app, file, words) in [
        ("broken:application", "", "ValueError: at import"),
        ("app:nothing", "", "nothing"),
        ("nowhere", "", "No module named 'nowhere'"),
        ("app", "workers = 'many'", "Invalid value for workers: many"),
        ("app", "raise KeyError('x')", "KeyError: 'x'"),
        (
            "app",
            "certfile = 'x.pem'",
            "certfile (--certfile) \"x.pem\": it cannot be read",
        ),
        (
            "app",
            "header_map = 'loud'",
            "one of drop, refuse, dangerous",
        ),
        (
            "app",
            "forwarded_allow_ips = 'not-an-address'",
            "not-an-address",
        ),
        (
            "app",
            "access_log_format = '%(nonsense)x'",
            "access_log_format",
        ),
        (
            "app",
            "chdir = '/no/such/folder'",
            "can't chdir to '/no/such/folder'",
        ),
        ("app", "raw_env = ['A']", "'A' invalid"),
        ("app", "user = 'no-such-user'", "no-such-user"),
        ("app", "def post_fork(one): pass", "post_fork"),
    ] {
        let (code, _, err) = check(app, file);
        assert_eq!(code, 1, "{app} {file}: {err}");
        assert!(err.contains(words), "{app} {file}: {err}");
    }
}

#[test]
fn every_fault_is_told_at_once_and_nothing_serves() {
    let (code, _, err) = Setup::new(PID_APP)
        .file("gunicorn.conf.py", "workers = 'many'\npaste = 'x.ini'\n")
        .args(&["--worker-class", "sync", "--spew"])
        .run();
    assert_eq!(code, 1);
    for words in [
        "Invalid value for workers: many",
        "./gunicorn.conf.py:1: workers takes",
        "./gunicorn.conf.py:2: paste is refused",
        "command line: --spew is refused",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_line() {
    for (file, words) in [
        (
            "import os\nworkers = os.environ['NO_SUCH']\n",
            "Failed to read config file: ./gunicorn.conf.py:2: KeyError: 'NO_SUCH'\nTraceback (most recent call last):\n  File \"./gunicorn.conf.py\", line 2",
        ),
        (
            "\n\nworkers = = 3\n",
            "Failed to read config file: ./gunicorn.conf.py:3:",
        ),
        (
            "\nworker_class = 'gevent'\n",
            "Error: ./gunicorn.conf.py:2: worker_class (-k) \"gevent\" is refused",
        ),
        (
            "\ndef post_fork(server): pass\n",
            "Error: ./gunicorn.conf.py:2: post_fork: Value must have an arity of: 2",
        ),
        (
            "accesslog = '-'\naccess_log_format = '%(h'\n",
            "(set at: ./gunicorn.conf.py:2)",
        ),
    ] {
        let (code, _, err) = Setup::new(PID_APP).file("gunicorn.conf.py", file).run();
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(words), "{words}: {err}");
    }
}

#[test]
fn print_config_shows_what_is_in_force() {
    let (code, out, err) = Setup::new(PID_APP)
        .file(
            "gunicorn.conf.py",
            "threads = '4'\nbind = ':1'\nunknown = 1\ndef when_ready(server): pass\n",
        )
        .env("GUNICORN_CMD_ARGS", "--timeout 7 --keep-alive 9")
        .only_args(&["app", "--print-config", "--timeout=8", "-w3"])
        .run();
    assert_eq!(code, 0, "{err}");
    let value = |name: &str| {
        let line = out
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("{name}: {out}"))
            .split_once("= ")
            .unwrap()
            .1
            .to_owned()
    };
    for (name, expected) in [
        ("bind", "[':1']"),
        ("threads", "4"),
        ("timeout", "8"),
        ("keepalive", "9"),
        ("workers", "3"),
        ("worker_class", "gthread"),
        ("loglevel", "info"),
        ("pidfile", "None"),
        ("preload_app", "False"),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    assert_eq!(value("when_ready"), "<when_ready()>");
}

#[test]
fn another_file_may_be_named_and_a_missing_one_is() {
    let server = Setup::new(&saying("hello"))
        .file(
            "other.py",
            "bind = 'unix:app.sock'\nwsgi_app = 'app'\nraw_env = ['A=1']\n",
        )
        .only_args(&["-c", "file:other.py"])
        .start();
    assert_eq!(server.text("/"), "hello");
    let (code, _, err) = run(&["app", "-c", "missing.py"]);
    assert_eq!(code, 1);
    assert!(err.contains("'missing.py' doesn't exist"), "{err}");
}

#[test]
fn an_interpreter_that_does_not_fit_is_explained() {
    let (code, _, err) = run(&["app", "--python", "/no/such/python3"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("--python /no/such/python3: there is no such file"),
        "{err}"
    );
    let (code, _, err) = run(&["app", "--python", "/bin/true"]);
    assert_eq!(code, 1);
    assert!(err.contains("/bin/true is no Python interpreter"), "{err}");
    let (code, _, err) = Setup::new(PID_APP)
        .env("VIADUCT_WORKER", "/no/such/module.so")
        .run();
    assert_eq!(code, 1);
    assert!(
        err.contains("VIADUCT_WORKER is \"/no/such/module.so\", but there is no such file"),
        "{err}"
    );
    let (code, _, err) = Setup::new(PID_APP)
        .env("VIRTUAL_ENV", "/no/such/venv")
        .run();
    assert_eq!(code, 1);
    assert!(err.contains("no bin/python3 in it"), "{err}");
}

#[test]
fn a_module_that_python_cannot_load_is_explained() {
    let setup = Setup::new(PID_APP).file("module.so", "no library");
    let module = setup.prefix.join("module.so");
    let (code, _, err) = setup.env("VIADUCT_WORKER", module.to_str().unwrap()).run();
    assert_eq!(code, 1);
    assert!(
        err.contains("ended before it read the configuration") && err.contains("module.so"),
        "{err}"
    );
}

#[test]
fn an_address_in_use_ends_with_1_and_its_name() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    // Nor may the machine have the other one: tried again just the same, for its network may be coming up.
    let (code, _, err) = run(&["app", "-b", &address.to_string(), "-b", "192.0.2.1:80"]);
    assert_eq!(code, 1);
    let absent = "no interface of this machine has the address 192.0.2.1";
    assert_eq!(err.matches(absent).count(), 5, "{err}");
    assert_eq!(
        err.matches(&format!(
            "Connection in use: ('127.0.0.1', {})",
            address.port()
        ))
        .count(),
        5,
        "{err}"
    );
}

#[test]
fn an_address_that_is_none_is_told() {
    for (bind, words) in [
        ("127.0.0.1:http", "'http' is not a valid port number"),
        ("fd://77", "descriptor 77 cannot be taken over"),
        (
            "unix:/no/such/folder/s",
            "the folder \"/no/such/folder\" is not there",
        ),
        ("fd://x", "'x' is not a valid file descriptor"),
    ] {
        let (code, _, err) = run(&["app", "--bind", bind]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(words), "{bind}: {err}");
    }
}

#[test]
fn a_log_file_that_cannot_be_written_ends_with_1_and_its_setting() {
    for flag in ["--access-logfile", "--error-logfile"] {
        let (code, _, err) = run(&["app", flag, "/no/such/folder/x.log"]);
        assert_eq!(code, 1);
        assert!(
            err.contains("'/no/such/folder/x.log' isn't writable") && err.contains(flag),
            "{err}"
        );
    }
}

#[test]
fn port_alone_listens_everywhere() {
    let port = FreePort::find().unwrap();
    let server = Setup::new(&saying("hello"))
        .env("PORT", &port.number().to_string())
        .only_args(&["app"])
        .spawn();
    let address = testkit::Address::Tcp(port.address());
    let answer = server.until("an answer", || support::get_from(&address, "/").ok());
    assert_eq!(answer.text(), "hello");
    server.until_log(
        &format!("Listening at: http://0.0.0.0:{} (", port.number()),
        1,
    );
}

#[test]
fn the_pid_file_of_a_running_process_is_left_alone() {
    let (code, _, err) = Setup::new(PID_APP)
        .file("app.pid", "1\n")
        .args(&["--pid", "app.pid"])
        .run();
    assert_eq!(code, 1);
    assert!(
        err.contains("Already running on PID 1 (or pid file 'app.pid' is stale)"),
        "{err}"
    );
}
