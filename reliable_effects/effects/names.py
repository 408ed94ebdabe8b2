"""The names that rows carry, and where in the code they are declared."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

_NAME = re.compile(r"[A-Za-z_][\w.-]{0,199}", re.ASCII)


def checked_names(kind: str, name: str, aliases: Sequence[str]) -> tuple[str, ...]:
    """
    *aliases* as a tuple, when every name may stand in a row.

    Raises:
        ValueError: a name is empty, too long (200), or holds other characters than [A-Za-z0-9_.-].
    """
    if isinstance(aliases, str):
        raise TypeError(f"{kind} {name!r}: aliases is one string; write [{aliases!r}].")
    for each in (name, *aliases):
        if not isinstance(each, str) or not _NAME.fullmatch(each):
            raise ValueError(f"{each!r} is no {kind} name. Write it like 'shop.order_placed'.")
    if len({name, *aliases}) <= len(aliases):
        raise ValueError(f"{kind} {name!r}: a name stands twice in it and aliases={aliases!r}.")
    return tuple(aliases)


def declared_at(depth: int) -> str:
    """Where the caller's caller stands, to tell a reloaded declaration from a second one."""
    frame = inspect.currentframe()
    for _ in range(depth + 1):
        frame = frame.f_back if frame is not None else None
    return f"{frame.f_globals.get('__name__')}:{frame.f_lineno}" if frame is not None else "?"
