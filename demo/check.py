#!/usr/bin/env python3
"""Exercises a running shop over plain HTTP and WebSocket: one line per check, exit code 0 or 1.

    check.py http://127.0.0.1:8080 [--upload-mb 200] [--download-mb 500] [--only PART_OF_A_NAME] …

Needs nothing but Python. The site has to be seeded (`manage.py seed`), and something like nginx with
demo/nginx.conf has to be in front of it. It leaves behind an order, a delivery and a chat message.
"""

import argparse
import csv
import hashlib
import html
import io
import json
import os
import re
import sys
import time
import urllib.parse
from email.utils import parsedate_to_datetime

from clients import (
    BINARY,
    FORM,
    PING,
    PONG,
    TEXT,
    CheckFailed,
    Visitor,
    WebSocket,
    Wire,
    expect,
    head,
    same,
)

MIB = 1024 * 1024
CUSTOMER = ("maya", "viaduct-maya")
STAFF = ("admin", "viaduct-admin")

CHECKS = []


def main():
    options = arguments()
    failures = done = 0
    for name, check in CHECKS:
        if options.only and options.only not in name:
            continue
        started = time.monotonic()
        try:
            note, good = check(options), True
        except CheckFailed as problem:
            note, good = problem, False
        except Exception as problem:  # whatever a broken answer leads to is a failure of this check alone
            note, good = f"{type(problem).__name__}: {problem}", False
        done += 1
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'}  {name}: {note}  ({time.monotonic() - started:.2f}s)", flush=True)
    print(f"{done - failures} of {done} checks passed on {options.base}", flush=True)
    return 1 if failures or not done else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="address of the site, e.g. http://127.0.0.1:8080")
    parser.add_argument("--upload-mb", type=int, default=20, help="MiB to upload (default: %(default)s)")
    parser.add_argument("--download-mb", type=int, default=50, help="MiB to download, twice (default: %(default)s)")
    parser.add_argument(
        "--csv-rows-min",
        type=int,
        default=5000,
        help="rows that the export has at least (default: %(default)s)",
    )
    parser.add_argument(
        "--body-mb-max", type=int, default=256, help="the site's client_max_body_size (default: %(default)s)"
    )
    parser.add_argument("--only", metavar="TEXT", help="only checks with TEXT in their name")
    options = parser.parse_args()
    parts = urllib.parse.urlsplit(options.base)
    if parts.scheme != "http" or not parts.hostname:
        parser.error(f'the address has to begin with http://, got "{options.base}"')
    options.host, options.port = parts.hostname, parts.port or 80
    options.authority = parts.netloc
    options.origin = f"http://{parts.netloc}"
    return options


def check(name):
    def register(function):
        CHECKS.append((name, function))
        return function

    return register


# --- what several checks look for ------------------------------------------------------------------------


def attribute(text, pattern, what):
    found = re.search(pattern, text)
    expect(found, f"no {what} found on the page")
    return html.unescape(found[1])


def static_path(options):
    return attribute(Visitor(options).page("/").text, r'<link rel="stylesheet" href="([^"]+)"', "stylesheet")


def product_for_sale(visitor):
    """The path of a product that is in stock."""
    for path in re.findall(r'href="(/prints/[^"]+/)"', visitor.page("/search/?sort=price").text):
        if 'id="add-to-cart"' in visitor.page(path).text:
            return path
    raise CheckFailed("no product on the first page of /search/ is in stock")


# --- pages -------------------------------------------------------------------------------------------------------


@check("home page")
def _(options):
    answer = Visitor(options).page("/")
    same("content type", answer.fields["Content-Type"], "text/html; charset=utf-8")
    expect(
        "default-src 'self'" in answer.fields.get("Content-Security-Policy", ""),
        "Content-Security-Policy is missing",
    )
    products = set(re.findall(r'href="(/prints/[^"]+/)"', answer.text))
    expect(len(products) >= 12, f"at least 12 products expected, found {len(products)}")
    outside = re.findall(r'(?:src|href)="(?:https?:)?//[^"]+"', answer.text)
    expect(not outside, f"the page loads something from elsewhere: {outside}")
    return f"{len(products)} products, {len(answer.content)} bytes"


@check("HEAD has no content")
def _(options):
    answer = Visitor(options).request("HEAD", "/")
    same("status", answer.status, 200)
    same("content", answer.content, b"")
    return f"Content-Length {answer.fields.get('Content-Length')}"


