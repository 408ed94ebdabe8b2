"""
Lose what reliable_effects has written, as a slip of the hand with SQL does: whole tables, at once.

The shop's own rows stay, and so does what the partners have written down. From these alone it must
be found what is still owed.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Sum

from reliable_effects.models import Coverage, Delivery, OutboxEvent, OutgoingCall
from reliable_effects.outbox.states import State

_TABLES = {"deliveries": Delivery, "events": OutboxEvent, "calls": OutgoingCall}
_OPEN = (State.PENDING, State.RUNNING, State.UNCERTAIN)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Rows by table, and how many of the deliveries still had something to do."""

    rows: dict[str, int]
    open: int

    def __str__(self) -> str:
        told = " and ".join(f"{rows} {table}" for table, rows in self.rows.items())
        return f"{told}, while {self.open} deliveries were open"


def open_deliveries() -> int:
    return Delivery.objects.filter(state__in=_OPEN).count()


def lose(*tables: str) -> Loss:
    """Truncate "deliveries", "events", "calls", or several of them: no model, no signal and no worker is asked."""
    loss = Loss(rows={}, open=open_deliveries())
    for table in tables:
        model = _TABLES[table]
        # One by one: who locks both tables waits for a worker that waits for the other one.
        with transaction.atomic(), connection.cursor() as cursor:
            loss.rows[table] = model.objects.count()
            for statement in connection.ops.sql_flush(no_style(), [model._meta.db_table]):
                cursor.execute(statement)
    return loss


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the workers' walks over the owed queries have found and done."""

    promised: int  # debts without a delivery, in all
    events: int  # made up, of those that are there now


def found() -> Found:
    missing = Coverage.objects.aggregate(Sum("missing"))["missing__sum"]
    return Found(
        promised=missing or 0,
        events=OutboxEvent.objects.filter(source="reconcile").count(),
    )
