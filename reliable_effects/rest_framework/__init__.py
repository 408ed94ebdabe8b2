"""For REST framework: one file a subject, re-exported here."""

from __future__ import annotations

from .idempotent import IdempotentMixin

__all__ = ["IdempotentMixin"]
