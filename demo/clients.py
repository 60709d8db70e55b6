"""The clients of check.py: a visitor with cookies, a bare connection, a WebSocket. Standard library only."""

import base64
import hashlib
import http.client
import http.cookies
import json
import os
import re
import socket
import struct
import urllib.parse

TIMEOUT_SECONDS = 60
FORM = "application/x-www-form-urlencoded"


class CheckFailed(Exception):
    """Says what was expected and what came instead."""


def expect(condition, message):
    if not condition:
        raise CheckFailed(message)


def same(what, got, wanted):
    expect(got == wanted, f"{what} should be {wanted!r}, is {got!r}")


class Answer:
    def __init__(self, response, content):
        self.status, self.fields, self.content = response.status, response.headers, content

    @property
    def text(self):
        return self.content.decode("utf-8")


class Visitor:
    """A browser as far as these checks need one. Every request has a connection of its own."""

    def __init__(self, options):
        self.options, self.cookies = options, {}

    def open(self, method, target, content=None, fields=()):
        """Sends a request and returns the response with its content unread, and the connection."""
        connection = http.client.HTTPConnection(self.options.host, self.options.port, timeout=TIMEOUT_SECONDS)
        sent = {"Host": self.options.authority, **dict(fields)}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(method, target, body=content, headers=sent)
        response = connection.getresponse()
        for line in response.headers.get_all("Set-Cookie", []):
            for name, morsel in http.cookies.SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return response, connection

    def request(self, method, target, content=None, fields=()):
        response, connection = self.open(method, target, content, fields)
        try:
            return Answer(response, response.read())
        finally:
            connection.close()

    def get(self, target, **fields):
        return self.request("GET", target, fields={name.replace("_", "-"): value for name, value in fields.items()})

    def page(self, target):
        answer = self.get(target)
        same(f"status of {target}", answer.status, 200)
        return answer

    def token(self, target):
        """The token of the first form on a page that is sent by POST."""
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.page(target).text)
        expect(found, f"no form with a token on {target}")
        return found[1]

    def post(self, target, values, form_on):
        values = {"csrfmiddlewaretoken": self.token(form_on), **values}
        fields = {"Content-Type": FORM, "Origin": self.options.origin}
        return self.request("POST", target, urllib.parse.urlencode(values), fields)

    def login(self, account):
        name, password = account
        answer = self.post(
            "/accounts/login/",
            {"username": name, "password": password, "next": "/orders/"},
            "/accounts/login/",
        )
        same(f"status of {name}'s login", answer.status, 302)
        same("place after the login", answer.fields["Location"], "/orders/")
        return answer


class Wire:
    """A bare connection, for what http.client would not send or show."""

    def __init__(self, options):
        self.socket = socket.create_connection((options.host, options.port), TIMEOUT_SECONDS)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_head(self, line, fields):
        self.send(head(line, fields))

    def read_head(self):
        """Status and fields (names in lower case) of the next response."""
        line = self.file.readline()
        expect(line, "the connection was closed instead of an answer")
        fields = {}
        while field := self.file.readline().strip():
            name, _, value = field.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        return int(line.split()[1]), fields

    def read_response(self):
        status, fields = self.read_head()
        if "chunked" in fields.get("transfer-encoding", ""):
            content = b""
            while size := int(self.file.readline().split(b";")[0], 16):
                content += self.file.read(size)
                self.file.readline()
            self.file.readline()
        else:
            content = self.file.read(int(fields.get("content-length", 0)))
        return status, fields, content


def head(line, fields):
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode("latin-1")


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocket(Wire):
    """The client's side of RFC 6455, without extensions."""

    def __init__(self, options, path, origin=None):
        super().__init__(options)
        key = base64.b64encode(os.urandom(16)).decode()
        self.send_head(
            f"GET {path} HTTP/1.1",
            {
                "Host": options.authority,
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Key": key,
                "Sec-WebSocket-Version": "13",
                "Origin": origin or options.origin,
            },
        )
        self.status, fields = self.read_head()
        if self.status == 101:
            accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
            same("Sec-WebSocket-Accept", fields.get("sec-websocket-accept"), base64.b64encode(accept).decode())

    def send_frame(self, opcode, data, last=True):
        mask = os.urandom(4)
        size = len(data)
        if size < 126:
            length = struct.pack("!B", 0x80 | size)
        elif size < 65536:
            length = struct.pack("!BH", 0x80 | 126, size)
        else:
            length = struct.pack("!BQ", 0x80 | 127, size)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self.send(bytes([0x80 * last | opcode]) + length + mask + masked)

    def read_frame(self):
        """The next frame as (last, opcode, data)."""
        first, second = self.exactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self.exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.exactly(8))
        return bool(first & 0x80), first & 0x0F, self.exactly(size)

    def exactly(self, size):
        data = self.file.read(size)
        expect(len(data) == size, "the WebSocket was closed within a frame")
        return data

    def read_message(self):
        """The next message; answers pings on the way."""
        opcode, data = None, b""
        while True:
            last, kind, part = self.read_frame()
            if kind == PING:
                self.send_frame(PONG, part)
                continue
            opcode = opcode or kind
            data += part
            if last:
                return opcode, data

    def read_event(self, kind):
        """The next chat event of this kind; others are skipped."""
        while True:
            opcode, data = self.read_message()
            same("kind of frame", opcode, TEXT)
            event = json.loads(data)
            if event["type"] == kind:
                return event

    def leave(self):
        """The closing handshake; returns the other side's code."""
        self.send_frame(CLOSE, struct.pack("!H", 1000))
        while True:
            opcode, data = self.read_message()
            if opcode == CLOSE:
                return struct.unpack("!H", data[:2])[0]
