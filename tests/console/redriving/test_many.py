"""40,000 rows in bounded turns, plans that touch what they need, and what is deleted one day."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test import override_settings

from reliable_effects.clock import DbNow, moved
from reliable_effects.console.redriving import beginning, gathering, steps
from reliable_effects.console.redriving.models import (
    OperationState,
    Outcome,
    RedriveItem,
    RedriveOperation,
)
from reliable_effects.console.redriving.preview import preview
from reliable_effects.console.redriving.selection import Selection
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.outbox.conftest import an_event, poisoned_delivery

from .conftest import POISONED, begun, later, released, seen, swept, work

pytestmark = pytest.mark.django_db

MANY = 40_000
only_postgres = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="filled with generate_series"
)


def fill(count: int) -> None:
    """Poison pills of one event, among as many that succeeded."""
    event = an_event()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO reliable_effects_delivery (event_id, effect, key, generation, queue, state,"
            " reason, hints, attempts, worker, finished_at, flags) SELECT %s, 'shop.wrap',"
            " gen_random_uuid(), 0, 'effects', CASE n %% 2 WHEN 0 THEN 6 ELSE 2 END, '', 0, 8, '',"
            " now() - interval '1 minute', 16 FROM generate_series(1, %s) n",
            [event.pk, 2 * count],
        )
        cursor.execute("ANALYZE reliable_effects_delivery")


def plan_of(queryset) -> str:
    return str(
        queryset.explain(format="json") if connection.vendor == "postgresql" else queryset.explain()
    )


@only_postgres
def test_forty_thousand_are_gathered_and_released_in_bounded_turns():
    """The relay waits for the sweep in the same thread."""
    fill(MANY)
    operation = begun(canary=500, rate=30_000)
    longest = turns = 0.0
    while seen(operation).state == OperationState.GATHERING:
        before, start = operation.gathered, time.monotonic()
        steps.step("default", operation.pk)
        longest = max(longest, time.monotonic() - start)
        turns += 1
        assert seen(operation).gathered - before <= gathering.CHUNK

    assert operation.gathered == MANY
    assert turns >= MANY / gathering.CHUNK
    assert longest < 5  # seconds; 0.1 on a machine with nothing else to do
    steps.step("default", operation.pk)
    assert len(released(operation)) == 500


@only_postgres
def test_a_big_selection_is_counted_so_far_and_no_further(monkeypatch):
    """ "40,000" where it can be counted, else "100,000+"."""
    fill(3000)

    assert preview(POISONED, "default").size == "3,000"
    module = "reliable_effects.console.redriving.preview"
    monkeypatch.setattr(f"{module}.COUNTED", 1000)
    monkeypatch.setattr(f"{module}.PATIENCE", timedelta(minutes=1))
    told = preview(POISONED, "default")

    assert (told.size, told.asked) == ("1,000+", 200)


@only_postgres
def test_the_walk_over_what_is_set_aside_is_an_index_alone():
    fill(5000)

    rows = Delivery.objects.filter(state=State.POISONED, pk__gt=100).order_by("pk")
    plan = plan_of(rows.values_list("pk", flat=True)[:2000])

    assert "re_delivery_aside" in plan or "reliable_effects_delivery_pkey" in plan
    assert "Sort" not in plan


@pytest.mark.django_db(transaction=True)  # to analyse commits, on MariaDB
def test_the_next_and_the_followed_are_found_through_their_indexes():
    """Of an operation of thousands, among others of as many."""
    operations = [begun() for _ in range(3)]
    event = an_event()
    delivery = poisoned_delivery(event=event)
    last = delivery.pk
    for operation in operations:
        RedriveItem.objects.bulk_create(
            RedriveItem(
                operation=operation,
                delivery_id=last + number,
                outcome=Outcome.WAITING if number % 10 == 0 else Outcome.SUCCEEDED,
            )
            for number in range(1, 3001)
        )
    RedriveItem.objects.filter(outcome=Outcome.SUCCEEDED, delivery_id__lt=last + 100).update(
        outcome=Outcome.RELEASED, look_at=DbNow(), released_at=DbNow()
    )
    with connection.cursor() as cursor:
        table = "TABLE " if connection.vendor == "mysql" else ""
        cursor.execute(f"ANALYZE {table}reliable_effects_redriveitem")
        cursor.fetchall() if table else None
    items, chosen = RedriveItem.objects, operations[1]

    assert "re_redrive_item_outcome" in plan_of(items.next_in(chosen)[:500])
    assert "re_redrive_item_look" in plan_of(
        items.followed_in(chosen).filter(look_at__lte=DbNow())[:1000]
    )
    assert "re_redrive_item_outcome" in plan_of(
        items.filter(operation=chosen, outcome=Outcome.FAILED).order_by("-pk")[:20]
    )


def test_items_of_old_operations_are_deleted_and_the_operation_stays(monkeypatch):
    """In small batches; what was counted is still told."""
    monkeypatch.setattr(steps, "_SWEPT_AWAY", 2)
    for _ in range(5):
        poisoned_delivery("shop.wrap")
    operation = begun(canary=5)
    swept()
    work()
    with later():
        swept()
    assert seen(operation).state == OperationState.DONE

    with moved(timedelta(days=89)):
        swept()
        assert RedriveItem.objects.count() == 5
    with moved(timedelta(days=91)):
        swept()
        assert RedriveItem.objects.count() == 3
        swept()
        swept()

    assert not RedriveItem.objects.exists()
    assert seen(operation).forgotten_at is not None
    assert operation.succeeded == 5


def test_the_retention_is_a_setting():
    operation = begun()
    RedriveOperation.objects.update(ended_at=DbNow() - timedelta(days=2), state=OperationState.DONE)
    with override_settings(
        RELIABLE_EFFECTS={"TRANSPORT": "none", "REDRIVE_RETENTION": timedelta(days=1)}
    ):
        swept()

    assert seen(operation).forgotten_at is not None


def test_the_longest_selection_of_ids_comes_back_from_its_page():
    """10,000 ids of nineteen digits."""
    ids = range(2**63 - 10_001, 2**63 - 1)

    assert len(json.dumps(Selection.of_ids(ids).to_json())) < beginning.LONGEST
