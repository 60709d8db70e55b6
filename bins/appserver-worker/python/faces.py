"""What configuration files and hooks see of the server: `cfg`, `log`, `server`, `worker`, `req`, `resp`."""

import os
import sys

from viaduct_worker import native

class Config:
    """All settings by name, and hooks as functions."""

    def __init__(self, settings, hooks, application=None):
        self.__dict__.update(settings)
        self.__dict__.update(hooks)
        self.settings = settings
        self.user = settings.get("user") if settings.get("user") is not None else os.geteuid()
        self.group = settings.get("group") if settings.get("group") is not None else os.getegid()
        self.proc_name = settings.get("proc_name") or application
        self.default_proc_name = application

    @property
    def env(self):
        pairs = {}
        for pair in self.raw_env or []:
            name, equals, value = pair.partition("=")
            if not equals:
                raise RuntimeError("environment setting %r invalid" % pair)
            pairs[name] = value
        return pairs

    @property
    def uid(self):
        return self.user

    @property
    def gid(self):
        return self.group

    @property
    def address(self):
        return [parsed_address(text) for text in self.bind or []]

    @property
    def is_ssl(self):
        return bool(self.certfile or self.keyfile)

    @property
    def worker_class_str(self):
        return "gthread" if self.worker_class == "sync" and self.threads > 1 else self.worker_class

    def __getattr__(self, name):
        # Only for what was not set; gunicorn knows every setting.
        if name.startswith("__"):
            raise AttributeError(name)
        if name in KNOWN_ABSENT:
            return KNOWN_ABSENT[name]
        raise AttributeError("No configuration setting for: %s" % name)


KNOWN_ABSENT = {
    "bind": [],
    "accesslog": None,
    "certfile": None,
    "chdir": None,
    "disable_redirect_access_to_syslog": False,
    "initgroups": False,
    "keyfile": None,
    "logger_class": None,
    "logconfig": None,
    "logconfig_dict": {},
    "logconfig_json": None,
    "loglevel": "info",
    "pythonpath": None,
    "raw_env": [],
    "syslog": False,
    "threads": 1,
    "umask": 0,
    "worker_class": "sync",
    "workers": 1,
}


def parsed_address(text):
    """An address as gunicorn has it: `(host, port)`, the path of a unix socket, or the number of a descriptor; the name of a
    service manager's socket as it is."""
    if text.startswith("fd://"):
        return int(text[len("fd://") :])
    if text.startswith("systemd:"):
        return text
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        return path[2:] if path.startswith("//") else path
    text = text[len("tcp://") :] if text.startswith("tcp://") else text
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        host, port = text, "8000"
    return host.strip("[]").lower() or "0.0.0.0", int(port)


class Server:
    """What hooks get as `server`: the master, as far as Python can see it."""

    WORKER_BOOT_ERROR = 3
    APP_LOAD_ERROR = 4

    def __init__(self, cfg, log, pid):
        self.cfg, self.log, self.pid = cfg, log, pid
        self.num_workers = cfg.workers
        self.worker_age = 0
        self.worker_class = cfg.worker_class
        self.timeout = getattr(cfg, "timeout", 30)
        self.proc_name = cfg.proc_name
        self.master_name = "Master"
        self.master_pid = self.reexec_pid = 0
        self.systemd = False
        self.pidfile = None
        self.address = cfg.address
        self.app = None
        self.LISTENERS = []
        self.WORKERS = {}

    def __str__(self):
        return "<Server %s>" % self.pid


class Worker:
    """What hooks get as `worker`."""

    def __init__(self, age, server):
        self.age = age
        self.pid = "[booting]"
        self.ppid = server.pid
        self.cfg, self.log = server.cfg, server.log
        self.timeout = server.timeout / 2
        self.sockets = []
        self.booted = self.aborted = False
        self.alive = True
        self.nr = 0
        self.max_requests = getattr(server.cfg, "max_requests", 0) or sys.maxsize
        self.tmp = None
        self.reloader = None
        self.wsgi = self.app = None

    def __str__(self):
        return "<Worker %s>" % self.pid


class Request:
    """What `pre_request` and `post_request` get as `req`."""

    def __init__(self, method, uri, path, query, version, scheme, peer, headers):
        self.method, self.uri, self.path, self.query = method, uri, path, query
        self.version, self.scheme, self.headers = version, scheme, headers
        self.peer_addr = self.remote_addr = peer
        self.fragment = uri.partition("#")[2]
        self.trailers = []
        self.body = self.proxy_protocol_info = None
        self.req_number = 1

    def should_close(self):
        """Is the connection to end after the response?"""
        for name, value in self.headers:
            if name == "CONNECTION":
                return value.lower().strip() == "close"
        return self.version <= (1, 0)


class Response:
    """What `post_request` gets as `resp`."""

    def __init__(self, status, code, headers, sent):
        self.status, self.status_code, self.headers, self.sent = status, code, headers, sent
        self.headers_sent = True
        self.must_close = self.upgrade = False
        lengths = [value for name, value in headers if name.lower() == "content-length" and value.isdigit()]
        self.response_length = int(lengths[0]) if lengths else None
        self.chunked = self.response_length is None


def titles(proc_name):
    """Are processes to have titles? With setproctitle, as gunicorn's; and where a name was given."""
    return bool(proc_name) or setproctitle() is not None


def setproctitle():
    try:
        from setproctitle import setproctitle
    except ImportError:
        return None
    return setproctitle


def set_title(role, cfg):
    """Names the process. The package comes first: what the application sets with it later is to be seen."""
    title = "gunicorn: %s [%s]" % (role, cfg.proc_name)
    by_package = setproctitle()
    if by_package is not None:
        by_package(title)
    elif titles(cfg.settings.get("proc_name")):
        native.set_title(title)


def flush_standard_streams():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
