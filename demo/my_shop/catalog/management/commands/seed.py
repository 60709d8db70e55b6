"""`manage.py seed`: fills an empty shop. May be run again: what is there already stays as it is."""

from datetime import UTC, datetime, timedelta
from random import Random

from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils.text import slugify

from catalog.assortment import COLLECTIONS, FEATURED, PRINTS
from catalog.models import Collection, Product
from catalog.posters import draw
from chat.models import Message
from orders.models import Order, OrderLine

ADMIN = {"username": "admin", "password": "viaduct-admin", "first_name": "Ada"}
CUSTOMER = {"username": "maya", "password": "viaduct-maya", "first_name": "Maya"}
PAST_ORDERS = 1600
CHAT = [
    ("Ada", "Welcome to the lobby! Ask us anything about prints, paper or railways."),
    ("Tomas", "Does the Landwasser print come unframed?"),
    ("Ada", "Yes, all of them do. 40 × 50 cm fits any standard frame."),
]


class Command(BaseCommand):
    help = "Fills the shop with prints, past orders, an admin and a customer. Safe to repeat."

    def add_arguments(self, parser):
        parser.add_argument(
            "--orders", type=int, default=PAST_ORDERS, help="past orders to invent (default: %(default)s)"
        )

    def handle(self, *args, orders, **options):
        collections = self.seed_collections()
        made = sum(self.seed_product(item, collections[item.collection]) for item in PRINTS)
        self.seed_user(ADMIN, is_staff=True, is_superuser=True)
        self.seed_user(CUSTOMER)
        lines = self.seed_orders(orders)
        self.seed_chat()
        self.stdout.write(
            f"{Product.objects.count()} products ({made} new), {lines} order lines; "
            f"staff login {ADMIN['username']} / {ADMIN['password']}, "
            f"customer login {CUSTOMER['username']} / {CUSTOMER['password']}"
        )

    def seed_collections(self):
        return {
            slug: Collection.objects.get_or_create(
                slug=slug, defaults={"name": name, "blurb": blurb, "position": position}
            )[0]
            for position, (slug, (name, blurb)) in enumerate(COLLECTIONS.items())
        }

    def seed_product(self, item, collection):
        """Returns whether the product is new. A product whose image file got lost gets it back."""
        slug = slugify(item.name)
        product = Product.objects.filter(slug=slug).first()
        created = product is None
        if created:
            product = Product(
                slug=slug,
                collection=collection,
                name=item.name,
                place=item.place,
                year=item.year,
                summary=item.summary,
                description=item.description,
                price=item.price,
                stock=item.stock,
                featured=item.name == FEATURED,
            )
        if not product.image or not product.image.storage.exists(product.image.name):
            product.image.save(f"{slug}.jpg", ContentFile(draw(item.poster)))
        return created

    def seed_user(self, account, **rights):
        user, created = get_user_model().objects.get_or_create(
            username=account["username"], defaults={"first_name": account["first_name"], **rights}
        )
        if created:
            user.set_password(account["password"])
            user.save()

    @transaction.atomic
    def seed_orders(self, count):
        """Past orders, the same in every shop, so that there is something to export."""
        if not Order.objects.exists():
            random = Random(1825)
            products = list(Product.objects.order_by("pk"))
            start = datetime(2024, 1, 1, 8, tzinfo=UTC)
            orders = Order.objects.bulk_create(
                Order(placed=start + timedelta(minutes=random.randrange(60 * 24 * 500))) for _ in range(count)
            )
            OrderLine.objects.bulk_create(
                OrderLine(
                    order=order,
                    product=product,
                    name=product.name,
                    price=product.price,
                    quantity=random.choice((1, 1, 1, 2, 3)),
                )
                for order in orders
                for product in random.sample(products, random.randint(2, 6))
            )
        return OrderLine.objects.count()

    def seed_chat(self):
        if not Message.objects.exists():
            for author, text in CHAT:
                Message.objects.create(room="lobby", author=author, text=text)
