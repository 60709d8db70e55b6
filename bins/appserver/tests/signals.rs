//! Every signal of the master.

mod support;

use rustix::process::Signal;
use support::{Load, PID_APP, Setup, is_alive, saying};
use testkit::{Address, FreePort};

/// Waits in each request for `/slow` until there is a file `go`.
const SLOW_APP: &str = "
import os, time

def application(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        open('asked', 'w').close()
        while not os.path.exists('go'):
            time.sleep(0.01)
    start_response('200 OK', [('Content-Length', '4')])
    return [b'done']
";

#[test]
fn term_lets_requests_finish_and_refuses_new_ones() {
    let mut server = Setup::new(SLOW_APP).args(&["--pid", "app.pid"]).start();
    let mut client = server.client();
    client.ask("GET", "/slow", &[]).unwrap();
    server.until("the request arrives", || {
        server.prefix.join("asked").exists().then_some(())
    });
    server.signal(Signal::TERM);
    server.until("nobody is let in", || {
        // Only connected: what comes in time would wait behind the request that runs.
        testkit::http::Client::connect(server.socket())
            .is_err()
            .then_some(())
    });
    server.write("go", "");
    assert_eq!(client.response().unwrap().text(), "done");
    assert_eq!(server.wait(), 0);
    assert!(!server.prefix.join("app.pid").exists());
}

#[test]
fn int_and_quit_do_not_wait() {
    for signal in [Signal::INT, Signal::QUIT] {
        let mut server = Setup::new(SLOW_APP).start();
        let mut client = server.client();
        client.ask("GET", "/slow", &[]).unwrap();
        server.until("the request arrives", || {
            server.prefix.join("asked").exists().then_some(())
        });
        server.signal(signal);
        assert_eq!(server.wait(), 0, "{}", server.log());
        assert!(!server.log().contains("SIGKILL"), "{}", server.log());
    }
}

#[test]
fn a_second_signal_ends_a_drain() {
    let mut server = Setup::new(SLOW_APP).start();
    let mut client = server.client();
    client.ask("GET", "/slow", &[]).unwrap();
    server.until("the request arrives", || {
        server.prefix.join("asked").exists().then_some(())
    });
    server.signal(Signal::TERM);
    server.until_log("Handling signal: term", 1);
    server.signal(Signal::INT);
    assert_eq!(server.wait(), 0);
}

#[test]
fn a_drain_lasts_no_longer_than_graceful_timeout() {
    let mut server = Setup::new(SLOW_APP)
        .args(&["--graceful-timeout", "1"])
        .start();
    let mut client = server.client();
    client.ask("GET", "/slow", &[]).unwrap();
    server.until("the request arrives", || {
        server.prefix.join("asked").exists().then_some(())
    });
    server.signal(Signal::TERM);
    assert!(client.response().is_err());
    assert_eq!(server.wait(), 0);
}

#[test]
fn ttin_and_ttou_change_the_number_of_workers() {
    let file =
        "def nworkers_changed(server, new, old): server.log.info('workers: %s after %s', new, old)";
    let mut server = Setup::new(PID_APP).file("gunicorn.conf.py", file).start();
    server.signal(Signal::TTIN);
    server.until_log("Booting worker with pid", 2);
    server.until_log("workers: 2 after 1", 1);
    server.signal(Signal::TTOU);
    server.until_log("Worker exiting (pid: ", 1);
    // Never below one.
    server.signal(Signal::TTOU);
    server.until_log("Handling signal: ttou", 2);
    server.text("/");
    assert_eq!(
        server.log().matches("Worker exiting").count(),
        1,
        "{}",
        server.log()
    );
}

#[test]
fn winch_means_nothing_without_a_daemon() {
    let mut server = Setup::new(PID_APP).args(&["--log-level", "debug"]).start();
    let worker = server.text("/");
    server.signal(Signal::WINCH);
    server.until_log("SIGWINCH ignored", 1);
    assert_eq!(server.text("/"), worker);
}

#[test]
fn usr1_opens_the_logs_again_for_master_template_and_workers() {
    let file = "
accesslog = 'access.log'
errorlog = 'error.log'
def child_exit(server, worker): server.log.info('a child is gone')
def pre_request(worker, req): worker.log.info('asked for %s', req.path)
";
    let mut server = Setup::new(PID_APP).file("gunicorn.conf.py", file).start();
    for name in ["access.log", "error.log"] {
        std::fs::rename(
            server.prefix.join(name),
            server.prefix.join(format!("{name}.1")),
        )
        .unwrap();
    }
    server.signal(Signal::USR1);
    server.until("both files are there", || {
        let there = |name: &str| server.prefix.join(name).exists().then_some(());
        there("access.log").and(there("error.log"))
    });
    server.until("the worker writes to the new files", || {
        server.text("/later");
        let both = server.read("access.log").contains("/later")
            && server.read("error.log").contains("asked for /later");
        both.then_some(())
    });
    // The template, and workers to come.
    let worker = rustix::process::Pid::from_raw(server.text("/").parse().unwrap()).unwrap();
    support::kill(worker, Signal::KILL);
    server.until("the template writes to the new file", || {
        server
            .read("error.log")
            .contains("a child is gone")
            .then_some(())
    });
    server.until("the next worker writes to the new file", || {
        server
            .read("error.log")
            .contains("Booting worker")
            .then_some(())
    });
}

#[test]
fn signals_that_come_before_the_first_worker_are_obeyed() {
    let file = "
import os, signal
def when_ready(server):
    for name in ('HUP', 'USR1', 'TTIN', 'TTOU', 'WINCH'):
        os.kill(os.getppid(), getattr(signal, 'SIG' + name))
";
    let mut server = Setup::new(PID_APP).file("gunicorn.conf.py", file).start();
    for name in ["hup", "usr1", "ttin", "ttou", "winch"] {
        server.until_log(&format!("Handling signal: {name}"), 1);
    }
    server.until_log("Reloaded: ", 1);
    assert_eq!(server.stop(), 0);
}

#[test]
fn hup_loads_code_and_settings_afresh() {
    let mut server = Setup::new(&saying("one"))
        .file("gunicorn.conf.py", "workers = 1")
        .start();
    server.write("app.py", &saying("two"));
    server.write(
        "gunicorn.conf.py",
        "workers = 2\ndef on_reload(server): server.log.info('hook on_reload')",
    );
    server.signal(Signal::HUP);
    server.until("the new code", || (server.text("/") == "two").then_some(()));
    server.until_log("Reloaded: 2 new workers are ready", 1);
    server.until_log("hook on_reload", 1);
    server.until_log("Worker exiting", 1);
    assert_eq!(server.text("/"), "two");
    assert_eq!(server.stop(), 0);
}

#[test]
fn hup_loads_a_preloaded_application_afresh() {
    let mut server = Setup::new(&saying("one")).args(&["--preload"]).start();
    server.write("app.py", &saying("two"));
    server.signal(Signal::HUP);
    server.until("the new code", || (server.text("/") == "two").then_some(()));
}

#[test]
fn hup_onto_code_that_does_not_load_changes_nothing() {
    for arguments in [&[][..], &["--preload"]] {
        let mut server = Setup::new(&saying("one")).args(arguments).start();
        for (code, words) in [
            (
                "raise ValueError('broken on purpose')",
                "ValueError: broken on purpose",
            ),
            ("x = 1", "application"),
        ] {
            let before = server
                .log()
                .matches("Reload failed, the old workers serve on")
                .count();
            server.write("app.py", code);
            server.signal(Signal::HUP);
            server.until_log("Reload failed, the old workers serve on", before + 1);
            server.until_log(words, 1);
            assert_eq!(server.text("/"), "one");
        }
        server.write("app.py", &saying("two"));
        server.signal(Signal::HUP);
        server.until("the repaired code", || {
            (server.text("/") == "two").then_some(())
        });
        assert_eq!(server.stop(), 0);
    }
}

#[test]
fn hup_onto_a_broken_file_changes_nothing() {
    let mut server = Setup::new(&saying("one")).start();
    for (number, (file, words)) in [
        ("workers = 'many'", "Invalid value for workers: many"),
        (
            "raise KeyError('in the file')",
            "./gunicorn.conf.py:1: KeyError: 'in the file'\n",
        ),
        ("import os; os._exit(7)", "the new template is gone"),
        ("chdir = '/no/such/folder'", "can't chdir"),
    ]
    .into_iter()
    .enumerate()
    {
        server.write("gunicorn.conf.py", file);
        server.signal(Signal::HUP);
        server.until_log(words, 1);
        server.until_log(
            "Reload failed, the old workers serve on",
            (number + 1).min(4),
        );
        assert_eq!(server.text("/"), "one");
    }
    assert_eq!(server.stop(), 0);
}

#[test]
fn hup_opens_new_addresses_and_closes_old_ones() {
    let ports = [FreePort::find().unwrap(), FreePort::find().unwrap()];
    let [one, two] = ports.each_ref().map(|port| Address::Tcp(port.address()));
    let file = |port: &FreePort| format!("bind = ['127.0.0.1:{}', 'unix:app.sock']", port.number());
    let mut server = Setup::new(PID_APP)
        .file("gunicorn.conf.py", &file(&ports[0]))
        .only_args(&["app"])
        .start();
    assert!(support::get_from(&one, "/").is_ok());
    server.write("gunicorn.conf.py", &file(&ports[1]));
    server.signal(Signal::HUP);
    server.until("the new address", || support::get_from(&two, "/").ok());
    server.until("the old address is closed", || {
        support::get_from(&one, "/").is_err().then_some(())
    });
    assert_eq!(server.get("/").status, 200);
    // An address that cannot be had: everything stays.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.write(
        "gunicorn.conf.py",
        &format!("bind = '{}'", taken.local_addr().unwrap()),
    );
    server.signal(Signal::HUP);
    server.until_log(
        "Reload failed, the old workers serve on: the new addresses",
        1,
    );
    assert!(support::get_from(&two, "/").is_ok());
}

