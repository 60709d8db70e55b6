"""What `pre_request` changes in a request: the application's environ follows it, as gunicorn's does, which is made after the hook."""

import urllib.parse

OF_REQUEST = {"method": "REQUEST_METHOD", "uri": "RAW_URI", "query": "QUERY_STRING", "scheme": "wsgi.url_scheme"}
WITHOUT_PREFIX = {"CONTENT-TYPE": "CONTENT_TYPE", "CONTENT-LENGTH": "CONTENT_LENGTH"}


class Came:
    """A request as it came."""

    def __init__(self, request):
        self.method, self.uri, self.path, self.query = request.method, request.uri, request.path, request.query
        self.scheme, self.headers = request.scheme, list(request.headers)

    def differs_from(self, request):
        return any(getattr(self, name) != getattr(request, name) for name in self.__dict__)


def amend(environ, came, request):
    """Brings the environ up to what the hook has made of the request."""
    for name, key in OF_REQUEST.items():
        if getattr(request, name) != getattr(came, name):
            environ[key] = getattr(request, name)
    before, after = variables(came.headers), variables(request.headers)
    for key in before.keys() - after.keys():
        environ.pop(key, None)
    environ.update((key, value) for key, value in after.items() if before.get(key) != value)
    if request.path != came.path:
        mount = environ.get("SCRIPT_NAME", "")
        if not request.path.startswith(mount):
            raise ValueError("Request path %r does not start with SCRIPT_NAME %r" % (request.path, mount))
        environ["PATH_INFO"] = urllib.parse.unquote_to_bytes(request.path[len(mount) :]).decode("latin-1")


def variables(headers):
    """Fields as the environ has them, repeated ones in one."""
    found = {}
    for name, value in headers:
        if name in WITHOUT_PREFIX:
            found[WITHOUT_PREFIX[name]] = value
        else:
            key = "HTTP_" + name.replace("-", "_")
            found[key] = "%s,%s" % (found[key], value) if key in found else value
    return found