@check("product page")
def _(options):
    visitor = Visitor(options)
    path = product_for_sale(visitor)
    text = visitor.page(path).text
    image = attribute(text, r'id="product-image" src="([^"]+)"', "product image")
    expect(image.startswith("/media/"), f"the image should be under /media/, is {image}")
    return path


@check("search")
def _(options):
    visitor = Visitor(options)
    found = visitor.page("/search/?q=eiffel+workshop").text
    expect(
        "Maria Pia" in found and "Ribblehead" not in found,
        'a search for "eiffel workshop" should find Maria Pia only',
    )
    empty = visitor.page("/search/?q=%22%3E%3Cscript%3E").text
    expect("Nothing matches" in empty and "<script>" not in empty, "a search text has to be shown escaped")
    expect("Göltzsch" in visitor.page("/search/?q=G%C3%B6ltzsch").text, "a search for “Göltzsch” should find it")
    return "by words, escaped, non-ASCII"


@check("unknown page")
def _(options):
    visitor = Visitor(options)
    answer = visitor.get("/no/such/page")
    same("status", answer.status, 404)
    expect("The line ends here" in answer.text, "the shop's own 404 page is missing")
    same("status of an unknown static file", visitor.get("/static/no-such-file.css").status, 404)
    return "404, with the shop's page"


@check("forwarded fields")
def _(options):
    answer = Visitor(options).get(
        "/behind/request.json", X_Forwarded_Proto="https", X_Forwarded_For="192.0.2.7", X_Real_IP="192.0.2.8"
    )
    facts = json.loads(answer.text)
    same("scheme", facts["scheme"], "http")
    same("host", facts["host"], options.authority)
    same("URL", facts["url"], f"{options.origin}/behind/request.json")
    address = facts["fields"]["HTTP_X_REAL_IP"]
    expect(address != "192.0.2.8", "X-Real-IP of the client was believed")
    same("X-Forwarded-For", facts["fields"]["HTTP_X_FORWARDED_FOR"], f"192.0.2.7, {address}")
    same("X-Forwarded-Proto", facts["fields"]["HTTP_X_FORWARDED_PROTO"], "http")
    return f"client {address}, answered by {facts['server']['SERVER_SOFTWARE']}"


# --- files -------------------------------------------------------------------------------------------------------


@check("static file")
def _(options):
    path = static_path(options)
    answer = Visitor(options).page(path)
    same("content type", answer.fields["Content-Type"], "text/css")
    same("Cache-Control", answer.fields["Cache-Control"], "max-age=2592000")
    date, expires = (parsedate_to_datetime(answer.fields[name]) for name in ("Date", "Expires"))
    same("seconds from Date to Expires", (expires - date).total_seconds(), 30 * 86400)
    same("Accept-Ranges", answer.fields["Accept-Ranges"], "bytes")
    same("Content-Length", answer.fields["Content-Length"], str(len(answer.content)))
    return f"{path}, kept for 30 days"


@check("static file, asked again")
def _(options):
    visitor, path = Visitor(options), static_path(options)
    first = visitor.page(path)
    tag, modified = first.fields["ETag"], first.fields["Last-Modified"]
    for fields in (
        {"If_None_Match": tag},
        {"If_None_Match": f'"other", W/{tag}'},
        {"If_Modified_Since": modified},
    ):
        again = visitor.get(path, **fields)
        same(f"status for {fields}", again.status, 304)
        same(f"content for {fields}", again.content, b"")
        same("ETag of the 304", again.fields["ETag"], tag)
    changed = visitor.get(path, If_None_Match='"other"', If_Modified_Since=modified)
    same("status for another entity-tag", changed.status, 200)
    same("status for If-Match that fails", visitor.get(path, If_Match='"other"').status, 412)
    return f"304 for ETag {tag} and Last-Modified"


