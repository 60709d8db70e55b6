"""Django's administration (backoffice/), worked in as a person would, by Django's documented `gunicorn myproject.wsgi`."""

import importlib.metadata
import shutil
import subprocess

from visit import expect, hidden, png

COMMAND = ["gunicorn", "backoffice.wsgi", "--workers", "2", "--threads", "2"]
MASKS = [
    (r'csrfmiddlewaretoken" value="[^"]*"', "TOKEN"),
    (r"(csrftoken|sessionid)=[^;]*", "COOKIE"),
    (r"expires=[^;]*", "EXPIRES"),
    # Signed, with the time.
    (r":\w{6}:[\w-]{43}", ":SIGNED"),
    (r"\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT", "TIME"),
    (r"\w+\.? \d{1,2}, \d{4}, (\d+(:\d\d)? [ap]\.m\.|noon|midnight)", "TIME"),
    # The page changes with its token.
    (r'"[0-9a-f]{32}"', '"ETAG"'),
]
BOOKS, AUTHORS = "/admin/backoffice/book/", "/admin/backoffice/author/"
MANUSCRIPT = "Es war einmal …\n".encode() * 30000
CHAPTERS = {"chapter_set-TOTAL_FORMS": "1", "chapter_set-INITIAL_FORMS": "0"}


def prepare(folder, venv, environment):
    """The database; made once for all servers."""
    made = folder.parent.parent / ("backoffice-" + importlib.metadata.version("Django"))
    if not (made / "done").exists():
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        django = [venv / "bin" / "python", "-m", "django"]
        more = {**environment, "DJANGO_SETTINGS_MODULE": "backoffice.settings", "DJANGO_SUPERUSER_PASSWORD": "secret-of-ana"}
        for command in ("migrate --run-syncdb -v 0", "createsuperuser --noinput --username ana --email ana@site.test"):
            subprocess.run([*django, *command.split()], cwd=made, env=more, check=True, stdout=subprocess.DEVNULL)
        (made / "done").touch()
    shutil.copytree(made, folder, dirs_exist_ok=True)


def visit(site):
    log_in(site)
    add(site)
    see_files(site)
    search(site)
    change(site)
    several(site)
    delete(site)
    log_out(site)


def token(site, path):
    return hidden(expect(site.get(path), 200), "csrfmiddlewaretoken")


def send(site, path, form, files=None, **headers):
    """The form of the page `path`, filled in: with its token."""
    return site.post(path, {"csrfmiddlewaretoken": token(site, path), **form}, files, **headers)


def log_in(site):
    expect(site.get("/admin"), 301)
    expect(site.get("/admin/"), 302)
    form = {"username": "ana", "password": "wrong", "next": "/admin/"}
    expect(send(site, "/admin/login/", form), 200, "Please enter the correct username")
    form["password"] = "secret-of-ana"
    expect(site.post("/admin/login/", form), 403, "CSRF")
    expect(send(site, "/admin/login/", form, origin="http://evil.test"), 403)
    expect(send(site, "/admin/login/", form, origin="http://site.test"), 302)
    expect(site.get("/admin/"), 200, "Site administration", "Books")
    expect(site.get("/admin/", accept_language="de"), 200, "Website-Verwaltung")
    expect(site.get("/admin/jsi18n/"), 200, "catalog")
    expect(site.ask("HEAD", "/admin/"), 200)


def add(site):
    for name in ("Žofie Müller", "Ray O'Neil", "Nobody"):
        expect(send(site, AUTHORS + "add/", {"name": name, "_save": "Save"}), 302)
    # In a window of its own, from the book's page.
    popup = {"name": "Li <b>", "_popup": "1", "_save": "Save"}
    expect(send(site, AUTHORS + "add/?_popup=1", popup), 200, "Li ")
    expect(site.get("/admin/autocomplete/?term=fie&app_label=backoffice&model_name=book&field_name=author"), 200, '"id": "1"')
    chapters = {**CHAPTERS, "chapter_set-0-title": "Přichází", "chapter_set-0-id": "", "chapter_set-0-book": ""}
    book = {"title": "Die Brücke", "slug": "die-bruecke", "author": "1", "published": "2026-02-03", "price": "12.50", "listed": "on", **chapters}
    files = {
        "cover": ("Brücke 1.png", "image/png", png(300, 200)),
        "manuscript": ("bridge.txt", "text/plain", MANUSCRIPT),
    }
    expect(send(site, BOOKS + "add/", {**book, "price": "much"}, files), 200, "Enter a number")
    expect(send(site, BOOKS + "add/", book, {"cover": ("no.png", "image/png", b"no picture")}), 200, "Upload a valid image")
    expect(send(site, BOOKS + "add/", {**book, "_continue": "1"}, files), 302)
    expect(site.get(BOOKS + "1/change/"), 200, "was added successfully", "Přichází", "covers/")
    expect(send(site, BOOKS + "add/", book, files), 200, "already exists")
    for number in range(2, 9):
        more = {**CHAPTERS, "title": "Book %d" % number, "slug": "book", "author": "2", "price": number, "listed": "on", "_addanother": "1"}
        more["csrfmiddlewaretoken"] = site.cookies["csrftoken"]
        answer = site.post(BOOKS + "add/", more)
        expect(answer, 302)


