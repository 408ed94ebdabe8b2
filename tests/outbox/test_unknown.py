"""Names and versions of another release: put off, not burnt, and not forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from reliable_effects import Event
from reliable_effects.clock import moved, read_clock
from reliable_effects.outbox import unknown
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.pace import pace
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import Reason, State
from tests.outbox.conftest import carry_out, pending_delivery, runs_of, uncertain_delivery

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = "2020-01-01T00:00:00+00:00"


def test_an_unknown_name_is_put_off_and_costs_nothing():
    """During a deploy another worker knows it."""
    delivery = pending_delivery("gone.effect", hints=3)
    before = read_clock("default")

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert delivery.attempts == 0
    assert delivery.hints == 0
    assert delivery.look_at - before > timedelta(seconds=40)
    assert unknown.SINCE in delivery.notes


def test_an_unknown_name_keeps_the_first_instant():
    """Else a day would never be over."""
    delivery = pending_delivery("gone.effect", notes={unknown.SINCE: LONG_AGO, "round": 2})
    Delivery.objects.update(notes={unknown.SINCE: read_clock("default").isoformat(), "round": 2})
    first = Delivery.objects.get().notes

    carry_out(delivery)

    assert delivery.notes == first


def test_a_name_unknown_for_a_day_is_set_aside(caplog):
    """A person sees it then."""
    delivery = pending_delivery("gone.effect", notes={unknown.SINCE: LONG_AGO})

    carry_out(delivery)

    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.UNKNOWN_EFFECT)
    assert delivery.attempts == 0
    assert "UNKNOWN_EFFECT" in caplog.text


def test_what_was_unknown_comes_back_when_a_worker_knows_it(make_effect):
    """The forgotten module was deployed after all."""
    delivery = pending_delivery("test.late", notes={unknown.SINCE: LONG_AGO})
    carry_out(delivery)
    make_effect(name="test.late")

    rescue("default", Turn(None))
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert not delivery.notes
    assert delivery.reason == ""


def test_what_may_have_happened_comes_back_as_that(make_effect):
    """Set aside as unknown and known again, it is asked about before it is run again."""
    delivery = uncertain_delivery("late.effect", notes={unknown.SINCE: LONG_AGO})
    carry_out(delivery)
    assert delivery.reason == Reason.UNKNOWN_EFFECT
    make_effect(name="late.effect", verify=lambda _subject, _ctx: True)

    rescue("default", Turn(None))

    delivery.refresh_from_db()
    assert delivery.state == State.UNCERTAIN
    assert delivery.look_at is not None


def test_a_known_claim_clears_the_mark(make_effect):
    """The next time it is unknown the day begins anew."""
    delivery = pending_delivery(make_effect(), notes={unknown.SINCE: LONG_AGO, "round": 1})

    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert delivery.notes == {"round": 1}


@pytest.mark.parametrize("since", ["yesterday", 17, None, ""])
def test_a_mark_that_cannot_be_read_begins_anew(since):
    """A note is JSON that people may have edited; it must not stop the sweep."""
    delivery = pending_delivery("gone.effect", notes={unknown.SINCE: since})

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert delivery.notes[unknown.SINCE] > LONG_AGO


def test_an_uncertain_row_of_an_unknown_name_stays_uncertain():
    """Put off as well, and never run as if it had not happened."""
    delivery = uncertain_delivery("gone.effect")

    carry_out(delivery)

    assert delivery.state == State.UNCERTAIN
    assert delivery.attempts == 1


def test_a_later_payload_version_is_put_back(make_effect):
    """This release is the older one; the attempt is not its to spend."""
    delivery = pending_delivery(make_effect(), event={"version": 9})
    before = read_clock("default")

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert delivery.attempts == 0
    assert delivery.look_at - before > timedelta(seconds=40)
    assert runs_of(delivery) == 0


def test_a_version_that_nobody_learns_is_set_aside(make_effect):
    """The newer release was rolled back for good."""
    delivery = pending_delivery(make_effect(), event={"version": 9})
    carry_out(delivery)

    with moved(timedelta(minutes=2)):
        Delivery.objects.update(notes={unknown.SINCE: LONG_AGO})
        carry_out(delivery)

    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.UNREADABLE)
    assert delivery.attempts == 0


def test_a_payload_that_cannot_be_read_burns_no_attempts(make_effect):
    """The eighth reading would find the same bytes."""
    order_seen = Event("test.seen", subject="shop.Order", version=3)
    delivery = pending_delivery(
        make_effect(on=order_seen), event={"name": "test.seen", "version": 1, "source": "emit"}
    )

    carry_out(delivery)

    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.UNREADABLE)
    assert delivery.attempts == 0


@pytest.mark.parametrize("payload", [[1, 2], "text", 3], ids=str)
def test_a_payload_of_another_shape_burns_no_attempts(payload, make_effect):
    """An edited row, or another writer."""
    delivery = pending_delivery(make_effect())
    OutboxEvent.objects.update(payload=payload)

    carry_out(delivery)

    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.UNREADABLE)
    assert delivery.attempts == 0


TOO_LONG = '{"a": ' + "9" * 5000 + "}"  # a number that json.loads() refuses


def _overwrite(row: OutboxEvent | Delivery, column: str) -> None:
    """As somebody does by SQL: emit would refuse it."""
    pk = row._meta.pk.get_db_prep_value(row.pk, connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {row._meta.db_table} SET {column} = %s WHERE id = %s", [TOO_LONG, pk]
        )


@pytest.mark.usefixtures("unhurried")
def test_a_payload_that_cannot_be_decoded_stops_no_other(make_effect):
    """Claimed with others it made all of them fail to be read, hint after hint."""
    effect = make_effect(harmless_to_repeat=True)
    pace.note(effect.name, 0.0)
    bad, good = pending_delivery(effect), pending_delivery(effect)
    _overwrite(bad.event, "payload")

    deliver("default", [bad.pk, good.pk])

    bad.refresh_from_db()
    good.refresh_from_db()
    assert good.state == State.SUCCEEDED
    assert (bad.state, bad.reason) == (State.POISONED, Reason.UNREADABLE)


def test_notes_that_cannot_be_decoded_are_as_good_as_none(make_effect):
    """They are read for the whole hint at once."""
    effect = make_effect()
    pace.note(effect.name, 0.0)
    bad, good = pending_delivery(effect), pending_delivery(effect)
    _overwrite(bad, "notes")

    deliver("default", [bad.pk, good.pk])

    assert {row.state for row in Delivery.objects.all()} == {State.SUCCEEDED}


@pytest.mark.parametrize("notes", [[1], "text", 7], ids=str)
def test_notes_of_another_shape_are_as_good_as_none(notes, make_effect):
    """Somebody wrote them by hand; the delivery is owed all the same."""
    known = pending_delivery(make_effect(), notes=notes)
    strange = pending_delivery("gone.effect", notes=notes)

    carry_out(known, strange)

    assert known.state == State.SUCCEEDED
    assert strange.state == State.PENDING