@check("static file, in parts")
def _(options):
    visitor, path = Visitor(options), static_path(options)
    whole = visitor.page(path)
    size, tag = len(whole.content), whole.fields["ETag"]
    for range_, first, last in (
        ("0-99", 0, 99),
        ("100-", 100, size - 1),
        ("-10", size - 10, size - 1),
        (f"5-{size + 9}", 5, size - 1),
    ):
        part = visitor.get(path, Range=f"bytes={range_}")
        same(f"status for {range_}", part.status, 206)
        same(f"Content-Range for {range_}", part.fields["Content-Range"], f"bytes {first}-{last}/{size}")
        same(f"content for {range_}", part.content, whole.content[first : last + 1])
    beyond = visitor.get(path, Range=f"bytes={size}-")
    same("status beyond the end", beyond.status, 416)
    same("Content-Range beyond the end", beyond.fields["Content-Range"], f"bytes */{size}")
    same("status for If-Range that fails", visitor.get(path, Range="bytes=0-9", If_Range='"other"').status, 200)
    same("status for If-Range that holds", visitor.get(path, Range="bytes=0-9", If_Range=tag).status, 206)
    several = visitor.get(path, Range="bytes=0-9,20-29")
    expect(
        several.fields["Content-Type"].startswith("multipart/byteranges; boundary="),
        "two ranges should come as multipart/byteranges",
    )
    for first in (0, 20):
        expect(f"bytes {first}-{first + 9}/{size}".encode() in several.content, "a part lacks its Content-Range")
        expect(whole.content[first : first + 10] in several.content, "a part lacks its content")
    return f"of {size} bytes: first, last, several, beyond the end"


@check("media image")
def _(options):
    visitor = Visitor(options)
    path = attribute(visitor.page("/prints/garabit/").text, r'id="product-image" src="([^"]+)"', "product image")
    answer = visitor.page(path)
    same("content type", answer.fields["Content-Type"], "image/jpeg")
    same("X-Content-Type-Options", answer.fields["X-Content-Type-Options"], "nosniff")
    expect(answer.content[:3] == b"\xff\xd8\xff", "this is no JPEG file")
    return f"{path}, {len(answer.content)} bytes"


@check("nothing outside the folders")
def _(options):
    targets = (
        "/static/../db.sqlite3",
        "/media/../secret-key",
        "/static/..%2fdb.sqlite3",
        "/media/%2e%2e/secret-key",
        "/static../db.sqlite3",
        "/media../secret-key",
        "/media/products/../../secret-key",
        "/static/shop/%00",
    )
    for target in targets:
        status = Visitor(options).get(target).status
        expect(status in (400, 403, 404), f"{target} should be refused, got {status}")
    return f"{len(targets)} targets refused"


@check("redirect of /favicon.ico")
def _(options):
    answer = Visitor(options).get("/favicon.ico")
    same("status", answer.status, 301)
    place = urllib.parse.urljoin(f"{options.origin}/favicon.ico", answer.fields["Location"])
    same("place", place, f"{options.origin}/static/shop/favicon.svg")
    return place


# --- people ------------------------------------------------------------------------------------------------------


@check("login")
def _(options):
    visitor = Visitor(options)
    wrong = visitor.post("/accounts/login/", {"username": CUSTOMER[0], "password": "wrong"}, "/accounts/login/")
    same("status with a wrong password", wrong.status, 200)
    expect("errorlist" in wrong.text, "a wrong password should be told")
    right = visitor.login(CUSTOMER)
    cookie = next(line for line in right.fields.get_all("Set-Cookie") if line.startswith("sessionid="))
    expect("HttpOnly" in cookie and "SameSite=Lax" in cookie, f"the session's cookie lacks its guards: {cookie}")
    expect("Sign out" in visitor.page("/orders/").text, "not signed in after the login")
    same("status of another's page", visitor.get("/prints/new/").status, 403)
    return f"as {CUSTOMER[0]}; a wrong password is refused"


@check("forged forms refused")
def _(options):
    visitor = Visitor(options)
    token = visitor.token("/accounts/login/")
    values = {"username": CUSTOMER[0], "password": CUSTOMER[1]}
    good, bad = {"csrfmiddlewaretoken": token}, {"csrfmiddlewaretoken": "x" * 64}
    for what, extra, origin in (
        ("no token", {}, options.origin),
        ("a wrong token", bad, options.origin),
        ("another site's form", good, "http://evil.example"),
    ):
        content = urllib.parse.urlencode({**values, **extra})
        answer = visitor.request("POST", "/accounts/login/", content, {"Content-Type": FORM, "Origin": origin})
        same(f"status for {what}", answer.status, 403)
    return "no token, wrong token, other origin"


@check("cart and order")
def _(options):
    visitor = Visitor(options)
    path = product_for_sale(visitor)
    slug = path.split("/")[2]
    same("status of adding", visitor.post(f"/cart/add/{slug}/", {"quantity": 1}, path).status, 302)
    cart = visitor.page("/cart/").text
    expect("data-cart-count>1<" in cart and path in cart, "the cart should hold one piece")
    visitor.login(CUSTOMER)
    expect("data-cart-count>1<" in visitor.page("/cart/").text, "the cart got lost at the login")
    placed = visitor.post("/cart/checkout/", {}, "/cart/")
    same("status of the order", placed.status, 302)
    expect(path in visitor.page(placed.fields["Location"]).text, "the order lacks the product")
    expect("data-cart-count>0<" in visitor.page("/cart/").text, "the cart should be empty after the order")
    return f"{slug}, {placed.fields['Location']}"


