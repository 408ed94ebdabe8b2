"""The admin, with orders that show their effects."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from reliable_effects.admin import EffectsAdminMixin, register
from tests.shop.models import Order

office = admin.AdminSite()
register(office)


@admin.register(Order, site=office)
class OrderAdmin(EffectsAdminMixin, admin.ModelAdmin):
    readonly_fields = ("placed_at",)


urlpatterns = [path("admin/", office.urls)]
