"""Which HTTP client makes a call: the one that is given, else whichever is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ..effects.sending import Request
from .answers import Exchanged


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one exchange, in seconds and bytes."""

    connect: float
    answer: float  # until its first byte, between two of them, and in all
    body: int


Exchange = Callable[[Request, Limits, Any], Exchanged]

_MODULES = {"requests": "with_requests", "httpx": "with_httpx"}  # the first that is there is taken


def exchange_of(client: Any) -> Exchange:
    """
    How to make a call with *client*; with None, on a connection of its own.

    Raises:
        ImproperlyConfigured: neither library is installed.
        TypeError: *client* is something else.
    """
    if client is None:
        library = next((name for name in _MODULES if find_spec(name) is not None), None)
        if library is None:
            raise ImproperlyConfigured(
                "ctx.send() needs requests or httpx: pip install django-reliable-effects[requests]"
            )
    else:
        bases = {base.__module__.partition(".")[0] for base in type(client).__mro__}
        library = next((name for name in _MODULES if name in bases), None)
        if library is None:
            raise TypeError(f"client={client!r}; give a requests.Session or an httpx.Client.")
    exchange: Exchange = import_module(f"{__package__}.{_MODULES[library]}").exchange
    return exchange
