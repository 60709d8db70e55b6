"""A Django site in one file: a form with its token, a session, an upload, a stream, a failing view."""

import hashlib

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import path

settings.configure(
    SECRET_KEY="for this example only",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
)
django.setup()


def front(request):
    name = request.session.get("name", "stranger")
    return HttpResponse("hello %s\n%s" % (name, get_token(request)))


def sign_in(request):
    request.session["name"] = request.POST["name"]
    return HttpResponse("signed in")


def upload(request):
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return JsonResponse({"name": file.name, "size": file.size, "sha256": digest.hexdigest()})


def facts(request):
    return JsonResponse({"query": request.GET.dict(), "client": request.META["REMOTE_ADDR"], "path": request.path})


def stream(request):
    return StreamingHttpResponse(b"%06d\n" % number for number in range(20000))


def fail(request):
    raise RuntimeError("this view fails")


urlpatterns = [
    path("", front),
    path("sign-in/", sign_in),
    path("upload/", upload),
    path("facts/", facts),
    path("stream/", stream),
    path("fail/", fail),
]

application = get_wsgi_application()
asgi = get_asgi_application()
