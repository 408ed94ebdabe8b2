"""Who may act: one guarded UPDATE, an attempt counted before the effect begins, a fresh token."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection

from reliable_effects.clock import DbNow, moved
from reliable_effects.exceptions import LeaseLost
from reliable_effects.outbox import finish, one_trip, succeed, unknown
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.run import run
from reliable_effects.outbox.states import Flag, State
from reliable_effects.outbox.verdicts import Failed
from tests.outbox.conftest import (
    carry_out,
    claim_of,
    pending_delivery,
    runs_of,
    succeeded_delivery,
    uncertain_delivery,
)
from tests.sweeps.conftest import locked

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 20


def test_of_two_workers_one_claims(make_effect):
    """Two hints for one row are the everyday case, and one partner call is what is owed."""
    one = make_effect()

    for _ in range(ROUNDS):
        delivery = pending_delivery(one)
        claims = _race(delivery.pk)

        delivery.refresh_from_db()
        assert len(claims) == 1
        assert delivery.claim_token == claims[0].token
        assert delivery.attempts == 1


def test_two_workers_with_the_same_rows_share_them(make_effect):
    """They pass over what the other holds instead of waiting for it, or for each other."""
    one = make_effect()
    ids = [pending_delivery(one).pk for _ in range(10)]

    claims = _race(*ids)

    assert sorted(c.id for c in claims) == ids
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere the UPDATE waits")
def test_what_another_is_claiming_is_passed_over(make_effect):
    """Who holds it will have changed it: to wait would keep the others of the hint waiting."""
    held, free = (pending_delivery(make_effect()) for _ in range(2))
    seen = look("default", [held.pk, free.pk])

    with locked(held):
        claimed = claim(seen)

    assert [c.id for c in claimed] == [free.pk]


def test_a_claim_counts_the_attempt_before_anything_runs(make_effect):
    """A worker that is killed in the next line has used it up."""
    delivery = pending_delivery(make_effect(), attempts=2)

    claimed = claim_of(delivery)

    delivery.refresh_from_db()
    assert claimed.attempt == delivery.attempts == 3
    assert delivery.state == State.RUNNING
    assert delivery.look_at is None


def test_a_claim_to_verify_spends_no_attempt(make_effect):
    """Asking is not trying."""
    delivery = uncertain_delivery(make_effect(verify=lambda *_: True), attempts=2)

    claimed = claim_of(delivery)

    delivery.refresh_from_db()
    assert claimed.verifying
    assert delivery.attempts == 2


def test_a_claim_begins_a_lease_by_the_databases_clock(make_effect):
    """Worker clocks stray."""
    effect = make_effect(timeout=timedelta(minutes=3))
    delivery = pending_delivery(effect)

    claimed = claim_of(delivery)

    delivery.refresh_from_db()
    begun = delivery.lease_expires_at - effect.lease
    # SQLite reads the clock once more to say when it was.
    assert timedelta(0) <= claimed.claimed_at - begun < timedelta(seconds=5)


def test_a_new_claim_has_a_new_token(make_effect):
    """A counter would repeat after a redrive or a restored backup."""
    delivery = pending_delivery(make_effect())
    tokens = set()
    for _ in range(5):
        claimed = claim_of(delivery)
        tokens.add(claimed.token)
        finish.release(claimed)

    delivery.refresh_from_db()
    assert len(tokens) == 5
    assert delivery.attempts == 0


@pytest.mark.parametrize(
    "columns",
    [
        {"due_at": DbNow() + timedelta(seconds=30)},
        {"state": State.UNCERTAIN, "look_at": None},
    ],
    ids=["not due", "waits for a person"],
)
def test_what_may_not_run_now_is_not_claimed(columns, make_effect):
    """A hint is not an order: due_at and look_at decide."""
    delivery = pending_delivery(make_effect(verify=lambda *_: True), **columns)

    assert look("default", [delivery.pk]) == []


def test_what_became_undue_between_look_and_claim_is_not_claimed(make_effect):
    """The claim asks everything again: nothing is read, decided, and then written unguarded."""
    delivery = pending_delivery(make_effect())
    seen = look("default", [delivery.pk])
    Delivery.objects.update(due_at=DbNow() + timedelta(minutes=1))

    assert claim(seen) == []
    delivery.refresh_from_db()
    assert delivery.attempts == 0


@pytest.mark.parametrize(
    ("made", "meanwhile"),
    [
        (pending_delivery, {"state": State.UNCERTAIN}),
        (uncertain_delivery, {"state": State.PENDING}),
        (uncertain_delivery, {"look_at": None}),
    ],
    ids=["a run was lost", "it did not happen", "a person must decide"],
)
def test_what_is_another_question_by_now_is_not_claimed(made, meanwhile, make_effect):
    """To run what should be asked about, or the reverse, would do again what may have happened."""
    delivery = made(make_effect(verify=lambda *_: None))
    seen = look("default", [delivery.pk])
    Delivery.objects.update(**meanwhile)

    assert claim(seen) == []


def test_a_delivery_is_claimed_when_its_event_is_gone(make_effect):
    """It is owed, and must end in a person's sight instead of standing in the line for ever."""
    delivery = pending_delivery(make_effect())
    delivery.event.delete()

    assert claim_of(delivery).event is None


