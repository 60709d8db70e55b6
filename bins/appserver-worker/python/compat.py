"""`import gunicorn` in configuration files and applications, where gunicorn itself is not installed.

What such files use is there under gunicorn's names; the rest is refused by name. An installed gunicorn goes first: the finder
stands last in `sys.meta_path`.
"""

import importlib.abc
import importlib.machinery
import sys
import types

from viaduct_worker import faces, glogging, native

GUNICORN = "27.0.1"
"""The version whose names and behaviour these modules have."""

SOFTWARE = "gunicorn/%s viaduct/%s" % (GUNICORN, native.VERSION)
"""What applications read as SERVER_SOFTWARE. Some (httpbin) do what gunicorn makes possible, chunked content say, only where it begins so."""


class AppImportError(Exception):
    """The application cannot be imported."""


class ConfigError(Exception):
    """A setting is wrong."""


class HaltServer(BaseException):
    """Ends the server with a status."""

    def __init__(self, reason, exit_status=1):
        self.reason, self.exit_status = reason, exit_status

    def __str__(self):
        return "<HaltServer %r %d>" % (self.reason, self.exit_status)


class BaseApplication:
    """May be subclassed, as modules do that can also be run by themselves; it cannot serve here."""

    def __init__(self, *arguments, **named):
        raise RuntimeError(
            "%s: gunicorn.app.base.BaseApplication starts a server of its own, which appserver does not do from Python; "
            "start it as `appserver module:application`, with its options in gunicorn.conf.py" % type(self).__name__
        )


class Base(faces.Worker):
    """The worker classes of gunicorn, as names for `worker_class`."""


class SyncWorker(Base):
    pass


class ThreadWorker(Base):
    pass


class ASGIWorker(Base):
    pass


def worker_class(kind):
    """What hooks get as `worker` derives from this."""
    return {"sync": SyncWorker, "gthread": ThreadWorker}.get(kind, ASGIWorker)


def http_errors():
    """The exceptions of `gunicorn.http.errors`, which handlers of one's own may name."""
    parse = type("ParseException", (Exception,), {})
    names = (
        "NoMoreData ConfigurationProblem InvalidRequestLine InvalidRequestMethod ExpectationFailed InvalidHTTPVersion InvalidHeader "
        "ObsoleteFolding InvalidHeaderName UnsupportedTransferCoding InvalidChunkSize ChunkMissingTerminator LimitRequestLine "
        "LimitRequestHeaders InvalidProxyLine InvalidProxyHeader ForbiddenProxyRequest InvalidSchemeHeaders"
    )
    return dict({name: type(name, (parse,), {}) for name in names.split()}, ParseException=parse)


def is_ipv6(address):
    """Is it one?"""
    import socket

    try:
        socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):
        return False
    return True


def import_app(module):
    """The application that an expression names."""
    from viaduct_worker.application import load

    return load(module)


