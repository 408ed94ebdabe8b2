"""A person who asks to be forgotten is: payloads and error texts go, and what was done stays done."""

from __future__ import annotations

import logging

import pytest
from django.db import connection

from reliable_effects import Event
from reliable_effects.effects.registry import registry
from reliable_effects.outbox import forget as forget_module
from reliable_effects.outbox import remedy
from reliable_effects.outbox.forget import MARK, MARK_TEXT, Left, Share, also, forget
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import Notes, Reason, State
from tests.outbox.conftest import (
    IN_STATE,
    an_event,
    carry_out,
    pending_delivery,
    poisoned_delivery,
    running_delivery,
    runs_of,
    succeeded_delivery,
    uncertain_delivery,
)
from tests.shop.models import Order
from tests.sweeps.conftest import locked, refusing

pytestmark = pytest.mark.django_db(transaction=True)

ADA = {"name": "Ada"}


@pytest.fixture
def order() -> Order:
    return Order.objects.create()


def forgotten(subject, **options):
    return forget(subject, by="anna", why="request of 3 May", **options)


def failed_attempt(row: Delivery) -> Attempt:
    return Attempt.objects.create(
        delivery=row, number=1, outcome="failed", exception_type="shop.NoSuchName",
        message="no Ada", traceback="in wrap: Ada", fingerprint="f" * 32, host="h",
    )  # fmt: skip


# What goes, and what stays


def test_payload_and_trace_go_and_the_row_stays(order):
    """That it was done, and under which key, keeps it from being done again."""
    row = succeeded_delivery(subject=order, payload=ADA, event={"trace_id": "00-ada"})
    before = OutboxEvent.objects.values("pk", "name", "subject_model", "subject_pk", "source").get()
    as_it_was = Delivery.objects.values().get()

    told = forgotten(order)

    event = OutboxEvent.objects.get()
    assert told.events == 1
    assert told.is_complete
    assert (event.payload, event.version, event.trace_id) == (MARK, 0, "")
    assert OutboxEvent.objects.values(*before).get() == before
    assert Delivery.objects.values().get(pk=row.pk) == as_it_was


def test_error_texts_go_and_what_kind_they_were_stays(order):
    """A message may quote the person; its type says what is wrong with the code."""
    attempt = failed_attempt(poisoned_delivery(subject=order))

    told = forgotten(order)

    attempt.refresh_from_db()
    assert told.attempts == 1
    assert (attempt.message, attempt.traceback) == (MARK_TEXT, "")
    assert (attempt.outcome, attempt.exception_type) == ("failed", "shop.NoSuchName")
    assert attempt.fingerprint == "f" * 32


def test_of_the_notes_only_numbers_stay(order):
    """An edited payload would be there, or what a later release writes."""
    row = poisoned_delivery(subject=order, notes={Notes.ROUND: 2, "payload": ADA})

    told = forgotten(order)

    row.refresh_from_db()
    assert told.notes == 1
    assert row.notes == {Notes.ROUND: 2}


def test_other_subjects_keep_theirs(order):
    """Also one whose key begins alike, and one of another model with the same key."""
    for facts in ({"subject_pk": f"{order.pk}0"}, {"subject_model": "shop.ledgerentry"}):
        failed_attempt(succeeded_delivery(subject=order, payload=ADA, event=facts))

    told = forgotten(order)

    assert (told.events, told.attempts) == (0, 0)
    assert not OutboxEvent.objects.filter(version=0).exists()
    assert not Attempt.objects.filter(message=MARK_TEXT).exists()


def test_what_was_written_under_an_earlier_name_is_found(order):
    """A person asks for all of it, whatever the model was called."""
    with registry.scratch():
        Event("test.seen", subject="shop.Order", subject_aliases=["old.Sale", "older.Sale"])
        for label in ("old.sale", "older.sale", "shop.order"):
            an_event(order, payload=ADA, subject_model=label)

        told = [forgotten(f"{label}:{order.pk}").events for label in ("older.Sale", "shop.Order")]

    assert told == [3, 0]


