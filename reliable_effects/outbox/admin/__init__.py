"""
What people see of the outbox, and the two remedies they have: redrive and cancel.

Everything is read-only; a remedy needs a permission of its own, a reason and a confirmation.
"""

from __future__ import annotations

from django.contrib.admin import AdminSite

from ..models import Delivery, OutboxEvent, Sweep
from .deliveries import DeliveryAdmin
from .events import OutboxEventAdmin
from .sweeps import SweepAdmin

__all__ = ["DeliveryAdmin", "OutboxEventAdmin", "SweepAdmin", "register"]


def register(site: AdminSite) -> None:
    """Put our pages on *site*: for projects with admin sites of their own."""
    site.register(Delivery, DeliveryAdmin)
    site.register(OutboxEvent, OutboxEventAdmin)
    site.register(Sweep, SweepAdmin)