def to_bytestring(value, encoding="utf8"):
    """Bytes of a text."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError("%r is not a string" % value)
    return value.encode(encoding)


def http_date(timestamp=None):
    """A date as fields have it."""
    import email.utils

    return email.utils.formatdate(timestamp, localtime=False, usegmt=True)


WORKERS = {
    "sync": "gunicorn.workers.sync.SyncWorker",
    "gthread": "gunicorn.workers.gthread.ThreadWorker",
    "asgi": "gunicorn.workers.gasgi.ASGIWorker",
}

MODULES = {
    "gunicorn": {
        "version_info": tuple(int(part) for part in GUNICORN.split(".")),
        "__version__": GUNICORN,
        "SERVER": "gunicorn",
        "SERVER_SOFTWARE": "gunicorn/" + GUNICORN,
    },
    "gunicorn.glogging": vars(glogging),
    "gunicorn.config": {
        "Config": faces.Config,
        "AccessLogFormat": type("AccessLogFormat", (), {"default": native.ACCESS_LOG_FORMAT}),
    },
    "gunicorn.arbiter": {"Arbiter": faces.Server},
    "gunicorn.errors": {"AppImportError": AppImportError, "ConfigError": ConfigError, "HaltServer": HaltServer},
    "gunicorn.util": {
        "http_date": http_date,
        "import_app": import_app,
        "is_ipv6": is_ipv6,
        "to_bytestring": to_bytestring,
    },
    "gunicorn.app": {},
    "gunicorn.app.base": {"BaseApplication": BaseApplication, "Application": BaseApplication},
    "gunicorn.app.wsgiapp": {"WSGIApplication": BaseApplication},
    "gunicorn.instrument": {},
    "gunicorn.instrument.statsd": {
        "Statsd": glogging.Statsd,
        "Logger": glogging.Logger,
        "METRIC_VAR": "metric",
        "VALUE_VAR": "value",
        "MTYPE_VAR": "mtype",
        "GAUGE_TYPE": "gauge",
        "COUNTER_TYPE": "counter",
        "HISTOGRAM_TYPE": "histogram",
        "TIMER_TYPE": "timer",
    },
    "gunicorn.workers": {"SUPPORTED_WORKERS": WORKERS},
    "gunicorn.workers.base": {"Worker": Base},
    "gunicorn.workers.sync": {"SyncWorker": SyncWorker},
    "gunicorn.workers.gthread": {"ThreadWorker": ThreadWorker},
    "gunicorn.workers.gasgi": {"ASGIWorker": ASGIWorker},
    "gunicorn.http": {"Request": faces.Request, "Message": faces.Request},
    "gunicorn.http.errors": http_errors(),
    "gunicorn.http.message": {"Request": faces.Request},
    "gunicorn.http.wsgi": {"Response": faces.Response},
}

PACKAGES = {name.rpartition(".")[0] for name in MODULES}

for _name, _class in (
    ("base.Worker", Base),
    ("sync.SyncWorker", SyncWorker),
    ("gthread.ThreadWorker", ThreadWorker),
    ("gasgi.ASGIWorker", ASGIWorker),
):
    _class.__module__, _, _class.__qualname__ = ("gunicorn.workers." + _name).rpartition(".")


def unknown(name):
    return "%s is not served by appserver (gunicorn itself is not installed); there are %s" % (
        name,
        ", ".join(sorted(MODULES)),
    )


class Stand(types.ModuleType):
    """A module that says by name what it does not have."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(unknown("%s.%s" % (self.__name__, name)))


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules above."""

    def find_spec(self, name, path=None, target=None):
        if name != "gunicorn" and not name.startswith("gunicorn."):
            return None
        if not isinstance(sys.modules.get("gunicorn"), (Stand, type(None))):
            # A part of the installed one that is not there.
            return None
        if name not in MODULES:
            raise ModuleNotFoundError(unknown(name), name=name)
        return importlib.machinery.ModuleSpec(name, self, is_package=name in PACKAGES, origin="appserver")

    def create_module(self, spec):
        return Stand(spec.name)

    def exec_module(self, module):
        for name, value in MODULES[module.__name__].items():
            if not (name.startswith("__") and name != "__version__"):
                setattr(module, name, value)


def install():
    """From now on `import gunicorn` works."""
    sys.meta_path.append(Finder())


def server_names():
    """The `Server` field that the configuration file has made of `gunicorn.SERVER`, None where it left it alone; and SERVER_SOFTWARE, which
    it may have set by `gunicorn.SERVER_SOFTWARE`."""
    module = sys.modules.get("gunicorn")
    usual = "gunicorn/" + getattr(module, "__version__", GUNICORN)
    field, software = (getattr(module, name, None) for name in ("SERVER", "SERVER_SOFTWARE"))
    return (
        field if isinstance(field, str) and field not in ("gunicorn", usual) else None,
        software if isinstance(software, str) and software != usual else SOFTWARE,
    )
