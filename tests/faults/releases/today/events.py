"""What is being deployed: the payload has another shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reliable_effects import Event
from tests.shop.models import Order


@dataclass
class Ordered:
    coupons: list[str]
    currency: str


def to_a_list(old: dict[str, Any]) -> dict[str, Any]:
    return {"coupons": [old["coupon"]] if old["coupon"] else [], "currency": "EUR"}


ordered: Event[Order, Ordered] = Event(
    "release.ordered", subject="shop.Order", payload=Ordered, version=2, upcast={1: to_a_list}
)
