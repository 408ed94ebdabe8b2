"""Where Django looks for our models."""

from __future__ import annotations

from .outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from .outbox.states import Reason, State
from .reconcile.models import Coverage, Walk

__all__ = ["Attempt", "Coverage", "Delivery", "OutboxEvent", "Reason", "State", "Sweep", "Walk"]
