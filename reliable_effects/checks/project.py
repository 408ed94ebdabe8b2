"""The project's settings and databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings as project
from django.core.checks import CheckMessage, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, router
from django.utils.module_loading import import_string

from ..conf import NAME, Settings, settings
from ..effects.registry import registry
from ..models import Delivery
from .catalogue import TAG, found

_SUPPORTED = ("postgresql", "mysql", "sqlite")
_TRANSPORTS = ("auto", "celery", "none")


def readable_settings() -> Settings | None:
    """The settings, or None where E003 says what is wrong with them."""
    try:
        return settings()
    except ImproperlyConfigured:
        return None


@register(TAG)
def check_settings(**_: Any) -> list[CheckMessage]:
    messages = []
    if not project.USE_TZ:
        messages.append(found("E001", "USE_TZ is False.", "USE_TZ = True"))
    try:
        known = settings()
    except ImproperlyConfigured as error:
        hint = f"Mend or remove that key of {NAME}; each key has a default that works."
        return [*messages, found("E003", str(error), hint)]
    return [*messages, *_bad_paths(known), *_short_runs(known)]


def _short_runs(known: Settings) -> Iterator[CheckMessage]:
    call = known.outgoing_connect_timeout + known.outgoing_timeout
    if call > known.timeout:
        yield found(
            "W095",
            f"A call to a partner may take {call.total_seconds():g} s, and a run only"
            f" {known.timeout.total_seconds():g} s ({NAME}['TIMEOUT']): an answer that comes late in"
            " it is lost.",
            f'"OUTGOING_TIMEOUT": timedelta(seconds={max(known.timeout.total_seconds() / 2, 1):g})',
        )


def _bad_paths(known: Settings) -> Iterator[CheckMessage]:
    paths = {
        "REDACT": known.redact,
        "REDACT_PAYLOAD": known.redact_payload,
        "TRACE_ID": known.trace_id,
    }
    if known.transport not in _TRANSPORTS:
        paths["TRANSPORT"] = known.transport
    for key, path in paths.items():
        try:
            if path:
                import_string(path)
        except ImportError as error:
            yield found(
                "E013",
                f"{NAME}[{key!r}] is {path!r}, which cannot be imported: {error}",
                f'"{key}": "your_project.module.function"',
            )


@register(TAG)
def check_databases(**_: Any) -> list[CheckMessage]:
    return [
        message
        for alias in _swept()
        for message in [
            *about_database(alias, connections[alias].vendor, connections[alias].settings_dict),
            *_routed_away(alias),
        ]
    ]


def about_database(alias: str, vendor: str, config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """What is wrong with the settings of one database, as far as they tell without a connection."""
    options = config.get("OPTIONS") or {}
    if vendor not in _SUPPORTED:
        yield found(
            "E005",
            f"The database {alias!r} is {vendor}, which reliable_effects does not support.",
            "Use PostgreSQL, MariaDB or SQLite for the tables of reliable_effects.",
        )
    if not config.get("AUTOCOMMIT", True):
        yield found("E009", f"DATABASES[{alias!r}]['AUTOCOMMIT'] is False.", '"AUTOCOMMIT": True')
    zone = config.get("TIME_ZONE")
    if vendor in ("mysql", "sqlite") and zone not in (None, "UTC"):
        yield found(
            "E014",
            f"DATABASES[{alias!r}]['TIME_ZONE'] is {zone!r}: what is due is compared in UTC, so"
            " effects would run hours too early or too late.",
            f"Take TIME_ZONE out of DATABASES[{alias!r}]; the project's own TIME_ZONE may stay.",
        )
    mode = str(options.get("transaction_mode") or "DEFERRED").upper()
    if vendor == "sqlite" and mode == "DEFERRED":
        yield found(
            "E007",
            f"The SQLite database {alias!r} begins transactions DEFERRED: workers that read"
            " before they write end in “database is locked”, whatever the timeout.",
            f'DATABASES[{alias!r}]["OPTIONS"] = {{"transaction_mode": "IMMEDIATE", "timeout": 20,'
            ' "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}',
        )
    # Django's own default is READ COMMITTED; None leaves it to the server.
    level = str(options.get("isolation_level", "read committed") or "of the server").lower()
    if vendor == "mysql" and level != "read committed":
        yield found(
            "E008",
            f"The MariaDB database {alias!r} uses the isolation level {level!r}: a worker that"
            " claims would lock the whole backlog.",
            f'DATABASES[{alias!r}]["OPTIONS"]["isolation_level"] = "read committed"',
        )


def _routed_away(alias: str) -> Iterator[CheckMessage]:
    if not router.allow_migrate_model(alias, Delivery):
        yield found(
            "E006",
            f"A database router keeps the tables of reliable_effects from {alias!r}, which"
            f" {NAME}['DATABASES'] says has them.",
            f"Let allow_migrate({alias!r}, 'reliable_effects') be True, or take {alias!r} out of"
            f" {NAME}['DATABASES'].",
        )


@register(TAG)
def check_subjects_databases(**_: Any) -> list[CheckMessage]:
    """An event is written where its subject is: that database needs our tables and our sweeps."""
    known = readable_settings()
    if known is None:
        return []
    messages = []
    declared = [*registry.events(), *(effect.event for effect in registry.effects())]
    for label in sorted({event.subject for event in declared if event.subject}):
        try:
            alias = router.db_for_write(apps.get_model(label))
        except (LookupError, ValueError):
            continue  # E071 says it
        if alias not in known.databases:
            swept = (*known.databases, alias)
            messages.append(
                found(
                    "E004",
                    f"{label} is written to {alias!r}, so its events are too, and nobody sweeps it.",
                    f'{NAME} = {{"DATABASES": {list(swept)!r}}}  # then: migrate --database {alias}',
                )
            )
    return messages


@register(Tags.database, TAG)
def check_sqlite_log(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Asks the file, since the mode is kept there."""
    messages = []
    for alias in _swept():
        connection: Any = connections[alias]
        if connection.vendor != "sqlite" or alias not in (databases or ()):
            continue
        try:
            with connection.cursor() as cursor:
                mode = cursor.execute("PRAGMA journal_mode").fetchone()[0]
        except DatabaseError:
            continue  # Django's own checks say that it cannot be reached
        if mode not in ("wal", "memory"):
            messages.append(
                found(
                    "W060",
                    f"The SQLite database {alias!r} keeps no write-ahead log (it is {mode!r}).",
                    f'DATABASES[{alias!r}]["OPTIONS"]["init_command"] ='
                    ' "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"',
                )
            )
    return messages