def test_a_claim_carries_the_event_as_it_was_emitted(make_effect):
    """Fetched in the same round trip, and typed as the ORM would have."""
    delivery = pending_delivery(make_effect(), payload={"a": [1, "ü", None]})

    event = claim_of(delivery).event

    assert event.payload == {"a": [1, "ü", None]}
    assert event.emitted_at == delivery.event.emitted_at
    assert event.correlation == delivery.event.correlation


def test_claims_come_in_the_order_of_the_hint(make_effect):
    """Emit order is what people expect of a line."""
    one = make_effect()
    ids = [pending_delivery(one).pk for _ in range(5)]

    claimed = claim(look("default", reversed(ids)), group=True)

    assert [c.id for c in claimed] == ids


def test_flags_of_an_earlier_claim_do_not_outlive_it(make_effect):
    """The rescuer believes what the last claimer wrote, not the one before."""
    delivery = pending_delivery(
        make_effect(), flags=Flag.ALONE | Flag.FORGIVEN | Flag.VERIFIABLE | Flag.GROUP
    )

    claim_of(delivery)

    delivery.refresh_from_db()
    assert delivery.flags == Flag.ALONE | Flag.FORGIVEN | Flag.BEGUN


def test_a_flag_of_the_next_release_outlives_a_claim(make_effect):
    """Its workers share the table with ours during a deploy, and may need it."""
    newer = 1 << 14
    delivery = pending_delivery(make_effect(), flags=newer)

    carry_out(delivery)

    assert delivery.flags == newer | Flag.BEGUN


def test_a_zombie_changes_nothing_after_its_lease(make_effect, caplog):
    """Claimed, thought dead, rescued and done by another: then it wakes and reports."""
    delivery = pending_delivery(make_effect())
    zombie = claim_of(delivery)
    with moved(zombie.effect.lease + timedelta(seconds=1)):
        rescue("default", Turn(None))
        newer = claim_of(delivery)
    before = Delivery.objects.values().get(pk=delivery.pk)

    assert not finish.beat(zombie, timedelta(minutes=5))
    assert not finish.note(zombie, x=1)
    assert not succeed.succeed(zombie)
    assert Delivery.objects.values().get(pk=delivery.pk) == before
    assert "lease_lost" in caplog.text
    assert succeed.succeed(newer)
    assert not succeed.succeed(zombie)


def test_a_zombie_that_learns_it_before_it_begins_does_not_begin(make_effect):
    """Somebody else runs it by now."""
    delivery = pending_delivery(make_effect(), notes={unknown.SINCE: "2020-01-01T00:00:00+00:00"})
    zombie = claim_of(delivery)
    Delivery.objects.update(claim_token=zombie.token // 2 + 1)  # as a rescue and a claim leave it

    verdict = run(zombie)

    assert isinstance(verdict, Failed)
    assert isinstance(verdict.exception, LeaseLost)
    assert runs_of(delivery) == 0


def test_the_next_is_claimed_where_the_first_was_lost(make_effect):
    """The two halves of the joined statement stand each by itself."""
    one = make_effect()
    lost, following = pending_delivery(one), pending_delivery(one)
    zombie = claim_of(lost)
    finish.release(zombie)

    won, held = one_trip.succeed_and_claim(zombie, look("default", [following.pk])[0])

    assert not won
    assert held.id == following.pk


def test_the_first_is_completed_where_the_next_is_taken(make_effect):
    """Another worker may have been quicker."""
    one = make_effect()
    first, following = pending_delivery(one), pending_delivery(one)
    claimed = claim_of(first)
    (seen,) = look("default", [following.pk])
    claim_of(following)

    won, held = one_trip.succeed_and_claim(claimed, seen)

    first.refresh_from_db()
    assert won
    assert held is None
    assert first.state == State.SUCCEEDED


def test_a_row_that_ended_is_not_claimed_by_a_late_hint(make_effect):
    """A hint may come days late."""
    delivery = succeeded_delivery(make_effect())

    assert look("default", [delivery.pk]) == []


def _race(*ids: int):
    """Two workers with a connection each, let go at once; what they claimed, together."""
    gate = threading.Barrier(2, timeout=20)
    claims, errors = [], []

    def work() -> None:
        try:
            seen = look("default", ids)
            gate.wait()
            claims.extend(claim(seen, group=len(ids) > 1))
        except BaseException as error:  # noqa: BLE001  # told to the test below
            errors.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    assert errors == []
    return claims
