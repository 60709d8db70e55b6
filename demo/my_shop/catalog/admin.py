from django.contrib import admin
from django.utils.html import format_html

from catalog.models import Collection, Product


@admin.register(Collection)
class CollectionAdmin(admin.ModelAdmin):
    list_display = ["name", "position", "blurb"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["thumbnail", "name", "collection", "price", "stock", "created"]
    list_display_links = ["thumbnail", "name"]
    list_editable = ["price", "stock"]
    list_filter = ["collection", "featured"]
    list_select_related = ["collection"]
    prepopulated_fields = {"slug": ["name"]}
    search_fields = ["name", "place", "summary"]

    @admin.display(description="image")
    def thumbnail(self, product):
        return format_html('<img src="{}" alt="" height="48">', product.image.url)
