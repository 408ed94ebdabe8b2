"""All rows of ours and of the shop: read at once, kept as a backup, put back, taken away."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import Max

from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from reliable_effects.outbox.states import WAITING
from tests.shop.models import LedgerEntry, Order

Row = dict[str, Any]
_MODELS = (Order, LedgerEntry, OutboxEvent, Delivery, Attempt, Sweep)


@dataclass(frozen=True)
class Rows:
    """What stood in our tables at one moment."""

    deliveries: dict[int, Row]
    attempts: Counter[int]  # rows of Attempt, by delivery
    events: dict[Any, Row]  # name, subject and payload, by id

    @classmethod
    def read(cls) -> Rows:
        events = OutboxEvent.objects.values("pk", "name", "subject_pk", "payload", "version")
        return cls(
            {row["id"]: row for row in Delivery.objects.order_by("pk").values()},
            Counter(Attempt.objects.values_list("delivery_id", flat=True)),
            {event["pk"]: event for event in events},
        )

    def waiting(self) -> list[int]:
        """What a worker might claim, now or later."""
        rows = self.deliveries.values()
        return [r["id"] for r in rows if r["state"] in WAITING and r["look_at"] is not None]


def backup() -> dict[type, list[Row]]:
    return {model: list(model.objects.order_by("pk").values()) for model in _MODELS}


def restore(saved: dict[type, list[Row]]) -> None:
    """Every table as it was, and the numbers of deliveries go on from there: they come again."""
    with transaction.atomic():
        for model in _MODELS:
            model.objects.all()._raw_delete("default")
            model.objects.bulk_create([model(**row) for row in saved[model]])
    _number_deliveries_from((max((row["id"] for row in saved[Delivery]), default=0)) + 1)


def put_back(rows: list[Row]) -> None:
    """These deliveries as they were: a commit that the database has forgotten."""
    for row in rows:
        Delivery.objects.filter(pk=row["id"]).update(**{k: v for k, v in row.items() if k != "id"})


def clear() -> None:
    with transaction.atomic():
        for model in _MODELS:
            model.objects.all()._raw_delete("default")


def highest_delivery() -> int:
    return Delivery.objects.aggregate(top=Max("pk"))["top"] or 0


def _number_deliveries_from(number: int) -> None:
    table = Delivery._meta.db_table
    with connection.cursor() as cursor:
        match connection.vendor:
            case "postgresql":
                cursor.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), %s, false)", [number]
                )
            case "sqlite":
                cursor.execute(
                    "UPDATE sqlite_sequence SET seq = %s WHERE name = %s", [number - 1, table]
                )
            case "mysql":
                cursor.execute(f"ALTER TABLE {table} AUTO_INCREMENT = {number}")
