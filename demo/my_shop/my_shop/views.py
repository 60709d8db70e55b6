"""Pages that belong to no single part of the shop."""

import os

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from catalog.models import Product

SERVER_KEYS = (
    "SERVER_SOFTWARE",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "wsgi.url_scheme",
    "wsgi.multithread",
    "wsgi.multiprocess",
)
FIELD_KEYS = (
    "HTTP_HOST",
    "HTTP_CONNECTION",
    "HTTP_X_REAL_IP",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_USER_AGENT",
)


def facts(request):
    """What the servers in front of this view said about the request."""
    return {
        "scheme": request.scheme,
        "host": request.get_host(),
        "url": request.build_absolute_uri(),
        "process": os.getpid(),
        "server": {key: request.META.get(key) for key in SERVER_KEYS},
        "fields": {key: request.META[key] for key in FIELD_KEYS if key in request.META},
    }


@require_safe
@never_cache
def behind(request):
    return render(request, "behind.html", {"facts": facts(request)})


@require_safe
@never_cache
def request_facts(request):
    return JsonResponse(facts(request))


@require_safe
@never_cache
def health(request):
    """Answers `ok` when the database can be read; used to wait for the site to come up."""
    Product.objects.exists()
    return HttpResponse("ok\n", content_type="text/plain")


def csrf_failure(request, reason=""):
    return render(request, "403_csrf.html", {"reason": reason}, status=403)
