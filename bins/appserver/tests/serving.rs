//! Where it listens, what the application sees, what the logs say.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::{PID_APP, PROGRAM, Setup, get_from, saying};
use testkit::{Address, FreePort};

/// Answers with an expression of `environ`, `os` and `sys`, given in the query.
const EVAL_APP: &str = "
import os, sys, urllib.parse

def application(environ, start_response):
    text = str(eval(urllib.parse.unquote(environ['QUERY_STRING']))).encode()
    start_response('200 OK', [('Content-Length', str(len(text)))])
    return [text]
";

#[test]
fn unconventional_versions_are_taken_where_they_are_permitted_and_what_is_not_obeyed_is_told() {
    for (arguments, status) in [
        (&["--permit-unconventional-http-version"][..], 200),
        (&["--strip-header-spaces"], 400),
    ] {
        let server = Setup::new(PID_APP).args(arguments).start();
        let mut client = server.client();
        client.send(b"GET / HTTP/1.2\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(client.response().unwrap().status, status, "{arguments:?}");
        let warned = server.log().contains("strip_header_spaces is not obeyed");
        assert_eq!(warned, status == 400, "{}", server.log());
    }
}

#[test]
fn several_addresses_of_all_kinds() {
    let ports = [FreePort::find().unwrap(), FreePort::find().unwrap()];
    let [one, two] = ports.each_ref().map(|port| port.address().to_string());
    let server = Setup::new(&saying("hello"))
        .args(&[
            "-b",
            &one,
            "--bind",
            &format!("tcp://{two}"),
            "-b",
            "unix:other.sock",
        ])
        .start();
    let other = Address::Unix(server.prefix.join("other.sock"));
    for address in [
        Address::Tcp(ports[0].address()),
        Address::Tcp(ports[1].address()),
        other,
    ] {
        assert_eq!(
            get_from(&address, "/").unwrap().text(),
            "hello",
            "{address}"
        );
    }
    let listening = format!(
        "Listening at: http://{one},http://{two},unix:other.sock,unix:app.sock ({})",
        server.pid().as_raw_pid()
    );
    assert!(server.log().contains(&listening), "{}", server.log());
}

#[test]
fn the_socket_has_the_umasks_mode_and_goes_with_the_server() {
    for (arguments, mode) in [
        (&[][..], 0o777),
        (&["--umask", "007"], 0o770),
        (&["-m", "0o177"], 0o600),
    ] {
        let mut server = Setup::new(PID_APP).args(arguments).start();
        let path = server.prefix.join("app.sock");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode);
        assert_eq!(server.stop(), 0);
        assert!(!path.exists());
    }
}

#[test]
fn a_stale_socket_is_replaced() {
    let setup = Setup::new(PID_APP);
    drop(std::os::unix::net::UnixListener::bind(setup.prefix.join("app.sock")).unwrap());
    setup.start();
}

#[test]
fn the_application_finds_its_folder_path_and_variables() {
    let setup = Setup::new("application = None")
        .file("project/inner.py", EVAL_APP)
        .file("lib/extra.py", "X = 'from lib'")
        .env("KEPT", "1");
    let folder = setup.prefix.path().display().to_string();
    let server = setup
        .only_args(&[
            "inner",
            "-b",
            &format!("unix:{folder}/app.sock"),
            "--chdir",
            "project",
            "--pythonpath",
            &format!("{folder}/lib"),
            "-e",
            "A=1",
            "--env",
            "B=x=y",
        ])
        .start_when("/?1");
    for (expression, value) in [
        ("os.getcwd()", format!("{folder}/project")),
        (
            "os.environ['A']+os.environ['B']+os.environ['KEPT']",
            "1x=y1".to_owned(),
        ),
        ("__import__('extra').X", "from lib".to_owned()),
        (
            "environ['wsgi.multiprocess'],environ['wsgi.multithread']",
            "(False, False)".to_owned(),
        ),
    ] {
        assert_eq!(
            server.text(&format!("/?{expression}")),
            value,
            "{expression}"
        );
    }
}

#[test]
fn threads_and_workers_show_in_the_environ() {
    let server = Setup::new(EVAL_APP)
        .args(&["--threads", "3", "-w", "2"])
        .start_when("/?1");
    assert_eq!(
        server.text("/?environ['wsgi.multiprocess'],environ['wsgi.multithread']"),
        "(True, True)"
    );
    assert!(
        server.log().contains("Using worker: gthread"),
        "{}",
        server.log()
    );
}

