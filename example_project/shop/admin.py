from __future__ import annotations

from django.contrib import admin

from example_project.shop.models import LoyaltyAccount, LoyaltyEntry, Order, Product, Shipment


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("reference", "product", "quantity", "email", "status", "placed_at")
    list_filter = ("status", "product", "gift")
    list_select_related = ("product",)
    search_fields = ("reference", "email")


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ("name", "price")


@admin.register(LoyaltyAccount)
class LoyaltyAccountAdmin(admin.ModelAdmin):
    list_display = ("email", "points")
    search_fields = ("email",)


admin.site.register([LoyaltyEntry, Shipment])
