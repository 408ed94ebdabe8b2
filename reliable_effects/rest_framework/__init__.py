"""For REST framework: one file a subject, re-exported here."""

from __future__ import annotations

from ..outbox.outward import Outward
from .accepted import accepted
from .describing import describe_accepted
from .idempotent import IdempotentMixin
from .shedding import ShedLoad
from .status import EffectStatusViewSet

__all__ = [
    "EffectStatusViewSet",
    "IdempotentMixin",
    "Outward",
    "ShedLoad",
    "accepted",
    "describe_accepted",
]
