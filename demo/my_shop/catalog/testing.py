"""What the tests of all applications share."""

import io
import shutil
import tempfile

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase, override_settings
from PIL import Image

from catalog.models import Collection, Product


def image_file(name="span.png", kind="PNG", size=(8, 10)):
    file = io.BytesIO()
    Image.new("RGB", size, "brown").save(file, kind)
    return SimpleUploadedFile(name, file.getvalue(), f"image/{kind.lower()}")


def make_product(name="Span", **values):
    collection, _ = Collection.objects.get_or_create(slug="stone", defaults={"name": "Stone"})
    values = {
        "slug": name.lower().replace(" ", "-"),
        "summary": f"About {name}",
        "price": "10.00",
        "stock": 5,
        **values,
    }
    return Product.objects.create(collection=collection, name=name, image=image_file(), **values)


class ShopTestCase(TestCase):
    """A test whose uploads go to a folder of its own."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="shop-test-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.enterClassContext(override_settings(MEDIA_ROOT=cls.folder))
        super().setUpClass()
