"""The template: carries out the master's orders, and forks workers. One thread, one order after the other."""

import json
import os
import signal
import sys
import traceback

from datetime import timedelta

from viaduct_worker import classes, compat, native
from viaduct_worker.application import AppImportError, Watcher, check_interface, failing, failing_asgi, load
from viaduct_worker.changes import Came, amend
from viaduct_worker.config import Failure, named, plain, read, resolve_hooks, short_repr
from viaduct_worker.faces import App, Config, Request, Response, Server, Worker, flush_standard_streams, set_title, titles
from viaduct_worker.compat import server_names
from viaduct_worker.late import ONLY_TOLD
from viaduct_worker.listeners import Listener
from viaduct_worker.glogging import Logger, is_changed, is_plain, say

IGNORED = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "TTIN", "TTOU", "WINCH", "TSTP")


class State:
    """What the orders so far have made."""

    raw = {}
    # `file:line` of the values in it.
    places = {}
    cfg = server = uri = application = beside = worker = watcher = None
    # What a worker class of somebody's own means.
    own_class = None
    # Python's logging writes the lines of requests; uvicorn's logger does.
    logs_requests = logs_by_uvicorn = False
    # The hook of an interrupted worker runs.
    speaks = False


def prepare():
    """Before the first order: what imports of gunicorn find, and signals."""
    compat.install()
    ignore_signals()


def ignore_signals():
    """Signals are the master's business. Not SIG_IGN, which programs that an application starts would inherit."""
    for name in IGNORED:
        signal.signal(getattr(signal, "SIG" + name), lambda number, frame: None)
    signal.set_wakeup_fd(-1)


def handle(text):
    """Carries out an order; both it and the answer are JSON."""
    order = json.loads(text)
    try:
        answer = ORDERS[order["order"]](order)
    except Failure as failure:
        answer = failure.answer()
    except BaseException as error:
        message = "%s: %s" % (type(error).__name__, error)
        answer = Failure("protocol", message, traceback.format_exc()).answer()
    flush_standard_streams()
    return json.dumps(answer)


def read_config(order):
    location, values, State.raw, State.places = read(order["location"], order["names"], order["hooks"])
    return {"answer": "config", "location": location, "values": values, "places": State.places}


def settle(order):
    settings = order["settings"]
    try:
        hooks = resolve_hooks(State.raw, dict(native.HOOKS), State.places)
        State.uri = order["application"]
        kept = objects(settings)
        State.cfg = cfg = Config(kept, hooks, State.uri)
        os.environ.update(cfg.env)
        # Programs ask this variable whether they run under gunicorn.
        os.environ["SERVER_SOFTWARE"] = compat.SOFTWARE
        sys.argv[:] = order.get("arguments") or sys.argv
        enter(cfg)
        State.own_class = own_class(settings)
        if State.own_class:
            kept.update(State.own_class.settings)
            cfg = State.cfg = Config(kept, hooks, State.uri)
        cfg.settle("worker_class", compat.worker_class(cfg.raw.get("worker_class", "sync")))
        cfg.settle("logger_class", logger_class(cfg.logger_class))
        log = cfg.logger_class(cfg)
    except Failure:
        raise
    except Exception as error:
        raise Failure("settle", "%s: %s" % (type(error).__name__, error), traceback.format_exc()) from None
    State.server = Server(cfg, log, os.getppid(), App(cfg, State.uri, lambda: the_application(cfg, log)))
    for words in State.own_class.warnings if State.own_class else ():
        log.warning("%s", words)
    set_title("template", cfg)
    if settings.get("preload_app"):
        load_application(None)
        share_pages(log)
    return {"answer": "settled", "python_logging": not is_plain(log)[0], "titles": titles(settings.get("proc_name"))}


