"""What applications do: small pages, long ones in pieces, content that is sent back; by WSGI and by ASGI."""

PIECE = b"<p>A span of the viaduct.</p>\n" * 100
PLAIN = [("Content-Type", "text/html; charset=utf-8"), ("X-Frame-Options", "DENY"), ("Vary", "Cookie")]


def wsgi(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        content = environ["wsgi.input"].read()
        start_response("200 OK", PLAIN + [("Content-Length", str(len(content)))])
        return [content]
    if environ["PATH_INFO"] == "/pieces":
        start_response("200 OK", PLAIN)
        return (PIECE for _ in range(20))
    start_response("200 OK", PLAIN + [("Content-Length", str(len(PIECE))), ("Set-Cookie", "csrftoken=abc; Path=/")])
    return [PIECE]


def headers(*more):
    return [(name.lower().encode(), value.encode()) for name, value in [*PLAIN, *more]]


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        content = b""
        while (event := await receive())["type"] == "http.request":
            content += event["body"]
            if not event["more_body"]:
                break
        content = content or PIECE
        await send({"type": "http.response.start", "status": 200, "headers": headers(("Content-Length", str(len(content))))})
        await send({"type": "http.response.body", "body": content})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")})
    else:
        while (event := await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
