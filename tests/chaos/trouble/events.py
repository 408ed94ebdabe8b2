from __future__ import annotations

from example_project.shop.models import Order
from reliable_effects import Event

trouble: Event[Order, dict[str, object]] = Event("chaos.trouble", subject="shop.Order")
