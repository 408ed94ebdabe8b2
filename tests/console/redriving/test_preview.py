"""What would come of it is asked as a run asks it, and nothing can be written by asking."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from reliable_effects import Event
from reliable_effects.clock import DbNow
from reliable_effects.console.redriving import preview as module
from reliable_effects.console.redriving.guards import Foreseen
from reliable_effects.console.redriving.preview import preview
from reliable_effects.console.redriving.reading import NothingIsWritten, reading_only
from reliable_effects.console.redriving.selection import Selection
from reliable_effects.outbox import pausing, remedy
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.payloads import PayloadEdit
from reliable_effects.outbox.states import Notes, State
from tests.outbox.conftest import (
    IN_STATE,
    an_event,
    carry_out,
    poisoned_delivery,
    raising,
    uncertain_delivery,
)
from tests.shop.models import LedgerEntry, Order

pytestmark = pytest.mark.django_db(transaction=True)

POISONED = Selection.of_query({"state": ["poisoned"]})


def foreseen(*rows: Delivery) -> list[Foreseen]:
    """Of each alone."""
    found = []
    for row in rows:
        (told,) = preview(Selection.of_ids([row.pk]), "default").rows
        found.append(told.foreseen)
    return found


def gone(of) -> Delivery:
    order = Order.objects.create()
    row = poisoned_delivery(of, subject=order)
    order.delete()
    return row


def test_it_foresees_what_a_run_then_does(make_effect):
    """One list of questions, asked twice: if they part ways, the preview lies."""
    done = Order.objects.create(status="cancelled")
    picky = make_effect(still_needed=lambda order: order.status == "placed")
    expiring = make_effect(expires_after=timedelta(hours=1))
    old = an_event(emitted_at=DbNow() - timedelta(hours=2))
    expected = {
        poisoned_delivery(make_effect()): (Foreseen.RUNS, State.SUCCEEDED, ""),
        poisoned_delivery(picky): (Foreseen.RUNS, State.SUCCEEDED, ""),
        poisoned_delivery(picky, subject=done): (
            Foreseen.NOT_NEEDED, State.SKIPPED, "NOT_NEEDED",
        ),
        poisoned_delivery("shop.charge_card", subject=Order.objects.create(charge_id="paid")): (
            Foreseen.NOT_NEEDED, State.SKIPPED, "NOT_NEEDED",
        ),
        poisoned_delivery(expiring, event=old): (Foreseen.EXPIRED, State.SKIPPED, "EXPIRED"),
        gone(make_effect()): (Foreseen.GONE, State.POISONED, "SUBJECT_GONE"),
        gone(make_effect(subject_gone="skip")): (
            Foreseen.GONE_SKIPPED, State.SKIPPED, "SUBJECT_GONE",
        ),
        gone(make_effect(subject_gone="run")): (Foreseen.RUNS, State.SUCCEEDED, ""),
        poisoned_delivery(make_effect(), event={"version": 0}): (
            Foreseen.UNREADABLE, State.POISONED, "UNREADABLE",
        ),
        poisoned_delivery(make_effect(), payload=["no dict"]): (
            Foreseen.UNREADABLE, State.POISONED, "UNREADABLE",
        ),
    }  # fmt: skip
    lost = poisoned_delivery(make_effect())
    OutboxEvent.objects.filter(pk=lost.event_id).delete()
    expected[lost] = (Foreseen.UNREADABLE, State.POISONED, "UNREADABLE")

    for row, (said, _, _) in expected.items():
        assert foreseen(row) == [said]
    remedy.redrive(remedy.of("default", [row.pk for row in expected]), by="ada", why="test")
    carry_out(*expected)

    for row, (_, state, reason) in expected.items():
        assert (row.state, row.reason) == (state, reason)


def test_it_tells_what_a_redrive_leaves_alone_or_nobody_here_can_run(make_effect):
    """Each in a word of its own."""
    for state, said in {
        State.SUCCEEDED: Foreseen.DONE,
        State.PENDING: Foreseen.WAITS,
        State.RUNNING: Foreseen.RUNNING,
    }.items():
        assert foreseen(IN_STATE[state]()) == [said]
    effect = make_effect()
    later = poisoned_delivery(effect, event={"version": 99})

    assert foreseen(later, uncertain_delivery(effect), poisoned_delivery("shop.left")) == [
        Foreseen.LATER_RELEASE,
        Foreseen.UNCERTAIN,
        Foreseen.UNKNOWN,
    ]
    pausing.pause(effect.name, by="ada", why="wait")
    assert foreseen(poisoned_delivery(effect)) == [Foreseen.PAUSED]


def test_upcasters_are_asked_too(make_effect):
    """A payload of last year, and a step that fails."""

    def upcast(payload):
        return {"name": payload["name"]}

    event = Event("test.upcast", subject="shop.Order", version=2, upcast={1: upcast})
    effect = make_effect(on=event)
    facts = {"source": "emit", "name": "test.upcast"}
    rows = [
        poisoned_delivery(effect, event=an_event(payload=said, **facts))
        for said in ({"name": "x"}, {})
    ]

    assert foreseen(*rows) == [Foreseen.RUNS, Foreseen.UNREADABLE]


def test_what_a_person_has_edited_is_what_is_read(make_effect):
    """Not the event's own payload, which they have rejected; and an edit that is gone is neither."""
    row = poisoned_delivery(make_effect(), payload=["no dict"])
    made = PayloadEdit.objects.create(
        delivery=row, event_id=row.event_id, payload={}, version=1, generation=0, by="ada", why="x"
    )
    Delivery.objects.filter(pk=row.pk).update(notes={Notes.EDIT: made.pk})

    assert foreseen(row) == [Foreseen.RUNS]
    made.delete()
    assert foreseen(row) == [Foreseen.UNREADABLE]


