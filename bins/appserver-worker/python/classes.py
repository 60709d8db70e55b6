"""Worker classes of somebody's own (`worker_class = "my_site.workers.Worker"`): what they derive from decides what kind of worker it is.

Their code never runs: requests are not read and sent by Python here. What classes are derived for in practice is `CONFIG_KWARGS` of uvicorn's
class, which says by other names what settings say; the rest is refused by name.
"""

import inspect
import json
import logging
import logging.config
import os

KINDS = {
    "gunicorn.workers.sync.SyncWorker": "sync",
    "gunicorn.workers.gthread.ThreadWorker": "gthread",
    "gunicorn.workers.gasgi.ASGIWorker": "asgi",
    "uvicorn.workers.UvicornWorker": "uvicorn.workers.UvicornWorker",
    "uvicorn_worker._workers.UvicornWorker": "uvicorn.workers.UvicornWorker",
    "uvicorn_worker.UvicornWorker": "uvicorn.workers.UvicornWorker",
}

INSTEAD = {
    "init_process": "do it in the hook post_fork or post_worker_init",
    "load_wsgi": "do it in the hook post_worker_init, which may set worker.wsgi",
    "handle_abort": "do it in the hook worker_abort",
    "handle_quit": "do it in the hook worker_int",
    "handle_exit": "do it in the hook worker_exit",
    "handle_request": "do it in the hooks pre_request and post_request, or in the application",
}

INSIDES = ("__init__", "run", "accept", "notify", "init_signals", "callback_notify", "get_thread_pool", "is_parent_alive", "wait")
"""What classes have of their own to mend gunicorn's loop, such as one that reloads: there is none here, it is only told."""

ANYWAY = ("app", "http", "ws", "ws_max_queue", "use_colors", "reload", "workers", "host", "port", "uds", "fd", "backlog")
"""What uvicorn is told of and makes no difference here, or none in gunicorn either."""


class Refused(Exception):
    """The class cannot be what workers are like here."""


class Class:
    """What a class of workers means: a kind, settings that it brings, what is done in a worker, and what to warn of."""

    def __init__(self, kind):
        self.kind, self.settings, self.warnings = kind, {}, []
        self.log_config = self.log_level = None
        self.factory = False


def understood(found):
    """The meaning of a class."""
    name = "%s.%s" % (found.__module__, found.__qualname__)
    own = []
    for each in found.__mro__:
        kind = KINDS.get("%s.%s" % (each.__module__, each.__qualname__))
        if kind is not None:
            break
        own.append(each)
    else:
        raise Refused(
            "it derives from none of the classes that are served here; let it derive from gunicorn's or uvicorn's, or use sync, "
            "gthread or asgi"
        )
    meaning = Class(kind)
    for attribute in [attribute for it in own for attribute, value in vars(it).items() if inspect.isroutine(value)]:
        told = "%s has a method %s of its own, which nothing calls here: requests are not read and sent by Python" % (name, attribute)
        if attribute in INSTEAD:
            raise Refused("%s; %s" % (told, INSTEAD[attribute]))
        if attribute in INSIDES:
            meaning.warnings.append(told)
    if kind.startswith("uvicorn"):
        read_keywords(meaning, name, getattr(found, "CONFIG_KWARGS", None) or {})
    return meaning


def read_keywords(meaning, name, keywords):
    """The meaning of `CONFIG_KWARGS`."""
    for key, value in keywords.items():
        try:
            taken = KEYWORDS[key](meaning, value) if key in KEYWORDS else key in ANYWAY
        except (TypeError, ValueError):
            raise Refused("%s.CONFIG_KWARGS has %s = %r, which is not understood" % (name, key, value)) from None
        if not taken and value is not None:
            meaning.warnings.append(
                "%s.CONFIG_KWARGS has %s, which has no effect here%s" % (name, key, INSTEAD_OF_KEYWORDS.get(key, ""))
            )


def sets(setting, read):
    """A keyword that is a setting; `None` leaves it."""

    def take(meaning, value):
        if value is not None:
            meaning.settings[setting] = read(value)
        return True

    return take


def words(value):
    return [word.strip() for word in value.split(",")] if isinstance(value, str) else [str(word) for word in value]


def seconds(value):
    return max(0, round(float(value)))


def chooses(setting, *choices):
    def take(meaning, value):
        if value in choices:
            meaning.settings[setting] = value
        return value in choices

    return take


