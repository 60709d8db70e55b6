"""`python -m appserver`: becomes the program, with this interpreter and the extension module of this package."""

import importlib.metadata
import importlib.util
import os
import sys
import sysconfig

DISTRIBUTION = "viaduct-appserver"
PROGRAM = "appserver"


def places():
    """Where the program may be: where the installer says that it put it, then where installers put programs."""
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == PROGRAM and file.parent.name == "bin":
            yield os.path.abspath(file.locate())
    yield os.path.join(sysconfig.get_path("scripts"), PROGRAM)
    yield os.path.join(os.path.dirname(sys.executable), PROGRAM)


def main():
    looked = []
    for program in places():
        if os.path.isfile(program):
            break
        looked.append(program)
    else:
        sys.exit(
            "appserver: error: the program is in none of its places (%s); install the wheel again: "
            "%s -m pip install --force-reinstall %s" % (", ".join(looked), sys.executable, DISTRIBUTION)
        )
    os.environ["VIADUCT_PYTHON"] = sys.executable
    module = importlib.util.find_spec("appserver.viaduct_worker")
    if module is not None:
        os.environ["VIADUCT_WORKER"] = module.origin
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
