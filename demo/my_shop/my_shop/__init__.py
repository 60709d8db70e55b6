"""The project package: settings, routes and the two entry points (WSGI and ASGI)."""
