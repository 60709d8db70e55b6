"""Real applications under gunicorn and under appserver: compare.py VENV STATE [APPLICATION…]

Each application is started by the command that its documentation gives, once with gunicorn and once with appserver in its place, in folders
of the same content. The same visit is paid to both: logging in, uploading, posting forms, streaming. Every answer must be the same: status,
fields in their order and spelling, content. What is different on every run (tokens, times) is masked by the application's own list.
"""

import concurrent.futures
import contextlib
import importlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from visit import Visitor

PATIENCE = 120
APPLICATIONS = ("gallery", "admin", "admin_asgi", "httpbin", "isso", "radicale", "pypiserver", "wagtail", "desk")
HERE = pathlib.Path(__file__).resolve().parent
SERVERS = ("gunicorn", "appserver")


def main():
    venv, state = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
    wrong = 0
    for name in sys.argv[3:] or APPLICATIONS:
        started = time.monotonic()
        application = importlib.import_module("site_" + name)
        started_by = [prepared(venv, state / name / server, application, server) for server in SERVERS]
        # Side by side: a visitor waits for the server, and the server for the visitor.
        with concurrent.futures.ThreadPoolExecutor(len(SERVERS)) as visits:
            answers = list(visits.map(lambda one: record(application, *one), started_by))
        differences = list(compare(*answers))
        for difference in differences:
            print("%s: %s" % (name, difference))
        wrong += len(differences)
        spent = time.monotonic() - started
        print("%s: %d answers, %d different, %.1f s" % (name, len(answers[0]), len(differences), spent), flush=True)
    print("%d different" % wrong)
    sys.exit(1 if wrong else 0)


def prepared(venv, folder, application, server):
    """The folder, the command and the environment to start it with."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {
        "PATH": "%s:/usr/bin:/bin" % (venv / "bin"),
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(HERE),
        # Sets have the same order.
        "PYTHONHASHSEED": "0",
    }
    environment.update(application.prepare(folder, venv, environment) or {})
    command = [word.replace("{folder}", str(folder)) for word in application.COMMAND]
    assert command[0] == "gunicorn", command
    command[0] = str(venv / "bin" / server)
    return folder, command, environment


def record(application, folder, command, environment):
    """What a server answers to the application's visit."""
    with running([*command, "--bind", "127.0.0.1:0"], folder, environment) as (port, said):
        visitor = Visitor(port)
        try:
            application.visit(visitor)
        except Exception:
            print("%s under %s; its log:\n%s" % (application.__name__, folder.name, said()))
            raise
        return [masked(answer, application.MASKS) for answer in visitor.answers]


@contextlib.contextmanager
def running(command, folder, environment):
    log = folder / "server.log"

    def said():
        return log.read_text("utf-8", "replace")

    with open(log, "wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (listening := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", said())):
            assert process.poll() is None, "%s ended with %s:\n%s" % (command, process.returncode, said())
            assert time.monotonic() < deadline, "%s does not listen:\n%s" % (command, said())
            time.sleep(0.02)
        yield int(listening[1]), said
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE)
        assert status == 0, "%s ended with %s:\n%s" % (command, status, said())
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def masked(answer, masks):
    fields, content = answer.fields, answer.content
    for pattern, replacement in masks:
        fields = [(name, re.sub(pattern, replacement, value)) for name, value in fields]
        content = re.sub(pattern.encode(), replacement.encode(), content)
    return answer._replace(fields=fields, content=content)


def compare(reference, ours):
    if len(reference) != len(ours):
        yield "%d answers from gunicorn, %d from appserver" % (len(reference), len(ours))
    for theirs, own in zip(reference, ours):
        for what in ("status", "reason", "fields", "content"):
            one, other = getattr(theirs, what), getattr(own, what)
            if one != other:
                yield "%s: %s: gunicorn %s, appserver %s" % (theirs.what, what, *apart(one, other))


def apart(one, other):
    """Two values, without the long part that they have in common."""
    if isinstance(one, list):
        return [field for field in one if field not in other], [field for field in other if field not in one]
    if isinstance(one, bytes):
        same = len(os.path.commonprefix([one, other]))
        return "at byte %d: %r" % (same, one[same : same + 200]), repr(other[same : same + 200])
    return repr(one), repr(other)


if __name__ == "__main__":
    main()
