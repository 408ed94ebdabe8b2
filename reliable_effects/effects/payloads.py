"""
Payloads in and out of JSON: checked when written, upcast and rebuilt when read.

Dataclasses may hold what JSON cannot say (datetimes, decimals, UUIDs, enums, other dataclasses);
TypedDicts and plain dicts hold JSON's own types only, because nothing would turn them back.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import types
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

from ..exceptions import BadPayload

Json = dict[str, Any]

_DEPTH = 32  # levels; more than any honest payload has, fewer than Python's recursion limit


@dataclasses.dataclass(frozen=True, slots=True)
class Codec:
    """How one event's payload is written and read."""

    name: str  # of the event, for messages
    type: type | None  # a dataclass, a TypedDict, or None for a plain dict
    version: int
    upcast: Mapping[int, Callable[[Json], Json]]  # from version n to n + 1

    def dump(self, payload: Any, limit: int) -> str:
        """
        *payload* as JSON text of at most *limit* bytes; None is an empty one.

        Raises:
            BadPayload: it names the field and what is wrong with it.
        """
        if payload is None:
            payload = self._empty()
        if dataclasses.is_dataclass(payload) and not isinstance(payload, type):
            if self.type is None or not isinstance(payload, self.type):
                raise self._bad(
                    "",
                    f"is a {type(payload).__name__}, declared is {_name(self.type)}."
                    f" Declare Event(…, payload={type(payload).__name__}), so that effects get it back.",
                )
            plain = _plain(payload, "", self._bad, 0)
        elif isinstance(payload, dict):
            if dataclasses.is_dataclass(self.type):
                raise self._bad(
                    "", f"is a dict, declared is {_name(self.type)}. Pass one of those."
                )
            plain = _strict(payload, "", self._bad, 0)
        else:
            raise self._bad("", f"is a {type(payload).__name__}; give a dict or a dataclass.")
        self._build(plain)  # what cannot be read back must not be written
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
        if size > limit:
            raise self._bad(
                "",
                f"has {size} bytes of JSON, at most {limit} are kept. Store an id, not the object.",
            )
        return text

    def load(self, stored: Json, version: int) -> Any:
        """
        The payload as this release declares it, from what *version* of it was stored.

        Raises:
            BadPayload: a step of `upcast` is missing or fails, or the result does not fit.
        """
        for step in range(version, self.version):
            convert = self.upcast.get(step)
            if convert is None:
                raise self._bad(
                    "", f"is of version {version}; Event(upcast={{{step}: …}}) is missing."
                )
            try:
                stored = convert(dict(stored))
            except Exception as error:
                raise self._bad("", f"upcast[{step}] raised {error!r}.") from error
        return self._build(stored)

    def _empty(self) -> Any:
        if self.type is not None and dataclasses.is_dataclass(self.type):
            try:
                return self.type()
            except TypeError as error:
                raise self._bad("", f"is missing: {error}.") from None
        return {}

    def _build(self, stored: Json) -> Any:
        if self.type is None:
            return stored
        return _typed(stored, self.type, "", self._bad)

    def _bad(self, path: str, problem: str) -> BadPayload:
        return BadPayload(self.name, path, problem)


_Bad = Callable[[str, str], BadPayload]


def _name(kind: Any) -> str:
    return "a plain dict" if kind is None else getattr(kind, "__name__", str(kind))


def _at(path: str, part: str | int) -> str:
    if isinstance(part, int):
        return f"{path}[{part}]"
    return f"{path}.{part}" if path else part


def _strict(value: Any, path: str, bad: _Bad, depth: int) -> Any:
    """JSON's own types, as every one of our databases can keep them."""
    if depth > _DEPTH:
        raise bad(path, f"is nested deeper than {_DEPTH} levels.")
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
        case float():
            if not math.isfinite(value):
                raise bad(path, f"is {value}; JSON has no such number.")
            return value
        case str():
            return _text(value, path, bad)
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise bad(path, f"has the key {key!r}; keys of JSON objects are strings.")
                _text(key, path, bad)
            return {k: _strict(v, _at(path, k), bad, depth + 1) for k, v in value.items()}
        case list() | tuple():
            return [_strict(v, _at(path, i), bad, depth + 1) for i, v in enumerate(value)]
        case _:
            raise bad(
                path,
                f"is a {type(value).__name__}; JSON cannot keep it."
                " Write it as a string, or declare a dataclass as the payload.",
            )