def test_a_model_that_is_gone_is_found_by_its_rows():
    """Its code was deleted; what was written about it was not."""
    an_event(subject_model="gone.sale", subject_pk="anna", payload=ADA)

    assert forgotten("gone.Sale:anna").events == 1


def test_twice_is_once(order):
    """So that a job may repeat it until nothing is left."""
    failed_attempt(poisoned_delivery(subject=order, payload=ADA, notes={"payload": ADA}))
    first = forgotten(order)

    second = forgotten(order)

    assert (first.events, first.attempts, first.notes, first.poisoned) == (1, 1, 1, 1)
    assert (second.events, second.attempts, second.notes, second.poisoned) == (0, 0, 0, 0)


def test_a_dry_run_counts_the_same_and_writes_nothing(order):
    """What it says is what will be done."""
    failed_attempt(poisoned_delivery(subject=order, payload=ADA, notes={"payload": ADA}))
    pending_delivery(subject=order, payload=ADA)
    failed_attempt(running_delivery(subject=order, payload=ADA))
    before = [list(model.objects.order_by("pk").values()) for model in (OutboxEvent, Delivery)]

    forecast = forgotten(order, dry_run=True, even_pending=True)

    after = [list(model.objects.order_by("pk").values()) for model in (OutboxEvent, Delivery)]
    assert after == before
    assert forecast == forgotten(order, even_pending=True)


def test_many_are_blanked_in_batches(order, monkeypatch):
    """Each is a short transaction of its own."""
    monkeypatch.setattr(forget_module, "_BATCH", 3)
    for _ in range(7):
        succeeded_delivery(subject=order, payload=ADA)

    assert forgotten(order).events == 7
    assert OutboxEvent.objects.filter(version=0).count() == 7


# What must still run


@pytest.mark.parametrize("make", [pending_delivery, running_delivery, uncertain_delivery])
def test_what_must_still_run_keeps_its_payload_and_is_named(make, order):
    """The erasure at a partner may be among it; what else is kept goes all the same."""
    row = make(subject=order, payload=ADA)
    attempt = failed_attempt(row)
    succeeded_delivery(subject=order, payload=ADA)

    told = forgotten(order)

    attempt.refresh_from_db()
    assert (told.events, told.attempts) == (1, 1)
    assert told.left == [Left(row.pk, "shop.wrap", row.state)]
    assert not told.is_complete
    assert OutboxEvent.objects.get(pk=row.event_id).payload == ADA
    assert attempt.message == MARK_TEXT


def test_an_event_with_one_delivery_to_run_keeps_its_payload_for_it(order):
    """Its other effects have ended, and it needs what they needed."""
    row = pending_delivery(subject=order, payload=ADA)
    succeeded_delivery("shop.thank", event=row.event)

    assert forgotten(order).events == 0
    assert OutboxEvent.objects.get().payload == ADA


def test_even_pending_gives_up_what_waits_and_leaves_what_runs(order):
    """Nobody can call back what runs; a minute later it has ended."""
    rows = {state: make(subject=order, payload=ADA) for state, make in IN_STATE.items()}

    told = forgotten(order, even_pending=True)

    for row in rows.values():
        row.refresh_from_db()
    assert told.cancelled == 2
    assert [left.id for left in told.left] == [rows[State.RUNNING].pk]
    assert rows[State.PENDING].state == rows[State.UNCERTAIN].state == State.CANCELLED
    assert rows[State.RUNNING].state == State.RUNNING
    kept = OutboxEvent.objects.filter(version__gt=0)
    assert [event.pk for event in kept] == [rows[State.RUNNING].event_id]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="it locks all or nothing")
def test_a_row_that_somebody_holds_counts_as_one_that_runs(order):
    """An atomic effect is at work on it; to wait for it would be to wait for its lease."""
    row = succeeded_delivery(subject=order, payload=ADA)

    with locked(row):
        told = forgotten(order)

    assert [left.id for left in told.left] == [row.pk]
    assert OutboxEvent.objects.get().payload == ADA


