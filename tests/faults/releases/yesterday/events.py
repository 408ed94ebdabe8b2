"""What was deployed yesterday."""

from __future__ import annotations

from dataclasses import dataclass

from reliable_effects import Event
from tests.shop.models import Order


@dataclass
class Ordered:
    coupon: str = ""


ordered: Event[Order, Ordered] = Event("release.ordered", subject="shop.Order", payload=Ordered)
