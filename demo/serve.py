#!/usr/bin/env python3
"""Starts the whole shop: database, static files, application server and the front, on a free port.

Run it with the Python of the demo's virtual environment. Without options it uses the reference programs, nginx and
gunicorn; `--front …/edge --app …/appserver` uses ours: the commands and the configuration are the same for both.
appserver carries the chat's WebSockets too; for gunicorn a second server is started beside it (requirements-reference.txt).

    serve.py                     runs until Ctrl-C and shows a line per request
    serve.py --check             also runs check.py against it, then stops; exits 0 or 1
    serve.py --check --browser   … and browser_test.py
"""

import argparse
import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

DEMO = Path(__file__).resolve().parent
PROJECT = DEMO / "my_shop"
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20
SOCKET_PATH_BYTES_MAX = 107  # of a unix socket on Linux


def main():
    options = arguments()
    ending = Ending()
    site = Site(options, options.state.resolve(), ending)
    try:
        site.prepare()
        site.start()
        print(f"\n    the shop is open: {site.url}\n", flush=True)
        return site.check() if options.check else site.follow_log()
    except Ended:
        return 1 if options.check else 0
    except CannotStart as problem:
        print(f"serve.py: {problem}", file=sys.stderr)
        return 1
    finally:
        site.stop()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--state", type=Path, default=DEMO / "var", help="folder for all that is made (default: demo/var)"
    )
    parser.add_argument("--front", default="/usr/sbin/nginx", help="nginx or edge (default: %(default)s)")
    parser.add_argument(
        "--app",
        default=str(Path(sys.executable).with_name("gunicorn")),
        help="gunicorn or appserver (default: the environment's gunicorn)",
    )
    parser.add_argument("--app-args", default="", help="further arguments for it, in one string")
    parser.add_argument(
        "--workers",
        type=int,
        help="default: 1 for appserver, for a chat of several processes needs a channel layer that they share; else 2",
    )
    parser.add_argument("--threads", type=int, default=4, help="of each worker (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--check", action="store_true", help="run check.py, then stop")
    parser.add_argument("--browser", action="store_true", help="with --check: run browser_test.py too")
    parser.add_argument("--upload-mb", type=int, default=20)
    parser.add_argument("--download-mb", type=int, default=50)
    return parser.parse_args()


class Ended(Exception):
    """Somebody asked us to end."""


class Ending:
    """Notes Ctrl-C and its like; they take effect at the next pause. (An exception from the handler itself could come
    in the middle of subprocess's bookkeeping, and did.)"""

    def __init__(self):
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.ask)

    def ask(self, number, frame):
        self.asked = True

    def pause(self, seconds):
        time.sleep(seconds)
        if self.asked:
            raise Ended


class CannotStart(Exception):
    """Carries what to tell the user."""


