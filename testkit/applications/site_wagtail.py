"""Wagtail's own start project: `wagtail start mysite`, and its Dockerfile's `gunicorn mysite.wsgi:application`."""

import importlib.metadata
import shutil
import subprocess

from visit import expect, hidden, png

COMMAND = ["gunicorn", "mysite.wsgi:application"]
MASKS = [
    (r'csrfmiddlewaretoken" value="[^"]*"', "TOKEN"),
    (r"(csrftoken|sessionid)=[^;]*", "COOKIE"),
    (r"expires=[^;]*", "EXPIRES"),
    # Signed with the time.
    (r":\w{6}:[\w-]{43}", ":SIGNED"),
    (r'(?i)"?csrf_?token"?:? ?"[^"]{20,}"', "TOKEN"),
    (r"window\.csrfToken = '[^']*'|CSRF_TOKEN[^,]*,", "TOKEN"),
    (r"(&quot;|\")[A-Za-z0-9]{64}(&quot;|\")", "TOKEN"),
    (r"just now|0(\xa0|&nbsp;)minutes( ago)?|\d+ seconds? ago", "NOW"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:[\d.]+)?(\+00:00|Z)?|\w+\.? \d{1,2}, \d{4},? \d+(:\d\d)? [ap]\.m\.|\d\d:\d\d(:\d\d)?", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"nonce-[\w+/=-]+|nonce=\"[^\"]*\"", "NONCE"),
]


def prepare(folder, venv, environment):
    """The project with its database; made once for both servers."""
    made = folder.parent / ("made-" + importlib.metadata.version("wagtail"))
    if not (made / "done").exists():
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        more = {**environment, "DJANGO_SUPERUSER_PASSWORD": "secret-of-ana"}

        def run(*command):
            subprocess.run(command, cwd=made, env=more, check=True, stdout=subprocess.DEVNULL)

        run(venv / "bin" / "wagtail", "start", "mysite", ".")
        with open(made / "mysite" / "settings" / "base.py", "a") as settings:
            settings.write("\nSECRET_KEY = 'of a test'\nALLOWED_HOSTS = ['site.test']\nPASSWORD_HASHERS = [\n")
            settings.write("    'django.contrib.auth.hashers.MD5PasswordHasher'\n]\n")
        manage = [venv / "bin" / "python", "manage.py"]
        run(*manage, "migrate", "-v", "0")
        run(*manage, "createsuperuser", "--noinput", "--username", "ana", "--email", "ana@site.test")
        (made / "done").touch()
    shutil.copytree(made, folder, dirs_exist_ok=True)
    return {"DJANGO_SETTINGS_MODULE": "mysite.settings.dev"}


def visit(site):
    expect(site.get("/"), 200, "Welcome")
    expect(site.get("/no-such-page/"), 404)
    expect(site.get("/search/?query=house"), 200)
    expect(site.get("/admin/"), 302)
    token = hidden(expect(site.get("/admin/login/"), 200), "csrfmiddlewaretoken")
    wrong = {"username": "ana", "password": "wrong", "csrfmiddlewaretoken": token}
    expect(site.post("/admin/login/", wrong), 200, "match")
    expect(site.post("/admin/login/", {"username": "ana", "password": "secret-of-ana"}), 403)
    expect(site.post("/admin/login/", {**wrong, "password": "secret-of-ana", "next": "/admin/"}), 302)
    expect(site.get("/admin/"), 200, "Dashboard")
    expect(site.get("/admin/pages/3/"), 200)
    token = hidden(expect(site.get("/admin/images/add/"), 200), "csrfmiddlewaretoken")
    form = {"csrfmiddlewaretoken": token, "title": "A höuse", "collection": "1", "tags": "house"}
    picture = {"file": ("house.png", "image/png", png(400, 300))}
    expect(site.post("/admin/images/add/", form, picture, x_requested_with="XMLHttpRequest"), 302)
    expect(site.get("/admin/images/"), 200)
    token = hidden(expect(site.get("/admin/documents/add/"), 200), "csrfmiddlewaretoken")
    form = {"csrfmiddlewaretoken": token, "title": "A plan", "collection": "1", "tags": ""}
    expect(site.post("/admin/documents/add/", form, {"file": ("plan.txt", "text/plain", b"the plan\n" * 40000)}), 302)
    expect(site.get("/documents/1/plan.txt"), 200, "the plan")
    token = hidden(expect(site.get("/admin/pages/add/home/homepage/3/"), 200), "csrfmiddlewaretoken")
    page = {"csrfmiddlewaretoken": token, "title": "Höuse page", "slug": "house", "action-publish": "action-publish"}
    page.update({"comments-TOTAL_FORMS": "0", "comments-INITIAL_FORMS": "0", "comments-MIN_NUM_FORMS": "0", "comments-MAX_NUM_FORMS": ""})
    expect(site.post("/admin/pages/add/home/homepage/3/", page), 302)
    expect(site.get("/house/"), 200)
    expect(site.ask("HEAD", "/house/"), 200)
    expect(site.get("/search/?query=H%C3%B6use"), 200)
    expect(site.get("/django-admin/"), 200, "administration")
    expect(site.get("/admin/api/main/pages/?child_of=3&format=json"), 200, "house")
    expect(site.post("/admin/logout/", {"csrfmiddlewaretoken": site.cookies["csrftoken"]}), 302)
    expect(site.get("/admin/"), 302)
