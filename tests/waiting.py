"""Waiting for what another process or thread will do, always with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.02  # seconds between two looks: short for a test, long for a database


def eventually(condition: Callable[[], T], *, within: float = 10) -> T:
    """
    What *condition* returned when it first was true, asked for at most *within* seconds.

    A condition may assert instead: AssertionError counts as not yet.

    Raises:
        AssertionError: it never was; says what was last seen.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            seen: object = condition()
        except AssertionError as error:
            seen = error
        else:
            if seen:
                return seen
        if time.monotonic() > deadline:
            name = getattr(condition, "__qualname__", condition)
            raise AssertionError(f"Not within {within} s: {name}. Last seen: {seen!r}")
        time.sleep(_PAUSE)