# --- large content -----------------------------------------------------------------------------------------------


@check("CSV export, streamed")
def _(options):
    visitor = Visitor(options)
    same("status for a guest", visitor.get("/export/sales.csv").status, 302)
    visitor.login(STAFF)
    answer = visitor.page("/export/sales.csv")
    same("content type", answer.fields["Content-Type"], "text/csv; charset=utf-8")
    same("Content-Length of a stream", answer.fields["Content-Length"], None)
    rows = list(csv.reader(io.StringIO(answer.text)))
    same("first row", rows[0], ["order", "placed", "product", "quantity", "price", "total"])
    expect(
        len(rows) > options.csv_rows_min,
        f"at least {options.csv_rows_min} rows expected, got {len(rows) - 1}",
    )
    expect(all(len(row) == 6 for row in rows), "a row is not complete")
    return f"{len(rows) - 1} rows, {len(answer.content)} bytes"


class Upload:
    """The content of a multipart form with one file of `size` bytes that exists nowhere; counts its hash."""

    def __init__(self, token, size):
        self.boundary = os.urandom(16).hex()
        self.size, self.digest = size, hashlib.sha256()
        self.head = (
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="file"; filename="tapestry-{size}.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self.tail = f"\r\n--{self.boundary}--\r\n".encode()

    def fields(self, origin):
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(len(self.head) + self.size + len(self.tail)),
            "Accept": "application/json",
            "Origin": origin,
        }

    def __iter__(self):
        yield self.head
        noise, left = os.urandom(256 * 1024), self.size
        while left:
            piece = noise[: min(left, len(noise))]
            self.digest.update(piece)
            yield piece
            left -= len(piece)
        yield self.tail


@check("upload")
def _(options):
    visitor = Visitor(options)
    size = options.upload_mb * MIB + 1  # no round number
    upload = Upload(visitor.token("/dock/"), size)
    started = time.monotonic()
    answer = visitor.request("POST", "/dock/", upload, upload.fields(options.origin))
    seconds = time.monotonic() - started
    same("status", answer.status, 200)
    receipt = json.loads(answer.text)
    same("size in the receipt", receipt["size"], size)
    same("sha256 in the receipt", receipt["sha256"], upload.digest.hexdigest())
    return f"{size} bytes, {size / MIB / seconds:.0f} MiB/s, sha256 {receipt['sha256'][:16]}…"


@check("upload after 100 Continue")
def _(options):
    visitor = Visitor(options)
    upload = Upload(visitor.token("/dock/"), 1000)
    fields = {
        "Host": options.authority,
        **upload.fields(options.origin),
        "Expect": "100-continue",
        "Cookie": f"csrftoken={visitor.cookies['csrftoken']}",
        "Connection": "close",
    }
    with Wire(options) as wire:
        wire.send_head("POST /dock/ HTTP/1.1", fields)
        same("interim response", wire.read_head()[0], 100)
        wire.send(b"".join(upload))
        status, fields, _ = wire.read_response()
        same("status", status, 200)
    return "100, then 200"


@check("upload beyond the limit refused")
def _(options):
    size = options.body_mb_max * MIB + 1
    with Wire(options) as wire:
        wire.send_head(
            "POST /dock/ HTTP/1.1", {"Host": options.authority, "Content-Type": FORM, "Content-Length": size}
        )
        same("status", wire.read_head()[0], 413)
    return f"413 for {size} bytes, before they were sent"


def archive_hash(mib):
    """The hash of the archive that /dock/archive/ sends: see demo/my_shop/files/archive.py."""
    filler, digest = (bytes(range(256)) * 256)[16:], hashlib.sha256()
    for number in range(mib * 16):
        digest.update(b"%015d\n" % number)
        digest.update(filler)
    return digest.hexdigest()


