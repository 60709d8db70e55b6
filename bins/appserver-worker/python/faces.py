"""What configuration files and hooks see of the server: `cfg`, `log`, `server`, `worker`, `req`, `resp`."""

import os
import random
import signal
import sys
import time

from viaduct_worker import late, native

# A number that no machine has room for, and every integer of the native side.
WORKERS_MAX = 65535
HOOKS = frozenset(name for name, _ in native.HOOKS)


class Config:
    """All settings by name, and hooks as functions."""

    def __init__(self, settings, hooks, application=None):
        self.__dict__.update(pair for pair in settings.items() if not hasattr(type(self), pair[0]))
        self.__dict__.update(hooks)
        self.raw = settings
        self.settings = {name: Setting(self, name, value) for name, value in settings.items()}
        # Settings and hooks that hooks have set.
        self.changes, self.own_hooks = {}, set()
        # A worker serves by them.
        self.is_in_force = False
        self.env_orig = dict(os.environ)
        own = {
            "user": settings.get("user") if settings.get("user") is not None else os.geteuid(),
            "group": settings.get("group") if settings.get("group") is not None else os.getegid(),
            "proc_name": settings.get("proc_name") or application,
            "default_proc_name": application,
        }
        self.__dict__.update(own)

    def settle(self, name, value):
        """The object that a setting has named."""
        self.__dict__[name] = value

    @property
    def env(self):
        pairs = {}
        for pair in self.raw_env or []:
            name, equals, value = pair.partition("=")
            if not equals:
                raise RuntimeError("environment setting %r invalid" % pair)
            pairs[name] = value
        return pairs

    def set(self, name, value):
        """Hooks change settings by this; what that means is in `late`."""
        if name in HOOKS:
            if not callable(value):
                raise TypeError("Value is not callable: %r" % (value,))
            self.own_hooks.add(name)
            self.__dict__[name] = value
            return
        if name not in self.settings:
            raise AttributeError("No configuration setting for: %s" % name)
        value = late.value_for(self, name, value)
        self.settings[name].value = self.raw[name] = self.changes[name] = value
        if not hasattr(type(self), name):
            self.__dict__[name] = value

    def __setattr__(self, name, value):
        if name in self.__dict__.get("settings", ()) or name in HOOKS:
            raise AttributeError("Invalid access! Settings are changed by cfg.set(%r, value)" % name)
        super().__setattr__(name, value)

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
    def sendfile(self):
        if self.raw.get("sendfile") is not None:
            return self.raw["sendfile"]
        return os.environ.get("SENDFILE", "y").lower() in ("y", "1", "yes", "true")

    @property
    def ssl_options(self):
        names = "keyfile certfile ssl_version cert_reqs ca_certs suppress_ragged_eofs do_handshake_on_connect ciphers"
        return {name: getattr(self, name, None) for name in names.split()}

    @property
    def is_ssl(self):
        return bool(self.certfile or self.keyfile)

    @property
    def worker_class_str(self):
        name = self.raw.get("worker_class", "sync")
        return "gthread" if name == "sync" and self.threads > 1 else name

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
        number = text[len("fd://") :]
        # The master, which opens the sockets, tells what is wrong with another word.
        return int(number) if number.isdecimal() else text
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


class Setting:
    """A setting as `cfg.settings` has it."""

    def __init__(self, cfg, name, value):
        self._cfg, self.name, self.value = cfg, name, value

    def get(self):
        return self.value

    def set(self, value):
        self._cfg.set(self.name, value)

    def __repr__(self):
        return "<Setting %s with value %r>" % (self.name, self.value)


class App:
    """What `server.app` and `worker.app` are: `callable` and `wsgi()` are the application."""

    def __init__(self, cfg, uri, load):
        self.cfg, self.app_uri, self._load = cfg, uri, load
        self.callable = self.logger = None
        self.prog = "gunicorn"

    def wsgi(self):
        if self.callable is None:
            self.callable = self.load()
        return self.callable

    def load(self):
        return self._load()


class Tmp:
    """gunicorn's heartbeat file. Ours is memory that the native side writes to; nobody else needs to. A file is made for those who
    ask for its number."""

    _file = None

    def fileno(self):
        if self._file is None:
            import tempfile

            self._file = tempfile.TemporaryFile(prefix="wgunicorn-", buffering=0)
        return self._file.fileno()

    def notify(self):
        pass

    def last_update(self):
        return time.monotonic()

    def close(self):
        if self._file is not None:
            self._file.close()
            self._file = None


OF_MASTER = {
    "timeout": "write timeout in the configuration file",
    "worker_class": "write worker_class in the configuration file",
    "LISTENERS": "write the addresses as bind in the configuration file",
    "WORKERS": "the master has its workers by itself",
}


