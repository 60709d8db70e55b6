"""Cart, checkout, a customer's orders, and the staff's export."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from catalog.models import Product
from orders.cart import Cart
from orders.checkout import OutOfStock, place_order
from orders.export import sales_csv


def quantity_of(request, default):
    try:
        return int(request.POST.get("quantity", default))
    except ValueError:
        return default


@require_safe
def cart(request):
    held = Cart(request.session)
    lines = held.lines()
    return render(request, "orders/cart.html", {"lines": lines, "total": sum(line.total for line in lines)})


@require_POST
def add(request, slug):
    product = get_object_or_404(Product, slug=slug)
    if Cart(request.session).add(product, quantity_of(request, 1)):
        messages.success(request, f"“{product.name}” is in your cart.")
    else:
        messages.error(request, f"“{product.name}” is sold out at the moment.")
    return redirect("cart")


@require_POST
def change(request, slug):
    product = get_object_or_404(Product, slug=slug)
    Cart(request.session).set(product, quantity_of(request, 0))
    return redirect("cart")


@require_POST
@login_required
def checkout(request):
    held = Cart(request.session)
    lines = held.lines()
    if not lines:
        messages.error(request, "Your cart is empty.")
        return redirect("cart")
    try:
        order = place_order(request.user, lines)
    except OutOfStock as problem:
        held.set(problem.line.product, problem.line.product.stock)
        messages.error(request, f"Sorry, {problem}; we have changed your cart.")
        return redirect("cart")
    held.clear()
    messages.success(request, "Thank you! Your prints leave the workshop tomorrow.")
    return redirect(order)


@require_safe
@login_required
def orders(request):
    mine = request.user.orders.prefetch_related("lines")[:50]
    return render(request, "orders/orders.html", {"orders": mine})


@require_safe
@login_required
def order(request, number):
    mine = get_object_or_404(request.user.orders.prefetch_related("lines__product"), pk=number)
    return render(request, "orders/order.html", {"order": mine})


@require_safe
@login_required
@permission_required("orders.view_order", raise_exception=True)
def export(request):
    return sales_csv()
