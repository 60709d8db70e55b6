"""Settings of the shop. Everything that differs between machines comes from the environment.

SHOP_STATE                 folder for all that changes; default: demo/var
SHOP_DATABASE              SQLite file;                 default: $SHOP_STATE/db.sqlite3
SHOP_STATIC_ROOT           target of collectstatic;     default: $SHOP_STATE/static
SHOP_MEDIA_ROOT            uploaded images;             default: $SHOP_STATE/media
SHOP_SECRET_KEY            signing key; default: made once and kept in $SHOP_STATE/secret-key
SHOP_ALLOWED_HOSTS         comma list;  default: localhost, 127.0.0.1, [::1]
SHOP_CSRF_TRUSTED_ORIGINS  comma list of scheme://host[:port]; default: none
SHOP_DEBUG                 1 shows tracebacks and lets runserver serve files; default: 0
"""

import os
import sys
from pathlib import Path

from my_shop.secret import secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
TESTING = sys.argv[1:2] == ["test"]


def env_path(name, default):
    return Path(os.environ.get(name) or default).absolute()


def env_list(name, default=""):
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


STATE = env_path("SHOP_STATE", BASE_DIR.parent / "var")
STATIC_ROOT = env_path("SHOP_STATIC_ROOT", STATE / "static")
MEDIA_ROOT = env_path("SHOP_MEDIA_ROOT", STATE / "media")
DATABASE = env_path("SHOP_DATABASE", STATE / "db.sqlite3")
UPLOADS = STATE / "tmp"
for folder in (STATE, UPLOADS, MEDIA_ROOT, DATABASE.parent):
    folder.mkdir(parents=True, exist_ok=True)

DEBUG = os.environ.get("SHOP_DEBUG", "0") == "1"
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY") or secret_key(STATE / "secret-key")
ALLOWED_HOSTS = env_list("SHOP_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("SHOP_CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "catalog",
    "orders",
    "files",
    "chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "my_shop.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "my_shop.urls"
WSGI_APPLICATION = "my_shop.wsgi.application"
ASGI_APPLICATION = "my_shop.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "orders.context_processors.cart",
            ],
        },
    },
]

# WAL lets several threads and processes read while one of them writes; IMMEDIATE
# makes a writer wait for its turn instead of failing half-way through a transaction.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATABASE,
        "CONN_MAX_AGE": 60,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# One process (appserver with one worker, or an ASGI server) carries the chat, so its groups can live in that process's memory.
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_URL = "/media/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        # Names with a hash in them may be kept by browsers for good: nginx.conf says `expires 30d`.
        "BACKEND": "django.contrib.staticfiles.storage."
        + ("StaticFilesStorage" if DEBUG or TESTING else "ManifestStaticFilesStorage"),
    },
}

# Uploads go straight to disk, whatever their size: a 200 MB file costs no memory.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
FILE_UPLOAD_TEMP_DIR = UPLOADS
FILE_UPLOAD_PERMISSIONS = 0o644

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
CSRF_FAILURE_VIEW = "my_shop.views.csrf_failure"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
if TESTING:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# The server in front sets X-Forwarded-Proto itself on every request, so it can be believed.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SAMESITE = "Lax"

LOG_LEVEL = "CRITICAL" if TESTING else "WARNING"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} [{process}] {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        "django.server": {"level": "INFO"},
    },
}