def own_class(settings):
    """What `worker_class` means where it is neither a word nor one of gunicorn's and uvicorn's own."""
    value = settings.get("worker_class")
    if value == "uvicorn.workers.UvicornH11Worker" or not isinstance(value, str) or value in KINDS_OF_WORKERS:
        return None
    where = State.places.get("worker_class")
    place = "%s: worker_class" % where if where else "worker_class (-k)"
    try:
        found = State.raw.get("worker_class")
        if not isinstance(found, type) or value != "%s.%s" % (found.__module__, found.__qualname__):
            found = named(value)
        if not isinstance(found, type):
            raise classes.Refused("it is no class")
        meaning = classes.understood(found)
        if meaning.kind == "sync" and settings.get("threads", 1) > 1:
            meaning.kind = "gthread"
        if settings.get("asgi_app") and meaning.kind not in ("sync", "gthread"):
            raise classes.Refused("with --asgi the one application is an ASGI one already: leave --asgi or -k out")
    except classes.Refused as error:
        raise Failure("settle", 'Error: %s "%s" is refused: %s' % (place, value, error)) from None
    except (AttributeError, ImportError) as error:
        raise Failure("settle", 'Error: %s "%s" cannot be imported: %s' % (place, value, error)) from None
    meaning.settings["worker_class"] = meaning.kind
    return meaning


def of_class():
    """What such a class brings, for the native side."""
    return json.dumps(State.own_class.settings if State.own_class else {})


KINDS_OF_WORKERS = ("sync", "gthread", "asgi", "uvicorn.workers.UvicornWorker", "uvicorn_worker.UvicornWorker", "uvicorn_worker.UvicornH11Worker")


def objects(settings):
    """The settings, with the objects of the configuration file where they have no other form."""
    kept = dict(settings)
    for name in ("logger_class", "logconfig_dict"):
        raw = State.raw.get(name)
        if raw is not None and not isinstance(raw, str) and kept.get(name) in (short_repr(raw), plain_or_none(raw)):
            kept[name] = raw
    return kept


def plain_or_none(value):
    try:
        return plain(value)
    except TypeError:
        return None


def logger_class(value):
    """The class of `server.log`: a class, a function that gives one, or its dotted name."""
    if callable(value) and not isinstance(value, type):
        value = value()
    if value in (None, "gunicorn.glogging.Logger", "egg:gunicorn#simple", "simple"):
        # gunicorn itself, where the configuration file has imported an installed one.
        installed = getattr(sys.modules.get("gunicorn.glogging"), "Logger", Logger)
        return installed if is_changed(installed) else Logger
    if isinstance(value, type):
        return value
    try:
        return named(value)
    except (AttributeError, ImportError, TypeError) as error:
        raise Failure("settle", "Invalid value for logger_class: %s\n\nError: %s" % (value, error)) from None


def enter(cfg):
    if cfg.chdir:
        os.chdir(cfg.chdir)
    directory = cfg.chdir or os.getcwd()
    if directory not in sys.path:
        sys.path.insert(0, directory)
    for path in (cfg.pythonpath or "").split(","):
        path = path and os.path.abspath(path)
        if path and path not in sys.path:
            sys.path.insert(0, path)


def load_application(order):
    try:
        State.application = State.server.app.callable = load(State.uri)
        State.beside = load(uri_beside(State.cfg)) if uri_beside(State.cfg) else None
    except AppImportError as error:
        raise Failure("application", str(error), None, 4) from None
    except BaseException as error:
        message = "".join(traceback.format_exception_only(type(error), error)).strip()
        raise Failure("application", message.splitlines()[-1], traceback.format_exc(), 3) from None
    return {"answer": "loaded"}


def share_pages(log):
    """What is alive now will be for ever: keeps the collector, and the counts of references, from writing to pages that workers share."""
    import gc

    gc.collect()
    log.debug("Before the fork: %s", native.keep_shared())
    gc.freeze()


def run_hook(order):
    server, cfg, name = State.server, State.cfg, order["hook"]
    arguments = (server,)
    if name == "nworkers_changed":
        server._num_workers = order["new"]
        arguments = (server, order["new"], order["old"])
    return call_hook(cfg, name, *arguments)


def show_sockets(sockets):
    """The listening sockets, by address, that an order of the master's brings."""
    server = State.server
    server.LISTENERS[:] = [Listener(text, descriptor, server.cfg, server.log) for text, descriptor in sockets]


def hide_sockets():
    """They are closed now."""
    for listener in State.server.LISTENERS:
        listener.close()


def child_exit(order):
    worker = State.server.WORKERS.pop(order["pid"], None)
    if worker is None:
        worker = Worker(order["age"], State.server)
        worker.pid = order["pid"]
    worker._alive = False
    return call_hook(State.cfg, "child_exit", State.server, worker)


