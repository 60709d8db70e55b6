"""A visitor of a site: keeps cookies and notes every answer."""

import collections
import http.client
import json
import re
import urllib.parse

PATIENCE = 120
# Always the same, so that addresses in pages are the same whatever the port is.
HOST = "site.test"
BOUNDARY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
# Of the connection and the server, not of the application.
OF_THE_SERVER = ("connection", "date", "keep-alive", "server", "transfer-encoding", "content-length")

Answer = collections.namedtuple("Answer", "what status reason fields content")


class Visitor:
    def __init__(self, port):
        self.port = port
        self.cookies = {}
        self.answers = []

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def post(self, path, form=None, files=None, **headers):
        if files:
            content, kind = multipart(form or {}, files)
        else:
            content, kind = urllib.parse.urlencode(form or {}, doseq=True).encode(), "application/x-www-form-urlencoded"
        return self.ask("POST", path, content, content_type=kind, **headers)

    def post_json(self, path, value, method="POST", **headers):
        return self.ask(method, path, json.dumps(value).encode(), content_type="application/json", **headers)

    def ask(self, method, path, content=None, note=True, between=None, **headers):
        """One request on a connection of its own. Content may be an iterator: it is chunked then. `between` is called when the first
        line has come, and before the rest is read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        sent = {"Host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join("%s=%s" % cookie for cookie in self.cookies.items())
        connection.request(method, path, content, sent)
        response = connection.getresponse()
        first = response.readline() if between else b""
        if between:
            between()
        body = first + response.read()
        connection.close()
        for field in response.headers.get_all("Set-Cookie", []):
            name, _, value = field.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "max-age=0" in field.lower() or not value:
                del self.cookies[name]
        length = response.headers["Content-Length"]
        assert length is None or method == "HEAD" or response.status == 304 or int(length) == len(body), "%s: %s" % (path, length)
        fields = [field for field in response.headers.items() if field[0].lower() not in OF_THE_SERVER]
        answer = Answer("%s %s" % (method, path), response.status, response.reason, fields, body)
        if note:
            self.answers.append(answer)
        return answer


def multipart(form, files):
    """A form with files: name to (file name, type, content)."""
    parts = []
    for name, value in form.items():
        parts.append(('name="%s"' % name, "", value.encode()))
    for name, (file_name, kind, content) in files.items():
        parts.append(('name="%s"; filename="%s"' % (name, file_name), "Content-Type: %s\r\n" % kind, content))
    body = b""
    for disposition, kind, content in parts:
        head = "--%s\r\nContent-Disposition: form-data; %s\r\n%s\r\n" % (BOUNDARY, disposition, kind)
        body += head.encode() + content + b"\r\n"
    return body + ("--%s--\r\n" % BOUNDARY).encode(), "multipart/form-data; boundary=" + BOUNDARY


def hidden(answer, name):
    """The value of a hidden field of a form."""
    found = re.search(r'name="%s"[^>]* value="([^"]*)"' % name, answer.content.decode())
    assert found, "%s has no %s (%s):\n%s" % (answer.what, name, answer.status, answer.content[:2000].decode("utf-8", "replace"))
    return found[1]


def expect(answer, status, *words):
    """The visit went as it should: two servers that fail alike are not enough."""
    assert answer.status == status, "%s: %s, expected %s:\n%s" % (answer.what, answer.status, status, answer.content[:2000])
    for word in words:
        assert word.encode() in answer.content, "%s: %r is not in %r" % (answer.what, word, answer.content[:2000])
    return answer


def png(width=64, height=64):
    """A small picture."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([y * 3 % 256, x * 3 % 256, 120][i] for x in range(width) for i in range(3)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
