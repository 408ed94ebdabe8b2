"""
Take a delivery: one guarded UPDATE that counts the attempt and writes a fresh token.

In: ids from a hint, which may be anything. Out: what this worker now holds, with its event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import connections

from . import claim_portable, claim_postgresql
from .claimed import Claimed, Seen, Wanted, new_token
from .persist import UNBEGUN, surely


def look(using: str, ids: Iterable[int]) -> list[Seen]:
    """The due rows among *ids*, in their order. Reads by primary key only."""
    # Again after an error: a connection that was kept may have been cut off while it was idle.
    return surely(using, lambda: _look(using, list(ids)), patience=UNBEGUN)


def _look(using: str, ids: Sequence[int]) -> list[Seen]:
    connection = connections[using]
    if connection.vendor == "postgresql":
        return claim_postgresql.look(connection, ids)
    return claim_portable.look(using, ids)


def claim(seen: Sequence[Seen], *, group: bool = False) -> list[Claimed]:
    """
    Take those of *seen* that are still free; all are of one database, and known here.

    `group` marks them as one harmless group: they may die together, and their claim need not
    survive a crash of the database (it is committed asynchronously on PostgreSQL).
    """
    if not seen:
        return []
    # A group shares one token: it is claimed, and may be released and completed, in one statement.
    token = new_token() if group else None
    wanted = [Wanted.of(row, token=token) for row in seen]
    using = seen[0].using

    return surely(
        using,
        lambda: _take(using, wanted, group=group),
        after_doubt=lambda: retake(using, wanted, group=group),
        patience=UNBEGUN,
    )


def retake(using: str, wanted: Sequence[Wanted], *, group: bool = False) -> list[Claimed]:
    """After a lost answer: the tokens are ours, so ask which rows carry them, and else try again."""
    return claim_portable.held_by_us(using, wanted) or _take(using, wanted, group=group)


def _take(using: str, wanted: Sequence[Wanted], *, group: bool) -> list[Claimed]:
    connection = connections[using]
    if connection.vendor == "postgresql":
        return claim_postgresql.take(connection, wanted, asynchronous=group)
    return claim_portable.take(using, wanted)
