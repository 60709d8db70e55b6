import csv
import io

from django.contrib.auth.models import Permission, User

from catalog.testing import ShopTestCase, make_product
from orders.cart import QUANTITY_MAX, Cart, CartLine
from orders.checkout import OutOfStock, place_order
from orders.models import Order, OrderLine


class CartTests(ShopTestCase):
    @classmethod
    def setUpTestData(cls):
        cls.product = make_product(stock=3)

    def test_adds_up_as_far_as_stock_allows(self):
        cart = Cart({})
        self.assertEqual([cart.add(self.product, 2), cart.add(self.product, 2), cart.count()], [2, 3, 3])

    def test_holds_no_more_than_the_limit(self):
        plenty = make_product("Plenty", stock=1000)
        self.assertEqual(Cart({}).add(plenty, QUANTITY_MAX + 1), QUANTITY_MAX)

    def test_zero_and_less_take_a_line_out(self):
        for quantity in (0, -5):
            cart = Cart({"cart": {str(self.product.pk): 2}})
            cart.set(self.product, quantity)
            self.assertEqual(cart.lines(), [])

    def test_forgets_products_that_are_gone(self):
        self.assertEqual(Cart({"cart": {"999": 2}}).lines(), [])

    def test_lives_in_the_session(self):
        self.client.post("/cart/add/span/", {"quantity": "2"})
        answer = self.client.get("/cart/")
        self.assertEqual(answer.context["total"], 20)
        self.assertContains(answer, "data-cart-count>2<")
        self.client.post("/cart/change/span/", {"quantity": "0"})
        self.assertContains(self.client.get("/cart/"), "nothing in it yet")

    def test_takes_nonsense_for_one_piece(self):
        self.client.post("/cart/add/span/", {"quantity": "many"})
        self.assertContains(self.client.get("/cart/"), "data-cart-count>1<")

    def test_is_not_changed_by_following_a_link(self):
        self.assertEqual(self.client.get("/cart/add/span/").status_code, 405)


class CheckoutTests(ShopTestCase):
    @classmethod
    def setUpTestData(cls):
        cls.user = User.objects.create_user("maya")
        cls.product = make_product(stock=3)

    def test_needs_a_login(self):
        answer = self.client.post("/cart/checkout/")
        self.assertRedirects(answer, "/accounts/login/?next=/cart/checkout/")

    def test_takes_the_pieces_out_of_stock_and_empties_the_cart(self):
        self.client.force_login(self.user)
        self.client.post("/cart/add/span/", {"quantity": "2"})
        answer = self.client.post("/cart/checkout/")
        order = Order.objects.get()
        self.assertRedirects(answer, order.get_absolute_url())
        self.product.refresh_from_db()
        self.assertEqual((self.product.stock, order.total), (1, 20))
        self.assertContains(self.client.get("/orders/"), "2 × Span")
        self.assertContains(self.client.get("/cart/"), "nothing in it yet")

    def test_writes_nothing_when_a_piece_is_missing(self):
        other = make_product("Other", stock=0)
        with self.assertRaises(OutOfStock):
            place_order(self.user, [CartLine(self.product, 1), CartLine(other, 1)])
        self.product.refresh_from_db()
        self.assertEqual((self.product.stock, Order.objects.count()), (3, 0))

    def test_tells_when_somebody_was_faster(self):
        self.client.force_login(self.user)
        self.client.post("/cart/add/span/", {"quantity": "3"})
        self.product.stock = 1
        self.product.save()
        answer = self.client.post("/cart/checkout/", follow=True)
        self.assertContains(answer, "only 1 of “Span” left")
        self.assertContains(answer, "data-cart-count>1<")

    def test_an_order_is_shown_to_its_customer_only(self):
        order = place_order(User.objects.create_user("other"), [CartLine(self.product, 1)])
        self.client.force_login(self.user)
        self.assertEqual(self.client.get(order.get_absolute_url()).status_code, 404)


class ExportTests(ShopTestCase):
    def test_is_streamed_to_staff(self):
        order = Order.objects.create()
        OrderLine.objects.create(order=order, name='A "span", painted', price="2.50", quantity=2)
        staff = User.objects.create_user("staff")
        staff.user_permissions.add(Permission.objects.get(codename="view_order"))
        self.client.force_login(staff)
        answer = self.client.get("/export/sales.csv")
        self.assertTrue(answer.streaming)
        rows = list(csv.reader(io.StringIO(answer.getvalue().decode())))
        self.assertEqual(len(rows), 2)
        self.assertEqual(rows[1][2:], ['A "span", painted', "2", "2.50", "5.00"])

    def test_is_refused_to_customers(self):
        self.client.force_login(User.objects.create_user("customer"))
        self.assertEqual(self.client.get("/export/sales.csv").status_code, 403)