class Site:
    """The servers of one shop."""

    def __init__(self, options, state, ending):
        self.options, self.state, self.ending = options, state, ending
        self.running = []  # (name, process), in the order of stopping
        self.app_socket = state / "run" / "app.sock"
        # One server for pages and WebSockets, or two.
        self.whole = Path(options.app).name == "appserver"
        self.chat_socket = self.app_socket if self.whole else state / "run" / "chat.sock"
        self.workers = options.workers or (1 if self.whole else 2)
        self.port = options.port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "SHOP_STATE": str(state),
            "VIRTUAL_ENV": sys.prefix,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def prepare(self):
        """The folders, the database with its content, the static files: what is there already is kept."""
        for name in ("conf", "logs", "run", "tmp"):
            (self.state / name).mkdir(parents=True, exist_ok=True)
        self.lock = (self.state / "run" / "serve.lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise CannotStart(f"another serve.py uses {self.state}; end it or choose another --state") from problem
        for name in ("nginx.conf", "mime.types"):
            shutil.copyfile(DEMO / name, self.state / "conf" / name)
        for command in ("migrate -v0", "seed", "collectstatic --noinput -v0"):
            if self.run([PROJECT / "manage.py", *command.split()]):
                raise CannotStart(f"manage.py {command} failed")

    def run(self, command):
        """Runs a Python program to its end, or to ours; returns its exit code."""
        process = subprocess.Popen([sys.executable, *command], env=self.environment, start_new_session=True)
        try:
            while process.poll() is None:
                self.ending.pause(0.02)
        finally:
            process.terminate()
            process.wait()
        return process.returncode

    def start(self):
        if len(bytes(self.chat_socket)) > SOCKET_PATH_BYTES_MAX:
            raise CannotStart(f"{self.chat_socket} is too long for a unix socket; choose a shorter --state")
        for stale in (self.app_socket, self.chat_socket):
            stale.unlink(missing_ok=True)
        self.write_configuration()
        self.launch(
            "app",
            [
                self.options.app,
                "my_shop.wsgi:application",
                "--chdir",
                PROJECT,
                "--bind",
                f"unix:{self.app_socket}",
                "--workers",
                str(self.workers),
                "--threads",
                str(self.options.threads),
                *(["--asgi", "my_shop.asgi:application", "--asgi-path", "/ws/"] if self.whole else []),
                *self.options.app_args.split(),
            ],
        )
        if not self.whole:
            self.launch_chat()
        self.wait("the chat server", lambda: connects(self.chat_socket))
        settings = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        self.launch(
            "front",
            [
                self.options.front,
                "-p",
                f"{self.state}/",
                "-c",
                self.state / "conf" / "nginx.conf",
                "-g",
                settings,
            ],
        )
        self.wait("the shop", lambda: healthy(self.port))

    def launch_chat(self):
        """For an application server that carries no WebSockets."""
        self.launch(
            "chat",
            [
                sys.executable,
                "-m",
                "uvicorn",
                "my_shop.asgi:application",
                "--app-dir",
                PROJECT,
                "--uds",
                self.chat_socket,
                "--lifespan",
                "off",
                "--no-access-log",
                "--log-level",
                "warning",
            ],
        )

    def write_configuration(self):
        groups = (
            f"upstream app  {{ server unix:{self.app_socket}; }}\nupstream chat {{ server unix:{self.chat_socket}; }}\n"
        )
        if Path(self.options.front).name == "nginx":  # else it takes folders of the installed nginx for its own
            kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            groups += "".join(f"{kind}_temp_path tmp/{kind};\n" for kind in kinds)
        (self.state / "conf" / "upstreams.conf").write_text(groups)
        (self.state / "conf" / "listen.conf").write_text(f"listen 127.0.0.1:{self.port};\n")

    def launch(self, name, command):
        """Starts a server in a session of its own, so that Ctrl-C reaches us alone; it writes to logs/."""
        command = [str(part) for part in command]
        with (self.state / "logs" / f"{name}.log").open("ab") as log:
            try:
                process = subprocess.Popen(
                    command,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as problem:
                raise CannotStart(f"cannot start {command[0]}: {problem.strerror}") from problem
        self.running.insert(0, (name, process))

    def wait(self, what, ready):
        """Until `ready` says so; a server that ends meanwhile, or takes too long, ends the waiting."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while not ready():
            for name, process in self.running:
                if process.poll() is not None:
                    raise CannotStart(f"{process.args[0]} ended with {process.returncode}\n{self.log_end(name)}")
            if time.monotonic() > deadline:
                logs = "\n".join(self.log_end(name) for name, _ in self.running)
                raise CannotStart(f"{what} did not come up within {START_SECONDS_MAX} s\n{logs}")
            self.ending.pause(0.05)

    def log_end(self, name):
        path = self.state / "logs" / f"{name}.log"
        return f"--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-25:])

    def follow_log(self):
        """Prints what is added to the access log, for ever."""
        with (self.state / "logs" / "access.log").open(encoding="utf-8", errors="replace") as log:
            log.seek(0, os.SEEK_END)
            while all(process.poll() is None for _, process in self.running):
                line = log.readline()
                print(line, end="", flush=True)
                self.ending.pause(0 if line else 0.1)
        raise CannotStart("a server ended by itself; see the files in " + str(self.state / "logs"))

    def check(self):
        checks = [
            [
                "check.py",
                self.url,
                f"--upload-mb={self.options.upload_mb}",
                f"--download-mb={self.options.download_mb}",
            ]
        ]
        if self.options.browser:
            checks.append(["browser_test.py", self.url])
        results = [self.run([DEMO / check[0], *check[1:]]) for check in checks]
        return 0 if not any(results) else 1

    def stop(self):
        """Ends the servers from the front to the back, gently first; further signals do not hinder it."""
        for name, process in self.running:
            process.terminate()
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                print(f"serve.py: {name} ignored SIGTERM for {STOP_SECONDS_MAX} s; killing it", file=sys.stderr)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.running.clear()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def connects(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def healthy(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
