#!/usr/bin/env python3
"""Django's command line for the shop."""

import os
import sys


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "my_shop.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            f"cannot import Django ({error}); run this with the Python of the demo's "
            "virtual environment: pip install -r demo/requirements.txt"
        ) from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
