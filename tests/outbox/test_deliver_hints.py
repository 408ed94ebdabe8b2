"""A hint carries a database and ids, never facts: whatever else it says is dropped."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reliable_effects.clock import DbNow
from reliable_effects.outbox.deliver import IDS_AT_MOST, on_hint
from reliable_effects.outbox.states import State
from tests.outbox.conftest import (
    pending_delivery,
    poisoned_delivery,
    running_delivery,
    runs_of,
    succeeded_delivery,
    uncertain_delivery,
)
from tests.shop.models import LedgerEntry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "hint",
    [
        None,
        "ids",
        42,
        b"\x00",
        [],
        [1, 2],
        {},
        {"v": 1},
        {"v": 2, "db": "default", "ids": [1]},
        {"v": "1", "db": "default", "ids": [1]},
        {"v": [1], "db": "default", "ids": [1]},
        {"v": 1, "db": "other", "ids": [1]},
        {"v": 1, "db": "nowhere", "ids": [1]},
        {"v": 1, "db": None, "ids": [1]},
        {"v": 1, "db": ["default"], "ids": [1]},
        {"v": 1, "db": {"default": 1}, "ids": [1]},
        {"v": 1, "db": "default"},
        {"v": 1, "db": "default", "ids": None},
        {"v": 1, "db": "default", "ids": 1},
        {"v": 1, "db": "default", "ids": "1"},
        {"v": 1, "db": "default", "ids": {"1": 1}},
        {"v": 1, "db": "default", "ids": [True]},
        {"v": 1, "db": "default", "ids": [-1]},
        {"v": 1, "db": "default", "ids": [0]},
        {"v": 1, "db": "default", "ids": [1.0]},
        {"v": 1, "db": "default", "ids": ["1"]},
        {"v": 1, "db": "default", "ids": [None]},
        {"v": 1, "db": "default", "ids": [[1]]},
        {"v": 1, "db": "default", "ids": [2**63]},
        {"v": 1, "db": "default", "ids": [10**400]},
        {"v": 1, "db": "default", "ids": list(range(1, IDS_AT_MOST + 2))},
    ],
    ids=lambda hint: str(hint)[:40],
)
def test_a_malformed_hint_is_dropped_and_logged(hint, make_effect, caplog):
    """A message that raised would come back, and anybody may write to a broker."""
    delivery = pending_delivery(make_effect(), id=1)

    on_hint(hint)

    assert runs_of(delivery) == 0
    assert "hint dropped" in caplog.text


def test_a_repeated_hint_runs_nothing_twice(make_effect):
    """Brokers repeat messages; so does the relay."""
    delivery = pending_delivery(make_effect())
    hint = {"v": 1, "db": "default", "ids": [delivery.pk, delivery.pk, delivery.pk]}

    for _ in range(3):
        on_hint(hint)

    assert runs_of(delivery) == 1


def test_a_hint_for_what_may_not_run_does_nothing(make_effect):
    """Forged, late or out of order: the row decides."""
    one = make_effect(verify=lambda *_: True)
    rows = [
        pending_delivery(one, due_at=DbNow() + timedelta(hours=1)),
        running_delivery(one),
        succeeded_delivery(one),
        poisoned_delivery(one),
        uncertain_delivery(one, look_at=None),
    ]
    before = [row.state for row in rows]

    on_hint({"v": 1, "db": "default", "ids": [*(row.pk for row in rows), 10**12]})

    for row in rows:
        row.refresh_from_db()
    assert [row.state for row in rows] == before
    assert not LedgerEntry.objects.exists()


def test_a_hint_with_an_unknown_name_among_others_runs_the_others(make_effect):
    """One row that this release does not know stops nothing."""
    unknown, known = pending_delivery("gone.effect"), pending_delivery(make_effect())

    on_hint({"v": 1, "db": "default", "ids": [unknown.pk, known.pk]})

    known.refresh_from_db()
    unknown.refresh_from_db()
    assert known.state == State.SUCCEEDED
    assert unknown.state == State.PENDING


def test_facts_in_a_hint_are_not_believed(make_effect):
    """Only database and ids are read."""
    delivery = pending_delivery(make_effect())

    on_hint({"v": 1, "db": "default", "ids": [delivery.pk], "effect": "x", "payload": {"a": 1}})

    assert runs_of(delivery) == 1
