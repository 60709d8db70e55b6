"""The cart: product numbers and quantities in the visitor's session, nothing else."""

from dataclasses import dataclass
from decimal import Decimal

from catalog.models import Product

SESSION_KEY = "cart"
QUANTITY_MAX = 10


@dataclass(frozen=True)
class CartLine:
    product: Product
    quantity: int

    @property
    def total(self):
        return self.product.price * self.quantity

    @property
    def available(self):
        """No more than this can be ordered."""
        return min(self.product.stock, QUANTITY_MAX)


class Cart:
    def __init__(self, session):
        self.session = session

    @property
    def _quantities(self):
        return self.session.get(SESSION_KEY, {})

    def count(self):
        """How many pieces lie in the cart; asks no database but the session's."""
        return sum(self._quantities.values())

    def set(self, product, quantity):
        """Puts `quantity` pieces of `product` into the cart, as far as stock allows; 0 takes it out."""
        quantities = dict(self._quantities)
        quantity = max(0, min(quantity, product.stock, QUANTITY_MAX))
        if quantity:
            quantities[str(product.pk)] = quantity
        else:
            quantities.pop(str(product.pk), None)
        self.session[SESSION_KEY] = quantities
        return quantity

    def add(self, product, quantity):
        return self.set(product, self._quantities.get(str(product.pk), 0) + quantity)

    def clear(self):
        self.session.pop(SESSION_KEY, None)

    def lines(self):
        """The lines whose products still exist, by name."""
        quantities = self._quantities
        products = Product.objects.filter(pk__in=quantities).order_by("name")
        return [CartLine(product, quantities[str(product.pk)]) for product in products]

    def total(self):
        return sum((line.total for line in self.lines()), Decimal(0))
