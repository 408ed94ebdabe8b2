"""Notes that somebody damaged (by SQL, or with another tool) are read as none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from reliable_effects import ONCE, Snooze
from reliable_effects.outbox import remedy
from reliable_effects.outbox.admin import looks
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import Notes, Reason, State, noted
from tests.outbox.conftest import (
    cancelled_delivery,
    carry_out,
    pending_delivery,
    poisoned_delivery,
    raising,
    uncertain_delivery,
)
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = ("round", "snoozed", "verifies", "kills")
DAMAGED = [
    ["a list"],
    "text",
    7,
    dict.fromkeys(KEYS, "many"),
    {key: {"a": 1} for key in KEYS},
    dict.fromkeys(KEYS, -1),
    dict.fromkeys(KEYS, 1e300),
    dict.fromkeys(KEYS, True),
]
damaged = pytest.mark.parametrize("notes", DAMAGED, ids=str)


@damaged
def test_a_snooze_is_written_over_them(notes, make_effect):
    """Else it is never written: the effect would run again at the end of each lease."""
    delivery = pending_delivery(make_effect(raising(Snooze(timedelta(seconds=1)))), notes=notes)

    carry_out(delivery)

    assert (delivery.state, delivery.attempts) == (State.PENDING, 0)
    assert [noted(delivery.notes, name) for name in (Notes.ROUND, Notes.SNOOZED)] == [1, 1]


@damaged
@pytest.mark.parametrize(
    ("answer", "state"),
    [(True, State.SUCCEEDED), (False, State.PENDING), (None, State.UNCERTAIN)],
)
def test_an_answer_of_verify_is_written(notes, answer, state, make_effect):
    """A question whose count cannot be read is asked for the first time."""
    delivery = uncertain_delivery(make_effect(verify=lambda *_: answer), notes=notes)

    carry_out(delivery)

    assert delivery.state == state


@damaged
def test_a_redrive_takes_them_with_the_others(notes):
    """A bulk action must not stop at one bad row."""
    rows = [poisoned_delivery(notes=notes), poisoned_delivery()]

    changed = remedy.redrive(Delivery.objects.all(), by="a person", why="a reason")

    assert {row.pk for row in changed} == {row.pk for row in rows}


@damaged
def test_a_debt_promised_again_is_reopened(notes, make_effect):
    """This is written in a request."""
    effect = make_effect()
    effect.owed(since="placed_at", grace=timedelta(0), debt=ONCE)(Order.objects.all)
    order = Order.objects.create()
    with transaction.atomic():
        effect.promise(order)
    Delivery.objects.update(state=State.CANCELLED, look_at=None, notes=notes)

    with transaction.atomic():
        effect.promise(order)

    delivery = Delivery.objects.get()
    assert (delivery.state, noted(delivery.notes, Notes.ROUND)) == (State.PENDING, 1)


@damaged
def test_the_admin_shows_them(notes):
    """Where else would a person find them?"""
    assert looks.notes(cancelled_delivery(notes=notes))


def test_a_snooze_beyond_all_bounds_is_snoozed_out(make_effect):
    """Added to what was snoozed before, it is no timedelta any more."""
    effect = make_effect(raising(Snooze(timedelta.max)))
    delivery = pending_delivery(effect, notes={"snoozed": 1})

    carry_out(delivery)

    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.SNOOZED_OUT)
