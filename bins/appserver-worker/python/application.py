"""Finds the application: `module`, `module:name`, `module:factory("literal", key=1)`."""

import ast
import importlib
import inspect
import os
import sys
import traceback


class AppImportError(Exception):
    """The module is there, the application is not."""


def load(uri):
    module_name, colon, expression = uri.partition(":")
    expression = expression if colon else "application"
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        if module_name.endswith(".py") and os.path.exists(module_name):
            stem = module_name.rpartition(".")[0].replace("/", ".")
            raise ImportError("Failed to find application, did you mean '%s:%s'?" % (stem, expression)) from None
        raise
    names, call = parse(expression)
    found = attribute(module, names, module_name)
    application = found if call is None else called(found, *call)
    if application is None:
        raise AppImportError("Failed to find application object: %r" % expression)
    if not callable(application):
        raise AppImportError("Application object must be callable.")
    return application


def parse(expression):
    """The dotted names of an expression, and the literal arguments it is called with, if it is."""
    unclear = AppImportError("Failed to parse %r as an attribute name or function call." % expression)
    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise unclear from None
    if not isinstance(node, ast.Call):
        names = dotted(node)
        if names is None:
            raise unclear
        return names, None
    if not isinstance(node.func, ast.Name):
        raise AppImportError("Function reference must be a simple name: %r" % expression)
    try:
        positional = [ast.literal_eval(argument) for argument in node.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
    except ValueError:
        raise AppImportError("Failed to parse arguments as literal values: %r" % expression) from None
    return [node.func.id], (positional, named)


def dotted(node):
    names = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else None


def attribute(module, names, module_name):
    found = module
    for name in names:
        try:
            found = getattr(found, name)
        except AttributeError:
            message = "Failed to find attribute %r in %r." % (".".join(names), module_name)
            raise AppImportError(message) from None
    return found


def called(factory, positional, named):
    try:
        return factory(*positional, **named)
    except TypeError as error:
        # Wrong arguments are the command line's fault, and need no traceback; anything deeper is the factory's own.
        if error.__traceback__.tb_next is None:
            raise AppImportError("".join(traceback.format_exception_only(TypeError, error)).strip()) from None
        raise


def failing(text):
    """An application that shows why the real one could not be loaded (`--reload` only)."""

    def application(environ, start_response):
        start_response("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")])
        return [text.encode("utf-8", "backslashreplace")]

    return application


def failing_asgi(text):
    """The same for ASGI."""

    async def application(scope, receive, send):
        if scope["type"] == "http":
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": text.encode("utf-8", "backslashreplace")})

    return application


def check_interface(application, asgi, beside=False):
    """Refuses what is certainly an application for the other interface. `beside`: it was named with `--asgi`."""
    call = type(application).__call__ if not inspect.isroutine(application) else application
    asynchronous = inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(call)
    two, three = takes(application, 2), takes(application, 3)
    if not asgi and asynchronous and three and not two:
        raise AppImportError(
            "This is an ASGI application (it is asynchronous and takes scope, receive and send), but the worker class is one for "
            "WSGI applications; use -k asgi, or name the WSGI application (and this one with --asgi)."
        )
    if asgi and not asynchronous and two and not three:
        raise AppImportError(
            "This is a WSGI application (it takes environ and start_response), but "
            + (
                "--asgi (asgi_app) takes ASGI applications; name the ASGI application there, or leave --asgi out."
                if beside
                else "the worker class is one for ASGI applications; "
                "leave -k out, or name the ASGI application (asgiref.wsgi.WsgiToAsgi can wrap this one)."
            )
        )


def takes(application, count):
    """Whether it can be called with so many arguments; False where nobody can tell."""
    try:
        inspect.signature(application).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


class Watcher:
    """Notices files of the application that change (`--reload`)."""

    def __init__(self, extra):
        self.extra = set()
        self.patterns = list(extra)
        self.times = {}

    def files(self):
        import glob

        files = set(self.extra)
        for pattern in self.patterns:
            files.update(glob.glob(pattern, recursive=True) or [pattern])
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str):
                files.add(path[:-1] if path.endswith((".pyc", ".pyo")) else path)
        return files

    def changed(self):
        """A file that is newer than it was at the last call; None at the first."""
        for path in self.files():
            try:
                time = os.stat(path).st_mtime_ns
            except OSError:
                continue
            before = self.times.setdefault(path, time)
            if time > before:
                self.times[path] = time
                return path
        return None
