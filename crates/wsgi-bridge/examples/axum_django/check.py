"""Asks the example as a browser would: check.py PROGRAM MODULE:APPLICATION

Starts PROGRAM with the Django site beside this file and ends it again.
"""

import hashlib
import http.cookiejar
import json
import pathlib
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

BOUNDARY = "0123456789abcdef"
PATIENCE = 60


class Browser:
    """Keeps cookies."""

    def __init__(self, address):
        self.address = address
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def ask(self, path, data=None, **headers):
        request = urllib.request.Request(self.address + path, data=data, headers=headers)
        try:
            with self.opener.open(request, timeout=PATIENCE) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()


def main():
    program, application = sys.argv[1:3]
    here = pathlib.Path(__file__).resolve().parent
    with subprocess.Popen([program, application, here], stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http://"), "it did not tell its address"
            check(address)
            assert process.poll() is None, "it ended: %s" % process.returncode
        finally:
            process.kill()
    print("all is well")


def check(address):
    browser = Browser(address)
    status, headers, body = browser.ask("/native")
    assert (status, body) == (200, b"axum itself"), (status, body)

    status, headers, body = browser.ask("/")
    hello, token = body.decode().split("\n")
    assert (status, hello) == (200, "hello stranger"), (status, body)
    assert headers["X-Content-Type-Options"] == "nosniff", headers
    assert int(headers["Content-Length"]) == len(body)

    form = urllib.parse.urlencode({"name": "Ana Žalm"}).encode()
    status, _, _ = browser.ask("/sign-in/", form)
    assert status == 403, "a form without its token: %s" % status
    status, _, body = browser.ask("/sign-in/", form, **{"X-CSRFToken": token})
    assert (status, body) == (200, b"signed in"), (status, body)
    assert browser.ask("/")[2].decode().startswith("hello Ana Žalm\n")

    content = bytes(range(256)) * 12000
    head = '--%s\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' % BOUNDARY
    parts = head.encode() + content + ("\r\n--%s--\r\n" % BOUNDARY).encode()
    kind = "multipart/form-data; boundary=" + BOUNDARY
    status, _, body = browser.ask("/upload/", parts, **{"X-CSRFToken": token, "Content-Type": kind})
    expected = {"name": "a.bin", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert (status, json.loads(body)) == (200, expected), (status, body)

    status, _, body = browser.ask("/facts/?q=%C3%A9&empty=")
    expected = {"query": {"q": "é", "empty": ""}, "client": "127.0.0.1", "path": "/facts/"}
    assert (status, json.loads(body)) == (200, expected), (status, body)

    status, headers, body = browser.ask("/stream/")
    assert (status, body) == (200, b"".join(b"%06d\n" % number for number in range(20000))), status
    assert headers["Content-Length"] is None

    assert browser.ask("/nowhere/")[0] == 404
    status, _, _ = browser.ask("/fail/")
    assert status == 500, status
    many(address)


def many(address):
    """Several at a time, each with an answer of its own."""
    wrong = []

    def one(number):
        found = json.loads(Browser(address).ask("/facts/?n=%d" % number)[2])
        if found["query"] != {"n": str(number)}:
            wrong.append((number, found))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not wrong, wrong


main()
