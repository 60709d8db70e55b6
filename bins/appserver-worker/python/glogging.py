"""The server's logger, above `gunicorn.error` and `gunicorn.access`; what `gunicorn.glogging` is where gunicorn is not installed.

As long as nobody adds to it (`is_plain`), the native side writes the same lines by itself and Python is not asked.
"""

import base64
import binascii
import inspect
import json
import logging
import logging.config
import os
import sys
import time
import traceback

from viaduct_worker import native

CONFIG_DEFAULTS = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {
            "level": "INFO",
            "handlers": ["error_console"],
            "propagate": True,
            "qualname": "gunicorn.error",
        },
        "gunicorn.access": {
            "level": "INFO",
            "handlers": ["console"],
            "propagate": True,
            "qualname": "gunicorn.access",
        },
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stdout"},
        "error_console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"},
    },
    "formatters": {
        "generic": {
            "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
            "class": "logging.Formatter",
        }
    },
}

CONFIG_ERRORS = (AttributeError, ImportError, KeyError, TypeError, ValueError)


def loggers():
    """Every logger that exists."""
    return [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]


class SafeAtoms(dict):
    """Atoms of a line: double quotes are escaped, what is not there is a dash, names in braces have no case."""

    def __init__(self, atoms):
        super().__init__(
            (name, value.replace('"', '\\"') if isinstance(value, str) else value) for name, value in atoms.items()
        )

    def __getitem__(self, name):
        return self.get(name.lower() if name.startswith("{") else name, "-")


class ErrorHandler(logging.StreamHandler):
    """Hands lines to the error log, and to syslog where that is on."""

    _gunicorn = True

    def __init__(self, formatter):
        super().__init__(sys.stderr)
        self.setFormatter(formatter)
        self.own_formatter = formatter

    def emit(self, record):
        try:
            line = self.format(record)
            message = record.getMessage()
            if record.exc_text:
                message += "\n" + record.exc_text
            native.write_log(record.levelno, line + "\n", message)
        except Exception:
            self.handleError(record)


class AccessHandler(ErrorHandler):
    """Hands lines to the access log."""

    def emit(self, record):
        try:
            native.write_access(self.format(record))
        except Exception:
            self.handleError(record)


