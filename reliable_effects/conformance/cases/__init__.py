"""All 42 cases, a file for each subject; importing this enters them."""

from __future__ import annotations

from . import at_once, bodies, crashes, keys, outcomes, people, repeating, sameness, time_and_store

__all__ = [
    "at_once",
    "bodies",
    "crashes",
    "keys",
    "outcomes",
    "people",
    "repeating",
    "sameness",
    "time_and_store",
]
