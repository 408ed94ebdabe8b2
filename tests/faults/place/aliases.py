"""
One more database beside those of the settings: on another server, behind a pooler, or in a pool.

It is known to Django by an alias for as long as the block takes, and to child processes by the
variable TEST_ELSEWHERE, which tests/faults/place/project.py takes for its default database.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from tests.shop.models import LedgerEntry, Order

DATABASE = os.environ.get("TEST_DATABASE", "sqlite")

only_on_sqlite = pytest.mark.skipif(DATABASE != "sqlite", reason="about SQLite")
only_on_postgres = pytest.mark.skipif(DATABASE != "postgres", reason="about PostgreSQL")
only_on_mariadb = pytest.mark.skipif(DATABASE != "mariadb", reason="about MariaDB")
only_on_servers = pytest.mark.skipif(DATABASE == "sqlite", reason="SQLite has no server")

Config = dict[str, Any]


def at(url: str, name: str, **options: Any) -> Config:
    """What settings.DATABASES says of the database *name* on the server at *url*."""
    place = urlsplit(url)
    engine = {"postgres": "postgresql", "mysql": "mysql"}[place.scheme]
    usual = {
        "postgresql": {"connect_timeout": 3},
        "mysql": {"charset": "utf8mb4", "isolation_level": "read committed", "connect_timeout": 3},
    }[engine]
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": name,
        "USER": place.username,
        "HOST": place.hostname,
        "PORT": place.port,
        "OPTIONS": usual | options,
    }


def like_default(**changes: Any) -> Config:
    """The database of this run once more, in another way; `OPTIONS` adds to what it has."""
    default = {key: value for key, value in settings.DATABASES["default"].items() if key != "TEST"}
    options = default["OPTIONS"] | changes.pop("OPTIONS", {})
    return default | changes | {"OPTIONS": options}


@contextmanager
def known(alias: str, config: Config) -> Iterator[str]:
    """*alias*, for as long as the block takes. Nothing is made there."""
    added = connections.configure_settings({"default": {}} | {alias: dict(config)})[alias]
    connections.settings[alias] = added
    try:
        yield alias
    finally:
        close(alias)
        del connections.settings[alias]
        if hasattr(connections._connections, alias):
            del connections[alias]


@contextmanager
def made(alias: str, config: Config) -> Iterator[str]:
    """The same, with a new database, and our tables in it."""
    upkeep = config | {"NAME": _UPKEEP[config["ENGINE"]]}
    with known("upkeep", upkeep), connections["upkeep"].cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {config['NAME']}")
    with known(alias, config):
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
        _ask_here_what_inserts_return(alias)
        close(alias)
        yield alias


def _ask_here_what_inserts_return(alias: str) -> None:
    """Django asks the default database, once; where no other test needs one, there is none."""
    default, connections["default"] = connections["default"], connections[alias]
    try:
        for model in _MODELS:
            _ = model._meta.db_returning_fields
    finally:
        connections["default"] = default


_MODELS = (Attempt, Delivery, OutboxEvent, Sweep, LedgerEntry, Order)

_UPKEEP = {
    "django.db.backends.postgresql": "postgres",
    "django.db.backends.mysql": "mysql",
}


def close(alias: str) -> None:
    """What this thread has open there; where there is a pool, all of it."""
    connection: Any = connections[alias]
    connection.close()
    if alias in getattr(connection, "_connection_pools", {}):
        connection.close_pool()


def empty(alias: str) -> None:
    """Of all that our tests write."""
    for model in _MODELS:
        model.objects.using(alias).all().delete()


def elsewhere(config: Config, **more: str) -> dict[str, str]:
    """The environment of a child process whose default database this is."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.faults.place.project",
        "TEST_ELSEWHERE": json.dumps(config),
        **more,
    }
