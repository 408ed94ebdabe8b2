"""What the rows of this benchmark are written with, in the dialects of two databases."""

# ruff: noqa: S608  # the tables are ours
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Model

DAY = timedelta(days=1)


def is_postgres() -> bool:
    return connection.vendor == "postgresql"


def quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def insert(model: type[Model], count: int, columns: Mapping[str, str], where: str = "") -> None:
    """*count* rows in one statement; each column is SQL about `n`, which counts them from 1."""
    names = ", ".join(map(quoted, columns))
    values = ", ".join(columns.values())
    among = f"generate_series(1::bigint, {count})" if is_postgres() else f"seq_1_to_{count}"
    numbers = (
        f"{among} AS numbers(n)"
        if is_postgres()
        else f"(SELECT CAST(seq AS SIGNED) AS n FROM {among}) AS s"
    )
    table = model._meta.db_table
    execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {numbers} {where}")


def ago(seconds: str) -> str:
    """So many seconds before now; SQL, and negative for what is to come."""
    if is_postgres():
        return f"now() - ({seconds}) * interval '1 second'"
    return f"UTC_TIMESTAMP(6) - INTERVAL ({seconds}) SECOND"


def in_order(number: str) -> str:
    """A UUID for each number, in their order, as those are that begin with the time."""
    if is_postgres():
        return f"(lpad(to_hex({number}), 12, '0') || lpad(to_hex({number}), 20, '0'))::uuid"
    digits = f"LOWER(CONCAT(LPAD(HEX({number}), 12, '0'), LPAD(HEX({number}), 20, '0')))"
    return _dashed(digits)


def scattered(number: str, salt: str) -> str:
    """A UUID for each number, in no order, as those are that are hashed."""
    hashed = f"md5(concat('{salt}', {number}))"
    # Version and variant as in version 5: MariaDB refuses others.
    digits = (
        f"concat(substr({hashed}, 1, 12), '5', substr({hashed}, 14, 3), '8', substr({hashed}, 18))"
    )
    return f"({digits})::uuid" if is_postgres() else _dashed(digits)


def _dashed(digits: str) -> str:
    """As the column wants it: MariaDB's own type since 10.7, 32 characters before."""
    if connection.features.has_native_uuid_field:
        parts = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)]
        return (
            "CONCAT_WS('-', "
            + ", ".join(f"SUBSTR({digits}, {a}, {size})" for a, size in parts)
            + ")"
        )
    return digits


def fingerprint(number: str) -> str:
    """Of a group, as the grouping writes it: 32 hex digits."""
    return f"md5(concat('group ', {number}))"


def whole(number: str) -> str:
    """Rounded down, as what text is made of."""
    return f"floor({number})::bigint" if is_postgres() else f"FLOOR({number})"


def text(number: str) -> str:
    return f"({number})::text" if is_postgres() else f"CONCAT({number})"


def case(*kinds: tuple[str, str], otherwise: str) -> str:
    whens = " ".join(f"WHEN {when} THEN {then}" for when, then in kinds)
    return f"CASE {whens} ELSE {otherwise} END"


@contextmanager
def without_indexes(models: Iterable[type[Model]]) -> Iterator[None]:
    """They are built when the rows are there: on PostgreSQL that is quicker by far."""
    if not is_postgres():
        yield
        return
    rebuild = [line for model in models for line in _dropped(model._meta.db_table)]
    yield
    execute("SET maintenance_work_mem = '512MB'")
    for line in rebuild:
        execute(line)


def _dropped(table: str) -> list[str]:
    """Drops all but the primary key; what makes them anew."""
    rebuild = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = %s::regclass AND contype = 'u'",
            [table],
        )
        for name, definition in cursor.fetchall():
            execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
            rebuild.append(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
        cursor.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = %s::regclass AND NOT indisprimary",
            [table],
        )
        for name, definition in cursor.fetchall():
            execute(f"DROP INDEX {name}")
            rebuild.append(definition)
    return rebuild


def settle() -> None:
    """As after a quiet hour: vacuumed, and with statistics of what is there."""
    with connection.cursor() as cursor:
        if is_postgres():
            cursor.execute("VACUUM ANALYZE")
            return
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"ANALYZE TABLE {table}")
            cursor.fetchall()


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.cursor.execute(sql)  # past Django's formatting: the SQL has percent signs


def value(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.cursor.execute(sql)
        found = cursor.fetchone()
        return found[0] if found else None