def writing(order) -> bool:
    LedgerEntry.objects.create(order_pk=order.pk, what="by a guard", key="")
    return True


def writing_raw(_order) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_order SET status = 'stolen'")
    return True


def writing_in_a_block(order) -> bool:
    with transaction.atomic():
        return writing(order)


@pytest.mark.parametrize("in_a_block", [False, True])
def test_what_a_guard_leaves_for_the_commit_is_not_done(make_effect, in_a_block):
    """The caller's transaction may be that of a request, and is committed after the page."""

    def hooking(order) -> bool:
        transaction.on_commit(lambda: writing(order), robust=True)
        return True

    poisoned_delivery(make_effect(still_needed=hooking))

    if in_a_block:
        with transaction.atomic():
            preview(POISONED, "default")
    else:
        preview(POISONED, "default")

    assert not LedgerEntry.objects.exists()


@pytest.mark.parametrize("guard", [writing, writing_raw, writing_in_a_block])
@pytest.mark.parametrize("in_a_block", [False, True])
def test_a_guard_that_writes_is_refused_and_told_of(make_effect, guard, in_a_block):
    """By the database. The rows that follow are asked all the same."""
    poisoned_delivery(make_effect(still_needed=guard, name="test.writing"))
    poisoned_delivery(make_effect())

    if in_a_block:
        with transaction.atomic():
            told = preview(POISONED, "default")
            Order.objects.create()  # the caller's own transaction can go on writing
    else:
        told = preview(POISONED, "default")

    assert [row.foreseen for row in told.rows] == [Foreseen.RUNS, Foreseen.FAILED]
    assert told.sayings[0].startswith("test.writing: ")
    assert not LedgerEntry.objects.exists()
    assert not Order.objects.filter(status="stolen").exists()
    Order.objects.create()  # and afterwards everybody can


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_guard_cannot_write_to_another_database():
    """There what Django sends is looked at."""
    with (
        reading_only("default", timedelta(seconds=3)),
        connections["other"].cursor() as cursor,
    ):
        cursor.execute("SELECT 1")
        for sql in (
            "DELETE FROM shop_order",
            "/* SELECT */ UPDATE shop_order SET status = ''",
            "WITH x AS (DELETE FROM shop_order RETURNING 1) SELECT * FROM x",
        ):
            with pytest.raises(NothingIsWritten, match="other"):
                cursor.execute(sql)


def test_what_a_guard_says_is_redacted_and_cut(make_effect):
    """It may hold whatever an exception holds."""
    poisoned_delivery(
        make_effect(still_needed=raising(ValueError("password=hunter2 \x00" + "x" * 10_000)))
    )

    (saying,) = preview(POISONED, "default").sayings

    assert "hunter2" not in saying
    assert "\x00" not in saying
    assert len(saying) < 500


def test_a_guard_that_ends_the_process_ends_nothing(make_effect):
    poisoned_delivery(make_effect(still_needed=raising(SystemExit(1))))

    assert [row.foreseen for row in preview(POISONED, "default").rows] == [Foreseen.FAILED]


def test_of_many_a_sample_from_both_ends_is_asked(monkeypatch):
    """And the page says that it is one."""
    monkeypatch.setattr(module, "AT_MOST", 6)
    monkeypatch.setattr(module, "COUNTED", 10)
    event = an_event()
    for number in range(12):
        poisoned_delivery("shop.wrap" if number < 6 else "shop.send_receipt", event=event)

    told = preview(POISONED, "default")

    assert (told.size, told.asked, told.is_sample) == ("10+", 6, True)
    assert [(row.effect, row.count) for row in told.rows] == [
        ("shop.send_receipt", 3),
        ("shop.wrap", 3),
    ]


def test_it_ends_when_its_time_is_over(make_effect, monkeypatch):
    """A guard that asks a slow table must not hold the page."""
    monkeypatch.setattr(module, "PATIENCE", timedelta(milliseconds=300))

    def slow(_order) -> bool:
        time.sleep(0.2)  # what the test is about
        return True

    effect = make_effect(still_needed=slow)
    for _ in range(10):
        poisoned_delivery(effect)

    told = preview(POISONED, "default")

    assert told.out_of_time
    assert 1 <= told.asked < 10
    assert told.is_sample


def test_a_query_that_never_ends_is_ended(make_effect, monkeypatch):
    """Where the database has a bound for one."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has none")
    monkeypatch.setattr(module, "PATIENCE", timedelta(milliseconds=300))
    sleep = "pg_sleep(20)" if connection.vendor == "postgresql" else "SLEEP(20)"

    def hangs(_order) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {sleep}")
            return cursor.fetchone() is not None

    poisoned_delivery(make_effect(still_needed=hangs))
    begun = time.monotonic()

    told = preview(POISONED, "default")

    assert time.monotonic() - begun < 10
    assert [row.foreseen for row in told.rows] == [Foreseen.FAILED]
    with connection.cursor() as cursor:  # and it is over with the preview
        cursor.execute(f"SELECT {sleep.replace('20', '0.5')}")


def test_it_runs_no_effect_and_asks_no_partner(make_effect):
    """`verify` is work of a worker."""
    ran: list[str] = []
    effect = make_effect(
        lambda *_: ran.append("effect"), verify=lambda *_: bool(ran.append("verify"))
    )
    uncertain_delivery(effect)
    poisoned_delivery(effect)

    preview(Selection.of_query({"state": ["uncertain"]}), "default")
    preview(POISONED, "default")

    assert not ran