#[test]
fn reloads_under_load_lose_nothing() {
    for arguments in [
        &["--workers", "2"][..],
        &["--workers", "2", "--threads", "2"],
        &["--workers", "2", "--preload"],
    ] {
        let mut server = Setup::new(PID_APP).args(arguments).start();
        let load = Load::on(server.socket());
        for reload in 1..=5 {
            server.signal(Signal::HUP);
            server.until_log("Reloaded: 2 new workers", reload);
        }
        server.until_log("Worker exiting", 10);
        let (answered, faults) = load.end();
        assert!(
            faults.is_empty(),
            "{} of {answered}: {faults:?}\n{}",
            faults.len(),
            server.log()
        );
        assert!(answered > 20, "{answered}");
        assert_eq!(server.stop(), 0);
    }
}

#[test]
fn other_signals_under_load_lose_nothing() {
    let mut server = Setup::new(PID_APP)
        .args(&["--access-logfile", "access.log"])
        .start();
    let load = Load::on(server.socket());
    for round in 1..=3 {
        for (signal, words, times) in [
            (Signal::TTIN, "Booting worker with pid", 2 * round),
            (Signal::TTIN, "Booting worker with pid", 2 * round + 1),
            (Signal::TTOU, "Worker exiting", 2 * round - 1),
            (Signal::TTOU, "Worker exiting", 2 * round),
        ] {
            server.signal(signal);
            server.until_log(words, times);
        }
        std::fs::rename(server.prefix.join("access.log"), server.prefix.join("old")).unwrap();
        server.signal(Signal::USR1);
        server.until("a line in the new log", || {
            (!server.read("access.log").is_empty()).then_some(())
        });
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
fn hups_in_a_row_end_with_the_latest_code() {
    let mut server = Setup::new(&saying("0")).start();
    for round in 1..=6 {
        server.write("app.py", &saying(&round.to_string()));
        server.signal(Signal::HUP);
    }
    server.until("the latest code", || {
        (server.text("/") == "6").then_some(())
    });
    assert_eq!(server.stop(), 0);
}

#[test]
fn usr2_starts_a_new_server_with_the_same_sockets() {
    let file = "def pre_exec(server): server.log.info('hook pre_exec')";
    let mut server = Setup::new(PID_APP)
        .file("gunicorn.conf.py", file)
        .args(&["--pid", "app.pid"])
        .start();
    let load = Load::on(server.socket());
    server.signal(Signal::USR2);
    let next = server.until("the new server's pid file", || {
        server.read("app.pid.2").trim().parse().ok()
    });
    let next = rustix::process::Pid::from_raw(next).unwrap();
    server.until_log("hook pre_exec", 1);
    server.until_log("Booting worker with pid", 2);
    server.signal(Signal::USR2);
    server.until_log("USR2 signal ignored. Child exists.", 1);
    // The new workers answer before the old ones go.
    let old = server.booted()[0].as_raw_pid().to_string();
    server.until("a new worker answers", || {
        (server.text("/") != old).then_some(())
    });
    assert_eq!(server.stop(), 0);
    server.until_log("Master has been promoted.", 1);
    server.until("the pid file has its name", || {
        (server.read("app.pid").trim() == next.as_raw_pid().to_string()).then_some(())
    });
    assert!(!server.prefix.join("app.pid.2").exists());
    assert_ne!(server.text("/"), old);
    let (answered, faults) = load.end();
    assert!(faults.is_empty() && answered > 0, "{faults:?}");
    support::kill(next, Signal::TERM);
    server.until("the new server ends", || (!is_alive(next)).then_some(()));
    assert!(!server.prefix.join("app.sock").exists() && !server.prefix.join("app.pid").exists());
}

#[test]
fn upgrades_under_load_lose_nothing() {
    const ASGI_APP: &str = "
import os

async def application(scope, receive, send):
    assert scope['type'] == 'http'
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': str(os.getpid()).encode()})
";
    for (app, arguments) in [
        (PID_APP, &["--workers", "2"][..]),
        (PID_APP, &["--threads", "2"]),
        (ASGI_APP, &["-k", "asgi"]),
    ] {
        let ports = [FreePort::find().unwrap(), FreePort::find().unwrap()];
        let [one, two] = ports.each_ref().map(|port| port.address().to_string());
        let mut server = Setup::new(app)
            .args(arguments)
            .args(&["--bind", &one, "--bind", &two, "--pid", "app.pid"])
            .start();
        let old = server.booted();
        let loads: Vec<_> = ports
            .iter()
            .map(|port| Load::on(Address::Tcp(port.address())))
            .chain([Load::on(server.socket())])
            .collect();
        server.signal(Signal::USR2);
        let next = server.until("the new server's pid file", || {
            rustix::process::Pid::from_raw(server.read("app.pid.2").trim().parse().ok()?)
        });
        server.until("the new workers answer", || {
            let worker = server.text("/");
            let is_old = |pid: &rustix::process::Pid| pid.as_raw_pid().to_string() == worker;
            (!old.iter().any(is_old)).then_some(())
        });
        assert_eq!(server.stop(), 0, "{}", server.log());
        server.until_log("Master has been promoted.", 1);
        for port in &ports {
            let address = Address::Tcp(port.address());
            assert!(support::get_from(&address, "/").is_ok(), "{address}");
        }
        for load in loads {
            let (answered, faults) = load.end();
            assert!(
                faults.is_empty() && answered > 0,
                "{arguments:?}: {} of {answered}: {faults:?}\n{}",
                faults.len(),
                server.log()
            );
        }
        support::kill(next, Signal::TERM);
        server.until("the new server ends", || (!is_alive(next)).then_some(()));
    }
}

#[test]
fn signals_that_are_the_masters_do_not_stop_workers() {
    let server = Setup::new(PID_APP).args(&["--pid", "app.pid"]).start();
    let worker = server.text("/");
    let pid = rustix::process::Pid::from_raw(worker.parse().unwrap()).unwrap();
    for signal in [Signal::TTIN, Signal::TTOU, Signal::WINCH] {
        support::kill(pid, signal);
    }
    assert_eq!(server.text("/"), worker);
    // Told to go by itself, it goes, and it is no error.
    support::kill(pid, Signal::TERM);
    server.until("another worker", || {
        (server.try_get("/").ok()?.text() != worker).then_some(())
    });
    server.until_log(&format!("[INFO] Worker (pid:{worker}) ended by itself."), 1);
    assert!(!server.log().contains("[ERROR]"), "{}", server.log());
}

#[test]
fn a_pid_file_that_is_gone_comes_back_with_a_reload() {
    let mut server = Setup::new(PID_APP).args(&["--pid", "app.pid"]).start();
    std::fs::remove_file(server.prefix.join("app.pid")).unwrap();
    server.signal(Signal::HUP);
    server.until("the pid file", || {
        (server.read("app.pid").trim() == server.pid().as_raw_pid().to_string()).then_some(())
    });
    assert_eq!(server.stop(), 0);
    assert!(!server.prefix.join("app.pid").exists());
}

#[test]
fn an_upgrade_comes_before_the_end_that_follows_at_once() {
    let file = "
import os, time
def pre_exec(server):
    open('pre_exec', 'w').close()
    while not os.path.exists('go'):
        time.sleep(0.01)
";
    let mut server = Setup::new(PID_APP)
        .file("gunicorn.conf.py", file)
        .args(&["--pid", "app.pid"])
        .start();
    let load = Load::on(server.socket());
    server.signal(Signal::USR2);
    server.until("the hook", || {
        server.prefix.join("pre_exec").exists().then_some(())
    });
    server.signal(Signal::TERM);
    server.until("the new server", || {
        server.prefix.join("app.pid.2").exists().then_some(())
    });
    server.write("go", "");
    assert_eq!(server.wait(), 0, "{}", server.log());
    let next = server.until("the new server with the pid file's name", || {
        let pid = server.read("app.pid").trim().parse().ok()?;
        rustix::process::Pid::from_raw(pid).filter(|pid| *pid != server.pid())
    });
    server.until_log("Master has been promoted.", 1);
    server.text("/");
    let (answered, faults) = load.end();
    assert!(faults.is_empty() && answered > 0, "{faults:?}");
    support::kill(next, Signal::TERM);
    server.until("the new server ends", || (!is_alive(next)).then_some(()));
}

#[test]
fn an_upgrade_that_fails_leaves_the_old_server() {
    let mut server = Setup::new(PID_APP).start();
    server.write("gunicorn.conf.py", "raise ValueError('in the file')");
    server.signal(Signal::USR2);
    server.until_log("Upgrade failed, this binary serves on: the new one", 1);
    server.text("/");
    assert_eq!(server.stop(), 0);
    assert!(!server.prefix.join("app.sock").exists());
}
