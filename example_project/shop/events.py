"""What happens in the shop, in the past tense."""

from __future__ import annotations

from dataclasses import dataclass

from example_project.shop.models import Order, Shipment, TrialExpiry
from reliable_effects import Event


@dataclass(frozen=True, kw_only=True)
class OrderPlaced:
    # "web" or "command". The default is for orders whose event was lost: no row has kept it.
    placed_from: str = "unknown"


order_placed: Event[Order, OrderPlaced] = Event(
    "shop.order_placed", subject="shop.Order", payload=OrderPlaced
)
shipment_opened: Event[Shipment, dict[str, object]] = Event(
    "shop.shipment_opened", subject="shop.Shipment"
)
trial_ended: Event[TrialExpiry, dict[str, object]] = Event(
    "shop.trial_ended", subject="shop.TrialExpiry"
)
