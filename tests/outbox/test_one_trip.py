"""Complete, claim, event and subject in one message; and what is in its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from reliable_effects.outbox import succeed
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.claimed import UNREAD
from reliable_effects.outbox.one_trip import claim_one, succeed_and_claim
from reliable_effects.outbox.run import run
from reliable_effects.outbox.states import Reason, State
from reliable_effects.outbox.subjects import MISSING
from reliable_effects.outbox.verdicts import Skipped, Succeeded
from tests.outbox.conftest import an_event, claim_of, pending_delivery, runs_of
from tests.shop.models import Order
from tests.sweeps.conftest import open_elsewhere, refusing
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="the one trip is there"
)
ORDERS = Order._meta.db_table


def seen_of(delivery):
    (seen,) = look("default", [delivery.pk])
    return seen


@on_postgresql
def test_one_is_completed_and_the_next_begun_in_one_round_trip(make_effect):
    """Each would cost as much as all of them: what takes time is the way, and the commit."""
    one = make_effect()
    first, second = pending_delivery(one), pending_delivery(one)
    held, following = claim_of(first), seen_of(second)

    with CaptureQueriesContext(connection) as sent:
        won, taken = succeed_and_claim(held, following)

    assert len(sent) == 1
    assert won
    assert taken.event == second.event
    assert taken.subject == Order.objects.get(pk=second.event.subject_pk)


@on_postgresql
def test_what_is_run_next_needs_no_query_of_its_own(make_effect):
    one = make_effect(lambda *_: None)
    taken = claim_one(seen_of(pending_delivery(one)))

    with CaptureQueriesContext(connection) as sent:
        verdict = run(taken)

    assert isinstance(verdict, Succeeded)
    assert list(sent) == []


def test_a_subject_that_is_gone_is_known_to_be(make_effect):
    delivery = pending_delivery(make_effect(subject_gone="skip"))
    Order.objects.all().delete()

    taken = claim_one(seen_of(delivery))

    verdict = run(taken)

    assert isinstance(verdict, Skipped)
    assert verdict.reason is Reason.SUBJECT_GONE
    assert taken.subject is MISSING or connection.vendor != "postgresql"


def test_an_event_about_nothing_has_no_subject(make_effect):
    about_nothing = an_event(subject_model="", subject_pk="")
    delivery = pending_delivery(make_effect(), event=about_nothing)

    assert isinstance(run(claim_one(seen_of(delivery))), Succeeded)
    assert runs_of(delivery) == 1


@on_postgresql
def test_the_subject_is_as_it_was_after_the_claim(make_effect):
    """Who changes it before, and finds the delivery waiting, need not promise anything anew."""
    delivery = pending_delivery(make_effect())
    seen = seen_of(delivery)
    Order.objects.update(status="cancelled")

    assert claim_one(seen).subject.status == "cancelled"


# What is in the way


@on_postgresql
@pytest.mark.parametrize("spelled", ["abc", "99999999999999999999"])
def test_a_key_that_cannot_be_read_undoes_nothing(make_effect, spelled):
    """The database refuses the whole message; the completion was committed before."""
    one = make_effect()
    first, second = pending_delivery(one), pending_delivery(one, event={"subject_pk": spelled})
    held, following = claim_of(first), seen_of(second)

    won, taken = succeed_and_claim(held, following)

    first.refresh_from_db()
    assert won
    assert first.state == State.SUCCEEDED
    assert taken.id == second.pk
    assert taken.subject is UNREAD


@on_postgresql
def test_a_table_that_lacks_a_column_undoes_nothing(make_effect):
    """As between a release and its migration."""
    one = make_effect()
    first, second = pending_delivery(one), pending_delivery(one)
    held, following = claim_of(first), seen_of(second)

    with _renamed("charge_id", "charge"):
        won, taken = succeed_and_claim(held, following)

    first.refresh_from_db()
    second.refresh_from_db()
    assert won
    assert first.state == State.SUCCEEDED
    assert second.claim_token == taken.token
    assert isinstance(run(taken), Succeeded)


@on_postgresql
def test_a_locked_table_of_the_project_keeps_no_completion(make_effect):
    """A migration may hold it for longer than a lease."""
    one = make_effect()
    first, second = pending_delivery(one), pending_delivery(one)
    held, following = claim_of(first), seen_of(second)
    taken = []

    lock = f"LOCK TABLE {ORDERS} IN ACCESS EXCLUSIVE MODE"
    with open_elsewhere(lambda: _execute(lock), seconds=20):
        worker = Thread(target=lambda: taken.append(_and_close(succeed_and_claim, held, following)))
        worker.start()
        eventually(lambda: _state_of(first) == State.SUCCEEDED)
        eventually(lambda: _state_of(second) == State.RUNNING)
        assert taken == []
    worker.join(20)

    assert taken[0][1].subject == Order.objects.get(pk=second.event.subject_pk)


@on_postgresql
def test_a_refused_update_leaves_no_transaction_open(make_effect):
    """Else the connection would refuse all that follows."""
    delivery = pending_delivery(make_effect())
    seen = seen_of(delivery)
    waiting = f"OLD.state = {State.PENDING}"
    refused = refusing("reliable_effects_delivery", "UPDATE", waiting)
    with refused, pytest.raises(Exception, match="refused"):
        claim_one(seen)

    assert claim_one(seen).id == delivery.pk


@on_postgresql
def test_a_driver_that_takes_one_statement_at_a_time_is_given_one(make_effect, monkeypatch):
    """`server_side_binding`: PostgreSQL then takes no second statement in a message."""
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"server_side_binding": True})
    # Django keeps what it has found of it; so it is put there, and taken away again.
    monkeypatch.setitem(connection.features.__dict__, "uses_server_side_binding", True)
    connection.close()
    one = make_effect()
    first, second = pending_delivery(one), pending_delivery(one)

    won, taken = succeed_and_claim(claim_one(seen_of(first)), seen_of(second))

    connection.close()
    assert won
    assert taken.id == second.pk
    assert isinstance(run(taken), Succeeded)


def test_within_a_transaction_an_error_undoes_nothing_of_it(make_effect):
    """A test case has one open."""
    one = make_effect()
    first, second = pending_delivery(one), pending_delivery(one, event={"subject_pk": "abc"})

    with transaction.atomic():
        (held,) = claim(look("default", [first.pk]))
        won, taken = succeed_and_claim(held, seen_of(second))

    assert won
    assert succeed.succeed(taken)


@contextmanager
def _renamed(column: str, other: str) -> Iterator[None]:
    _execute(f"ALTER TABLE {ORDERS} RENAME COLUMN {column} TO {other}")
    try:
        yield
    finally:
        _execute(f"ALTER TABLE {ORDERS} RENAME COLUMN {other} TO {column}")


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _state_of(delivery):
    delivery.refresh_from_db()
    return delivery.state


def _and_close(function, *arguments):
    try:
        return function(*arguments)
    finally:
        connections.close_all()