class Logger:
    """What hooks know as `server.log` and `worker.log`."""

    LOG_LEVELS = {
        "critical": logging.CRITICAL,
        "error": logging.ERROR,
        "warning": logging.WARNING,
        "info": logging.INFO,
        "debug": logging.DEBUG,
    }
    loglevel = logging.INFO
    error_fmt = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
    datefmt = "[%Y-%m-%d %H:%M:%S %z]"
    access_fmt = "%(message)s"
    syslog_fmt = "[%(process)d] %(message)s"
    atoms_wrapper_class = SafeAtoms

    def __init__(self, cfg):
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")
        self.error_log.propagate = self.access_log.propagate = False
        self.error_handlers = []
        self.access_handlers = []
        self.logfile = None
        self.cfg = cfg
        self.setup(cfg)

    def setup(self, cfg):
        self.cfg = cfg
        self.loglevel = self.LOG_LEVELS.get((cfg.loglevel or "info").lower(), logging.INFO)
        self.error_log.setLevel(self.loglevel)
        self.access_log.setLevel(logging.INFO)
        for log in (self.error_log, self.access_log):
            for handler in [it for it in log.handlers if getattr(it, "_gunicorn", False)]:
                log.removeHandler(handler)
        self.error_log.addHandler(ErrorHandler(logging.Formatter(self.error_fmt, self.datefmt)))
        if cfg.accesslog is not None or (cfg.syslog and not cfg.disable_redirect_access_to_syslog):
            self.access_log.addHandler(AccessHandler(logging.Formatter(self.access_fmt)))
        self.configure(cfg)

    def _get_gunicorn_handler(self, log):
        return next((it for it in log.handlers if getattr(it, "_gunicorn", False)), None)

    def _set_handler(self, log, output, fmt, stream=None):
        """Has a log written to a file, or to a standard stream; classes of somebody's own call it with a form of their own."""
        before = self._get_gunicorn_handler(log)
        if before is not None:
            log.removeHandler(before)
        if output is None:
            return
        if log is self.error_log and output == self.cfg.errorlog:
            handler = ErrorHandler(fmt)
        elif log is self.access_log and output == self.cfg.accesslog and (output != "-" or stream is sys.stdout):
            handler = AccessHandler(fmt)
        else:
            handler = logging.StreamHandler(stream) if output == "-" else logging.FileHandler(output)
            handler.setFormatter(fmt)
            handler._gunicorn = True
        log.addHandler(handler)

    def _set_syslog_handler(self, log, cfg, fmt, name):
        """Syslog is written to by the native side."""

    def configure(self, cfg):
        """`logconfig_dict`, `logconfig_json`, `logconfig`; the first one that is set counts."""
        if cfg.logconfig_dict:
            self.configure_by_dict("logconfig_dict", cfg.logconfig_dict)
        elif cfg.logconfig_json:
            try:
                with open(cfg.logconfig_json, encoding="utf-8") as file:
                    settings = json.load(file)
            except (OSError, ValueError) as error:
                raise RuntimeError("logconfig_json: '%s' cannot be read: %s" % (cfg.logconfig_json, error)) from None
            self.configure_by_dict("logconfig_json", settings)
        elif cfg.logconfig:
            if not os.path.exists(cfg.logconfig):
                raise RuntimeError("Error: log config '%s' not found" % cfg.logconfig)
            defaults = dict(CONFIG_DEFAULTS, __file__=cfg.logconfig, here=os.path.dirname(cfg.logconfig))
            try:
                logging.config.fileConfig(cfg.logconfig, defaults=defaults, disable_existing_loggers=False)
            except CONFIG_ERRORS as error:
                raise RuntimeError("logconfig: '%s': %s" % (cfg.logconfig, error)) from error

    def configure_by_dict(self, name, settings):
        try:
            merged = dict(CONFIG_DEFAULTS, **settings)
            # The root of the defaults needs their handler; gunicorn fails where a file names handlers of its own only.
            for part in ("handlers", "formatters"):
                merged[part] = dict(CONFIG_DEFAULTS[part], **merged[part])
            logging.config.dictConfig(merged)
        except CONFIG_ERRORS as error:
            cause = " (%s)" % error.__cause__ if error.__cause__ else ""
            raise RuntimeError("%s: %s%s" % (name, error, cause)) from error

    def critical(self, msg, *args, **kwargs):
        self.error_log.critical(msg, *args, **kwargs)
        native.count("gunicorn.log.critical")

    def error(self, msg, *args, **kwargs):
        self.error_log.error(msg, *args, **kwargs)
        native.count("gunicorn.log.error")

    def warning(self, msg, *args, **kwargs):
        self.error_log.warning(msg, *args, **kwargs)
        native.count("gunicorn.log.warning")

    def exception(self, msg, *args, **kwargs):
        self.error_log.exception(msg, *args, **kwargs)
        native.count("gunicorn.log.exception")

    def info(self, msg, *args, **kwargs):
        self.log(logging.INFO, msg, *args, **kwargs)

    def debug(self, msg, *args, **kwargs):
        self.log(logging.DEBUG, msg, *args, **kwargs)

    def log(self, lvl, msg, *args, **kwargs):
        if isinstance(lvl, str):
            lvl = self.LOG_LEVELS.get(lvl.lower(), logging.INFO)
        extra = kwargs.get("extra")
        if extra and extra.get("metric") and extra.get("mtype") and extra.get("value") is not None:
            native.metric(str(extra["mtype"]), str(extra["metric"]), str(extra["value"]))
        if msg:
            self.error_log.log(lvl, msg, *args, **kwargs)

    @property
    def access_log_enabled(self):
        cfg = self.cfg
        to_syslog = cfg.syslog and not cfg.disable_redirect_access_to_syslog
        return bool(cfg.accesslog or cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json or to_syslog)

    def access(self, resp, req, environ, request_time):
        """Logs a request; `request_time` is a `datetime.timedelta`."""
        if not self.access_log_enabled:
            return
        atoms = self.atoms_wrapper_class(self.atoms(resp, req, environ, request_time))
        try:
            self.access_log.info(self.cfg.access_log_format, atoms)
        except Exception:
            self.error(traceback.format_exc())

    def atoms(self, resp, req, environ, request_time):
        status = resp.status
        if isinstance(status, str):
            status = status.split(None, 1)[0]
        sent = getattr(resp, "sent", None)
        seconds, microseconds = request_time.seconds, request_time.microseconds
        atoms = {
            "h": environ.get("REMOTE_ADDR", "-"),
            "l": "-",
            "u": self._get_user(environ) or "-",
            "t": self.now(),
            "r": "%s %s %s" % (environ["REQUEST_METHOD"], environ["RAW_URI"], environ["SERVER_PROTOCOL"]),
            "s": status,
            "m": environ.get("REQUEST_METHOD"),
            "U": environ.get("PATH_INFO"),
            "q": environ.get("QUERY_STRING"),
            "H": environ.get("SERVER_PROTOCOL"),
            "b": "-" if sent is None else str(sent),
            "B": sent,
            "f": environ.get("HTTP_REFERER", "-"),
            "a": environ.get("HTTP_USER_AGENT", "-"),
            "T": seconds,
            "D": seconds * 1000000 + microseconds,
            "M": seconds * 1000 + microseconds // 1000,
            "L": "%d.%06d" % (seconds, microseconds),
            "p": "<%s>" % os.getpid(),
        }
        for pairs, letter in ((getattr(req, "headers", req), "i"), (resp.headers, "o"), (environ, "e")):
            pairs = pairs.items() if hasattr(pairs, "items") else pairs
            atoms.update(("{%s}%s" % (name.lower(), letter), value) for name, value in pairs)
        return atoms

    def now(self):
        """The time, in the form of access logs."""
        return time.strftime("[%d/%b/%Y:%H:%M:%S %z]")

    def reopen_files(self):
        for log in [logging.root, *loggers()]:
            for handler in getattr(log, "handlers", ()):
                if isinstance(handler, logging.FileHandler):
                    handler.acquire()
                    try:
                        if handler.stream:
                            handler.close()
                            handler.stream = handler._open()
                    finally:
                        handler.release()

    def close_on_exec(self):
        """Files are closed on exec in any case."""

    def _get_user(self, environ):
        scheme, _, credentials = (environ.get("HTTP_AUTHORIZATION") or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            return base64.b64decode(credentials.strip().encode()).split(b":", 1)[0].decode()
        except (binascii.Error, ValueError) as error:
            self.debug("Couldn't get username: %s", error)
            return None


class Statsd(Logger):
    """Metrics of one's own; what `gunicorn.instrument.statsd` has."""

    def gauge(self, name, value):
        native.metric("gauge", name, str(value))

    def increment(self, name, value, sampling_rate=1.0):
        native.metric("counter", name, str(value))

    def decrement(self, name, value, sampling_rate=1.0):
        native.metric("counter", name, str(-value))

    def timer(self, name, value):
        native.metric("timer", name, str(value))

    def histogram(self, name, value):
        native.metric("histogram", name, str(value))


METHODS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "critical"}


