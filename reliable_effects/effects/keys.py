"""
Identities that survive: of events, of debts, and of the calls an effect makes.

Everything here is a pure function, so a partner that is asked twice is asked with one key.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha1
from typing import Any
from uuid import UUID, uuid5

# Our namespace in the sense of RFC 9562: uuid5(NAMESPACE_URL, "django-reliable-effects").
# Rows are found by what is derived from it, so it never changes.
NAMESPACE = UUID("c7c4f788-c6c1-5deb-b1a3-df7acdd0e3b9")

_UNIT = "\x1f"  # ASCII's own separator joins parts, so ("a", "bc") and ("ab", "c") stay apart
_ESCAPED = str.maketrans({"\\": "\\\\", _UNIT: "\\u"})  # also where a part contains it


def derive(parent: UUID, *parts: str) -> UUID:
    """One identity from a parent's and some parts, the same for ever."""
    return uuid5(parent, _UNIT.join(part.translate(_ESCAPED) for part in parts))


def new_event_id() -> UUID:
    """
    A UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, then random, so new rows lie together.

    Migrations of projects with jobs of their own name it, so it stays where it is.
    """
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return UUID(int=value)


def once_event_id(event: str, subject: str, once: str) -> UUID:
    """The event that a caller names with `once=`: emitted again, it is the same event."""
    return derive(NAMESPACE, "once", event, subject, once)


def child_event_id(
    parent_key: UUID, *, generation: int, round_: int, event: str, subject: str, once: str
) -> UUID:
    """The event that one run of an effect emits; a repeated run emits the same one."""
    return derive(parent_key, "child", str(generation), str(round_), event, subject, once)


def delivery_key(event_id: UUID, effect: str) -> UUID:
    """What one event owes to one effect."""
    return _uuid5(_begun(event_id), effect.translate(_ESCAPED))


@lru_cache(maxsize=1)
def _begun(event_id: UUID) -> Any:
    """Asked for by all effects of one event in turn; whoever goes on works on a copy."""
    return sha1(event_id.bytes, usedforsecurity=False)


def debt_key(effect: str, subject_model: str, subject_pk: str, debt: str) -> UUID:
    """What a business row owes, whatever rows of ours there are (or are left)."""
    return derive(NAMESPACE, "debt", effect, subject_model, subject_pk, debt)


def debt_keys(effect: str, subject_model: str) -> Callable[[str, str], UUID]:
    """
    `debt_key` for many debts of one effect, given (subject_pk, debt): a third of its time.

    What they all begin with is hashed once.
    """
    begin = [part.translate(_ESCAPED) for part in ("debt", effect, subject_model)]
    hashed = sha1(NAMESPACE.bytes + _UNIT.join([*begin, ""]).encode(), usedforsecurity=False)

    def key(subject_pk: str, debt: str) -> UUID:
        return _uuid5(hashed, f"{subject_pk.translate(_ESCAPED)}{_UNIT}{debt.translate(_ESCAPED)}")

    return key


def _uuid5(begun: Any, rest: str) -> UUID:
    """As RFC 9562, 5.5 has it; *begun* has hashed the namespace and what the names begin with."""
    whole = begun.copy()
    whole.update(rest.encode())
    return UUID(bytes=whole.digest()[:16], version=5)


def outgoing_key(key: UUID, generation: int) -> UUID:
    """The idempotency key a partner sees: the debt's own until a person starts it anew."""
    return key if generation == 0 else derive(key, "generation", str(generation))


def call_key(sent: UUID, call: str) -> UUID:
    """The key of one of several calls of a delivery whose partners see *sent*."""
    return derive(sent, "call", call)
