"""Executes the configuration file and carries settings between Python and the master's JSON."""

import importlib
import importlib.machinery
import importlib.util
import os
import sys

from viaduct_worker import places


class Failure(Exception):
    """An order that failed; what the master is told."""

    def __init__(self, stage, message, trace=None, exit=1):
        super().__init__(message)
        self.stage, self.message, self.traceback, self.exit = stage, message, trace, exit

    def answer(self):
        return {
            "answer": "failed",
            "stage": self.stage,
            "message": self.message,
            "traceback": self.traceback,
            "exit": self.exit,
        }


DEFAULT_FILE = "gunicorn.conf.py"


def read(location, names, hooks):
    """Runs the file or module at `location`; gives where it was, what it sets, its raw values and their places by name."""
    directory = os.getcwd()
    if directory not in sys.path:
        sys.path.insert(0, directory)
    if location is None:
        if not os.path.exists(DEFAULT_FILE):
            return None, {}, {}, {}
        location = "./" + DEFAULT_FILE
    module, shown = run(location)
    raw = {name: module[name] for name in names if name in module}
    values = {name: describe(value, name in hooks) for name, value in raw.items()}
    lines = places.of_values(module.get("__file__") or "", raw)
    return location, values, raw, {name: "%s:%d" % (shown, line) for name, line in lines.items()}


def run(location):
    """The module's names, and the file as messages show it."""
    path = location
    try:
        if location.startswith("python:"):
            path = source_of(location[len("python:") :])
            return vars(importlib.import_module(location[len("python:") :])), path
        path = location[len("file:") :] if location.startswith("file:") else location
        if not os.path.exists(path):
            raise Failure("config", "Error: %r doesn't exist" % path)
        return run_file(path), path
    except Failure:
        raise
    except BaseException as error:
        place = places.of_error(path, error)
        what = words(path, place, error) if place else location
        if place and location != path:
            what = "%s: %s" % (location, what)
        status = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        raise Failure("config", "Failed to read config file: " + what, places.trimmed(path, error), status) from None


def source_of(module):
    try:
        return importlib.util.find_spec(module).origin or module
    except Exception:
        return module


def words(path, place, error):
    """`file:line: what is wrong`, one line."""
    line, column, elsewhere = place
    text = (error.msg if isinstance(error, SyntaxError) else str(error)).partition("\n")[0]
    where = "%s:%d%s" % (path, line, ":%d" % column if column else "")
    what = type(error).__name__ + (": " + text if text else "")
    return "%s: %s%s" % (where, what, " (raised in %s)" % elsewhere if elsewhere else "")


def run_file(path):
    name = "__config__"
    loader = importlib.machinery.SourceFileLoader(name, path)
    if path.endswith(".pyc"):
        loader = importlib.machinery.SourcelessFileLoader(name, path)
    elif not path.endswith(".py"):
        print("configuration file should have a valid Python extension.\n", file=sys.stderr)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return vars(module)


def describe(value, is_hook):
    """A value as the master is told of it."""
    if is_hook and (callable(value) or isinstance(value, str)):
        return {"kind": "callable", "value": {"repr": short_repr(value)}}
    try:
        return {"kind": "plain", "value": plain(value)}
    except TypeError:
        pass
    if callable(value) and not isinstance(value, type):
        return {"kind": "callable", "value": {"repr": short_repr(value)}}
    return {"kind": "other", "value": {"kind": type(value).__name__, "repr": short_repr(value)}}


def plain(value):
    """The value in what JSON has; TypeError when it has not."""
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return int(value)
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
    if isinstance(value, os.PathLike):
        return plain(os.fspath(value))
    raise TypeError(type(value).__name__)


def short_repr(value):
    try:
        return repr(value)[:500]
    except Exception:
        return "<%s>" % type(value).__name__


def resolve_hooks(raw, arities, found):
    """The hooks of the file as functions, each checked to take its arguments; what is not in the file does nothing."""
    hooks = {name: (lambda *arguments: None) for name in arities}
    for name, arity in arities.items():
        value = raw.get(name)
        if value is not None:
            hooks[name] = hook(name, value, arity, found.get(name))
    return hooks


def hook(name, value, arity, place):
    invalid = "Invalid value for %s: %s" % (name, short_repr(value))
    try:
        function = named(value.strip()) if isinstance(value, str) else value
        if not callable(function):
            raise TypeError("Value is not callable: %s" % short_repr(value))
        return adapted(name, function, arity)
    except Exception as error:
        where = "%s: %s: " % (place, name) if place else ""
        raise Failure("settle", "%s\nError: %s%s" % (invalid, where, error)) from None


def named(path):
    module, dot, attribute = path.rpartition(".")
    if not dot:
        raise TypeError('Value %r is not a "module.function"' % path)
    return getattr(importlib.import_module(module), attribute)


def adapted(name, function, arity):
    """`post_request` may take two to four arguments; every other hook takes exactly its own."""
    takes = positional(function)
    if takes is None or takes[0] <= arity <= takes[1]:
        return function
    if name == "post_request" and takes[1] in (2, 3):
        return lambda *arguments: function(*arguments[: takes[1]])
    raise TypeError("Value must have an arity of: %s" % arity)


def positional(function):
    """The least and the greatest number of positional arguments; None where nobody knows."""
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    least = most = 0
    for parameter in parameters:
        if parameter.kind == parameter.VAR_POSITIONAL:
            most = 1000
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += parameter.default is parameter.empty
        elif parameter.kind == parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            least = 1001
    return least, most
