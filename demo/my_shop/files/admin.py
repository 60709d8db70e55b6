from django.contrib import admin

from files.models import Delivery


@admin.register(Delivery)
class DeliveryAdmin(admin.ModelAdmin):
    list_display = ["name", "size", "sha256", "received"]
    readonly_fields = ["size", "sha256", "received"]
