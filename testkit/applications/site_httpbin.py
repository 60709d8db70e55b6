"""httpbin, whose README says `gunicorn httpbin:app`: most of what HTTP has."""

from visit import expect

COMMAND = ["gunicorn", "httpbin:app"]
MASKS = [
    # The time in the head of gzip.
    (r"^\x1f\x8b\x08\x00[\s\S]{4}", "GZIP"),
    # appserver tells the length of chunked content (docs/differences.md).
    (r'\s*"Content-Length": "9",', ""),
    # And has HTTP_HOST before the other fields, wherever it came.
    (r'"Host": "site.test",\s*', ""),
    (r'nonce="[^"]*"|opaque="[^"]*"', "NONCE"),
]


def prepare(folder, venv, environment):
    pass


def visit(site):
    for path in ("/", "/headers", "/ip", "/user-agent", "/json", "/html", "/xml", "/robots.txt", "/deny", "/encoding/utf8"):
        expect(site.get(path), 200)
    for path in ("/gzip", "/deflate", "/brotli", "/image/png", "/image/jpeg", "/image/svg", "/links/10/3", "/base64/aGVsbG8="):
        expect(site.get(path, accept="*/*"), 200)
    expect(site.get("/get?a=1&a=2&%C3%A9=%20+&empty="), 200, '"empty": ""')
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        path = "/" + method.lower()
        expect(site.post_json(path, {"key": "välue"}, method=method), 200, "v\\u00e4lue")
        expect(site.ask(method, "/anything/a%2Fb?x=%2F", b"plain \xff bytes", content_type="application/octet-stream"), 200)
    expect(site.post("/post", {"name": "Ana", "many": ["1", "2"]}), 200, '"many"')
    file = ("a b.txt", "text/plain", b"content of the file\n" * 5000)
    expect(site.post("/post", {"name": "Ana"}, {"file": file}), 200, "content of the file")
    expect(site.ask("POST", "/post", iter([b"in ", b"chunks"]), content_type="text/plain"), 200)
    expect(site.ask("HEAD", "/get"), 200)
    expect(site.ask("OPTIONS", "/get"), 200)
    expect(site.ask("TRACE", "/anything"), 200)
    for status in (200, 201, 204, 301, 304, 400, 401, 402, 404, 406, 418, 429, 500, 503):
        expect(site.get("/status/%d" % status), status)
    for path in ("/redirect/2", "/absolute-redirect/2", "/relative-redirect/2", "/redirect-to?url=/get&status_code=307"):
        assert site.get(path).status in (302, 307), path
    expect(site.get("/cookies/set?a=1&b=two"), 302)
    expect(site.get("/cookies"), 200, "two")
    expect(site.get("/cookies/delete?a"), 302)
    expect(site.get("/basic-auth/ana/secret"), 401)
    expect(site.get("/basic-auth/ana/secret", authorization="Basic YW5hOnNlY3JldA=="), 200)
    expect(site.get("/bearer", authorization="Bearer abc"), 200)
    expect(site.get("/digest-auth/auth/ana/secret"), 401)
    expect(site.get("/cache", if_none_match='"x"'), 304)
    expect(site.get("/etag/abc", if_none_match='"abc"'), 304)
    expect(site.get("/etag/abc", if_match='"other"'), 412)
    expect(site.get("/response-headers?X-One=1&X-One=2&X-Two=two%20words"), 200)
    expect(site.get("/range/2048"), 200)
    expect(site.get("/range/2048", range="bytes=100-199"), 206)
    expect(site.get("/range/2048", range="bytes=4000-"), 416)
    expect(site.get("/stream/20"), 200)
    expect(site.get("/stream-bytes/70000?seed=7&chunk_size=1000"), 200)
    expect(site.get("/bytes/1000?seed=7"), 200)
    expect(site.get("/drip?numbytes=5&duration=0.2&delay=0"), 200)
    expect(site.get("/delay/0"), 200)
    expect(site.get("/no-such-page"), 404)
