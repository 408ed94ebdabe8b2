"""Two admin sites of a project's own: one with the pages of deliveries, and one without."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from reliable_effects.admin import EffectsAdminMixin
from reliable_effects.outbox.admin import register
from tests.shop.models import Crate, GiftOrder, Order, Shelf

keeper, bare = admin.AdminSite(name="keeper"), admin.AdminSite(name="bare")
register(keeper)


@admin.register(Order, site=keeper)
class OrderAdmin(EffectsAdminMixin, admin.ModelAdmin):
    """With fieldsets and read-only fields that know nothing of ours."""

    def get_fieldsets(self, _request, _obj=None):
        return [
            ("What", {"fields": ("status",)}),
            ("Money", {"fields": ("charge_id", "placed_at")}),
        ]

    def get_readonly_fields(self, _request, _obj=None):
        return ("placed_at",)


@admin.register(Order, site=bare)
@admin.register(GiftOrder, Shelf, Crate, site=keeper)
class PlainAdmin(EffectsAdminMixin, admin.ModelAdmin):
    pass


urlpatterns = [
    path("keeper/", keeper.urls),
    path("bare/", bare.urls),
    path("admin/", admin.site.urls),
]
