//! Where lines go: Python's logging, syslog, StatsD, files; and who writes them.

mod support;

use std::net::UdpSocket;

use rustix::process::Signal;
use support::{PATIENCE, PID_APP, Setup, saying};

const APP: &str = "
import logging

def application(environ, start_response):
    if environ['PATH_INFO'] == '/fails':
        raise ValueError('on purpose')
    if environ['PATH_INFO'] == '/logs':
        logging.getLogger('gunicorn.error').warning('said by the application')
    start_response('200 OK', [('Content-Length', '2'), ('X-Made', 'here')])
    return [b'ok']
";

/// A dict configuration with a handler that marks what it writes.
const DICT: &str = "
import logging, sys

class Marking(logging.Formatter):
    def format(self, record):
        return 'MARKED %s %s' % (record.name, super().format(record))

logconfig_dict = {
    'version': 1,
    'formatters': {'marked': {'()': Marking, 'format': '[%(process)d] %(levelname)s %(message)s'}},
    'handlers': {'out': {'class': 'logging.StreamHandler', 'formatter': 'marked', 'stream': sys.stderr}},
    'loggers': {
        'gunicorn.error': {'level': 'INFO', 'handlers': ['out'], 'propagate': False},
        'gunicorn.access': {'level': 'INFO', 'handlers': ['out'], 'propagate': False},
    },
}
access_log_format = '%(m)s %(U)s %(s)s %(B)s %({x-made}o)s %({wsgi.url_scheme}e)s'
";

fn udp() -> (UdpSocket, String) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = server.local_addr().unwrap().to_string();
    (server, address)
}

/// Reads packets until one has all these words.
fn until_packet(server: &UdpSocket, words: &[&str]) -> String {
    let mut seen = String::new();
    let mut packet = [0; 4096];
    loop {
        let length = match server.recv(&mut packet) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => panic!("{words:?}: {error}; what came: {seen}"),
        };
        let text = String::from_utf8_lossy(&packet[..length]).into_owned();
        if words.iter().all(|word| text.contains(word)) {
            return text;
        }
        seen.push_str(&text);
        seen.push('\n');
    }
}

#[test]
fn a_dict_for_pythons_logging_gets_the_lines_of_every_process() {
    let mut server = Setup::new(APP).file("gunicorn.conf.py", DICT).start();
    let master = server.child.id();
    assert_eq!(server.text("/item"), "ok");
    server.get("/fails");
    server.until_log(
        "MARKED gunicorn.access",
        3, // `start` has asked too
    );
    for words in [
        format!("MARKED gunicorn.error [{master}] INFO Starting appserver"),
        format!("MARKED gunicorn.error [{master}] INFO Listening at: "),
        "INFO Booting worker with pid: ".to_owned(),
        "INFO GET /item 200 2 here http\n".to_owned(),
        "ERROR Error handling request GET /fails".to_owned(),
        "ValueError: on purpose".to_owned(),
        "INFO GET /fails 500 ".to_owned(),
    ] {
        assert!(server.log().contains(&words), "{words}\n{}", server.log());
    }
    assert_eq!(server.stop(), 0);
    server.until_log("INFO Shutting down: Master", 1);
    let log = server.log();
    for line in log.lines().filter(|line| line.contains("INFO")) {
        assert!(line.starts_with("MARKED "), "{line}\n{log}");
    }
}

#[test]
fn requests_that_the_application_never_saw_are_lines_of_python_too() {
    let server = Setup::new(APP)
        .file(
            "gunicorn.conf.py",
            &format!("{DICT}\nheader_map = 'refuse'\n"),
        )
        .start();
    let mut client = server.client();
    client.ask("GET", "/refused", &[("a_b", "1")]).unwrap();
    assert_eq!(client.response().unwrap().status, 400);
    server.until_log("INFO GET /refused 400 ", 1);
}

