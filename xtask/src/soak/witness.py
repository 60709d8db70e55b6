"""An application that notes every request it is called with, and holds some until it is told to go on."""

import os
import time

FOLDER = os.environ["WITNESS_FOLDER"]
BODY = b"whole\n" * 2000


def application(environ, start_response):
    note = os.open(os.path.join(FOLDER, "requests"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(note, environ["RAW_URI"].encode("latin-1") + b"\n")
    os.close(note)
    if environ["PATH_INFO"] == "/hold":
        while not os.path.exists(os.path.join(FOLDER, "go-on")):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
    return [BODY]