def download(options, by):
    response, connection = Visitor(options).open("GET", f"/dock/archive/?mb={options.download_mb}&by={by}")
    size, digest, started = 0, hashlib.sha256(), time.monotonic()
    try:
        same("status", response.status, 200)
        while piece := response.read(256 * 1024):
            size += len(piece)
            digest.update(piece)
    finally:
        connection.close()
    seconds = time.monotonic() - started
    same("size", size, options.download_mb * MIB)
    same("sha256", digest.hexdigest(), archive_hash(options.download_mb))
    return response, f"{size} bytes, {size / MIB / seconds:.0f} MiB/s"


@check("download of a file")
def _(options):
    response, note = download(options, "file")
    same("Content-Length", response.headers["Content-Length"], str(options.download_mb * MIB))
    return note


@check("download of a stream")
def _(options):
    response, note = download(options, "stream")
    same("Content-Length of a stream", response.headers["Content-Length"], None)
    same("Transfer-Encoding", response.headers["Transfer-Encoding"], "chunked")
    return note


# --- on the wire -------------------------------------------------------------------------------------------------


@check("several requests on one connection")
def _(options):
    targets = ("/healthz", static_path(options), "/search/?q=garabit", "/healthz")
    with Wire(options) as wire:
        for target in targets:
            wire.send_head(f"GET {target} HTTP/1.1", {"Host": options.authority})
            same(f"status of {target}", wire.read_response()[0], 200)
        wire.send(b"".join(head(f"GET {target} HTTP/1.1", {"Host": options.authority}) for target in targets))
        answers = [wire.read_response() for _ in targets]
    same("statuses of the pipelined ones", [answer[0] for answer in answers], [200] * len(targets))
    expect(answers[0][2] == b"ok\n" and b"Garabit" in answers[2][2], "pipelined answers came in another order")
    return f"{len(targets)} in turn, {len(targets)} at once"


@check("malformed requests refused")
def _(options):
    host = f"Host: {options.authority}\r\n"
    cases = {
        "no Host": "GET / HTTP/1.1\r\n\r\n",
        "two lengths": f"POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "both framings": f"POST / HTTP/1.1\r\n{host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "space before the colon": f"GET / HTTP/1.1\r\n{host}Content-Length : 1\r\n\r\na",
        "a field without a name": f"GET / HTTP/1.1\r\n{host}: nameless\r\n\r\n",
        "no request at all": "hello\r\n\r\n",
    }
    for what, request in cases.items():
        with Wire(options) as wire:
            wire.send(request.encode())
            same(f"status for {what}", wire.read_head()[0], 400)
    return ", ".join(cases)


# --- WebSocket ---------------------------------------------------------------------------------------------------


@check("WebSocket echo")
def _(options):
    with WebSocket(options, "/ws/echo/") as peer:
        same("status of the handshake", peer.status, 101)
        for opcode, data in (
            (TEXT, "bridge ⌒ span".encode()),
            (BINARY, os.urandom(1000)),
            (BINARY, os.urandom(200_000)),
        ):
            peer.send_frame(opcode, data)
            expect(peer.read_message() == (opcode, data), f"{len(data)} bytes came back changed")
        peer.send_frame(TEXT, b"in two ", last=False)
        peer.send_frame(0, b"parts")
        same("message sent in parts", peer.read_message(), (TEXT, b"in two parts"))
        peer.send_frame(PING, b"are you there?")
        same("answer to a ping", peer.read_message(), (PONG, b"are you there?"))
        same("code of the closing handshake", peer.leave(), 1000)
    return "text, bytes, 200 kB, parts, ping, closing handshake"


@check("WebSocket chat")
def _(options):
    words = f"check {os.urandom(4).hex()}"
    with WebSocket(options, "/ws/chat/check/") as one, WebSocket(options, "/ws/chat/check/") as other:
        same("statuses of the handshakes", (one.status, other.status), (101, 101))
        author = one.read_event("welcome")["you"]
        other.read_event("people")
        one.send_frame(TEXT, json.dumps({"text": words}).encode())
        for peer in (one, other):
            event = peer.read_event("said")
            same("message", (event["author"], event["text"]), (author, words))
        same("code of the closing handshake", one.leave(), 1000)
    expect(words in Visitor(options).page("/chat/check/").text, "the message is not on the chat page")
    return f"{author} was heard by the other"


@check("WebSocket handshakes refused")
def _(options):
    with WebSocket(options, "/ws/echo/", origin="http://evil.example") as peer:
        same("status for another site's page", peer.status, 403)
    with WebSocket(options, "/ws/nowhere/") as peer:
        same("status for an unknown address", peer.status, 403)
    return "other origin, unknown address"


if __name__ == "__main__":
    sys.exit(main())