#[test]
fn idle_connections_leave_room_for_as_many_new_ones_as_there_are_threads() {
    for (most, is_kept) in [("3", false), ("1000", true)] {
        let server = Setup::new(&saying("hello"))
            .args(&["--threads", "2", "--worker-connections", most])
            .start();
        // Comes first, says nothing, and has a place.
        let _silent = server.client();
        let answer = server.client().get("/").unwrap();
        let closes = answer.field("Connection").as_deref() == Some("close");
        assert_eq!(!closes, is_kept, "{most}");
    }
}

#[test]
fn access_lines_have_the_form_that_was_asked_for() {
    let server = Setup::new(&saying("hello"))
        .args(&[
            "--access-logfile",
            "access.log",
            "--access-logformat",
            "%(h)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%({x-id}i)s|%({content-length}o)s",
        ])
        .start();
    let mut client = server.client();
    client.ask("GET", "/a?b=c", &[("X-Id", "7")]).unwrap();
    client.response().unwrap();
    server.until("the line", || {
        server
            .read("access.log")
            .contains("|GET|/a|b=c|HTTP/1.1|200|5|7|5\n")
            .then_some(())
    });
}

#[test]
fn lines_of_the_error_log_have_gunicorns_form() {
    let mut server = Setup::new(PID_APP)
        .args(&["--error-logfile", "e.log", "--log-level", "debug"])
        .start();
    assert_eq!(server.stop(), 0);
    let log = server.read("e.log");
    let pid = server.pid().as_raw_pid();
    for line in [
        "Starting appserver",
        "Using worker: sync",
        "Handling signal: term",
        "Shutting down: Master",
    ] {
        let found = log
            .lines()
            .find(|found| found.contains(line))
            .unwrap_or_else(|| panic!("{line}: {log}"));
        let (time, rest) = found.split_once("] ").unwrap();
        assert!(
            time.starts_with("[20") && time.ends_with(" +0000"),
            "{found}"
        );
        assert!(
            rest.starts_with(&format!("[{pid}] [INFO] {line}")),
            "{found}"
        );
    }
    assert_eq!(server.log(), "");
}

#[test]
fn what_the_application_prints_goes_to_the_log_when_asked() {
    let app = "print('from the application', flush=True)\n".to_owned() + &saying("x");
    let server = Setup::new(&app)
        .args(&["--capture-output", "--log-file", "e.log"])
        .start();
    server.until("the words", || {
        server
            .read("e.log")
            .contains("from the application")
            .then_some(())
    });
}

#[test]
fn hooks_of_the_master_run_in_order() {
    let file = "
def note(text):
    with open('hooks', 'a') as f: f.write(text + '\\n')
def nworkers_changed(server, new, old): note('nworkers_changed %s %s' % (new, old))
def on_starting(server): note('on_starting')
def when_ready(server): note('when_ready %s' % list(map(str, server.LISTENERS)))
def pre_fork(server, worker): note('pre_fork')
def child_exit(server, worker): note('child_exit')
def on_exit(server): note('on_exit')
";
    let mut server = Setup::new(PID_APP).file("gunicorn.conf.py", file).start();
    assert_eq!(server.stop(), 0);
    let hooks = server.read("hooks");
    let expected = "nworkers_changed 1 None\non_starting\nwhen_ready ['unix:app.sock']\npre_fork\nchild_exit\non_exit\n";
    assert_eq!(hooks, expected);
}

#[test]
fn workers_run_as_another_user_who_owns_socket_and_logs() {
    if !rustix::process::geteuid().is_root() {
        return testkit::nothing_checked("only root can become another user");
    }
    let setup = Setup::new(EVAL_APP);
    // The folder of the application must be open to that user.
    let server = setup
        .args(&[
            "--user",
            "54321",
            "--group",
            "54322",
            "--access-logfile",
            "access.log",
            "--log-file",
            "e.log",
        ])
        .start_when("/?1");
    assert_eq!(
        server.text("/?os.getuid(),os.getgid(),os.getgroups()"),
        "(54321, 54322, [54322])"
    );
    for name in ["app.sock", "access.log", "e.log"] {
        let found = std::fs::metadata(server.prefix.join(name)).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!((found.uid(), found.gid()), (54321, 54322), "{name}");
    }
}

