"""
The way in: a request that comes twice acts once, and gets one answer.

`@idempotent` for functions, `IdempotentView` for classes, and for REST framework `IdempotentMixin`
in `reliable_effects.rest_framework`. The key is claimed before the view runs, in a transaction of
its own; the answer is kept in the transaction of the business rows and the emitted events.
"""

from __future__ import annotations

from .decorator import idempotent
from .options import Idempotency
from .view import IdempotentView

__all__ = ["Idempotency", "IdempotentView", "idempotent"]
