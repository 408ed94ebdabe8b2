"""Where Django looks for our models."""

from __future__ import annotations

from .outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from .outbox.states import Reason, State

__all__ = ["Attempt", "Delivery", "OutboxEvent", "Reason", "State", "Sweep"]
