"""What a page asks about one object is looked up, however many others there are."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects.effects.keys import new_event_id
from reliable_effects.models import Delivery, OutboxEvent
from reliable_effects.outbox.about import deliveries_about
from tests.shop.models import Order

_OTHERS = 3000  # events; of fewer a server reads the whole table, and rightly


@pytest.mark.django_db(transaction=True)  # ANALYZE TABLE commits
def test_both_queries_go_through_an_index():
    """Ten million deliveries walked backwards to find an order's ten would take minutes."""
    if connection.vendor == "sqlite":
        pytest.skip("its plans name no costs")
    orders = [Order(pk=pk) for pk in range(1, _OTHERS + 1)]
    events = [
        OutboxEvent(
            id=new_event_id(), name="shop.wrap", subject_model="shop.order", source="promise",
            subject_pk=str(order.pk), correlation=new_event_id(),
        )
        for order in orders
    ]  # fmt: skip
    OutboxEvent.objects.bulk_create(events)
    Delivery.objects.bulk_create(
        Delivery(event=event, effect="shop.wrap", key=new_event_id(), queue="effects", state=2)
        for event in events
    )
    with connection.cursor() as cursor:
        analyze = "ANALYZE TABLE" if connection.vendor == "mysql" else "ANALYZE"
        for name in ("delivery", "outboxevent"):
            cursor.execute(f"{analyze} reliable_effects_{name}")

    with CaptureQueriesContext(connection) as queries:
        assert len(deliveries_about(orders[7])[:50]) == 1

    plans = [_plan(query["sql"]) for query in queries]
    assert "re_event_subject" in plans[0]
    assert "Seq Scan" not in plans[1]
    assert "Backward" not in plans[1]
    assert '"access_type": "ALL"' not in plans[1]
    assert '"access_type": "index"' not in plans[1]


def _plan(sql: str) -> str:
    how = "EXPLAIN FORMAT=JSON" if connection.vendor == "mysql" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{how} {sql}")
        return "\n".join(str(row[0]) for row in cursor.fetchall())
