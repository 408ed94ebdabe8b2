"""Jobs by the thousand or the million, made by the server itself."""

from __future__ import annotations

from django.db import connections

from reliable_effects.clock import now_sql
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.states import JobState
from tests.shop.models import TrialExpiry

JOBS, TRIALS = ScheduledJob._meta.db_table, TrialExpiry._meta.db_table


def make_jobs(
    using: str, count: int, state: JobState = JobState.WAITING, *, first: int = 1, typed: int = 0
) -> None:
    """
    *count* jobs spread over a year: of the future where they wait, else of the past.

    As many rows of the typed table as *typed* are made beside them; they are about order 1.
    """
    waits = state == JobState.WAITING
    at = _instant(using, count, first, ahead=waits)
    held, ended = (_uuid(using), "NULL") if waits else ("NULL", at)
    for low in range(first, first + count, _SLICE):
        high = min(low + _SLICE, first + count) - 1
        _execute(
            using,
            f"""INSERT INTO {JOBS} (id, event, subject_model, subject_pk, payload, version, `key`,
                key_held, late, reason, at, wall_clock, state, ended_at, created_at)
            SELECT {_numbered(using)}, 'shop.order_seen', 'shop.order', CONCAT(n, ''), '{{}}', 1,
                CONCAT('trial:', n), {held}, NULL, '', {at}, '', {state:d}, {ended},
                {now_sql(connections[using])}
            FROM {_numbers(using, low, high)}""",
        )
    if typed:
        _execute(
            using,
            f"""INSERT INTO {TRIALS} (at, wall_clock, state, ended_at, `key`, job_id, plan, order_id)
            SELECT {at}, '', {state:d}, {ended}, NULL, {_uuid(using)}, 'pro', 1
            FROM {_numbers(using, first, first + typed - 1)}""",
        )


def analyse(using: str) -> None:
    """So that the statistics are of what is there."""
    for table in (JOBS, TRIALS):
        verb = "ANALYZE" if _is_postgres(using) else "ANALYZE TABLE"
        _execute(using, f"{verb} {table}")


def statistics_by_hand(using: str, *, by_hand: bool) -> None:
    """Else the server reads the rows by itself, at some moment of the test."""
    for table in (JOBS, TRIALS):
        if _is_postgres(using):
            _execute(using, f"ALTER TABLE {table} SET (autovacuum_enabled = {not by_hand})")
        else:
            recalc = 0 if by_hand else "DEFAULT"
            _execute(using, f"ALTER TABLE {table} STATS_AUTO_RECALC = {recalc}")


def empty(using: str) -> None:
    for table in (JOBS, TRIALS):
        _execute(using, f"TRUNCATE {table}")
    statistics_by_hand(using, by_hand=False)


_SLICE = 500_000  # rows in one statement


def _is_postgres(using: str) -> bool:
    return connections[using].vendor == "postgresql"


def _numbers(using: str, low: int, high: int) -> str:
    if _is_postgres(using):
        return f"generate_series({low}, {high}) AS numbers(n)"
    return f"(SELECT seq AS n FROM seq_{low}_to_{high}) AS numbers"


def _numbered(using: str) -> str:
    """Ids in their order, as those of ours are."""
    if _is_postgres(using):
        return "lpad(to_hex(n), 32, '0')::uuid"
    return "LPAD(HEX(n), 32, '0')"


def _uuid(using: str) -> str:
    """As scattered as those that are derived from keys."""
    if _is_postgres(using):
        return "md5(n::text)::uuid"
    # MariaDB looks at version and variant.
    return "CONCAT(LEFT(MD5(n), 12), '4', SUBSTR(MD5(n), 14, 3), '8', SUBSTR(MD5(n), 18))"


def _instant(using: str, count: int, first: int, *, ahead: bool) -> str:
    seconds = f"(86400 + (n - {first}) * {365 * 86400 / count:f})"
    sign = "+" if ahead else "-"
    if _is_postgres(using):
        return f"now() {sign} {seconds} * interval '1 second'"
    return f"UTC_TIMESTAMP(6) {sign} INTERVAL {seconds} SECOND"


def _execute(using: str, sql: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(sql.replace("`", '"') if _is_postgres(using) else sql)