def log_line(order):
    """A line of the master's, for Python's logging. It has the master's process id."""
    log = State.server.log

    def of_master(record):
        record.process = order["pid"]
        return True

    log.error_log.addFilter(of_master)
    try:
        say(log, order["level"], order["message"])
    finally:
        log.error_log.removeFilter(of_master)


def python_logging():
    """Whether Python's logging is to write what the master has to say."""
    return not is_plain(State.server.log)[0]


def reopen_files():
    """Files that handlers of Python's logging write to were renamed."""
    State.server.log.reopen_files()


def leave():
    """The end of a template. Threads that are no daemons would keep it, and what they listen on, for ever."""
    import threading

    if any(not it.daemon for it in threading.enumerate() if it is not threading.current_thread()):
        import atexit

        atexit._run_exitfuncs()
        flush_standard_streams()
        os._exit(0)


def call_hook(cfg, name, *arguments):
    try:
        getattr(cfg, name)(*arguments)
    except BaseException as error:
        message = "hook %s failed: %s: %s" % (name, type(error).__name__, error)
        raise Failure("hook", message, traceback.format_exc()) from None
    return {"answer": "hook_done"}


ORDERS = {
    "read_config": read_config,
    "settle": settle,
    "load_application": load_application,
    "hook": run_hook,
    "child_exit": child_exit,
}


def fork(age):
    """Forks a worker, whose parent is the master when it goes on.

    Gives its process id and, for the template, the gate that holds the worker back until it is closed: the master has to know the
    worker before anybody else does. In the worker the process id is 0.
    """
    server = State.server
    worker = server.worker_class(age, server)
    server.worker_age = max(server.worker_age, age)
    try:
        server.cfg.pre_fork(server, worker)
        flush_standard_streams()
        pid, gate = fork_away()
    except Exception as error:
        message = "%s: %s" % (type(error).__name__, error)
        raise Failure("fork", message, traceback.format_exc()) from None
    if pid:
        worker.pid = pid
        server.WORKERS[pid] = worker
        silence(server.cfg)
    else:
        worker.pid = os.getpid()
        State.worker = worker
    return pid, gate


def silence(cfg):
    """What a daemon says goes to its log file only, from the first worker on: whoever started it with a pipe for its stderr (ssh,
    a script) waits until nobody holds that any more."""
    if not cfg.raw.get("daemon"):
        return
    flush_standard_streams()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        if os.isatty(descriptor) or not cfg.raw.get("enable_stdio_inheritance"):
            os.dup2(null, descriptor)
    os.close(null)


def fork_away():
    reader, writer = os.pipe()
    gate, held = os.pipe()
    try:
        middle = os.fork()
    except OSError:
        for descriptor in (reader, writer, gate, held):
            os.close(descriptor)
        raise
    if middle == 0:
        os.close(reader)
        try:
            pid = os.fork()
        except OSError as error:
            os.write(writer, b"!%d" % error.errno)
            os._exit(1)
        if pid:
            os.write(writer, b"%d" % pid)
            os._exit(0)
        os.close(writer)
        os.close(held)
        os.read(gate, 1)
        os.close(gate)
        return 0, None
    os.close(writer)
    os.close(gate)
    try:
        told = os.read(reader, 32)
    finally:
        os.close(reader)
        # Its children have another parent when it is collected.
        os.waitpid(middle, 0)
    if not told or told.startswith(b"!"):
        os.close(held)
        number = int(told[1:] or 0)
        raise OSError(number, os.strerror(number) if number else "the process between template and worker died")
    return int(told), held


def fork_answer(age):
    """`fork` for the native side: `(process id, gate, None)`, or `(None, None, answer)` when it failed."""
    try:
        return *fork(age), None
    except Failure as failure:
        return None, None, json.dumps(failure.answer())


# From here on: in a worker.


class BootFailure(Exception):
    """The worker cannot boot: exit status, and one line."""


