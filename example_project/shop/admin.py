from __future__ import annotations

from django.contrib import admin

from example_project.shop.models import (
    LoyaltyAccount,
    LoyaltyEntry,
    Membership,
    Order,
    Product,
    Shipment,
    TrialExpiry,
)
from reliable_effects.admin import EffectsAdminMixin, JobActions


@admin.register(Order)
class OrderAdmin(EffectsAdminMixin, admin.ModelAdmin):
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


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):
    list_display = ("email", "plan")
    list_filter = ("plan",)
    search_fields = ("email",)


@admin.register(TrialExpiry)
class TrialExpiryAdmin(JobActions, admin.ModelAdmin):
    list_display = ("membership", "at", "state", "ended_at", "told_at")
    list_filter = ("state",)
    list_select_related = ("membership",)
    date_hierarchy = "at"
    search_fields = ("membership__email",)
    autocomplete_fields = ("membership",)


admin.site.register([LoyaltyEntry, Shipment])