def _text(value: str, path: str, bad: _Bad) -> str:
    """PostgreSQL keeps neither NUL nor half a surrogate pair in JSON."""
    if "\x00" in value:
        raise bad(path, "holds a NUL character; databases refuse it.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise bad(path, "holds half a surrogate pair; it is not text.") from None
    return str(value)


def _plain(value: Any, path: str, bad: _Bad, depth: int) -> Any:
    """A dataclass, and the richer types its fields may have, in JSON's own types."""
    match value:
        case enum.Enum():
            return _strict(value.value, path, bad, depth)
        case datetime():
            if value.tzinfo is None:
                raise bad(path, "is a naive datetime. Use timezone.now() or give it a tzinfo.")
            return value.isoformat()
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal() if not value.is_finite():
            raise bad(path, f"is {value}; that is not a number to keep.")
        case Decimal() | UUID():
            return str(value)
        case dict():
            checked = {k: _plain(v, _at(path, k), bad, depth + 1) for k, v in value.items()}
            return _strict(checked, path, bad, depth)
        case list() | tuple():
            return [_plain(v, _at(path, i), bad, depth + 1) for i, v in enumerate(value)]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            if depth > _DEPTH:
                raise bad(path, f"is nested deeper than {_DEPTH} levels.")
            return {
                f.name: _plain(getattr(value, f.name), _at(path, f.name), bad, depth + 1)
                for f in dataclasses.fields(value)
            }
        case _:
            return _strict(value, path, bad, depth)


_WRAPPERS = (Annotated, Required, NotRequired)

_PARSE: dict[type, Callable[[Any], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    timedelta: lambda seconds: timedelta(seconds=seconds),
    Decimal: Decimal,
    UUID: UUID,
}


def _typed(value: Any, kind: Any, path: str, bad: _Bad) -> Any:  # noqa: C901, PLR0911  # one case a type
    """*value* from JSON as *kind* says; unknown keys of newer writers are left out."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments, path, bad)
    if origin is list or origin is tuple:
        if not isinstance(value, list):
            raise bad(path, f"is {value!r}; a list was declared.")
        inner = arguments[0] if arguments else Any
        items = [_typed(item, inner, _at(path, i), bad) for i, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if origin is dict:
        if not isinstance(value, dict):
            raise bad(path, f"is {value!r}; a dict was declared.")
        return {k: _typed(v, arguments[1], _at(path, k), bad) for k, v in value.items()}
    if origin is not None and not isinstance(kind, type):  # Literal, Annotated, Required, …
        return _typed(value, arguments[0], path, bad) if origin in _WRAPPERS else value
    if dataclasses.is_dataclass(kind):
        return _record(value, kind, path, bad)
    if is_typeddict(kind):
        return _typed_dict(value, kind, path, bad)
    if kind in _PARSE or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        try:
            return _PARSE.get(kind, kind)(value)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise bad(path, f"is {value!r}, not a {kind.__name__}: {error}") from error
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and (
        not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    ):
        raise bad(path, f"is {value!r}; {_name(kind)} was declared.")
    return value


def _one_of(value: Any, kinds: tuple[Any, ...], path: str, bad: _Bad) -> Any:
    if value is None and type(None) in kinds:
        return None
    problem: BadPayload | None = None
    for kind in kinds:
        if kind is not type(None):
            try:
                return _typed(value, kind, path, bad)
            except BadPayload as error:
                problem = error
    raise problem or bad(path, f"is {value!r}; null was declared.")


def _record(value: Any, kind: Any, path: str, bad: _Bad) -> Any:
    if not isinstance(value, dict):
        raise bad(path, f"is {value!r}; a {kind.__name__} was declared.")
    hints = get_type_hints(kind)
    given = {
        f.name: _typed(value[f.name], hints[f.name], _at(path, f.name), bad)
        for f in dataclasses.fields(kind)
        if f.init and f.name in value
    }
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise bad(path, f"does not make a {kind.__name__}: {error}") from error


def _typed_dict(value: Any, kind: Any, path: str, bad: _Bad) -> Any:
    if not isinstance(value, dict):
        raise bad(path, f"is {value!r}; a {kind.__name__} was declared.")
    missing = sorted(kind.__required_keys__ - value.keys())
    if missing:
        raise bad(_at(path, missing[0]), f"is missing; {kind.__name__} requires it.")
    hints = get_type_hints(kind)
    return {
        k: _typed(v, hints[k], _at(path, k), bad) if k in hints else v for k, v in value.items()
    }
