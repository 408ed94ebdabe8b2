"""
A million rows that owe, 25 of them unaccounted: how long each walk takes, and how much memory.

`python -m benchmarks.reconcile_scale [rows]` starts a PostgreSQL of its own, fills it, and walks.
What is measured is the walk alone, in one go, with its 25 promises; a worker takes it in slices of
two seconds.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

os.environ |= {"TEST_DATABASE": "postgres", "DJANGO_SETTINGS_MODULE": "tests.settings"}

import django

django.setup()

from django.db import connection  # noqa: E402  # Django is ready only now
from django.test.runner import DiscoverRunner  # noqa: E402
from django.utils import timezone  # noqa: E402

from reliable_effects.effects.registry import registry  # noqa: E402
from reliable_effects.outbox.models import Delivery, OutboxEvent  # noqa: E402
from reliable_effects.outbox.states import Reason, State  # noqa: E402
from reliable_effects.reconcile.models import Tier, Walk  # noqa: E402
from reliable_effects.reconcile.walk import due_walk, go_on  # noqa: E402
from tests.shop.models import Order  # noqa: E402

logging.getLogger("reliable_effects").setLevel(logging.ERROR)

ROWS = 1_000_000
RECENT = 10_000  # of them began within the window
UNACCOUNTED = 25
RUNS = 3
EFFECT = "shop.charge_card"


def main(rows: int) -> None:
    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    try:
        _fill(rows)
        with connection.cursor() as cursor:
            cursor.execute("SELECT version()")
            print(f"{cursor.fetchone()[0].split(' on ')[0]}, Python {platform.python_version()}")
        for tier in (Tier.RECENT, Tier.ALL):
            for run in range(1, RUNS + 1):
                _lose(tier)
                Walk.objects.update(began_at=None, is_under_way=False)
                print(f"{tier}, run {run}: ", end="", flush=True)
                # A process of its own, whose memory is the walk's and not that of the rows above.
                name = connection.settings_dict["NAME"]
                command = [sys.executable, "-m", "benchmarks.reconcile_scale", "walk", name, tier]
                subprocess.run(command, check=True)  # noqa: S603  # this file
    finally:
        runner.teardown_databases(databases)


def _fill(rows: int) -> None:
    effect = registry.effect(EFFECT)
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX shop_order_placed_at ON shop_order (placed_at)")
        cursor.execute(
            "INSERT INTO shop_order (status, charge_id, placed_at)"
            " SELECT 'placed', '', now() - interval '3 days' - n * interval '1 second'"
            " FROM generate_series(1, %s) AS n",
            [rows - RECENT],
        )
        cursor.execute(
            "INSERT INTO shop_order (status, charge_id, placed_at)"
            " SELECT 'placed', '', now() - interval '1 hour' - n * interval '5 seconds'"
            " FROM generate_series(1, %s) AS n",
            [RECENT],
        )
        cursor.execute(
            "INSERT INTO reliable_effects_outboxevent (id, name, version, subject_model,"
            " subject_pk, payload, correlation, trace_id, source, emitted_at)"
            " SELECT gen_random_uuid(), 'shop.order_placed', 1, 'shop.order', id::text, '{}',"
            " gen_random_uuid(), '', 'emit', placed_at FROM shop_order"
        )
        cursor.execute(
            "SELECT subject_pk, id FROM reliable_effects_outboxevent ORDER BY subject_pk::int"
        )
        events = cursor.fetchall()
        columns = "event_id, effect, key, generation, queue, state, reason, due_at, hints, attempts, worker, finished_at, flags"
        now = timezone.now()
        with cursor.copy(f"COPY reliable_effects_delivery ({columns}) FROM STDIN") as copy:
            for pk, event in events:
                key = effect.debt_key_of("once", pk)
                copy.write_row(
                    (event, EFFECT, key, 0, "payments", State.POISONED.value,
                     Reason.ATTEMPTS_SPENT.value, now, 0, 8, "", now, 1)
                )  # fmt: skip
        cursor.execute("VACUUM ANALYZE")
    print(f"{rows:,} rows that owe, written in {time.perf_counter() - began:.0f} s")


def _walk(database: str, tier: Tier) -> None:
    connection.settings_dict["NAME"] = database
    effect = registry.effect(EFFECT)
    connection.ensure_connection()
    before = _most_memory()
    began, cpu = time.perf_counter(), time.process_time()
    seen = promised = 0
    while (walk := due_walk(effect, "default", tier)) is not None:
        stretch = go_on(effect, "default", walk, time.monotonic() + 3600)
        seen, promised = seen + stretch.seen, promised + stretch.done
        if not stretch.truncated:
            break
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    grown = _most_memory() - before
    print(
        f"{seen:,} rows in {seconds:.2f} s ({cpu:.2f} s of them here), {promised} promised,"
        f" memory grown by {grown:.0f} MB"
    )


def _most_memory() -> float:
    """In MB. Not ru_maxrss, which a process inherits from the one that started it."""
    told = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    return int(told.split()[0]) / 1024


def _lose(tier: Tier) -> None:
    """Nobody has promised 25 of them, spread over what the walk sees."""
    lost = Order.objects.order_by("-placed_at")
    if tier is Tier.RECENT:
        lost = lost.filter(placed_at__gte=timezone.now() - timedelta(days=1))
    step = max(1, lost.count() // UNACCOUNTED)
    pks = [str(pk) for pk in lost.values_list("pk", flat=True)[::step]][:UNACCOUNTED]
    events = OutboxEvent.objects.filter(subject_pk__in=pks).values("pk")
    Delivery.objects.filter(event_id__in=events).delete()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["walk", database, tier]:
            _walk(database, Tier(tier))
        case [rows]:
            main(int(rows))
        case _:
            main(ROWS)