class Server:
    """What hooks get as `server`: the master, as far as Python can see it."""

    WORKER_BOOT_ERROR = 3
    APP_LOAD_ERROR = 4

    def __init__(self, cfg, log, pid, app):
        self.cfg, self.log, self.pid, self.app = cfg, log, pid, app
        self._num_workers = cfg.workers
        self._process = os.getpid()
        self.worker_age = 0
        self.worker_class = cfg.worker_class
        self.timeout = getattr(cfg, "timeout", 30)
        self.proc_name = cfg.proc_name
        self.master_name = "Master"
        self.master_pid = self.reexec_pid = 0
        self.systemd = False
        self.pidfile = None
        self.address = cfg.address
        self.LISTENERS = []
        self.WORKERS = {}
        self._is_made = True

    def __setattr__(self, name, value):
        """Attributes of a hook's own are welcome; what the master would not heed is refused."""
        if name in OF_MASTER and getattr(self, "_is_made", False):
            raise AttributeError("server.%s is not heeded when a hook sets it; %s" % (name, OF_MASTER[name]))
        super().__setattr__(name, value)

    def __str__(self):
        return "<Server %s>" % self.pid

    @property
    def num_workers(self):
        return self._num_workers

    @num_workers.setter
    def num_workers(self, number):
        """As many workers from now on. In a worker it is a copy, as gunicorn's."""
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= WORKERS_MAX:
            raise ValueError("server.num_workers takes a number from 0 to %d, got %r" % (WORKERS_MAX, number))
        before, self._num_workers = self._num_workers, number
        self.cfg.nworkers_changed(self, number, before)
        if os.getpid() == self._process:
            native.set_workers(number)

    # What else hooks ask of the master goes there as a signal.

    def reload(self):
        os.kill(self.pid, signal.SIGHUP)

    def stop(self, graceful=True):
        os.kill(self.pid, signal.SIGTERM if graceful else signal.SIGQUIT)

    def halt(self, reason=None, exit_status=0):
        if reason is not None:
            self.log.info("Reason: %s", reason)
        self.stop()

    def kill_worker(self, pid, sig):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass

    def kill_workers(self, sig):
        for pid in list(self.WORKERS):
            self.kill_worker(pid, sig)

    def wakeup(self):
        pass


class Worker:
    """What hooks get as `worker`."""

    def __init__(self, age, server):
        self.age = age
        self.pid = "[booting]"
        self.ppid = server.pid
        self.cfg, self.log, self.app = server.cfg, server.log, server.app
        self.timeout = server.timeout / 2
        self.sockets = server.LISTENERS
        self.worker_connections = getattr(server.cfg, "worker_connections", 1000)
        self.booted = self.aborted = False
        self._alive = True
        self.interrupted = False
        self.nr = 0
        most = getattr(server.cfg, "max_requests", 0)
        self.max_requests = most + random.randint(0, getattr(server.cfg, "max_requests_jitter", 0)) if most else sys.maxsize
        self.tmp = Tmp()
        self.reloader = None
        self.wsgi = None

    def __str__(self):
        return "<Worker %s>" % self.pid

    @property
    def alive(self):
        return self._alive

    @alive.setter
    def alive(self, alive):
        """Hooks end a worker by this: it finishes its requests and goes, and is replaced."""
        if self._alive and not alive and self.pid == os.getpid():
            native.retire()
        self._alive = alive

    def notify(self):
        """The native side tells that the worker is alive."""


class Request:
    """What `pre_request` and `post_request` get as `req`."""

    def __init__(self, cfg, method, uri, path, query, version, scheme, connection, headers):
        self.cfg = cfg
        self.method, self.uri, self.path, self.query = method, uri, path, query
        self.version, self.scheme, self.headers = version, scheme, headers
        self.peer_addr, self.remote_addr, self.proxy_protocol_info, self.req_number = connection
        self.fragment = uri.partition("#")[2]
        self.trailers = []
        self.body = None
        self.must_close = False
        # As it came, where a hook has changed it.
        self.came = None
        self.limit_request_line = getattr(cfg, "limit_request_line", 4094)
        self.limit_request_fields = getattr(cfg, "limit_request_fields", 100)
        self.limit_request_field_size = getattr(cfg, "limit_request_field_size", 8190)

    def force_close(self):
        """The connection ends after the response, whatever the client asked for. Heeded until the application is called."""
        self.must_close = True

    def should_close(self):
        """Is the connection to end after the response?"""
        if self.must_close:
            return True
        for name, value in self.headers:
            if name == "CONNECTION":
                return value.lower().strip() == "close"
        return self.version <= (1, 0)


class Response:
    """What `post_request` gets as `resp`."""

    def __init__(self, req, status, code, headers, sent):
        self.req, self.cfg, self.version = req, req.cfg, "gunicorn"
        self.status, self.status_code, self.headers, self.sent = status, code, headers, sent
        self.headers_sent = True
        self.must_close = self.upgrade = False
        lengths = [value for name, value in headers if name.lower() == "content-length" and value.isdigit()]
        self.response_length = int(lengths[0]) if lengths else None
        self.chunked = self.response_length is None

    def is_chunked(self):
        return self.chunked

    def force_close(self):
        """Too late: `post_request` gets it when the response was sent."""
        self.must_close = True

    def should_close(self):
        return self.must_close or self.req.should_close()


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
    elif titles(cfg.raw.get("proc_name")):
        native.set_title(title)


def flush_standard_streams():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
