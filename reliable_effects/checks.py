"""What would break the promises, found before it does."""

from __future__ import annotations
