"""Where Django looks for our models."""

from __future__ import annotations

from .outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from .outbox.states import Reason, State
from .watch.models import Alert

__all__ = ["Alert", "Attempt", "Delivery", "OutboxEvent", "Reason", "State", "Sweep"]
