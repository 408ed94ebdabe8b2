"""
`flush`, which Django calls after each test that commits: it empties the tables that were touched.

Django's own empties all of them and then has each app fill its share again, content types and
permissions of every model: 50 to 90 ms on PostgreSQL, a thousand times. What `migrate` has filled
is left alone here while it is as it was; where a test changed it, Django's way is taken.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.core.management.commands import flush
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

Rows = tuple[list[Any], ...]

_as_migrated: dict[str, Rows] = {}  # alias → what was there before the first test


def remember(alias: str) -> None:
    """Call it once `migrate` is through."""
    _as_migrated[alias] = _filled(alias)


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        alias = options["database"]
        if alias not in _as_migrated or options.get("reset_sequences", True):
            super().handle(**options)
        elif _filled(alias) != _as_migrated[alias]:
            super().handle(**options)
            remember(alias)
        elif touched := _touched(connections[alias]):
            operations = connections[alias].ops
            # What refers to a table that was touched may have to be emptied with it, on PostgreSQL.
            operations.execute_sql_flush(
                operations.sql_flush(no_style(), touched, allow_cascade=True)
            )


def _filled(alias: str) -> Rows:
    return tuple(
        list(model._base_manager.using(alias).order_by("pk").values_list())
        for model in (ContentType, Permission)
    )


def _touched(connection: BaseDatabaseWrapper) -> list[str]:
    filled = {model._meta.db_table for model in (ContentType, Permission)}
    tables = sorted(set(connection.introspection.django_table_names()) - filled)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Rows that are gone again count too: what they left would be in the way of a plan.
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relname = ANY(%s)"
                " AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0",
                [tables],
            )
            return [name for (name,) in cursor.fetchall()]
        quoted = map(connection.ops.quote_name, tables)
        cursor.execute("SELECT " + ", ".join(f"EXISTS(SELECT 1 FROM {name})" for name in quoted))
        return [
            table for table, is_there in zip(tables, cursor.fetchone(), strict=True) if is_there
        ]
