"""A Flask application with uploads and streams (gallery/), by Flask's documented `gunicorn -w 4 'gallery:create_app()'`."""

import hashlib

from visit import expect, png

COMMAND = ["gunicorn", "-w", "2", "--threads", "4", "gallery:create_app('{folder}/pictures')"]
# Of files' times, and signed with the time.
MASKS = [(r"\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT", "TIME"), (r'"\d+\.\d+-\d+-\d+"', "ETAG"), (r"session=[^;]*", "SESSION")]


def prepare(folder, venv, environment):
    (folder / "pictures").mkdir()


def visit(site):
    expect(site.get("/"), 200, "no pictures")
    expect(site.post("/pictures", {"title": "too early"}), 401)
    expect(site.post("/sign-in", {"name": "Ana Žalm"}), 302)
    picture = png(200, 150)
    form = {"title": "A höuse"}
    expect(site.post("/pictures", form, {"picture": ("house.png", "image/png", picture)}), 201, hashlib.sha256(picture).hexdigest())
    large = b"\x89PNG" + bytes(range(256)) * 16384
    expect(site.post("/pictures", form, {"picture": ("large.png", "image/png", large)}), 201, hashlib.sha256(large).hexdigest())
    expect(site.post("/pictures", form, {"picture": ("../../etc/x.png", "image/png", picture)}), 201, "etc_x.png")
    expect(site.post("/pictures", form), 400)
    expect(site.ask("POST", "/raw", iter([b"a" * 70000, b"b" * 70000, b"c"]), content_type="application/octet-stream"), 200, "140001")
    expect(site.get("/"), 200, "A höuse", "Ana Žalm")
    assert expect(site.get("/pictures/large.png"), 200).content == large
    assert expect(site.get("/pictures/large.png", range="bytes=1000-1999"), 206).content == large[1000:2000]
    expect(site.ask("HEAD", "/pictures/house.png"), 200)
    expect(site.get("/pictures/none.png"), 404)
    etag = dict(expect(site.ask("GET", "/pictures/house.png", note=False), 200).fields)["ETag"]
    expect(site.get("/pictures/house.png", if_none_match=etag), 304)
    expect(site.get("/count/200"), 200, "199\n")
    expect(site.get("/events"), 200, "data: 4")
    awaited = {"picture": ("awaited.png", "image/png", picture)}
    expect(site.get("/develop", between=lambda: expect(site.post("/pictures", form, awaited), 201)), 200, "waiting\ndeveloped")
    expect(site.get("/archive"), 200)
    expect(site.get("/client"), 200)
    talk(site)
    expect(site.get("/fails"), 500)
    expect(site.post("/sign-out"), 302)


def talk(site):
    """A WebSocket that Flask-Sock speaks on the thread's own connection."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    from visit import Answer

    said = []
    with connect("ws://127.0.0.1:%d/talk" % site.port) as socket:
        for message in ("hello", "ümlaut " * 20000, b"\x00\x01\x02" * 50000):
            socket.send(message)
            said.append(socket.recv())
            assert said[-1] == message[::-1], said[-1][:80]
        socket.send("end")
        try:
            socket.recv()
        except ConnectionClosed as closed:
            said.append("%d %s" % (closed.rcvd.code, closed.rcvd.reason))
    assert said[-1] == "4001 as you like", said[-1]
    expect(site.get("/talk"), 400)
    site.answers.append(Answer("WebSocket /talk", 101, "", [], repr(said).encode()))
