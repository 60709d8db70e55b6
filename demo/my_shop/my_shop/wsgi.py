"""The shop for a WSGI server: `appserver my_shop.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "my_shop.settings")

application = get_wsgi_application()
