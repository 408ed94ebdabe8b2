from __future__ import annotations

from dataclasses import dataclass

from reliable_effects import Event

from .models import Crate, Order


@dataclass
class OrderPlaced:
    coupon: str = ""


order_placed: Event[Order, OrderPlaced] = Event("shop.order_placed", subject="shop.Order")
order_charged: Event[Order, dict[str, str]] = Event("shop.order_charged", subject="shop.Order")
order_seen: Event[Order, dict[str, str]] = Event("shop.order_seen", subject="shop.Order")
"""Nothing listens to it but what a test declares."""
crate_left: Event[Crate, dict[str, str]] = Event("shop.crate_left", subject="shop.Crate")
