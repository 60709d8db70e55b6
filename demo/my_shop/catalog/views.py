"""The shop window: front page, search, product pages, and the staff's form for new prints."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.core.paginator import Paginator
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from catalog.forms import ProductForm
from catalog.models import Collection, Product
from orders.cart import QUANTITY_MAX

PAGE_SIZE = 12


@require_safe
def home(request):
    products = Product.objects.sorted_by("newest")
    return render(
        request,
        "catalog/home.html",
        {
            "collections": Collection.objects.all(),
            "featured": products.filter(featured=True).first() or products.first(),
            "page": Paginator(products, PAGE_SIZE).get_page(request.GET.get("page")),
        },
    )


@require_safe
def search(request):
    text = request.GET.get("q", "").strip()[:100]
    sort = request.GET.get("sort", "newest")
    collection = Collection.objects.filter(slug=request.GET.get("collection", "")).first()
    products = Product.objects.matching(text).sorted_by(sort)
    if collection:
        products = products.filter(collection=collection)
    return render(
        request,
        "catalog/search.html",
        {
            "text": text,
            "sort": sort if sort in products.SORTS else "newest",
            "sorts": list(products.SORTS),
            "chosen": collection,
            "collections": Collection.objects.all(),
            "page": Paginator(products, PAGE_SIZE).get_page(request.GET.get("page")),
        },
    )


@require_safe
def product(request, slug):
    item = get_object_or_404(Product.objects.select_related("collection"), slug=slug)
    related = item.collection.products.exclude(pk=item.pk).sorted_by("year")[:4]
    quantities = range(1, min(item.stock, QUANTITY_MAX) + 1)
    return render(
        request,
        "catalog/product.html",
        {"product": item, "related": related, "quantities": quantities},
    )


@login_required
@permission_required("catalog.add_product", raise_exception=True)
@require_http_methods(["GET", "POST"])
def add_product(request):
    form = ProductForm(request.POST, request.FILES) if request.method == "POST" else ProductForm()
    if form.is_valid():
        item = form.save()
        messages.success(request, f"“{item.name}” is on sale now.")
        return redirect(item)
    status = 422 if form.errors else 200
    return render(request, "catalog/add_product.html", {"form": form}, status=status)