def boot():
    """Makes this process a worker and gives the application."""
    worker, cfg = State.worker, State.cfg
    log = worker.log
    handle_signals(worker)
    set_title("worker", cfg)
    try:
        if is_uvicorn(cfg):
            classes.share_loggers(log)
        if State.own_class:
            classes.configure_logging(State.own_class)
        log.info("Booting worker with pid: %s", worker.pid)
        cfg.post_fork(State.server, worker)
        os.environ.update(cfg.env)
        drop_privileges(cfg)
        reseed()
        if cfg.raw.get("reload"):
            log.warning("Reloader is on. Use in development only!")
            State.watcher = Watcher(cfg.raw.get("reload_extra_files") or [])
        worker.wsgi = worker.app.wsgi()
        if State.own_class and State.own_class.factory:
            worker.wsgi = worker.wsgi()
        check_interface(worker.wsgi, is_asgi(cfg))
        worker.app.callable = worker.wsgi
        if uri_beside(cfg):
            State.beside = State.beside or load_in_worker(cfg, log, uri_beside(cfg), True)
            check_interface(State.beside, True, beside=True)
        cfg.post_worker_init(worker)
    except AppImportError as error:
        log.error("App failed to load: %s", error)
        raise BootFailure(4, str(error)) from None
    except SystemExit as error:
        if worker.interrupted and not worker.aborted:
            # By a signal or the master's order, before there was anything to serve.
            raise BootFailure(0, "ended while it booted") from None
        log.exception("Exception in worker process")
        raise BootFailure(3, "SystemExit: %s" % error) from None
    except BaseException as error:
        log.exception("Exception in worker process")
        line = "".join(traceback.format_exception_only(type(error), error)).strip()
        raise BootFailure(3, line.splitlines()[-1]) from None
    worker.booted = cfg.is_in_force = True
    if State.watcher:
        State.watcher.changed()
    flush_standard_streams()
    if not cfg.raw.get("capture_output"):
        silence(cfg)
    return worker.wsgi


def the_application(cfg, log):
    return State.application or load_in_worker(cfg, log, State.uri, is_asgi(cfg))


def load_in_worker(cfg, log, uri, asgi):
    try:
        return load(uri)
    except SyntaxError as error:
        if not cfg.raw.get("reload"):
            raise
        log.exception("%s", error)
        if State.watcher is not None and error.filename:
            State.watcher.extra.add(error.filename)
        return (failing_asgi if asgi else failing)(traceback.format_exc())


def is_asgi(cfg):
    return str(cfg.raw.get("worker_class", "")).startswith(("asgi", "uvicorn"))


def is_uvicorn(cfg):
    return str(cfg.raw.get("worker_class", "")).startswith("uvicorn")


def uri_beside(cfg):
    """The ASGI application beside the WSGI one, where there is one."""
    return cfg.raw.get("asgi_app")


def application_beside():
    return State.beside


def drop_privileges(cfg):
    uid, gid = cfg.user, cfg.group
    if gid is not None and gid != os.getgid() or (uid is not None and uid != os.getuid()):
        if cfg.initgroups and uid is not None:
            import pwd

            os.initgroups(pwd.getpwuid(uid).pw_name, gid if gid is not None else os.getgid())
        elif os.geteuid() == 0:
            os.setgroups([gid if gid is not None else os.getgid()])
    if gid is not None and gid != os.getgid():
        os.setgid(gid)
    if uid is not None and uid != os.getuid():
        os.setuid(uid)
    if cfg.umask:
        os.umask(cfg.umask)


def reseed():
    import random

    random.seed()


def handle_signals(worker):
    """Python's own handlers, so that applications may have theirs; the native side is told by the wakeup descriptor."""
    for name in ("ABRT", "HUP", "QUIT", "INT", "TERM", "USR1", "USR2", "WINCH", "CHLD", "TSTP"):
        signal.signal(getattr(signal, "SIG" + name), signal.SIG_DFL)
    signal.signal(signal.SIGTERM, native.end_gracefully)
    signal.signal(signal.SIGUSR1, native.reopen_logs)
    # The master's: whoever sends them to all processes must not stop the workers.
    for number in (signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, lambda number, frame: None)
    signal.signal(signal.SIGINT, end_quickly)
    signal.signal(signal.SIGQUIT, end_quickly)
    signal.signal(signal.SIGABRT, abort)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU):
        signal.siginterrupt(number, False)
    signal.set_wakeup_fd(native.wakeup_descriptor(), warn_on_full_buffer=False)
    dump_stacks()


def dump_stacks():
    """The stacks of all threads go to the error log when the master ends a stuck worker, even one that is stuck in C, and when
    the process crashes. Python's own handler, if there is one, comes after."""
    import faulthandler

    try:
        faulthandler.enable(file=native.log_descriptor(), all_threads=True)
    except (OSError, RuntimeError, ValueError):
        pass


