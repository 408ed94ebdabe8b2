"""The page of a delivery, with its timeline, in the place of the outbox's own."""

from __future__ import annotations

from django.contrib.admin import AdminSite

from ...outbox.models import Delivery
from .page import DeliveryPage

__all__ = ["DeliveryPage", "register"]


def register(site: AdminSite) -> None:
    """Put it on *site*, which may have the outbox's page by now."""
    if site.is_registered(Delivery):
        site.unregister(Delivery)
    site.register(Delivery, DeliveryPage)
