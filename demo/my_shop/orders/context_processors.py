from orders.cart import Cart


def cart(request):
    """The number beside the cart symbol of every page."""
    session = getattr(request, "session", None)
    return {"cart_count": Cart(session).count() if session is not None else 0}
