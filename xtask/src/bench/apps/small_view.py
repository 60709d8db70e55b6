"""A Django project in one file, behind the middleware of `startproject`: a view that answers with JSON, and a page from a template."""

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for measurements only",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    (
                        "django.template.loaders.locmem.Loader",
                        {"print.html": "<h1>Print {{ number }}</h1>{% for word in words %}<p>{{ word }}</p>{% endfor %}"},
                    )
                ]
            },
        }
    ],
)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.shortcuts import render  # noqa: E402
from django.urls import path  # noqa: E402


def stock(request, number):
    return JsonResponse({"number": number, "left": 3, "words": ["arch", "span", "pier"]})


def print_page(request, number):
    return render(request, "print.html", {"number": number, "words": ["arch", "span", "pier"]})


urlpatterns = [path("stock/<int:number>/", stock), path("prints/<int:number>/", print_page)]
application = get_wsgi_application()
