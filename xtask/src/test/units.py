def attempt(path):
    try:
        with open(path, "w") as file:
            file.write("x")
        return "%s: written\n" % path
    except OSError as error:
        return "%s: %s\n" % (path, error.strerror)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/release":
        text = "RELEASE"
    elif path == "/confined":
        places = ("/etc", "/srv/my_shop", "/home", "/srv/my_shop/media", "/var/lib/my_shop", "/tmp")
        text = "".join(attempt(place + "/x") for place in places)
    else:
        text = "whole\n" * 2000
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
