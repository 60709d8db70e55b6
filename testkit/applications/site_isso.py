"""isso, a comment server; its documentation: `gunicorn -b localhost:8080 -w 4 --preload isso.run`."""

import json

from visit import expect

COMMAND = ["gunicorn", "-w", "4", "--preload", "isso.run"]
MASKS = [
    (r"\"(created|modified)\":\s*[0-9.]+", "TIME"),
    (r"(isso-)?\d+=[^;]*;", "COOKIE;"),
    (r"[Ee]xpires=[^;]*|\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT", "EXPIRES"),
    # Signed with the time.
    (r"[\w-]+\.[\w-]{6}\.[\w-]{27}", "SIGNED"),
    (r'"hash":\s*"[0-9a-f]+"', "HASH"),
]

CONFIGURATION = """
[general]
dbpath = {folder}/comments.db
host = http://site.test/
max-age = 15m
[server]
listen = http://localhost:8080/
[guard]
enabled = true
ratelimit = 50
direct-reply = 10
reply-to-self = true
require-email = false
[hash]
salt = a-fixed-salt
[admin]
enabled = true
password = secret
"""


def prepare(folder, venv, environment):
    configuration = folder / "isso.cfg"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    return {"ISSO_SETTINGS": str(configuration)}


def visit(site):
    origin = {"origin": "http://site.test"}
    expect(site.get("/info", **origin), 200, "version")
    expect(site.get("/?uri=/post/", **origin), 200)
    first = {"author": "Ana", "text": "A *first* comment with ümlauts", "title": "Post"}
    created = expect(site.post_json("/new?uri=/post/", first, **origin), 201, "<em>first</em>")
    number = json.loads(created.content)["id"]
    reply = {"author": "Bo", "text": "A reply to it", "parent": number}
    expect(site.post_json("/new?uri=/post/", reply, **origin), 201)
    expect(site.post_json("/new?uri=/post/", {"text": "x"}, **origin), 400)
    expect(site.post_json("/new", {"text": "no uri"}, **origin), 400)
    expect(site.get("/?uri=/post/&nested_limit=5", **origin), 200, "A reply to it")
    expect(site.get("/id/%d?plain=1" % number, **origin), 200, "A *first* comment")
    changed = {**first, "text": "A changed comment"}
    expect(site.post_json("/id/%d" % number, changed, method="PUT", **origin), 200, "A changed comment")
    expect(site.post_json("/id/%d/like" % number, {}, **origin), 200, "likes")
    expect(site.post_json("/count", ["/post/", "/other/"], **origin), 200, "2")
    expect(site.ask("OPTIONS", "/new?uri=/post/", **origin), 200)
    expect(site.post_json("/preview", {"text": "**bold**"}, **origin), 200, "<strong>bold</strong>")
    expect(site.get("/js/embed.min.js"), 200, "isso")
    etag = dict(site.answers[-1].fields).get("ETag")
    if etag:
        expect(site.get("/js/embed.min.js", if_none_match=etag), 304)
    expect(site.get("/admin/"), 200, "password")
    expect(site.post("/login/", {"password": "wrong"}), 200)
    assert site.post("/login/", {"password": "secret"}).status in (301, 302, 303, 307)
    expect(site.get("/admin/?mode=1"), 200, "A changed comment")
    site.ask("DELETE", "/id/%d" % number, b"", content_type="application/json", **origin)
    expect(site.get("/no-such-thing"), 404)
