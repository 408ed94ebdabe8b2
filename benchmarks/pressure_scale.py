"""
Three million deliveries, of which 300,000 are due: how long a request looks at its queue.

`python -m benchmarks.pressure_scale [postgres|mariadb|sqlite] [rows]` starts a server of its own.
Measured are the look that a limit of 10,000 costs, one of 1,000, and the second look where a limit
is passed; each again right after all that was due has ended, when the front of the index is full of
rows that are gone. A process looks at most once in two seconds.
"""

# ruff: noqa: T201, S608  # a command talks to its caller; the tables are ours
from __future__ import annotations

import logging
import os
import platform
import sys
import time
from datetime import timedelta
from statistics import median

SERVER = sys.argv[1] if sys.argv[1:] else "postgres"
os.environ |= {"TEST_DATABASE": SERVER, "DJANGO_SETTINGS_MODULE": "tests.settings"}

import django  # noqa: E402  # it reads what was just set

django.setup()

from django.conf import settings  # noqa: E402  # Django is ready only now
from django.db import connection  # noqa: E402
from django.test.runner import DiscoverRunner  # noqa: E402
from django.test.utils import override_settings  # noqa: E402

from reliable_effects.clock import now_sql  # noqa: E402
from reliable_effects.outbox.models import Delivery  # noqa: E402
from reliable_effects.outbox.states import State  # noqa: E402
from reliable_effects.watch.pressure import Gauge, drain, pressure  # noqa: E402

logging.basicConfig(level=logging.ERROR)

ROWS = int(sys.argv[2]) if sys.argv[2:] else 3_000_000
DUE, ROUNDS = ROWS // 10, 101
TABLE = Delivery._meta.db_table


def main() -> None:
    # What is broken off after 100 ms would only look quick.
    patient = {**settings.RELIABLE_EFFECTS, "SHED_PATIENCE": timedelta(hours=1)}
    with override_settings(RELIABLE_EFFECTS=patient):
        _run()


def _run() -> None:
    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases(aliases={"default"}, serialized_aliases=set())
    try:
        began = time.perf_counter()
        _rows(ROWS - DUE, State.SUCCEEDED, ended=True)
        _rows(DUE, State.PENDING, ended=False)
        _settle()
        print(f"{ROWS:,} deliveries made in {time.perf_counter() - began:.0f} s; {DUE:,} are due")
        _measure(f"{DUE:,} due")
        began = time.perf_counter()
        _execute(
            f"UPDATE {TABLE} SET state = {State.SUCCEEDED:d}, look_at = NULL, finished_at ="
            f" {_now()} WHERE state = {State.PENDING:d}"
        )
        print(f"all of them ended, in {time.perf_counter() - began:.0f} s")
        _measure("just after they ended")
        with connection.cursor() as cursor:
            sqlite = connection.vendor == "sqlite"
            cursor.execute("SELECT sqlite_version()" if sqlite else "SELECT version()")
            version = cursor.fetchone()[0]
        print(f"{version}; Python {platform.python_version()}, {os.cpu_count()} cores")
    finally:
        runner.teardown_databases(databases)


def _measure(when: str) -> None:
    for what, gauge in (
        ("a look at nothing", Gauge("default", "nothing", _nothing)),
        ("to 10,001", pressure("default", "payments", 10_001)),
        ("to 1,001", pressure("default", "payments", 1_001)),
        ("the second look", drain("default", "payments", timedelta(minutes=4))),
    ):
        first = _timed(gauge)
        taken = [_timed(gauge) for _ in range(ROUNDS)]
        print(
            f"{when}, {what}: median {median(taken):.2f} ms, fastest {min(taken):.2f} ms,"
            f" slowest {max(taken):.1f} ms of {ROUNDS}; the first {first:.1f} ms; saw {gauge.read()}"
        )


def _nothing() -> str:
    """What a look costs on this machine, at this moment, before it has seen a row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return "nothing"


def _timed(gauge: Gauge) -> float:
    gauge._stale_at = float("-inf")  # noqa: SLF001  # as if two seconds had passed
    began = time.perf_counter()
    if gauge.read() is None:
        raise RuntimeError("It saw nothing; the log says why.")
    return 1000 * (time.perf_counter() - began)


def _rows(count: int, state: State, *, ended: bool) -> None:
    """*count* of them in one statement; those that wait are due for ten minutes down to none."""
    event, key = _any_uuid(), _any_uuid()
    due = _ago(600 / count)
    _execute(
        f"""INSERT INTO {TABLE} (event_id, effect, {connection.ops.quote_name("key")}, generation,
            queue, state, reason, due_at, look_at, hints, attempts, worker, finished_at, flags)
        SELECT {event}, 'shop.charge_card', {key}, 0, 'payments', {state:d}, '', {due},
            {"NULL" if ended else due}, 0, {int(ended)}, '', {due if ended else "NULL"}, 0
        FROM {_numbers(count)}"""
    )


# Three dialects


def _now() -> str:
    return now_sql(connection).replace("%%", "%")


def _numbers(count: int) -> str:
    match connection.vendor:
        case "postgresql":
            return f"generate_series({count}, 1, -1) AS numbers(n)"
        case "mysql":
            return f"(SELECT seq AS n FROM seq_{count}_to_1) AS numbers"
        case _:
            return (
                f"(WITH RECURSIVE numbers(n) AS (SELECT {count} UNION ALL SELECT n - 1 FROM numbers"
                " WHERE n > 1) SELECT n FROM numbers)"
            )


def _any_uuid() -> str:
    match connection.vendor:
        case "postgresql":
            return "gen_random_uuid()"
        case "mysql":
            return "UUID()"
        case _:
            return "lower(hex(randomblob(16)))"


def _ago(step: float) -> str:
    """n steps ago, in seconds."""
    match connection.vendor:
        case "postgresql":
            return f"statement_timestamp() - n * {step} * interval '1 second'"
        case "mysql":
            return f"UTC_TIMESTAMP(6) - INTERVAL n * {step} SECOND"
        case _:
            return f"STRFTIME('%Y-%m-%d %H:%M:%f', 'now', '-' || (n * {step}) || ' seconds')"


def _settle() -> None:
    """So that no vacuum of what was just made is measured."""
    match connection.vendor:
        case "postgresql":
            _execute(f"VACUUM ANALYZE {TABLE}")
        case "mysql":
            with connection.cursor() as cursor:
                cursor.execute(f"ANALYZE TABLE {TABLE}")
                cursor.fetchall()
        case _:
            _execute("ANALYZE")


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.cursor.execute(sql)  # past Django's formatting: the SQL has percent signs


if __name__ == "__main__":
    main()
