import io
from pathlib import Path
from unittest import mock

from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from PIL import Image

from catalog.assortment import PRINTS
from catalog.forms import free_slug
from catalog.models import Product
from catalog.posters import HEIGHT, PALETTES, WIDTH, Poster, Scene, draw
from catalog.testing import ShopTestCase, image_file, make_product
from orders.models import Order, OrderLine


class WindowTests(ShopTestCase):
    def test_the_front_page_shows_the_newest_print_first(self):
        make_product("Older")
        make_product("Newer")
        text = self.client.get("/").content.decode()
        self.assertLess(text.index("/prints/newer/"), text.index("/prints/older/"))

    def test_the_front_page_works_in_an_empty_shop(self):
        self.assertEqual(self.client.get("/").status_code, 200)

    def test_a_featured_print_is_shown_large(self):
        make_product("Chosen", featured=True)
        make_product("Newer")
        self.assertEqual(self.client.get("/").context["featured"].name, "Chosen")

    def test_every_word_of_a_search_has_to_match(self):
        make_product("Red Arch", place="Wales")
        make_product("Blue Arch", place="France")
        found = self.client.get("/search/", {"q": "arch wales"}).context["page"].object_list
        self.assertEqual([product.name for product in found], ["Red Arch"])

    def test_search_text_is_escaped(self):
        answer = self.client.get("/search/", {"q": "<script>"})
        self.assertNotContains(answer, "<script>")
        self.assertContains(answer, "Nothing matches")

    def test_an_unknown_order_or_page_is_taken_for_the_first(self):
        make_product()
        answer = self.client.get("/search/", {"sort": "-password", "page": "999", "collection": "none"})
        self.assertContains(answer, "1 print found")

    def test_pages_keep_the_search(self):
        for number in range(13):
            make_product(f"Arch {number}")
        answer = self.client.get("/search/", {"q": "arch", "sort": "name"})
        self.assertContains(answer, "?q=arch&amp;sort=name&amp;page=2")

    def test_a_sold_out_print_can_not_be_put_into_the_cart(self):
        product = make_product(stock=0)
        answer = self.client.get(product.get_absolute_url())
        self.assertContains(answer, "Sold out")
        self.assertNotContains(answer, "add-to-cart")

    def test_an_unknown_print_gets_the_shops_404(self):
        self.assertContains(self.client.get("/prints/nothing/"), "The line ends here", status_code=404)


class AddProductTests(ShopTestCase):
    @classmethod
    def setUpTestData(cls):
        cls.collection = make_product().collection
        cls.staff = User.objects.create_user("staff")
        cls.staff.user_permissions.add(Permission.objects.get(codename="add_product"))

    def values(self, **changes):
        return {
            "name": "New Span",
            "collection": self.collection.pk,
            "summary": "It is new.",
            "price": "9.50",
            "stock": "3",
            "image": image_file(),
            **changes,
        }

    def test_guests_are_sent_to_the_login(self):
        answer = self.client.get("/prints/new/")
        self.assertRedirects(answer, "/accounts/login/?next=/prints/new/")

    def test_customers_are_refused(self):
        self.client.force_login(User.objects.create_user("customer"))
        self.assertContains(self.client.get("/prints/new/"), "Staff only", status_code=403)

    def test_staff_puts_a_print_on_sale(self):
        self.client.force_login(self.staff)
        answer = self.client.post("/prints/new/", self.values())
        self.assertRedirects(answer, "/prints/new-span/")
        self.assertTrue(Path(Product.objects.get(slug="new-span").image.path).exists())

    def test_the_image_has_to_be_one(self):
        self.client.force_login(self.staff)
        for upload in (SimpleUploadedFile("a.png", b"<svg onload=alert(1)>"), image_file("a.gif", "GIF")):
            answer = self.client.post("/prints/new/", self.values(image=upload))
            self.assertEqual(answer.status_code, 422)
            self.assertIn("image", answer.context["form"].errors)

    def test_an_image_may_not_be_too_large(self):
        self.client.force_login(self.staff)
        with mock.patch("catalog.forms.IMAGE_BYTES_MAX", 10):
            answer = self.client.post("/prints/new/", self.values())
        self.assertContains(answer, "larger than 10 MB", status_code=422)

    def test_equal_names_get_different_addresses(self):
        self.assertEqual([free_slug("Span"), free_slug("Fresh"), free_slug("☃")], ["span-2", "fresh", "print"])


class SeedTests(ShopTestCase):
    def test_seeding_twice_changes_nothing(self):
        with mock.patch("catalog.management.commands.seed.draw", return_value=image_file().read()):
            call_command("seed", orders=20, stdout=io.StringIO())
            counts = [model.objects.count() for model in (Product, Order, OrderLine, User)]
            image = Product.objects.get(slug="wiesen").image
            Path(image.path).unlink()
            call_command("seed", orders=20, stdout=io.StringIO())
        self.assertEqual([model.objects.count() for model in (Product, Order, OrderLine, User)], counts)
        self.assertEqual(counts[:2], [len(PRINTS), 20])
        self.assertTrue(Path(image.path).exists(), "a lost image should come back under its name")

    def test_the_documented_accounts_work(self):
        with mock.patch("catalog.management.commands.seed.draw", return_value=image_file().read()):
            call_command("seed", orders=0, stdout=io.StringIO())
        self.assertTrue(self.client.login(username="admin", password="viaduct-admin"))
        self.assertEqual(self.client.get("/admin/").status_code, 200)
        self.assertTrue(self.client.login(username="maya", password="viaduct-maya"))


class PosterTests(ShopTestCase):
    def test_a_poster_is_a_jpeg_and_always_the_same(self):
        poster = PRINTS[0].poster
        first = draw(poster)
        self.assertEqual(Image.open(io.BytesIO(first)).size, (WIDTH, HEIGHT))
        self.assertEqual(draw(poster), first)

    def test_every_kind_and_palette_in_use_exists(self):
        for item in PRINTS:
            self.assertTrue(hasattr(Scene, f"paint_{item.kind}"), item.name)
            self.assertIn(item.palette, PALETTES, item.name)

    def test_every_kind_can_be_drawn(self):
        for kind in {item.kind for item in PRINTS}:
            scene = Scene(Poster("T", "C", kind, "dawn", 3, 1), 480, 600)
            self.assertEqual(scene.paint().size, (480, 600))
