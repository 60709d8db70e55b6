"""FastAPI and sqladmin (desk.py), by FastAPI's documented `gunicorn main:app --workers 4 --worker-class uvicorn_worker.UvicornWorker`."""

import hashlib

from visit import expect

COMMAND = ["gunicorn", "desk:app", "--worker-class", "uvicorn_worker.UvicornWorker"]
MASKS = [(r"session=[^;]*", "SESSION"), (r"_\d{4}(-\d\d){2}_\d\d(-\d\d){2}", "_TIME")]


def prepare(folder, venv, environment):
    pass


def visit(site):
    expect(site.get("/"), 200, '"started":"yes"', "http://site.test/")
    expect(site.get("/tickets"), 200, "[]")
    expect(site.post_json("/tickets", {"title": "Der Drücker klemmt"}), 201)
    expect(site.post_json("/tickets", {"title": "light", "done": True}), 201)
    expect(site.post_json("/tickets", {"done": "perhaps"}), 422)
    expect(site.ask("POST", "/tickets", b"{broken", content_type="application/json"), 422)
    expect(site.ask("POST", "/tickets", iter([b'{"title": ', b'"in chunks"}']), content_type="application/json"), 201)
    expect(site.get("/tickets?done=true"), 200, "light")
    content = bytes(range(256)) * 8192
    attached = site.post("/attachments", {"note": "see"}, {"file": ("däta.bin", "application/x-data", content)})
    expect(attached, 200, hashlib.sha256(content).hexdigest())
    expect(site.post("/attachments", {"note": "nothing"}), 422)
    expect(site.get("/export"), 200, "2999,ticket")
    awaited = {"title": "awaited", "done": True}
    expect(site.get("/watch", between=lambda: expect(site.post_json("/tickets", awaited), 201)), 200, "data: there it is")
    expect(site.ask("HEAD", "/"), 405)
    expect(site.ask("DELETE", "/tickets"), 405)
    expect(site.get("/gone"), 410)
    expect(site.get("/fails"), 500)
    expect(site.get("/nowhere"), 404)
    expect(site.get("/tickets/"), 307)
    expect(site.get("/docs"), 200, "swagger")
    expect(site.get("/openapi.json"), 200, "NewTicket")
    administer(site)
    talk(site)


def administer(site):
    expect(site.get("/admin/"), 302)
    expect(site.get("/admin/login"), 200, "password")
    expect(site.post("/admin/login", {"username": "ana", "password": "wrong"}), 400)
    expect(site.post("/admin/login", {"username": "ana", "password": "secret"}), 302)
    expect(site.get("/admin/ticket/list"), 200, "Der Drücker klemmt")
    expect(site.get("/admin/ticket/list?search=light"), 200, "light")
    expect(site.get("/admin/ticket/create"), 200, "title")
    expect(site.post("/admin/ticket/create", {"title": "by hand", "save": "Save"}), 302)
    expect(site.post("/admin/ticket/create", {"title": "", "save": "Save"}), 400)
    expect(site.post("/admin/ticket/edit/1", {"title": "fixed", "done": "y", "save": "Save"}), 302)
    expect(site.get("/admin/ticket/details/1"), 200, "fixed")
    expect(site.get("/admin/ticket/export/csv"), 200, "by hand")
    expect(site.ask("DELETE", "/admin/ticket/delete?pks=2"), 200)
    expect(site.get("/tickets"), 200, "fixed", "by hand")
    style = expect(site.get("/admin/statics/css/main.css"), 200)
    expect(site.get("/admin/statics/css/main.css", if_none_match=dict(style.fields)["etag"]), 304)
    expect(site.get("/admin/logout"), 302)
    expect(site.get("/admin/ticket/list"), 302)


def talk(site):
    """WebSockets, by the same client to both."""
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    from visit import Answer

    said = []
    with connect("ws://127.0.0.1:%d/talk/yard" % site.port, subprotocols=["chat"]) as socket:
        said.append(str(socket.subprotocol))
        for message in ("hello", "ümlaut " * 2000, b"\x00\x01\x02" * 50000, ""):
            socket.send(message)
            said.append(socket.recv())
        socket.send("end")
        try:
            socket.recv()
        except ConnectionClosed as closed:
            said.append("%d %s" % (closed.rcvd.code, closed.rcvd.reason))
    try:
        connect("ws://127.0.0.1:%d/no-such-room" % site.port)
    except InvalidStatus as refused:
        said.append(str(refused.response.status_code))
    assert said[0] == "chat" and said[1] == "yard: hello" and said[-2:] == ["4001 as you like", "403"], [str(one)[:80] for one in said]
    site.answers.append(Answer("WebSocket /talk/yard", 101, "", [], repr(said).encode()))