#[test]
fn files_for_pythons_logging_ini_and_json() {
    let ini = "[loggers]\nkeys=root,gunicorn.error\n[handlers]\nkeys=out\n[formatters]\nkeys=f\n\
               [logger_root]\nlevel=INFO\nhandlers=out\n\
               [logger_gunicorn.error]\nlevel=INFO\nhandlers=out\npropagate=0\nqualname=gunicorn.error\n\
               [handler_out]\nclass=StreamHandler\nformatter=f\nargs=(sys.stderr,)\n[formatter_f]\nformat=INI %(message)s\n";
    let json = r#"{"version": 1, "formatters": {"f": {"format": "JSON %(message)s"}},
        "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
        "loggers": {"gunicorn.error": {"level": "INFO", "handlers": ["h"], "propagate": false}}}"#;
    for (flag, name, text, mark) in [
        ("--log-config", "log.ini", ini, "INI Booting worker"),
        ("--log-config-json", "log.json", json, "JSON Booting worker"),
    ] {
        let server = Setup::new(APP).file(name, text).args(&[flag, name]).start();
        server.until_log(mark, 1);
    }
}

#[test]
fn what_is_wrong_with_a_logging_configuration_is_told() {
    for (file, words) in [
        (
            "logconfig = 'nowhere.ini'",
            "log config 'nowhere.ini' not found",
        ),
        (
            "logconfig_dict = {'version': 7}",
            "logconfig_dict: Unsupported version: 7",
        ),
        (
            "logconfig_json = 'nowhere.json'",
            "logconfig_json: 'nowhere.json' cannot be read",
        ),
        ("logconfig_dict = 'x'", "logconfig_dict takes a dict"),
        (
            "logger_class = 'no.such.Class'",
            "Invalid value for logger_class: no.such.Class",
        ),
        (
            "syslog = True\nsyslog_facility = 'local9'",
            "unknown facility name \"local9\"",
        ),
        (
            "syslog = True\nsyslog_addr = 'localhost'",
            "invalid syslog address \"localhost\"",
        ),
    ] {
        let (code, _, err) = Setup::new(PID_APP).file("gunicorn.conf.py", file).run();
        assert_eq!(code, 1, "{file}\n{err}");
        assert!(err.contains(words), "{words}\n{err}");
    }
}

#[test]
fn a_logger_class_of_ones_own_and_filters_of_the_configuration_file() {
    let conf = "
from gunicorn.glogging import Logger
import logging

accesslog = '-'

class Mine(Logger):
    def setup(self, cfg):
        super().setup(cfg)
        self.access_log.addFilter(Quiet())

    def access(self, resp, req, environ, request_time):
        if environ['PATH_INFO'] != '/health':
            super().access(resp, req, environ, request_time)

    def atoms(self, resp, req, environ, request_time):
        return dict(super().atoms(resp, req, environ, request_time), mine='MINE')

class Quiet(logging.Filter):
    def filter(self, record):
        return '/quiet' not in record.getMessage()

logger_class = Mine
access_log_format = '%(mine)s %(m)s %(U)s %(s)s %(L)s'
";
    let server = Setup::new(APP).file("gunicorn.conf.py", conf).start();
    for target in ["/health", "/quiet", "/item"] {
        assert_eq!(server.text(target), "ok");
    }
    server.until("a line for /item", || {
        server
            .read("stdout.log")
            .contains("MINE GET /item 200 0.")
            .then_some(())
    });
    let out = server.read("stdout.log");
    assert!(!out.contains("/health") && !out.contains("/quiet"), "{out}");
}

#[test]
fn filters_that_a_hook_adds_are_asked() {
    let conf = "
import logging

accesslog = '-'
access_log_format = '%(m)s %(U)s %(s)s'

class Quiet(logging.Filter):
    def filter(self, record):
        return '/quiet' not in record.getMessage()

def on_starting(server):
    server.log.access_log.addFilter(Quiet())
";
    let server = Setup::new(APP).file("gunicorn.conf.py", conf).start();
    assert_eq!(server.text("/quiet"), "ok");
    assert_eq!(server.text("/item"), "ok");
    server.until("a line for /item", || {
        server
            .read("stdout.log")
            .contains("GET /item 200\n")
            .then_some(())
    });
    assert!(!server.read("stdout.log").contains("/quiet"));
}

