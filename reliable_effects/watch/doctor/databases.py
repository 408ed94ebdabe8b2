"""One database: its kind, isolation, clock, whether it may be written to, and its migrations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from ...clock import read_clock
from .. import rules
from ..status import Database
from .fact import Fact, Severity

_APP = "reliable_effects"
_SKEW = timedelta(seconds=2)  # nothing that decides uses our clock, but people compare logs


def examine(alias: str) -> Iterator[Fact]:
    connection: Any = connections[alias]
    about = f"database {alias}"
    connection.ensure_connection()
    yield Fact(Severity.FINE, about, _version(connection))
    yield from _writable(connection, about)
    yield from _isolation(connection, about)
    yield from _clock(alias, about)
    yield from _migrations(connection, about)


def sweeps(reading: Database) -> Iterator[Fact]:
    """Whether anybody sweeps it."""
    about = f"database {reading.alias}"
    findings = rules.ask("sweep", reading) or []
    for finding in findings:
        yield Fact(
            Severity.WRONG,
            about,
            finding.text,
            "Start a Celery worker or `manage.py effects_worker`; both sweep.",
        )
    if not findings:
        yield Fact(Severity.FINE, about, "every sweep has run lately")


def _version(connection: Any) -> str:
    found = ".".join(map(str, connection.get_database_version()))
    return f"{connection.display_name} {found}"


def _writable(connection: Any, about: str) -> Iterator[Fact]:
    question = {
        "postgresql": "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool",
        "mysql": "SELECT @@global.read_only",
    }.get(connection.vendor)
    if question and _one(connection, question):
        yield Fact(
            Severity.WRONG,
            about,
            "it is read-only: a standby, or a server that was set so",
            "Name the primary in DATABASES; effects are written where the change is.",
        )


def _isolation(connection: Any, about: str) -> Iterator[Fact]:
    """As the server says it: a setting of None leaves it to the server."""
    match connection.vendor:
        case "postgresql":
            level = _one(connection, "SHOW transaction_isolation")
        case "mysql":
            level = _one(connection, "SELECT @@session.tx_isolation")
        case _:
            mode = _one(connection, "PRAGMA journal_mode")
            yield Fact(Severity.FINE, about, f"its journal is {mode}")
            return
    level = str(level).replace("-", " ").lower()
    if level == "read committed":
        yield Fact(Severity.FINE, about, f"its isolation level is {level}")
        return
    yield Fact(
        Severity.WRONG,
        about,
        f"its isolation level is {level}: claims wait for each other, or fail and are tried again",
        f'DATABASES[{about.partition(" ")[2]!r}]["OPTIONS"]["isolation_level"]: read committed',
    )


def _clock(alias: str, about: str) -> Iterator[Fact]:
    began = datetime.now(UTC)
    theirs = read_clock(alias)
    ended = datetime.now(UTC)
    skew = max(began - theirs, theirs - ended, timedelta(0))
    seconds = f"{skew.total_seconds():.1f} s"
    if skew <= _SKEW:
        yield Fact(Severity.FINE, about, f"its clock and ours agree within {seconds}")
        return
    yield Fact(
        Severity.DOUBTFUL,
        about,
        f"its clock and ours are {seconds} apart; what is due goes by the database's",
        "Let both machines take the time from one server (NTP).",
    )


def _migrations(connection: Any, about: str) -> Iterator[Fact]:
    executor = MigrationExecutor(connection)
    targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] == _APP]
    missing = [migration.name for migration, _ in executor.migration_plan(targets)]
    ours = [name for name in missing if not name.startswith("__")]
    if ours:
        yield Fact(
            Severity.WRONG,
            about,
            f"not migrated: {', '.join(ours)}",
            f"manage.py migrate {_APP} --database {connection.alias}",
        )
    else:
        yield Fact(Severity.FINE, about, "every migration is applied")


def _one(connection: Any, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        (value,) = cursor.fetchone()
    return value