#[test]
fn initgroups_gives_workers_the_groups_of_their_user() {
    if !rustix::process::geteuid().is_root() {
        return testkit::nothing_checked("only root can become another user");
    }
    // Which groups "nobody" is in is the machine's affair; here it is in two more.
    let file = "
import os
def post_fork(server, worker):
    def initgroups(name, group):
        assert name == 'nobody', name
        os.setgroups([group, 54323, 54324])
    os.initgroups = initgroups
";
    for (arguments, groups) in [
        (&[][..], "[54322]"),
        (&["--initgroups"], "[54322, 54323, 54324]"),
    ] {
        let server = Setup::new(EVAL_APP)
            .file("gunicorn.conf.py", file)
            .args(&["--user", "nobody", "--group", "54322"])
            .args(arguments)
            .start_when("/?1");
        assert_eq!(server.text("/?os.getgroups()"), groups);
    }
}

#[test]
fn servers_share_an_address_where_both_are_told_to() {
    let port = FreePort::find().unwrap();
    let address = port.address().to_string();
    let start = |arguments: &[&str]| {
        Setup::new(PID_APP)
            .args(&["--bind", &address])
            .args(arguments)
    };
    let one = start(&["--reuse-port"]).start();
    let two = start(&["--reuse-port"]).start();
    // Which of them answers is the kernel's choice.
    let asked = || get_from(&Address::Tcp(port.address()), "/").unwrap().text();
    for server in [&one, &two] {
        let own = server.text("/");
        server.until("its turn", || (asked() == own).then_some(()));
    }
}

/// What `ps` shows of a process.
fn title(pid: impl std::fmt::Display) -> String {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    line.trim_end_matches('\0').replace('\0', " ")
}

#[test]
fn processes_have_titles_where_a_name_is_given() {
    let server = Setup::new(PID_APP).start();
    assert!(title(server.pid().as_raw_pid()).starts_with(PROGRAM));

    let long = "n".repeat(300);
    let mut server = Setup::new(EVAL_APP)
        .file("gunicorn.conf.py", &format!("proc_name = '{long}'"))
        .env("KEPT", "1")
        .start_when("/?1");
    let (master, worker) = (server.pid().as_raw_pid(), server.text("/?os.getpid()"));
    assert_eq!(title(master), format!("gunicorn: master [{long}]"));
    assert_eq!(title(&worker), format!("gunicorn: worker [{long}]"));
    assert_eq!(
        server.text("/?os.environ['KEPT']+sys.argv[1]"),
        "1app:application"
    );
    // A new name comes with a reload, a mark with an upgrade, until the old server is gone.
    server.write(
        "gunicorn.conf.py",
        "proc_name = 'shop'\npidfile = 'app.pid'",
    );
    server.signal(rustix::process::Signal::HUP);
    server.until("the new name", || {
        (title(master) == "gunicorn: master [shop]").then_some(())
    });
    server.signal(rustix::process::Signal::USR2);
    let next: i32 = server.until("the new server's pid file", || {
        server.read("app.pid.2").trim().parse().ok()
    });
    server.until("the mark", || {
        (title(next) == "gunicorn: master [shop.2]").then_some(())
    });
    server.until_log("Booting worker with pid", 3);
    server.stop();
    server.until("the name without it", || {
        (title(next) == "gunicorn: master [shop]").then_some(())
    });
    let next = rustix::process::Pid::from_raw(next).unwrap();
    support::kill(next, rustix::process::Signal::TERM);
    server.until("the end", || (!support::is_alive(next)).then_some(()));
}

#[test]
fn processes_have_titles_where_setproctitle_is_installed() {
    let package = "
def setproctitle(title):
    with open('titles', 'a') as file:
        file.write(title + '\\n')
";
    let server = Setup::new(PID_APP).file("setproctitle.py", package).start();
    assert_eq!(
        title(server.pid().as_raw_pid()),
        "gunicorn: master [app:application]"
    );
    assert_eq!(
        server.read("titles"),
        "gunicorn: template [app:application]\ngunicorn: worker [app:application]\n"
    );
}