def trusts_nobody(meaning, value):
    if not value:
        meaning.settings["forwarded_allow_ips"] = []
    return True


def logs_no_requests(meaning, value):
    if not value:
        meaning.settings["accesslog"] = None
    return True


def configures_logging(meaning, value):
    meaning.log_config = value
    return True


def sets_level(meaning, value):
    named = {"trace": 5}.get(value, value)
    meaning.log_level = named.upper() if isinstance(named, str) else named
    return True


def is_factory(meaning, value):
    meaning.factory = bool(value)
    return True


def speaks(meaning, value):
    if value not in ("auto", "asgi3"):
        raise ValueError(value)
    return True


def pings(setting):
    def take(meaning, value):
        meaning.settings[setting] = 0 if value is None else seconds(value)
        return True

    return take


KEYWORDS = {
    "loop": chooses("asgi_loop", "auto", "asyncio", "uvloop"),
    "lifespan": chooses("asgi_lifespan", "auto", "on", "off"),
    "root_path": sets("root_path", str),
    "forwarded_allow_ips": sets("forwarded_allow_ips", words),
    "proxy_headers": trusts_nobody,
    "timeout_keep_alive": sets("keepalive", seconds),
    "limit_max_requests": sets("max_requests", int),
    "limit_max_requests_jitter": sets("max_requests_jitter", int),
    "ws_max_size": sets("websocket_max_message_size", int),
    "ws_ping_interval": pings("ws_ping_interval"),
    "ws_ping_timeout": pings("ws_ping_timeout"),
    "access_log": logs_no_requests,
    "log_config": configures_logging,
    "log_level": sets_level,
    "factory": is_factory,
    "interface": speaks,
}

INSTEAD_OF_KEYWORDS = {
    "limit_concurrency": ": requests wait for their turn; worker_connections limits connections",
    "timeout_graceful_shutdown": "; the setting graceful_timeout says it",
    "env_file": "; the setting raw_env (or systemd's EnvironmentFile) says it",
    "ssl_keyfile": "; the setting keyfile says it",
    "ssl_certfile": "; the setting certfile says it",
    "headers": "; have the application, or the proxy in front, add them",
    "server_header": "; the proxy in front can leave the field out",
    "h11_max_incomplete_event_size": "; limit_request_line and limit_request_field_size say it",
}


def share_loggers(log):
    """uvicorn's loggers write where the server's do, as its worker class has it; applications write to them, too."""
    for name, source in (("uvicorn.error", log.error_log), ("uvicorn.access", log.access_log)):
        logger = logging.getLogger(name)
        logger.handlers = list(source.handlers)
        logger.setLevel(source.level)
        logger.propagate = False


def configure_logging(meaning):
    """`log_config`: a dict, or a file of JSON, YAML or as `logging.config.fileConfig` reads it. `log_level`."""
    if meaning.log_config is not None:
        read_log_config(meaning.log_config)
    if meaning.log_level is not None:
        for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
            logging.getLogger(name).setLevel(meaning.log_level)


def read_log_config(config):
    if isinstance(config, (str, os.PathLike)):
        path = os.fspath(config)
        if path.endswith(".json"):
            with open(path, encoding="utf-8") as file:
                config = json.load(file)
        elif path.endswith((".yaml", ".yml")):
            import yaml

            with open(path, encoding="utf-8") as file:
                config = yaml.safe_load(file)
    if isinstance(config, dict):
        logging.config.dictConfig(config)
    else:
        logging.config.fileConfig(config, disable_existing_loggers=False)


def writes_by_itself(log):
    """Has somebody added to uvicorn's logger of requests, or made it quiet, so that it is to be asked?"""
    logger = logging.getLogger("uvicorn.access")
    added = logger.filters or logger.handlers != log.access_log.handlers or logger.propagate
    return bool(added or not logger.isEnabledFor(logging.INFO))


def log_request(cfg, response, request):
    """A line, with what uvicorn's filters and formatters expect."""
    host, port = request.remote_addr or ("", "")
    logging.getLogger("uvicorn.access").info(
        '%s - "%s %s HTTP/%s" %d',
        "%s:%s" % (host, port) if host else "",
        request.method,
        (cfg.raw.get("root_path") or "") + request.uri,
        "%d.%d" % request.version if request.version < (2, 0) else "2",
        response.status_code,
    )
