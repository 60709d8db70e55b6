"""The signing key of an installation that was given none."""

import os
import secrets
from pathlib import Path


def secret_key(path: Path) -> str:
    """Returns the key kept in `path`, making it first when there is none.

    Several processes may start at once: the file is put in place by a link, which succeeds for
    exactly one of them, and everyone reads what that one wrote.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii")
