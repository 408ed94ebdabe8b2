from __future__ import annotations

from reliable_effects import Event
from tests.shop.models import Order

order_placed: Event[Order, dict[str, str]] = Event("databases.placed", subject="shop.Order")
