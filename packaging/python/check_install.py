"""Tries a wheel of appserver with one Python: check_install.py PYTHON WHEEL

Installs it in a new environment by the pip that runs this, starts servers from a folder that has nothing to do with the checkout, asks
them, and removes it again. Needs nothing but pip.
"""

import contextlib
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = 60

WSGI = '''
import gunicorn.glogging
import importlib.util, json, os, sys

VERSION = 1

def application(environ, start_response):
    told = {
        "version": VERSION,
        "python": "%d.%d" % sys.version_info[:2],
        "prefix": os.path.realpath(sys.prefix),
        "module": os.path.realpath(sys.modules["viaduct_worker"].__file__),
        "folder": os.path.realpath(os.getcwd()),
        "setting": os.environ.get("FROM_CONF"),
        "length": len(environ["wsgi.input"].read()),
        "gunicorn": gunicorn.__version__,
    }
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
'''

CONF = '''
import gunicorn.glogging
workers = 2
raw_env = ["FROM_CONF=yes"]

def when_ready(server):
    server.log.info("ready, says the hook")
'''

ASGI = '''
ready = []

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        ready.append(True)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"asgi %d" % len(ready)})
'''


def main():
    python, wheel = sys.argv[1:3]
    with tempfile.TemporaryDirectory(prefix="viaduct-") as folder:
        site = Site(pathlib.Path(folder).resolve(), python)
        before = site.files()
        site.pip("install", "--no-index", "--no-deps", wheel)
        check_program(site)
        check_wsgi(site)
        check_by_module(site)
        check_asgi(site)
        check_stand_in(site)
        site.pip("uninstall", "--yes", "viaduct-appserver")
        left = sorted(site.files() - before)
        assert not left, "uninstalled, but left: %s" % left
    print("%s: all is well" % python)


class Site:
    """A new environment and, elsewhere, a folder with applications."""

    def __init__(self, folder, python):
        self.venv, self.work, self.home = (folder / name for name in ("venv", "work", "home"))
        for path in (self.work, self.home):
            path.mkdir()
        subprocess.run([python, "-m", "venv", "--without-pip", self.venv], check=True)
        self.python = self.venv / "bin" / "python"
        self.version = self.output([self.python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        for name, text in (("site_wsgi.py", WSGI), ("gunicorn.conf.py", CONF), ("site_asgi.py", ASGI)):
            (self.work / name).write_text(text)

    def files(self):
        return {str(path) for path in self.venv.rglob("*") if not path.is_dir()}

    def pip(self, *words):
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python, *words]
        subprocess.run(command, check=True)

    def environment(self):
        """As a service manager's: nothing is activated."""
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home)}

    def output(self, command):
        done = subprocess.run(command, cwd=self.work, env=self.environment(), stdout=subprocess.PIPE, check=True, text=True)
        return done.stdout.strip()

    @contextlib.contextmanager
    def server(self, *command, **more):
        """A server that answers, as a function that asks it."""
        path = str(self.home / "site.sock")
        log = self.home / "log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                [*map(str, command), "--bind", "unix:" + path],
                cwd=self.work,
                env={**self.environment(), **more},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

        def said():
            return log.read_text("utf-8", "replace")

        def ask(content=None):
            connection = Unix(path)
            connection.request("POST" if content else "GET", "/", content)
            response = connection.getresponse()
            body = response.read().decode()
            connection.close()
            assert response.status == 200, "%s %s\n%s" % (response.status, body, said())
            return body

        def up():
            assert process.poll() is None, "it ended with %s:\n%s" % (process.returncode, said())
            with contextlib.suppress(OSError):
                return ask()

        ask.pid, ask.said = process.pid, said
        try:
            until(up, said)
            yield ask
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, said()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def until(probe, said):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen:\n" + said())


def told(ask, *content):
    import json

    return json.loads(ask(*content))


def check_program(site):
    program = site.venv / "bin" / "appserver"
    version = site.output([program, "--version"])
    assert version.startswith("appserver (version "), version
    assert site.output([site.python, "-m", "appserver", "--version"]) == version
    assert "gunicorn.conf.py" in site.output([program, "--help"])


def check_wsgi(site):
    with site.server(site.venv / "bin" / "appserver", "site_wsgi:application") as ask:
        found = told(ask, b"x" * 5_000_000)
        module = pathlib.Path(found.pop("module"))
        assert module.name == "viaduct_worker.abi3.so" and site.venv in module.parents, module
        version = found.pop("gunicorn")
        assert version, "the stand-in has a version"
        expected = {
            "version": 1,
            "python": site.version,
            "prefix": str(site.venv),
            "folder": str(site.work),
            "setting": "yes",
            "length": 5_000_000,
        }
        assert found == expected, "%s, expected %s" % (found, expected)
        assert "ready, says the hook" in ask.said(), ask.said()
        # New code by HUP.
        (site.work / "site_wsgi.py").write_text(WSGI.replace("VERSION = 1", "VERSION = 2"))
        os.utime(site.work / "site_wsgi.py", (1, 1))
        os.kill(ask.pid, signal.SIGHUP)
        until(lambda: told(ask)["version"] == 2, ask.said)


def check_by_module(site):
    """It is the program, with the interpreter that was asked."""
    with site.server(site.python, "-m", "appserver", "site_wsgi:application", VIRTUAL_ENV="/no/such/environment") as ask:
        assert told(ask)["prefix"] == str(site.venv)


def check_asgi(site):
    with site.server(site.venv / "bin" / "appserver", "site_asgi:application", "-k", "asgi") as ask:
        assert ask() == "asgi 1"


def check_stand_in(site):
    """`import gunicorn` is answered inside of appserver alone, and an installed gunicorn goes first."""
    asked = [site.python, "-c", "import importlib.util as u; print(u.find_spec('gunicorn'))"]
    assert site.output(asked) == "None"
    real = site.home / "real" / "gunicorn"
    real.mkdir(parents=True)
    (real / "__init__.py").write_text("__version__ = 'the installed one'\n")
    (real / "glogging.py").write_text("")
    program = site.venv / "bin" / "appserver"
    with site.server(program, "site_wsgi:application", PYTHONPATH=str(real.parent)) as ask:
        assert told(ask)["gunicorn"] == "the installed one"


main()