@register(Tags.database, TAG)
def check_mariadb_letters(
    *, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Also before the tables are made: a server's own default may be latin1."""
    messages = []
    for alias in _swept():
        if connections[alias].vendor != "mysql" or alias not in (databases or ()):
            continue
        try:
            lacking = _character_sets(alias) - {"utf8mb4"}
        except DatabaseError:
            continue  # as above
        if lacking:
            messages.append(
                found(
                    "E061",
                    f"The MariaDB database {alias!r} keeps our text as {', '.join(sorted(lacking))}:"
                    " a failure whose message has other characters could not be recorded.",
                    f"ALTER DATABASE {connections[alias].settings_dict['NAME']} CHARACTER SET"
                    " utf8mb4;  -- and for each table reliable_effects_…, where they are made:"
                    " ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4;",
                )
            )
    return messages


def _character_sets(alias: str) -> set[str]:
    """Of the columns of our tables; where there are none yet, of the database."""
    tables = [
        model._meta.db_table for model in apps.get_app_config(Delivery._meta.app_label).get_models()
    ]
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT character_set_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name IN %s"
            " AND character_set_name IS NOT NULL",
            [tables],
        )
        used = {name for (name,) in cursor.fetchall()}
        if not used:
            cursor.execute("SELECT @@character_set_database")
            used = {cursor.fetchone()[0]}
    return used


def _swept() -> list[str]:
    known = readable_settings()
    return [] if known is None else list(known.databases)