@pytest.mark.parametrize("of", ["shop.wrap", "shop.send_receipt"], ids=["dict", "dataclass"])
def test_what_is_redriven_all_the_same_ends_visibly(of, order):
    """Nobody gets a mail that begins with "Dear __forgotten__"."""
    row = poisoned_delivery(of, subject=order, payload=ADA)
    forgotten(order)
    remedy.redrive(Delivery.objects.filter(pk=row.pk), by="anna", why="by mistake")

    carry_out(row)

    assert (row.state, row.reason) == (State.POISONED, Reason.UNREADABLE)
    assert runs_of(row) == 0
    assert "asked to be forgotten" in Attempt.objects.latest("pk").message


# How


def test_an_event_that_cannot_be_changed_stops_no_other(order, caplog):
    """Not even those of its own batch; and it is told."""
    rows = [succeeded_delivery(subject=order, payload=ADA) for _ in range(3)]
    bad = rows[1].event_id
    spelled = bad if connection.vendor == "postgresql" else bad.hex
    if connection.vendor == "mysql" and connection.features.has_native_uuid_field:
        spelled = bad

    with refusing("reliable_effects_outboxevent", "UPDATE", f"OLD.id = '{spelled}'"):
        told = forgotten(order)

    assert (told.events, told.failed) == (2, 1)
    assert not told.is_complete
    assert [event.pk for event in OutboxEvent.objects.filter(version__gt=0)] == [bad]
    assert f"could not forget event {bad}" in caplog.text


def test_the_log_says_who_was_forgotten_why_and_how_much(order, caplog):
    """Whoever must prove it has nothing else left."""
    failed_attempt(poisoned_delivery(subject=order, payload=ADA))

    with caplog.at_level(logging.INFO, "reliable_effects"):
        forgotten(order)

    line = f"forgot shop.order:{order.pk} on default events=1 attempts=1"
    assert line in caplog.text
    assert "by='anna' why='request of 3 May'" in caplog.text
    assert "Ada" not in caplog.text


def test_other_tables_are_asked_by_every_name(order, monkeypatch):
    """Jobs and reports are floors above; they bring their own."""
    monkeypatch.setattr(forget_module, "_others", {})
    asked = []

    def blank(*of, **how) -> Share:
        asked.append((of, how))
        return Share(2, left=1)

    also("jobs", blank)
    with registry.scratch():
        Event("test.seen", subject="shop.Order", subject_aliases=["old.Sale"])
        told = forgotten(order, dry_run=True)

    options = {"even_pending": False, "dry_run": True}
    names = ("shop.order", "old.sale", "shop.giftorder")  # the last is a proxy of the first
    assert sorted(of[1] for of, _ in asked) == sorted(names)
    assert all((of[0], of[2], how) == ("default", str(order.pk), options) for of, how in asked)
    assert told.others == {"jobs": Share(6, left=3)}
    assert not told.is_complete


@pytest.mark.parametrize(
    ("subject", "options", "said"),
    [
        ("shop.Ordre:1", {}, "Did you mean 'shop.order'"),
        ("nothing.LikeIt:1", {}, "No model and no event"),
        ("shop.Order", {}, "Write it like"),
        ("shop.Order:", {}, "Write it like"),
        ("shop.Order:anna", {}, "no primary key"),
        (Order(), {}, "has no primary key"),
        ("shop.Order:1", {"why": " "}, "why="),
        ("shop.Order:1", {"using": "nowhere"}, "using="),
    ],
)
def test_what_makes_no_sense_is_refused(subject, options, said):
    """A typo must not look like a person of whom nothing is kept."""
    row = succeeded_delivery(payload=ADA)

    with pytest.raises(ValueError, match=said):
        forget(subject, **{"by": "anna", "why": "asked", **options})

    assert OutboxEvent.objects.get(pk=row.event_id).payload == ADA
