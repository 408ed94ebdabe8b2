"""
A worker of the limit: takes and completes by one UPDATE, then looks again and acts.

One row at a time where each must be durable before the next, fifty where they may be repeated. It
goes on from where it was, since ended rows lie in front of an index until they are vacuumed.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime

import django
import psycopg

_TAKE = """
UPDATE reliable_effects_delivery AS d
SET state = 2, look_at = NULL, attempts = 1, finished_at = statement_timestamp()
FROM (
    SELECT id, event_id, look_at FROM reliable_effects_delivery
    WHERE queue = %s AND look_at <= statement_timestamp() AND look_at >= %s
    ORDER BY look_at LIMIT %s FOR UPDATE SKIP LOCKED
) AS t, reliable_effects_outboxevent AS e, bench_order AS o
WHERE d.id = t.id AND e.id = t.event_id AND o.id = e.subject_pk::bigint AND o.status = 'placed'
RETURNING o.id, d.effect, t.look_at"""
_REST = 0.02  # seconds, when nothing was there
_FROM_THE_START = 1.0  # seconds between two looks at what lies behind


def main() -> None:
    django.setup()
    from django.conf import settings  # noqa: PLC0415  # Django is ready only now

    from benchmarks.side_by_side.site import ledger  # noqa: PLC0415

    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stops.append(number))
    low, looked_at = datetime(1970, 1, 1), 0.0  # noqa: DTZ001  # Postgres takes it as its own zone
    with psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True) as connection:
        while not stops:
            worked = False
            for queue, most in (("effects", 1), ("harmless", 50)):
                if time.monotonic() - looked_at > _FROM_THE_START:
                    low, looked_at = datetime(1970, 1, 1), time.monotonic()  # noqa: DTZ001
                rows = connection.execute(_TAKE, [queue, low, most]).fetchall()
                for order, effect, at in rows:
                    ledger.note(settings.BENCH_LEDGER, order, int(effect.rpartition("_")[2]))
                    low, worked = at, True
            if not worked:
                time.sleep(_REST)


if __name__ == "__main__":
    main()