#[test]
fn lines_for_syslog_have_gunicorns_form() {
    let (syslog, address) = udp();
    let mut server = Setup::new(APP)
        .args(&[
            "--log-syslog",
            "--log-syslog-to",
            &format!("udp://{address}"),
        ])
        .args(&[
            "--log-syslog-prefix",
            "shop",
            "--log-syslog-facility",
            "local3",
        ])
        .args(&["--access-logformat", "%(m)s %(U)s"])
        .start();
    let master = server.child.id();
    until_packet(
        &syslog,
        &[&format!(
            "<158>gunicorn.shop.error: [{master}] Listening at: "
        )],
    );
    server.text("/item");
    let line = until_packet(&syslog, &["/item"]);
    assert!(
        line.starts_with("<158>gunicorn.shop.access: [") && line.ends_with("] GET /item\0"),
        "{line}"
    );
    server.text("/logs");
    until_packet(
        &syslog,
        &["<156>gunicorn.shop.error: [", "] said by the application\0"],
    );
    assert_eq!(server.stop(), 0);
}

#[test]
fn access_lines_may_be_kept_out_of_syslog() {
    let (syslog, address) = udp();
    let server = Setup::new(APP)
        .args(&[
            "--log-syslog",
            "--log-syslog-to",
            &format!("udp://{address}"),
        ])
        .args(&[
            "--disable-redirect-access-to-syslog",
            "--access-logfile",
            "a.log",
        ])
        .start();
    server.text("/item");
    server.text("/logs");
    loop {
        let line = until_packet(&syslog, &["gunicorn."]);
        assert!(!line.contains(".access:"), "{line}");
        if line.contains("said by the application") {
            break;
        }
    }
    server.until("access lines in the file", || {
        server.read("a.log").contains("GET /item").then_some(())
    });
}

#[test]
fn metrics_go_to_statsd() {
    let (statsd, address) = udp();
    let conf = "
def post_worker_init(worker):
    worker.log.info('', extra={'metric': 'my.gauge', 'value': 7, 'mtype': 'gauge'})
";
    let server = Setup::new(APP)
        .args(&["--statsd-host", &address, "--statsd-prefix", "shop"])
        .args(&["--dogstatsd-tags", "env:test", "--workers", "2"])
        .args(&["--enable-backlog-metric", "--bind", "127.0.0.1:0"])
        .file("gunicorn.conf.py", conf)
        .start();
    until_packet(&statsd, &["shop.my.gauge:7|g|#env:test"]);
    until_packet(&statsd, &["shop.gunicorn.workers:2|g|#env:test"]);
    until_packet(&statsd, &["shop.gunicorn.backlog:0|h|#env:test"]);
    server.get("/fails");
    until_packet(
        &statsd,
        &[
            "shop.gunicorn.request.duration:",
            "|ms|#env:test",
            "shop.gunicorn.requests:1|c|@1.0|#env:test",
            "shop.gunicorn.request.status.500:1|c|@1.0|#env:test",
        ],
    );
}

