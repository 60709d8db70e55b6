"""What configuration files and hooks see of the server: `cfg`, `log`, `server`, `worker`, `req`, `resp`."""

import logging
import os
import sys

LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


class Config:
    """All settings by name, and hooks as functions."""

    def __init__(self, settings, hooks):
        self.__dict__.update(settings)
        self.__dict__.update(hooks)
        self.settings = settings

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
        return self.user if self.user is not None else os.geteuid()

    @property
    def gid(self):
        return self.group if self.group is not None else os.getegid()

    @property
    def address(self):
        return list(self.bind or [])

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
    "certfile": None,
    "chdir": None,
    "group": None,
    "keyfile": None,
    "proc_name": None,
    "pythonpath": None,
    "raw_env": [],
    "threads": 1,
    "umask": 0,
    "initgroups": False,
    "user": None,
    "worker_class": "sync",
    "workers": 1,
}


class LogHandler(logging.Handler):
    """Hands lines to the error log."""

    def __init__(self, write):
        super().__init__()
        self._gunicorn = True
        self._write = write
        form = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
        self.setFormatter(logging.Formatter(form, "[%Y-%m-%d %H:%M:%S %z]"))

    def emit(self, record):
        try:
            self._write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


class Log:
    """`server.log` and `worker.log`, above the logger `gunicorn.error`."""

    def __init__(self, level, write):
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")
        self.error_log.propagate = self.access_log.propagate = False
        self.error_log.setLevel(LEVELS.get(level.lower(), logging.INFO))
        self.access_log.setLevel(logging.INFO)
        for handler in [h for h in self.error_log.handlers if getattr(h, "_gunicorn", False)]:
            self.error_log.removeHandler(handler)
        self.error_log.addHandler(LogHandler(write))
        self.loglevel = self.error_log.level

    def critical(self, message, *args, **kwargs):
        self.error_log.critical(message, *args, **kwargs)

    def error(self, message, *args, **kwargs):
        self.error_log.error(message, *args, **kwargs)

    def warning(self, message, *args, **kwargs):
        self.error_log.warning(message, *args, **kwargs)

    def info(self, message, *args, **kwargs):
        self.error_log.info(message, *args, **kwargs)

    def debug(self, message, *args, **kwargs):
        self.error_log.debug(message, *args, **kwargs)

    def exception(self, message, *args, **kwargs):
        self.error_log.exception(message, *args, **kwargs)

    def log(self, level, message, *args, **kwargs):
        if isinstance(level, str):
            level = LEVELS.get(level.lower(), logging.INFO)
        self.error_log.log(level, message, *args, **kwargs)


class Server:
    """What hooks get as `server`: the master, as far as Python can see it."""

    def __init__(self, cfg, log, pid):
        self.cfg, self.log, self.pid = cfg, log, pid
        self.num_workers = cfg.workers
        self.worker_age = 0
        self.timeout = getattr(cfg, "timeout", 30)
        self.proc_name = cfg.proc_name
        self.address = cfg.address
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
        self.timeout = server.timeout
        self.sockets = []
        self.booted = self.aborted = False
        self.alive = True
        self.nr = 0
        self.wsgi = self.app = None

    def __str__(self):
        return "<Worker %s>" % self.pid


class Request:
    """What `pre_request` and `post_request` get as `req`."""

    def __init__(self, method, uri, path, query, version, scheme, peer, headers):
        self.method, self.uri, self.path, self.query = method, uri, path, query
        self.version, self.scheme, self.headers = version, scheme, headers
        self.peer_addr = self.remote_addr = peer
        self.fragment = ""
        self.trailers = []


class Response:
    """What `post_request` gets as `resp`."""

    def __init__(self, status, code, headers, sent):
        self.status, self.status_code, self.headers, self.sent = status, code, headers, sent
        self.headers_sent = True


def set_title(title):
    """Names the process, where the setproctitle package is installed (gunicorn needs it too)."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(title)


def flush_standard_streams():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
