"""The same administration by ASGI, by Django's documented `gunicorn myproject.asgi:application -k uvicorn_worker.UvicornWorker`."""

from site_admin import MASKS, prepare, visit

COMMAND = ["gunicorn", "backoffice.asgi:application", "-k", "uvicorn_worker.UvicornWorker"]

__all__ = ["COMMAND", "MASKS", "prepare", "visit"]
