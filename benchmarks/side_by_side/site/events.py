"""Found by reliable_effects where it is installed."""

from __future__ import annotations

from reliable_effects import Event

from .models import Order

SIZES = (1, 10, 100)  # effects of an event

placed = {size: Event(f"bench.placed_{size}", subject="bench.Order") for size in SIZES}
viewed: Event[Order, dict[str, str]] = Event("bench.viewed", subject="bench.Order")
shipped: Event[Order, dict[str, str]] = Event("bench.shipped", subject="bench.Order")
