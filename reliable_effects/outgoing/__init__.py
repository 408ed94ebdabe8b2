"""
Calls to partners: `ctx.send` and what it needs to be told.

    from reliable_effects.outgoing import Header, Refused, windows
"""

from __future__ import annotations

from . import windows
from .errors import (
    AnswerLost,
    Doubtful,
    NotSent,
    Refused,
    RequestChanged,
    SendError,
    TryLater,
    Unavailable,
)
from .places import BodyField, Header, Parameter, Repeatability

__all__ = [
    "AnswerLost",
    "BodyField",
    "Doubtful",
    "Header",
    "NotSent",
    "Parameter",
    "Refused",
    "Repeatability",
    "RequestChanged",
    "SendError",
    "TryLater",
    "Unavailable",
    "windows",
]
