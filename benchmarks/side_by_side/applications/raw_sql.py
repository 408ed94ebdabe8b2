"""Our two tables, written by the statement that `emit` would send, with nothing around it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import connection

from benchmarks.side_by_side.site.models import Order
from reliable_effects.effects.keys import new_event_id
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import ENDED_WELL

_INSERT = """
WITH event AS (
    INSERT INTO reliable_effects_outboxevent (id, name, version, subject_model, subject_pk, payload,
        correlation, trace_id, source, emitted_at)
    SELECT v.id, 'bench.raw', 1, 'bench.order', v.pk, '{}'::jsonb, %s, '', 'emit',
        statement_timestamp()
    FROM unnest(%s::uuid[], %s::text[]) AS v(id, pk)
)
INSERT INTO reliable_effects_delivery (event_id, effect, key, generation, queue, state, reason,
    due_at, look_at, hints, attempts, worker, flags)
SELECT v.event_id, v.effect, v.key, 0, %s, 0, '', statement_timestamp(), statement_timestamp(),
    0, 0, '', 0
FROM unnest(%s::uuid[], %s::text[], %s::uuid[]) AS v(event_id, effect, key)
RETURNING id"""


def owe(order: Order, effects: int, kind: str) -> None:
    _write([order], effects, kind)


def fill(orders: Sequence[Order], kind: str) -> None:
    _write(orders, 1, kind)


def _write(orders: Sequence[Order], effects: int, kind: str) -> None:
    ids = [new_event_id() for _ in orders]
    events = [one for one in ids for _ in range(effects)]
    names = [f"bench.raw_{number}" for _ in ids for number in range(effects)]
    keys = [uuid.uuid4() for _ in events]
    queue = "harmless" if kind == "harmless" else "effects"
    pks = [str(order.pk) for order in orders]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [uuid.uuid4(), ids, pks, queue, events, names, keys])
        cursor.fetchall()


def unfinished() -> int:
    return Delivery.objects.exclude(state__in=ENDED_WELL).count()
