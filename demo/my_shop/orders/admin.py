from django.contrib import admin

from orders.models import Order, OrderLine


class OrderLineInline(admin.TabularInline):
    model = OrderLine
    extra = 0
    autocomplete_fields = ["product"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ["pk", "placed", "customer"]
    list_select_related = ["customer"]
    date_hierarchy = "placed"
    inlines = [OrderLineInline]
