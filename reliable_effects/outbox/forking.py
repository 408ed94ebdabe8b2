"""
What a process has open when it forks: its child may neither use nor close it.

Two processes on one connection read each other's answers. A pool of connections (Django's option
"pool") is worse: the threads that tend it stay behind, and what it lends out is still the parent's.

And what it has in its memory: they share that until one of them writes to it.
"""

from __future__ import annotations

import gc
from typing import Any

from django.db import connections

from ..conf import settings

_of_the_parent: list[object] = []


def close_everything() -> None:
    """Before a fork, so that there is nothing to inherit: what this thread has open, and pools."""
    for connection in _connections():
        connection.close()
        if connection.alias in _pools(connection):
            connection.close_pool()


def share_memory() -> None:
    """
    Before the first fork: what is loaded by now is kept out of the garbage collector's rounds.

    A round writes to the head of each object, so in each child the first one copied the whole heap:
    35 MB (docs/adr/0026). Once only: what is alive at a later fork may well end as garbage.
    """
    gc.freeze()


def leave_to_the_parent() -> None:
    """In the child: forget what was open. Held, since to be deleted would close it over there."""
    for connection in _connections():
        _of_the_parent.extend([connection.connection, *_pools(connection).values()])
        connection.connection = None
        _pools(connection).clear()


def _connections() -> list[Any]:
    """Also those that only another thread has used: its pools are everybody's."""
    ours = [connections[alias] for alias in settings().databases]
    return [*{*ours, *connections.all(initialized_only=True)}]


def _pools(connection: Any) -> dict[str, Any]:
    """By alias; Django keeps them on the class of PostgreSQL's connections."""
    pools: dict[str, Any] = getattr(connection, "_connection_pools", {})
    return pools