#[test]
fn the_access_log_as_json() {
    let server = Setup::new(APP)
        .args(&["--access-logfile", "a.log", "--access-logformat", "json"])
        .start();
    let mut client = server.client();
    client
        .ask(
            "GET",
            "/item?q=1",
            &[
                ("User-Agent", "a \"quoted\" \\ name"),
                ("X-Request-ID", "r-1"),
            ],
        )
        .unwrap();
    assert_eq!(client.response().unwrap().status, 200);
    let line = server.until("the line", || {
        let text = server.read("a.log");
        let line = text.lines().find(|line| line.contains("/item"));
        line.map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["user_agent"], "a \"quoted\" \\ name");
    assert_eq!(
        (&line["status"], &line["bytes"], &line["query"]),
        (&200.into(), &2.into(), &"q=1".into())
    );
    assert_eq!(line["request_id"], "r-1");
    assert_eq!(line["worker_id"], 1);
    let (queued, took) = (&line["queue_time"], &line["duration"]);
    assert!(
        queued.as_f64().unwrap() > 0.0 && queued.as_f64() <= took.as_f64(),
        "{line}"
    );
}

#[test]
fn log_files_of_pythons_handlers_are_opened_again() {
    let conf = "
logconfig_dict = {
    'version': 1,
    'handlers': {'file': {'class': 'logging.FileHandler', 'filename': 'py.log'}},
    'loggers': {'gunicorn.error': {'level': 'INFO', 'handlers': ['file'], 'propagate': False}},
}
";
    let mut server = Setup::new(APP).file("gunicorn.conf.py", conf).start();
    server.until("the first file", || {
        server.read("py.log").contains("Booting").then_some(())
    });
    std::fs::rename(server.prefix.join("py.log"), server.prefix.join("old.log")).unwrap();
    server.signal(Signal::USR1);
    server.until("a new file with new lines", || {
        server.text("/logs");
        server
            .read("py.log")
            .contains("said by the application")
            .then_some(())
    });
}

#[test]
fn the_names_that_the_server_tells_can_be_changed() {
    let app = saying("ok");
    let server = Setup::new(&app)
        .file(
            "gunicorn.conf.py",
            "import gunicorn\ngunicorn.SERVER = 'secret'\n",
        )
        .start();
    assert_eq!(server.get("/").field("Server").as_deref(), Some("secret"));
}

#[test]
fn what_configuration_files_import_from_gunicorn_is_there_and_the_rest_is_refused_by_name() {
    let conf = "
import gunicorn
from gunicorn import glogging, util
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.errors import HaltServer
from gunicorn.http.errors import InvalidRequestLine
from gunicorn.instrument.statsd import Statsd
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker
assert gunicorn.__version__ and gunicorn.SERVER_SOFTWARE.startswith('gunicorn/')
assert util.is_ipv6('::1')

class Standalone(BaseApplication):
    pass

try:
    Standalone()
except RuntimeError as error:
    print(error, flush=True)
try:
    import gunicorn.workers.ggevent
except ImportError as error:
    print(error, flush=True)

worker_class = ThreadWorker

def when_ready(server):
    print('arbiter', isinstance(server, Arbiter), isinstance(server.cfg, Config), flush=True)
";
    let server = Setup::new(PID_APP).file("gunicorn.conf.py", conf).start();
    let out = server.read("stdout.log");
    for words in [
        "Standalone: gunicorn.app.base.BaseApplication starts a server of its own",
        "gunicorn.workers.ggevent is not served by appserver",
        "arbiter True True",
    ] {
        assert!(out.contains(words), "{words}\n{out}");
    }
    server.until_log("Using worker: gthread", 1);
}

#[test]
fn gunicorns_logger_may_be_changed_where_gunicorn_is_not_installed() {
    // Forms on the class, methods of a class of one's own, handlers that are replaced.
    let forms = "
from gunicorn import glogging
glogging.Logger.error_fmt = 'E %(levelname)s %(message)s'
glogging.Logger.access_fmt = 'A %(message)s'
";
    let methods = "
from gunicorn.glogging import Logger
class Own(Logger):
    def warning(self, msg, *args, **kwargs):
        super().warning('own warning' if msg.startswith('Invalid request') else msg)
    def exception(self, msg, *args, **kwargs):
        super().error('own exception')
    def setup(self, cfg):
        import logging
        super().setup(cfg)
        self._set_handler(self.error_log, cfg.errorlog, logging.Formatter('E %(levelname)s %(message)s'))
        self._set_handler(self.access_log, cfg.accesslog, logging.Formatter('A %(message)s'))
        assert self._get_gunicorn_handler(self.access_log)
logger_class = Own
";
    for (conf, fails, malformed) in [
        (
            forms,
            "E ERROR Error handling request GET /fails",
            "E WARNING Invalid request from ip=",
        ),
        (
            methods,
            "E ERROR own exception\n",
            "E WARNING own warning\n",
        ),
    ] {
        let server = Setup::new(APP)
            .file("gunicorn.conf.py", conf)
            .args(&["--access-logfile", "access.log"])
            .args(&["--access-logformat", "%(U)s %(s)s"])
            .start_when("/ok");
        assert_eq!(server.get("/fails").status, 500);
        assert_eq!(server.get("/a b").status, 400);
        server.until_log(fails, 1);
        server.until_log(malformed, 1);
        server.until_log("E INFO Listening at", 1);
        server.until_log("E INFO Booting worker", 1);
        server.until("a line", || {
            server
                .read("access.log")
                .contains("A /ok 200\n")
                .then_some(())
        });
    }
}
