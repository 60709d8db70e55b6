"""A gallery in Flask: a session, uploads, files with ranges, streams made bit by bit."""

import hashlib
import io
import pathlib
import time
import zipfile

from flask import Flask, Response, jsonify, redirect, render_template_string, request, send_from_directory, session, stream_with_context
from flask_sock import Sock
from werkzeug.utils import secure_filename

PAGE = """<!doctype html><title>Gallery</title><p>{{ name }}</p>
{% for title, file in pictures %}<figure><img src="/pictures/{{ file }}">{{ title }}</figure>{% else %}<p>no pictures</p>{% endfor %}"""


def create_app(folder):
    app = Flask(__name__)
    app.secret_key = "of a test"
    folder = pathlib.Path(folder)

    def pictures():
        titles = {path.stem: path.read_text() for path in folder.glob("*.title")}
        return sorted((titles[path.name], path.name) for path in folder.glob("*.png"))

    @app.get("/")
    def front():
        return render_template_string(PAGE, name=session.get("name", "nobody"), pictures=pictures())

    @app.post("/sign-in")
    def sign_in():
        session["name"] = request.form["name"]
        return redirect("/")

    @app.post("/sign-out")
    def sign_out():
        session.clear()
        return redirect("/")

    @app.post("/pictures")
    def upload():
        if "name" not in session:
            return "who are you?", 401
        file = request.files["picture"]
        name = secure_filename(file.filename)
        file.save(folder / name)
        (folder / (name + ".title")).write_text(request.form["title"])
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        return jsonify(name=name, sha256=digest), 201, {"Location": "/pictures/" + name}

    @app.get("/pictures/<path:name>")
    def picture(name):
        return send_from_directory(folder, name, conditional=True)

    @app.post("/raw")
    def raw():
        size = sum(len(piece) for piece in iter(lambda: request.stream.read(8192), b""))
        return str(size)

    @app.get("/count/<int:end>")
    def count(end):
        def lines():
            for number in range(end):
                yield "%s %d\n" % (session.get("name"), number)

        return Response(stream_with_context(lines()), mimetype="text/plain")

    @app.get("/events")
    def events():
        return Response(("id: %d\ndata: %d\n\n" % (n, n) for n in range(5)), mimetype="text/event-stream")

    @app.get("/develop")
    def develop():
        """Goes on when a picture has been put up: whoever waits for the end before it sends the beginning waits for ever."""

        def steps():
            yield "waiting\n"
            while not (folder / "awaited.png").exists():
                time.sleep(0.01)
            yield "developed\n"

        return Response(steps(), mimetype="text/plain")

    @app.get("/archive")
    def archive():
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as packed:
            for path in sorted(folder.glob("*.png")):
                packed.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
        return Response(file.getvalue(), mimetype="application/zip", headers={"Content-Disposition": "attachment; filename=all.zip"})

    @app.get("/client")
    def client():
        return jsonify(address=request.remote_addr, url=request.url, scheme=request.scheme)

    @Sock(app).route("/talk")
    def talk(socket):
        while (message := socket.receive()) != "end":
            socket.send(message[::-1])
        socket.close(4001, "as you like")

    @app.get("/fails")
    def fails():
        raise RuntimeError("as it should")

    return app
