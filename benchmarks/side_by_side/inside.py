"""What the harness asks of our own site alone: costs of our statements, and of what they leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.db import connection, transaction
from django.test import override_settings

from benchmarks.side_by_side.site.events import placed
from benchmarks.side_by_side.site.models import Order
from reliable_effects.outbox import sweeps
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.relay import take

_EFFECT, _USING = "bench.noop_1_0", "default"

_EVENTS = """
INSERT INTO reliable_effects_outboxevent (id, name, version, subject_model, subject_pk, payload,
    correlation, trace_id, source, emitted_at)
SELECT md5(%s || n)::uuid, 'bench.placed_1', 1, 'bench.order', n::text, '{}',
    md5(%s || n)::uuid, '', 'emit', statement_timestamp()
FROM generate_series(1, %s) AS n"""

_DELIVERIES = """
INSERT INTO reliable_effects_delivery (event_id, effect, key, generation, queue, state, reason,
    due_at, look_at, hints, attempts, worker, finished_at, flags)
SELECT md5(%s || n)::uuid, '{effect}', md5('key' || %s || n)::uuid, 0, 'effects', {state}, '',
    statement_timestamp() + {due} + n * interval '1 microsecond',
    {look}, 0, {state} / 2, '', {finished}, 0
FROM generate_series(1, %s) AS n"""

_LATER = "interval '90 days'"
_KINDS = {
    "finished": {
        "state": 2,
        "due": "interval '0'",
        "look": "NULL",
        "finished": "statement_timestamp()",
    },
    "future": {
        "state": 0,
        "due": _LATER,
        "look": f"statement_timestamp() + {_LATER} + n * interval '1 microsecond'",
        "finished": "NULL",
    },
    "due": {
        "state": 0,
        "due": "interval '-1 minute'",
        "look": "statement_timestamp() - interval '1 minute' + n * interval '1 microsecond'",
        "finished": "NULL",
    },
}


def fill_rows(**counts: int) -> None:
    """So many `finished`, `future` and `due` deliveries, each with its event; then VACUUM ANALYZE."""
    with connection.cursor() as cursor:
        for kind, count in counts.items():
            cursor.execute(_EVENTS, [kind, kind, count])
            sql = _DELIVERIES.format(effect=_EFFECT, **_KINDS[kind])
            cursor.execute(sql, [kind, kind, count])
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def queue_name() -> str:
    return str(django_settings.RELIABLE_EFFECTS.get("QUEUE", "effects"))


def costs(times: int) -> dict[str, list[float]]:
    """What each of our hot statements takes, in milliseconds, so many times."""
    found: dict[str, list[float]] = {}

    def timed(what: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        found.setdefault(what, []).append(1000 * (time.perf_counter() - began))
        return result

    for _ in range(times):
        taken = timed("take 10 by scan", lambda: take(_USING, queue_name(), 10))
        ids = [row.id for row in taken]
        seen = look(_USING, ids[:1])
        timed("claim 1 by id", lambda seen=seen: claim(seen))
        several = look(_USING, ids[1:])
        timed("claim 9 as a group", lambda several=several: claim(several, group=True))
        for name in (sweeps.RESCUE, sweeps.PRUNE):
            timed(f"sweep: {name}", lambda name=name: sweeps.sweep(_USING, name, now=True))
    return found


def emit_for_orders(count: int, payload: int) -> None:
    """One event with so many bytes of payload for each of *count* orders, a transaction each."""
    orders = list(Order.objects.order_by("-pk")[:count])
    for order in orders:
        with transaction.atomic():
            placed[1].emit(order, {"note": "x" * max(0, payload - len('{"note": ""}'))})


def make_orders(count: int) -> None:
    Order.objects.bulk_create(
        (Order(email="ada@example.com", total="19.90") for _ in range(count)), batch_size=1000
    )


def wal_position() -> int:
    """Bytes of WAL ever written."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
        return int(cursor.fetchone()[0])


def table_bytes() -> int:
    """Both of our tables with their indexes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_total_relation_size('reliable_effects_outboxevent')"
            " + pg_total_relation_size('reliable_effects_delivery')"
        )
        return int(cursor.fetchone()[0])


def prune_everything() -> int:
    """Delete all that ended well, however young; how many rows are left."""
    known = {**django_settings.RELIABLE_EFFECTS, "RETENTION": timedelta(microseconds=1)}
    with override_settings(RELIABLE_EFFECTS=known):
        while (swept := sweeps.sweep(_USING, sweeps.PRUNE, now=True)) and swept.done:
            pass
    return Delivery.objects.count()