def say(log, level, message):
    """A line of the server's own, by the method that gunicorn calls for it: a class of somebody's own may have its own."""
    method = getattr(log, METHODS.get(level, "error"), None)
    if method is not None:
        method(message)
    else:
        log.log(level, "%s", message)


FORMS = {name: getattr(Logger, name) for name in ("error_fmt", "datefmt", "access_fmt", "syslog_fmt")}


def is_changed(logger_class):
    """Has somebody given a class of ours, or of gunicorn's, other forms or other methods, without deriving from it?"""
    methods = [value for value in vars(logger_class).values() if inspect.isfunction(value)]
    return (
        any(getattr(logger_class, name) != form for name, form in FORMS.items())
        or logger_class.atoms_wrapper_class.__module__ != logger_class.__module__
        or any(method.__module__ != logger_class.__module__ for method in methods)
    )


def is_plain(log):
    """Whether the native side may write lines (for errors, for requests) itself: nobody has added to the loggers."""
    own = type(log) in (Logger, Statsd) and not is_changed(Logger)
    return own and untouched(log.error_log, log.loglevel), own and untouched(log.access_log, logging.INFO)


def untouched(logger, level):
    quiet = not logger.filters and not logger.disabled and not logger.propagate and logger.level == level
    return quiet and all(
        isinstance(it, ErrorHandler) and it.formatter is it.own_formatter and not it.filters and it.level == 0
        for it in logger.handlers
    )
