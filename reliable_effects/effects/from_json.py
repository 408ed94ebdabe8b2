"""What was stored as JSON, as the types that a payload declares."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from reprlib import repr as brief  # a payload may be long, and is nobody's to read in a log
from typing import Any, Literal, Union, get_args, get_origin, is_typeddict
from uuid import UUID

from .to_json import Misfit

_PARSE: dict[Any, Callable[[Any], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    timedelta: lambda seconds: timedelta(seconds=seconds),
    Decimal: Decimal,
    UUID: UUID,
}
_LISTS = (list, tuple, abc.Sequence, abc.Collection, abc.Iterable)
_DICTS = (dict, abc.Mapping, abc.MutableMapping)
_WRAPPERS = (typing.Annotated, typing.Required, typing.NotRequired)


def from_json(value: Any, kind: Any) -> Any:  # noqa: PLR0911  # one for each sort of declaration
    """
    *value* as *kind* says. Keys that a newer writer added are left out of dataclasses.

    Raises:
        Misfit: it is something else, or JSON cannot say which of several types it is.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return value
    if origin in _WRAPPERS:
        return from_json(value, arguments[0])
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments)
    if origin is Literal:
        return _literal(value, arguments)
    if kind in _LISTS or origin in _LISTS:
        return _list(value, origin or kind, arguments)
    if kind in _DICTS or origin in _DICTS:
        return _dict(value, arguments)
    if dataclasses.is_dataclass(origin or kind):
        return _record(value, origin or kind)
    if is_typeddict(kind):
        return _typed_dict(value, kind)
    return _scalar(value, kind)


def _scalar(value: Any, kind: Any) -> Any:
    if not isinstance(kind, type):
        raise Misfit(f"is declared as {name_of(kind)}, which cannot be read back from JSON.")
    try:
        if kind in _PARSE or issubclass(kind, enum.Enum):
            return _PARSE.get(kind, kind)(value)
        if kind is float and type(value) is int:
            return float(value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise Misfit(f"is {brief(value)}, not a {name_of(kind)}: {error}") from error
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Misfit(f"is {brief(value)}; {name_of(kind)} was declared.")
    return value


def _inside(part: str | int, value: Any, kind: Any) -> Any:
    try:
        return from_json(value, kind)
    except Misfit as misfit:
        raise misfit.inside(part) from misfit.__cause__


def _one_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    _refuse_look_alikes(kinds)
    if value is None and type(None) in kinds:
        return None
    problem: Misfit | None = None
    for kind in kinds:
        if kind is not type(None):
            try:
                return from_json(value, kind)
            except Misfit as misfit:
                problem = misfit
    raise problem or Misfit(f"is {brief(value)}; null was declared.")


@cache
def _refuse_look_alikes(kinds: tuple[Any, ...]) -> None:
    """`str | datetime` would come back as a str: what JSON spells alike cannot be told apart."""
    spelled: dict[str, Any] = {}
    for kind in kinds:
        spelling = _spelling(kind)
        other = spelled.setdefault(spelling, kind)
        if other is not kind and {other, kind} != {int, float}:
            raise Misfit(
                f"is declared as {name_of(other)} or {name_of(kind)}, which JSON spells alike."
                " Declare one of them, or a field for each."
            )


def _spelling(kind: Any) -> str:
    sort = get_origin(kind) or kind
    if sort in (str, datetime, date, time, Decimal, UUID):
        return "string"
    if sort in (int, float, timedelta):
        return "number"
    if sort in _LISTS:
        return "list"
    if sort in _DICTS or dataclasses.is_dataclass(sort) or is_typeddict(sort):
        return "object"
    return repr(kind)


def _literal(value: Any, allowed: tuple[Any, ...]) -> Any:
    for each in allowed:
        plain = each.value if isinstance(each, enum.Enum) else each
        if type(value) is type(plain) and value == plain:
            return each
    raise Misfit(f"is {brief(value)}; one of {', '.join(map(repr, allowed))} was declared.")


def _list(value: Any, kind: Any, inner: tuple[Any, ...]) -> Any:
    if not isinstance(value, list):
        raise Misfit(f"is {brief(value)}; a list was declared.")
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        if len(inner) != len(value):
            raise Misfit(f"has {len(value)} items; {len(inner)} were declared.")
        kinds: typing.Iterable[Any] = inner
    else:
        kinds = [inner[0] if inner else Any] * len(value)
    items = [_inside(i, item, k) for i, (item, k) in enumerate(zip(value, kinds, strict=True))]
    return tuple(items) if kind is tuple else items


def _dict(value: Any, inner: tuple[Any, ...]) -> Any:
    if not isinstance(value, dict):
        raise Misfit(f"is {brief(value)}; a dict was declared.")
    return {k: _inside(k, v, inner[1] if inner else Any) for k, v in value.items()}


def _record(value: Any, kind: Any) -> Any:
    if not isinstance(value, dict):
        raise Misfit(f"is {brief(value)}; {name_of(kind)} was declared.")
    hints, given = _hints(kind), {}
    for field in dataclasses.fields(kind):
        if field.init and field.name in value:
            given[field.name] = _inside(field.name, value[field.name], hints[field.name])
        elif field.init and is_required(field):
            raise Misfit(f"is missing; {name_of(kind)} requires it.", (field.name,))
    try:
        return kind(**given)
    except Exception as error:  # a __post_init__ may refuse with anything
        raise Misfit(f"does not make a {name_of(kind)}: {error}") from error


def is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _typed_dict(value: Any, kind: Any) -> Any:
    if not isinstance(value, dict):
        raise Misfit(f"is {brief(value)}; {name_of(kind)} was declared.")
    hints = _hints(kind)
    for key, hint in hints.items():
        if key not in value and _is_required_key(kind, key, hint):
            raise Misfit(f"is missing; {name_of(kind)} requires it.", (key,))
    return {k: _inside(k, v, hints.get(k, Any)) for k, v in value.items()}


def _is_required_key(kind: Any, key: str, hint: Any) -> bool:
    # Python does not see NotRequired where annotations are strings, but then it is still in them.
    match get_origin(hint):
        case typing.Required:
            return True
        case typing.NotRequired:
            return False
    return key in kind.__required_keys__


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except NameError as error:
        raise Misfit(
            f"is declared as {name_of(kind)}, whose annotations cannot be read ({error})."
            " Import the name at run time, not for type checkers only."
        ) from error


def name_of(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)
