"""
Success, the hot path: one (see `one_trip` for one with the next claim), or a harmless group.

As with every way out of RUNNING (see `finish`), each UPDATE says the token and empties it.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F

from ..clock import DbNow, now_sql
from .claimed import Claimed
from .finish import KEPT_FLAGS, OVER, held_by, is_now, told
from .models import Delivery
from .persist import surely
from .states import State

_TABLE = Delivery._meta.db_table


def _succeeded(connection: BaseDatabaseWrapper) -> str:
    # No state in the WHERE of a statement that goes by id: the token says it, and PostgreSQL might
    # walk a partial index instead of the primary key.
    return f"""state = {State.SUCCEEDED}, reason = '', claim_token = NULL, lease_expires_at = NULL,
        look_at = NULL, finished_at = {now_sql(connection)}, flags = d.flags & ~{OVER}"""


def complete_sql(connection: BaseDatabaseWrapper) -> str:
    """Of one, by its id and token."""
    assignments = _succeeded(connection)
    return f"UPDATE {_TABLE} AS d SET {assignments} WHERE d.id = %s AND d.claim_token = %s"


def complete(claimed: Claimed) -> bool:
    """The success of one run, in the transaction that is open or in one of its own."""
    connection = connections[claimed.using]
    with connection.cursor() as cursor:
        cursor.execute(complete_sql(connection), [claimed.id, claimed.token])
        return bool(cursor.rowcount == 1)


def succeed(claimed: Claimed) -> bool:
    """Complete durably; on a lost answer ask whether it was done."""
    won = surely(
        claimed.using,
        lambda: complete(claimed),
        after_doubt=lambda: complete_or_done(claimed),
    )
    return told(claimed, won)


def complete_or_done(claimed: Claimed) -> bool:
    """After a lost answer: complete it, or find that it was completed."""
    return complete(claimed) or is_now(claimed, State.SUCCEEDED)


def succeed_together(group: Sequence[Claimed]) -> list[Claimed]:
    """Complete a harmless group at once; those that were still ours."""
    if not group:
        return []
    using = group[0].using

    def write() -> set[int]:
        connection = connections[using]
        if connection.vendor != "postgresql":
            return _succeed_portable(using, group)
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                WITH hurry AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
                mine AS MATERIALIZED (
                    SELECT d.id FROM {_TABLE} d
                    JOIN unnest(%s::bigint[], %s::bigint[]) AS v(id, token) ON d.id = v.id
                    WHERE d.claim_token = v.token ORDER BY d.id FOR UPDATE OF d
                )
                UPDATE {_TABLE} d SET {_succeeded(connection)} FROM hurry, mine
                WHERE d.id = mine.id RETURNING d.id""",
                [[c.id for c in group], [c.token for c in group]],
            )
            return {pk for (pk,) in cursor.fetchall()}

    won = surely(using, write, after_doubt=lambda: write() | _now_succeeded(using, group))
    return [c for c in group if told(c, c.id in won)]


def _succeed_portable(using: str, group: Sequence[Claimed]) -> set[int]:
    rows = held_by(using, group)
    with transaction.atomic(using=using):
        # Locked, so that those that are counted as ours are those that are written.
        ours = set(rows.select_for_update().values_list("pk", flat=True))
        rows.update(
            claim_token=None,
            lease_expires_at=None,
            look_at=None,
            finished_at=DbNow(),
            reason="",
            flags=F("flags").bitand(KEPT_FLAGS),
            state=State.SUCCEEDED,
        )
    return ours


def _now_succeeded(using: str, group: Sequence[Claimed]) -> set[int]:
    rows = Delivery.objects.using(using).filter(pk__in=[c.id for c in group])
    return set(rows.filter(state=State.SUCCEEDED).values_list("pk", flat=True))
