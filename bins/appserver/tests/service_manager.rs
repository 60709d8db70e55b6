//! What a service manager hears, and the sockets that it gives.

mod support;

use std::os::unix::net::UnixDatagram;

use rustix::process::{Pid, Signal};
use support::{PID_APP, PROGRAM, Server, Setup, get_from, is_alive, kill, saying};
use testkit::Address;

/// The manager's end.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(setup: &Setup) -> Self {
        let socket = UnixDatagram::bind(setup.prefix.join("notify")).unwrap();
        socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
        Self(socket)
    }

    /// Everything up to a message with these words, in one text.
    fn until(&self, words: &str) -> String {
        let mut heard = String::new();
        let mut buffer = [0; 4096];
        loop {
            let count = testkit::uninterrupted(|| self.0.recv(&mut buffer))
                .unwrap_or_else(|error| panic!("{words:?} never came ({error}); heard: {heard}"));
            let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
            heard.push_str(&message);
            heard.push('\n');
            if message.contains(words) {
                return heard;
            }
        }
    }
}

fn with_manager(app: &str) -> (Setup, Manager) {
    let setup = Setup::new(app);
    let manager = Manager::listen(&setup);
    let path = setup.prefix.join("notify").display().to_string();
    (setup.env("NOTIFY_SOCKET", &path), manager)
}

#[test]
fn ready_is_said_when_workers_answer_and_stopping_at_the_end() {
    let app = "
import os, time
while not os.path.exists('go'):
    open('importing', 'w').close()
    time.sleep(0.01)
"
    .to_owned()
        + &saying("x");
    let (setup, manager) = with_manager(&app);
    let mut server = setup.spawn();
    server.until("the import", || {
        server.prefix.join("importing").exists().then_some(())
    });
    manager.0.set_nonblocking(true).unwrap();
    assert!(
        manager.0.recv(&mut [0; 64]).is_err(),
        "something was said before the application was imported"
    );
    manager.0.set_nonblocking(false).unwrap();
    server.write("go", "");
    manager.until("READY=1");
    manager.until("STATUS=1 workers serve");
    server.signal(Signal::TERM);
    manager.until("STOPPING=1");
    assert_eq!(server.wait(), 0);
}

#[test]
fn a_reload_is_told_from_beginning_to_end() {
    let (setup, manager) = with_manager(PID_APP);
    let mut server = setup.start();
    manager.until("STATUS=1 workers serve");
    server.signal(Signal::HUP);
    let heard = manager.until("READY=1");
    assert!(heard.contains("RELOADING=1\nMONOTONIC_USEC="), "{heard}");
    manager.until("STATUS=1 workers serve");
    server.write("app.py", "raise ValueError('broken on purpose')");
    server.signal(Signal::HUP);
    manager.until("RELOADING=1");
    manager
        .until("STATUS=Reload failed, the release before serves on: ValueError: broken on purpose");
    server.text("/");
}

#[test]
fn the_watchdog_is_fed() {
    let (setup, manager) = with_manager(PID_APP);
    let _server = setup.env("WATCHDOG_USEC", "100000").start();
    manager.until("WATCHDOG=1");
    manager.until("WATCHDOG=1");
}

/// Opens listening unix sockets of these names, each at the path of its name, and becomes the server, by the protocol of systemd.
const ACTIVATOR: &str = "
import fcntl, os, socket, sys
names, program = sys.argv[1].split(':'), sys.argv[2]
listening = []
for number, name in enumerate(names, 3):
    kind = socket.SOCK_DGRAM if name == 'datagrams' else socket.SOCK_STREAM
    listening.append(s := socket.socket(socket.AF_UNIX, kind))
    s.bind(name)
    if kind == socket.SOCK_STREAM: s.listen(64)