def end_quickly(number, frame):
    interrupted()
    # The master gives an order and sends a signal; the later of them must not break off the hook that the earlier has called.
    if not State.speaks and not native.is_ending():
        raise SystemExit(0)


def interrupted():
    """INT, QUIT, or the master's order; whichever comes first. A signal may come between any two of these steps."""
    worker = State.worker
    if not worker.interrupted:
        State.speaks = True
        worker.interrupted = True
        try:
            worker._alive = False
            native.end_quickly(0)
            guarded(worker.cfg.worker_int, "worker_int", worker)
        finally:
            State.speaks = False


def abort(number, frame):
    worker = State.worker
    if not worker.aborted:
        worker._alive, worker.aborted, worker.interrupted = False, True, True
        native.end_quickly(1)
        guarded(worker.cfg.worker_abort, "worker_abort", worker)
    raise SystemExit(1)


def guarded(hook, name, *arguments):
    try:
        hook(*arguments)
    except Exception:
        State.worker.log.exception("Exception in %s hook", name)


def end():
    """The worker's last words."""
    worker = State.worker
    worker._alive, worker.interrupted = False, True
    worker.log.info("Worker exiting (pid: %s)", worker.pid)
    try:
        worker.cfg.worker_exit(State.server, worker)
    except Exception:
        worker.log.warning("Exception during worker exit:\n%s", traceback.format_exc())
    flush_standard_streams()


def changed_file():
    """A file of the application that changed since the last call (`reload`)."""
    path = State.watcher.changed() if State.watcher else None
    if path is not None:
        State.worker.log.info("Worker reloading: %s modified", path)
    return path


def log(level, message):
    say(State.worker.log, level, message)


def log_exception(message, error):
    State.worker.log.exception(message, exc_info=error)


def way_of_lines():
    """Whether the native side may write lines itself: those of errors, those of requests."""
    errors, requests = is_plain(State.worker.log)
    State.logs_by_uvicorn = is_uvicorn(State.cfg) and classes.writes_by_itself(State.worker.log)
    requests = requests and not State.logs_by_uvicorn
    State.logs_requests = not requests
    return errors, requests


def surrounds():
    """Whether something is to run around requests."""
    hooks = {"pre_request", "post_request"}
    return State.logs_requests or bool(hooks & State.cfg.own_hooks) or any(State.raw.get(name) for name in hooks)


def changed_settings():
    """What hooks have set, for the native side."""
    return json.dumps({name: plain(value) for name, value in State.cfg.changes.items() if name not in ONLY_TOLD})


def before_request(*facts):
    worker = State.worker
    request = Request(worker.cfg, *facts)
    came = Came(request)
    worker.cfg.pre_request(worker, request)
    if came.differs_from(request):
        request.came = came
    worker.nr += 1
    if not worker.alive:
        request.force_close()
    return request


def amend_environ(request, environ):
    """The hook has changed the request."""
    amend(environ, request.came, request)


def after_request(request, environ, microseconds, *answer):
    worker = State.worker
    response = Response(request, *answer)
    if environ is None:  # of ASGI: the line of such a request is written when its response was sent
        environ = environ_of(request)
    elif State.logs_requests:
        log_request(worker, response, request, environ, microseconds)
    try:
        worker.cfg.post_request(worker, request, environ, response)
    except Exception:
        worker.log.exception("Exception in post_request hook")


def refused_request(facts, microseconds, *answer):
    """A line for a request that the application never saw."""
    request = Request(State.cfg, *facts)
    log_request(State.worker, Response(request, *answer), request, environ_of(request), microseconds)


def environ_of(request):
    """For a request that has none of its own."""
    host, port = request.remote_addr or ("", "")
    environ = {
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.uri,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": "HTTP/%d.%d" % request.version,
        "REMOTE_ADDR": host,
        "REMOTE_PORT": str(port),
    }
    environ.update(("HTTP_" + name.replace("-", "_"), value) for name, value in request.headers)
    return environ


def log_request(worker, response, request, environ, microseconds):
    try:
        if State.logs_by_uvicorn:
            return classes.log_request(worker.cfg, response, request)
        worker.log.access(response, request, environ, timedelta(microseconds=microseconds))
    except Exception:
        worker.log.exception("Exception in the access log")