#[test]
fn a_daemon_keeps_what_the_shell_redirected_where_it_is_told_to() {
    const PRINTING_APP: &str = "
def application(environ, start_response):
    print('from the application', flush=True)
    start_response('200 OK', [])
    return [b'ok']
";
    for (arguments, keeps) in [(&[][..], false), (&["-R"], true)] {
        let setup = Setup::new(PRINTING_APP)
            .args(&["--daemon", "--pid", "app.pid", "--log-file", "e.log"])
            .args(arguments);
        let mut server = setup.spawn();
        assert_eq!(server.wait(), 0, "{}", server.log());
        let pid = server.read("app.pid").trim().parse().unwrap();
        let daemon = rustix::process::Pid::from_raw(pid).unwrap();
        assert_eq!(server.text("/"), "ok");
        let printed = server.read("stdout.log").contains("from the application");
        assert_eq!(printed, keeps);
        support::kill(daemon, rustix::process::Signal::TERM);
        server.until("the end", || (!support::is_alive(daemon)).then_some(()));
    }
}

#[test]
fn a_daemon_leaves_when_it_serves_and_its_pid_file_leads_to_it() {
    let setup = Setup::new(PID_APP).args(&["--daemon", "--pid", "app.pid", "--log-file", "e.log"]);
    let mut server = setup.spawn();
    assert_eq!(server.wait(), 0, "{}", server.log());
    let pid = server.read("app.pid").trim().parse().unwrap();
    let daemon = rustix::process::Pid::from_raw(pid).unwrap();
    assert_ne!(daemon, server.pid());
    // Nobody holds a pipe that stderr may have been: a script that reads it to its end would wait for ever.
    let children = format!("/proc/{0}/task/{0}/children", daemon.as_raw_pid());
    let children = std::fs::read_to_string(children).unwrap();
    let streams: Vec<_> = (children.split_whitespace().map(str::to_owned))
        .chain([daemon.as_raw_pid().to_string()])
        .map(|pid| std::fs::read_link(format!("/proc/{pid}/fd/2")).unwrap())
        .collect();
    let null = std::path::Path::new("/dev/null");
    assert!(
        streams.len() >= 3 && streams.iter().all(|stream| stream == null),
        "{streams:?}"
    );
    let worker = server.text("/");
    support::kill(daemon, rustix::process::Signal::WINCH);
    server.until("the worker goes", || {
        server
            .read("e.log")
            .contains(&format!("Worker exiting (pid: {worker})"))
            .then_some(())
    });
    support::kill(daemon, rustix::process::Signal::HUP);
    assert_ne!(server.text("/"), worker);
    support::kill(daemon, rustix::process::Signal::TERM);
    server.until("the end", || (!support::is_alive(daemon)).then_some(()));
    assert!(!server.prefix.join("app.pid").exists() && !server.prefix.join("app.sock").exists());
}

#[test]
fn a_daemon_that_does_not_come_up_tells_its_status() {
    let (code, _, err) = Setup::new("raise ValueError('at import')")
        .args(&["-D"])
        .run();
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("ValueError: at import"), "{err}");
}

#[test]
fn as_pid_1_it_obeys_and_collects_orphans() {
    let mut unshare = Command::new("unshare");
    let may = unshare
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .status();
    if !may.is_ok_and(|status| status.success()) {
        return testkit::nothing_checked("unshare --pid --mount-proc is not permitted");
    }
    let setup = Setup::new(EVAL_APP);
    let mut command = setup.command("unshare");
    command.args([
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        PROGRAM,
        "app",
        "--bind",
        "unix:app.sock",
    ]);
    let mut server = setup.spawn_as(&mut command);
    server.until("an answer", || server.try_get("/?1").ok());
    assert_eq!(server.text("/?os.getppid()"), "1");
    server.text("/?os.system('(exit%207)%20%26%20exit%200')");
    let zombies = "sum(open('/proc/'+p+'/stat').read().split(')')[1][1]=='Z'%20for%20p%20in%20os.listdir('/proc')%20if%20p.isdigit())";
    server.until("the orphan is collected", || {
        (server.text(&format!("/?{zombies}")) == "0").then_some(())
    });
    let outer = server.pid().as_raw_pid();
    let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
    let master = rustix::process::Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    support::kill(master, rustix::process::Signal::TERM);
    assert_eq!(server.wait(), 0, "{}", server.log());
}