# Above the places first, so that none is closed before it was copied.
high = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 100) for s in listening]
for number, fd in enumerate(high, 3): os.dup2(fd, number)
os.environ.update(LISTEN_FDS=str(len(names)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=sys.argv[1])
os.execv(program, [program] + sys.argv[3:])
";

fn activated(setup: Setup, names: &[&str], arguments: &[&str]) -> Server {
    let mut command = setup.command("python3");
    command.args(["-c", ACTIVATOR, &names.join(":"), PROGRAM, "app"]);
    command.args(arguments);
    setup.spawn_as(&mut command)
}

fn ask(server: &Server, socket: &str) -> Option<String> {
    let address = Address::Unix(server.prefix.join(socket));
    Some(get_from(&address, "/").ok()?.text())
}

fn until(server: &Server, socket: &str, words: &str) {
    let what = format!("{words:?} from {socket}");
    server.until(&what, || {
        ask(server, socket).filter(|text| text.contains(words))
    });
}

#[test]
fn its_sockets_take_the_place_of_bind() {
    let setup = Setup::new(&saying("activated"));
    let mut server = activated(setup, &["web", "more"], &["--bind", "unix:unused.sock"]);
    until(&server, "web", "activated");
    until(&server, "more", "activated");
    assert!(!server.prefix.join("unused.sock").exists());
    // A reload keeps them, whatever bind says.
    server.write("app.py", &saying("reloaded"));
    server.signal(Signal::HUP);
    until(&server, "web", "reloaded");
    assert_eq!(server.stop(), 0);
    assert!(
        server.prefix.join("web").exists(),
        "the manager's socket file is the manager's"
    );
}

#[test]
fn sockets_that_are_named_elsewhere_are_left_out() {
    let file = "metrics_bind = 'systemd:metrics'\ncontrol_socket = 'systemd:ctl'";
    let setup = Setup::new(&saying("hello")).file("gunicorn.conf.py", file);
    let mut server = activated(setup, &["metrics", "web", "ctl"], &[]);
    until(&server, "web", "hello");
    until(&server, "metrics", "appserver_");
    let control = |server: &Server| {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["ctl", "-s", "ctl", "workers"]);
        let output = command.current_dir(server.prefix.path()).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (success, workers) = control(&server);
    assert!(success && workers.contains("serving"), "{workers}");
    // What is not wanted any more serves the application; what a reload wants elsewhere goes there.
    server.write("gunicorn.conf.py", "metrics_bind = 'systemd:web'\n");
    server.signal(Signal::HUP);
    until(&server, "metrics", "hello");
    until(&server, "web", "appserver_");
    assert_eq!(server.stop(), 0);
    for name in ["metrics", "web", "ctl"] {
        assert!(server.prefix.join(name).exists(), "{name}");
    }
}

#[test]
fn bind_may_name_sockets_beside_addresses_of_its_own() {
    let conf = |bind: &str| format!("bind = {bind}\npidfile = 'app.pid'");
    let setup = Setup::new(PID_APP).file(
        "gunicorn.conf.py",
        &conf("['systemd:web', 'unix:own.sock']"),
    );
    let mut server = activated(setup, &["web", "spare", "datagrams"], &[]);
    let first = server.until("an answer", || ask(&server, "web"));
    assert_eq!(ask(&server, "own.sock"), Some(first.clone()));
    server.until_log(
        "nothing listens on what the service manager gave: \"spare\" (unix:spare), \"datagrams\" (unix:datagrams)",
        1,
    );
    // Another one, and back.
    for (bind, open, closed) in [
        ("'systemd:spare'", "spare", "own.sock"),
        ("['systemd:web', 'unix:own.sock']", "web", ""),
    ] {
        server.write("gunicorn.conf.py", &conf(bind));
        server.signal(Signal::HUP);
        until(&server, open, "");
        assert!(closed.is_empty() || !server.prefix.join(closed).exists());
    }
    // A new binary gets them with their names.
    server.signal(Signal::USR2);
    let next = server.until("the new server's pid file", || {
        Pid::from_raw(server.read("app.pid.2").trim().parse().ok()?)
    });
    server.until_log("Booting worker with pid", 4);
    assert_eq!(server.stop(), 0);
    server.until_log("Master has been promoted.", 1);
    for socket in ["web", "own.sock"] {
        server.until(socket, || ask(&server, socket));
    }
    kill(next, Signal::TERM);
    server.until("the end", || (!is_alive(next)).then_some(()));
    assert!(server.prefix.join("web").exists() && !server.prefix.join("own.sock").exists());
}

#[test]
fn a_name_that_cannot_be_had_is_told_with_those_that_can() {
    for (names, arguments, words) in [
        (
            &["web"][..],
            &["--bind", "systemd:http"][..],
            "the service manager gave no socket \"http\", but \"web\" (unix:web); set FileDescriptorName=http in the .socket unit (--bind systemd:http)",
        ),
        (
            &["web", "datagrams"],
            &["--bind", "systemd:datagrams"],
            "the socket \"datagrams\" is a unix datagram socket; use ListenStream=",
        ),
        (
            &["web"],
            &["--metrics-bind", "systemd:metrics"],
            "gave no socket \"metrics\", but \"web\" (unix:web)",
        ),
        (
            &["web"],
            &["--bind", "systemd:web", "--metrics-bind", "systemd:web"],
            "the socket \"web\" is wanted by bind and by metrics_bind",
        ),
    ] {
        let mut server = activated(Setup::new(PID_APP), names, arguments);
        assert_eq!(server.wait(), 1, "{}", server.log());
        assert!(server.log().contains(words), "{}", server.log());
    }
    let (code, _, err) = Setup::new(PID_APP)
        .only_args(&["app", "--bind", "systemd:web"])
        .run();
    assert_eq!(code, 1);
    let words = "there is no socket \"web\" of a service manager: LISTEN_FDS and LISTEN_PID are not both set; have a .socket unit";
    assert!(err.contains(words), "{err}");
}

#[test]
fn a_descriptor_may_be_named_and_goes_to_a_new_binary() {
    let setup = Setup::new(PID_APP).file("gunicorn.conf.py", "pidfile = 'app.pid'");
    let mut command = setup.command("python3");
    let script = "
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind('five.sock'); s.listen(8)
os.dup2(s.fileno(), 5); os.execv(sys.argv[1], [sys.argv[1], 'app', '--bind', 'fd://5'])
";
    command.args(["-c", script, PROGRAM]);
    let mut server = setup.spawn_as(&mut command);
    server.until("an answer", || ask(&server, "five.sock"));
    server.until_log("Listening at: unix:five.sock", 1);
    server.signal(Signal::USR2);
    let next = server.until("the new server's pid file", || {
        Pid::from_raw(server.read("app.pid.2").trim().parse().ok()?)
    });
    server.until_log("Booting worker with pid", 2);
    assert_eq!(server.stop(), 0);
    server.until("an answer of the new server", || ask(&server, "five.sock"));
    kill(next, Signal::TERM);
    server.until("the end", || (!is_alive(next)).then_some(()));
    assert!(server.prefix.join("five.sock").exists());
}
