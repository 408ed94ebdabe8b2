"""A customer's list is found by their rows, however many events there are."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import connection

from reliable_effects.effects.keys import new_event_id
from reliable_effects.outbox.models import OutboxEvent
from reliable_effects.rest_framework.subjects import about
from tests.shop.models import Crate, Order

OTHERS = 3000
FORMAT = "JSON" if connection.vendor == "mysql" else None
WALKED = {
    "postgresql": "Index Scan using re_event_subject",
    "mysql": '"key": "re_event_subject"',
    "sqlite": "USING INDEX re_event_subject (subject_model=? AND subject_pk=?)",
}[connection.vendor]


@pytest.mark.django_db(transaction=True)  # MariaDB commits before it analyses
@pytest.mark.parametrize("model", [Order, Crate])
def test_the_list_of_one_customer_walks_the_index_of_subjects(model):
    """Of UUIDs, too, which SQLite keeps otherwise than events spell them."""
    owner = {"charge_id" if model is Order else "owner": "ada"}
    theirs = [model.objects.create(**owner) for _ in range(3)]
    others = model.objects.bulk_create(model() for _ in range(OTHERS))
    if connection.vendor == "mysql":  # it gives no ids back
        others = list(model.objects.exclude(**owner))
    OutboxEvent.objects.bulk_create(
        OutboxEvent(
            id=new_event_id(),
            name="shop.order_seen",
            subject_model=model._meta.label_lower,
            subject_pk=str(row.pk),
            correlation=uuid4(),
            source="emit",
        )
        for row in (*others, *theirs)
    )
    _analyse()

    events = about(OutboxEvent.objects.all(), model.objects.filter(**owner))
    plan = events.order_by("-emitted_at", "-id")[:21].explain(format=FORMAT)

    assert events.count() == 3
    assert WALKED in plan.replace("\\", "")  # Django quotes JSON once more


def _analyse() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            tables = ", ".join(m._meta.db_table for m in (OutboxEvent, Order, Crate))
            cursor.execute(f"ANALYZE TABLE {tables}")
            cursor.fetchall()
        else:
            cursor.execute("ANALYZE")
