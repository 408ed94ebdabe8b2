"""What Python holds, in JSON's own types, as every one of our databases can keep it."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

_DEPTH = 32  # levels; more than any honest payload has, fewer than Python's recursion limit
_BITS = 4096  # of an integer: 1200 digits, where Python refuses to read more than 4300
_WHOLE = 1e16  # from here on a float has no fraction, and repr() writes it with an exponent


class Misfit(Exception):  # becomes BadPayload, which names the event too
    """What does not fit, and where; the path is put together on the way out."""

    def __init__(self, problem: str, path: tuple[str | int, ...] = ()) -> None:
        self.problem, self.path = problem, path
        super().__init__(problem)

    def inside(self, part: str | int) -> Misfit:
        return Misfit(self.problem, (part, *self.path))

    @property
    def place(self) -> str:
        """`lines[2].price`"""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return "".join(parts).removeprefix(".")


def to_json(value: Any, *, rich: bool, depth: int = 0) -> Any:
    """
    *value* in dicts, lists, strings, numbers, booleans and None.

    `rich` allows what a declared dataclass turns back: dataclasses, enums, instants, decimals, UUIDs.

    Raises:
        Misfit: a value that cannot be kept, or would not come back as it went.
    """
    if depth > _DEPTH:
        raise Misfit(f"is nested deeper than {_DEPTH} levels.")
    match value:
        case enum.Enum() if rich:
            return to_json(value.value, rich=rich, depth=depth + 1)
        case dict():
            return dict(_items(((_key(k), v) for k, v in value.items()), rich, depth))
        case list() | tuple():
            return [item for _, item in _items(enumerate(value), rich, depth)]
        case _ if rich and dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
            return dict(_items(fields, rich, depth))
        case _:
            return _rich(value) if rich else _scalar(value)


def _items(
    pairs: Iterable[tuple[str | int, Any]], rich: bool, depth: int
) -> Iterable[tuple[str | int, Any]]:
    for part, value in pairs:
        try:
            yield part, to_json(value, rich=rich, depth=depth + 1)
        except Misfit as misfit:
            raise misfit.inside(part) from None


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise Misfit(f"has the key {key!r}; keys of JSON objects are strings.")
    return _text(key)


def _rich(value: Any) -> Any:
    match value:
        case datetime() if value.tzinfo is None:
            raise Misfit("is a naive datetime. Use timezone.now() or give it a tzinfo.")
        case date() | time():
            return value.isoformat()
        case timedelta() if timedelta(seconds=value.total_seconds()) != value:
            raise Misfit("is too long to keep its microseconds. Round it to seconds.")
        case timedelta():
            return value.total_seconds()
        case Decimal() if not value.is_finite():
            raise Misfit(f"is {value}; that is not a number to keep.")
        case Decimal() | UUID():
            return str(value)
        case _:
            return _scalar(value)


def _scalar(value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return _text(value)
        case int() if value.bit_length() > _BITS:
            raise Misfit(f"is an integer of more than {_BITS} bits. Store it as a string.")
        case int():
            return int(value)
        case float() if not math.isfinite(value):
            raise Misfit(f"is {value}; JSON has no such number.")
        case float():
            # PostgreSQL gives 1e23 back as 10**23, which is another number than the float was;
            # the float's own digits are the same number everywhere.
            return int(value) if abs(value) >= _WHOLE else float(value)
        case _:
            raise Misfit(
                f"is a {type(value).__name__}; JSON cannot keep it. Write it as a string or a list,"
                " or declare a dataclass as the payload (those may hold dates, decimals, UUIDs)."
            )


def _text(value: str) -> str:
    """PostgreSQL keeps neither NUL nor half a surrogate pair in JSON."""
    if "\x00" in value:
        raise Misfit("holds a NUL character; databases refuse it.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Misfit("holds half a surrogate pair; it is not text.") from None
    return str.__str__(value)  # its characters, whatever the __str__ of an enum says