def see_files(site):
    page = expect(site.get(BOOKS + "1/change/"), 200).content.decode()
    cover = page.split('href="/media/covers/')[1].split('"')[0]
    assert expect(site.get("/media/covers/" + cover), 200).content == png(300, 200)
    manuscript = expect(site.get("/media/manuscripts/bridge.txt"), 200)
    assert manuscript.content == MANUSCRIPT
    changed = dict(site.ask("HEAD", "/media/manuscripts/bridge.txt", note=False).fields)["Last-Modified"]
    expect(site.get("/media/manuscripts/bridge.txt", if_modified_since=changed), 304)
    expect(site.get("/media/../db.sqlite3"), 400)
    expect(site.get("/static/admin/css/base.css"), 200, "body")
    expect(site.get("/static/admin/js/vendor/select2/select2.full.js"), 200, "select2")
    expect(site.get("/static/admin/none.css"), 404)


def search(site):
    expect(site.get(BOOKS), 200, "8 books")
    expect(site.get(BOOKS + "?p=2"), 200, "8 books")
    expect(site.get(BOOKS + "?all="), 200, "Book 2")
    expect(site.get(BOOKS + "?q=M%C3%BCller"), 200, "1 result", "Die Brücke")
    expect(site.get(BOOKS + "?q=nothing"), 200, "0 results")
    expect(site.get(BOOKS + "?listed__exact=0"), 200, "0 books")
    expect(site.get(BOOKS + "?published__year=2026&o=-3"), 200, "1 book")
    expect(site.get(BOOKS + "?no_such_field=1"), 302)


def change(site):
    page = expect(site.get(BOOKS + "1/change/"), 200)
    form = {"title": "Die Brücke, zweite Auflage", "slug": "die-bruecke", "author": "2", "published": "", "price": "14", "manuscript-clear": "on"}
    form.update({"chapter_set-TOTAL_FORMS": "2", "chapter_set-INITIAL_FORMS": "1", "chapter_set-0-id": hidden(page, "chapter_set-0-id")})
    form.update({"chapter_set-0-book": "1", "chapter_set-0-title": "weg", "chapter_set-0-DELETE": "on"})
    form.update({"chapter_set-1-id": "", "chapter_set-1-book": "1", "chapter_set-1-title": "Ende", "_save": "Save"})
    expect(send(site, BOOKS + "1/change/", form), 302)
    page = expect(site.get(BOOKS + "1/change/"), 200, "zweite Auflage", "Ende")
    assert b"weg" not in page.content and b"bridge.txt" not in page.content
    expect(site.get(BOOKS + "1/history/"), 200, "Changed")
    expect(site.get(BOOKS + "99/change/"), 302)
    # A list whose prices are edited where they stand.
    listed = {"form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "2", "form-0-id": "8", "form-0-price": "99", "form-1-id": "7", "form-1-price": "98"}
    expect(send(site, BOOKS, {**listed, "_save": "Save"}), 302)
    expect(site.get(BOOKS), 200, "2 books were changed successfully", 'value="99.00"')


def several(site):
    chosen = {"_selected_action": ["2", "3", "4"], "select_across": "0", "index": "0"}
    expect(send(site, BOOKS, {"action": "unlist", **chosen}), 302)
    expect(site.get(BOOKS + "?listed__exact=0"), 200, "3 books are no longer listed", "3 books")
    exported = expect(send(site, BOOKS, {"action": "export", **chosen, "select_across": "1"}), 200, "Book 8,Ray O'Neil,99.00")
    assert exported.content.count(b"\r\n") == 8, exported.content
    expect(send(site, BOOKS, {"action": "delete_selected", **chosen}), 200, "Are you sure", "Book 3")
    expect(send(site, BOOKS, {"action": "delete_selected", **chosen, "post": "yes"}), 302)
    expect(site.get(BOOKS), 200, "Successfully deleted 3 books", "5 books")
    expect(send(site, BOOKS, {"action": "unlist", "index": "0"}), 302)
    expect(site.get(BOOKS), 200, "Items must be selected")


def delete(site):
    expect(site.get(BOOKS + "1/delete/"), 200, "Are you sure", "Ende")
    expect(site.post(BOOKS + "1/delete/", {"post": "yes"}), 403)
    expect(send(site, BOOKS + "1/delete/", {"post": "yes"}), 302)
    expect(site.get(BOOKS + "?q=Auflage"), 200, "was deleted successfully", "0 results")
    expect(site.get(AUTHORS + "2/delete/"), 200, "would require deleting the following protected related objects")
    expect(send(site, AUTHORS + "3/delete/", {"post": "yes"}), 302)


def log_out(site):
    passwords = {"old_password": "secret-of-ana", "new_password1": "other-of-ana", "new_password2": "other-of-ana"}
    expect(send(site, "/admin/password_change/", passwords), 302)
    expect(site.get("/admin/password_change/done/"), 200)
    expect(site.get("/admin/logout/"), 405)
    expect(site.post("/admin/logout/", {"csrfmiddlewaretoken": site.cookies["csrftoken"]}), 200, "Logged out")
    expect(site.get(BOOKS), 302)
    expect(send(site, "/admin/login/", {"username": "ana", "password": "other-of-ana", "next": BOOKS}), 302)
    expect(site.get(BOOKS), 200, "4 books")
