"""pypiserver, a package index; its README: `gunicorn -w4 'pypiserver:app(root="/home/ubuntu/packages")'`: an application by a call."""

import hashlib
import io
import zipfile

from visit import expect

COMMAND = ["gunicorn", "-w4", 'pypiserver:app(root="{folder}/packages", authenticate=[], password_file=".")']
MASKS = [(r"\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT", "TIME"), (r'"[0-9a-f]{32,64}"', '"TAG"')]


def prepare(folder, venv, environment):
    (folder / "packages").mkdir()


def wheel(name, version):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("%s/__init__.py" % name)
        archive.writestr(info, "x = 1\n" * 20000)
        metadata = "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version)
        archive.writestr(zipfile.ZipInfo("%s-%s.dist-info/METADATA" % (name, version)), metadata)
    return file.getvalue()


def visit(site):
    expect(site.get("/"), 200, "Welcome to pypiserver")
    expect(site.get("/simple/"), 200)
    for version in ("1.0", "1.1"):
        content = wheel("boxes", version)
        form = {":action": "file_upload", "protocol_version": "1", "name": "boxes", "version": version, "filetype": "bdist_wheel"}
        name = "boxes-%s-py3-none-any.whl" % version
        expect(site.post("/", form, {"content": (name, "application/octet-stream", content)}), 200)
        form[":action"] = "file_upload"
        expect(site.post("/", form, {"content": (name, "application/octet-stream", content)}), 409)
    expect(site.post("/", {":action": "nonsense"}), 400)
    expect(site.get("/simple"), 301)
    expect(site.get("/simple/boxes"), 301)
    expect(site.get("/simple/boxes/"), 200, "boxes-1.1")
    expect(site.get("/simple/unknown/"), 303)
    expect(site.get("/packages/"), 200, "boxes-1.0")
    got = expect(site.get("/packages/boxes-1.1-py3-none-any.whl"), 200)
    assert hashlib.sha256(got.content).digest() == hashlib.sha256(wheel("boxes", "1.1")).digest()
    expect(site.get("/packages/boxes-1.1-py3-none-any.whl", range="bytes=10-99"), 206)
    expect(site.ask("HEAD", "/packages/boxes-1.1-py3-none-any.whl"), 200)
    expect(site.get("/json"), 303)
    expect(site.get("/boxes/json"), 200, "1.1")
    expect(site.post("/", {":action": "remove_pkg", "name": "boxes", "version": "1.0"}), 200)
    expect(site.get("/simple/boxes/"), 200)
    listing = b"<?xml version='1.0'?><methodCall><methodName>search</methodName><params><param><value><struct><member><name>name</name>"
    listing += b"<value><string>boxes</string></value></member></struct></value></param></params></methodCall>"
    expect(site.ask("POST", "/RPC2", listing, content_type="text/xml"), 200, "boxes")
