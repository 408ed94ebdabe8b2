"""Where Django looks for our models."""

from __future__ import annotations

from .outbox.models import Attempt, Delivery, OutboxEvent, Sweep

__all__ = ["Attempt", "Delivery", "OutboxEvent", "Sweep"]
