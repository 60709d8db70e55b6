"""Turning a cart into an order."""

from django.db import transaction
from django.db.models import F

from catalog.models import Product
from orders.models import Order, OrderLine


class OutOfStock(Exception):
    """Somebody else was faster. Carries the line that can't be delivered any more."""

    def __init__(self, line):
        super().__init__(f"only {line.product.stock} of “{line.product.name}” left")
        self.line = line


def place_order(customer, lines):
    """Takes the pieces out of stock and writes the order: all of it or, with OutOfStock, nothing."""
    with transaction.atomic():
        order = Order.objects.create(customer=customer)
        for line in lines:
            taken = Product.objects.filter(pk=line.product.pk, stock__gte=line.quantity).update(
                stock=F("stock") - line.quantity
            )
            if not taken:
                line.product.refresh_from_db()
                raise OutOfStock(line)
            OrderLine.objects.create(
                order=order,
                product=line.product,
                name=line.product.name,
                price=line.product.price,
                quantity=line.quantity,
            )
    return order
