"""The table of legal moves, and the code that makes them: one must say what the other does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from reliable_effects.clock import DbNow
from reliable_effects.effects.registry import registry
from reliable_effects.outbox import finish, remedy, rescue, succeed, unknown
from reliable_effects.outbox.claim import claim
from reliable_effects.outbox.claimed import Claimed, Seen
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import MOVES, Flag, Reason, State
from tests.outbox.conftest import (
    IN_STATE,
    claim_of,
    expired_delivery,
    pending_delivery,
    uncertain_delivery,
)

pytestmark = pytest.mark.django_db

SPAN = timedelta(seconds=1)
ERROR = ValueError("no")

# Every verb that leaves RUNNING, and where it leads.
WAYS_OUT = {
    "succeed": (succeed.succeed, State.SUCCEEDED),
    "complete": (succeed.complete, State.SUCCEEDED),
    "succeed_together": (lambda c: bool(succeed.succeed_together([c])), State.SUCCEEDED),
    "skip": (lambda c: finish.skip(c, Reason.NOT_NEEDED), State.SKIPPED),
    "skip_told": (lambda c: finish.skip(c, Reason.EFFECT_SKIPPED, ERROR), State.SKIPPED),
    "retry": (lambda c: finish.retry(c, ERROR, Attempt.Outcome.FAILED, SPAN), State.PENDING),
    "poison": (lambda c: finish.poison(c, Reason.REFUSED), State.POISONED),
    "snooze": (lambda c: finish.snooze(c, SPAN), State.PENDING),
    "doubt": (lambda c: finish.doubt(c, ERROR, SPAN), State.UNCERTAIN),
    "doubt_for_a_person": (lambda c: finish.doubt(c, None, None), State.UNCERTAIN),
    "reopen": (finish.reopen, State.PENDING),
    "release": (finish.release, State.PENDING),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_every_way_out_of_running_empties_token_and_lease(way, make_effect):
    """The token is the fence: left behind, it would let a zombie write."""
    delivery = pending_delivery(make_effect())
    claimed = claim_of(delivery)
    leave, state = WAYS_OUT[way]

    won = leave(claimed)

    delivery.refresh_from_db()
    assert won
    assert delivery.state == state
    assert delivery.claim_token is None
    assert delivery.lease_expires_at is None
    assert not delivery.flags & (Flag.GROUP | Flag.VERIFYING)
    assert state in MOVES[State.RUNNING]


@pytest.mark.parametrize("state", [s for s in State if s is not State.RUNNING])
@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_worker_writes_nothing_over_a_row_it_does_not_hold(way, state, make_effect):
    """Whatever has become of the row since: the result of a newer attempt stands."""
    delivery = IN_STATE[state](make_effect())
    before = Delivery.objects.values().get(pk=delivery.pk)
    leave, _ = WAYS_OUT[way]

    won = leave(_zombie(delivery))

    assert not won
    assert Delivery.objects.values().get(pk=delivery.pk) == before
    assert not Attempt.objects.exists()


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_worker_writes_nothing_over_another_workers_run(way, make_effect):
    """RUNNING is not enough: the token says whose run it is."""
    delivery = IN_STATE[State.RUNNING](make_effect())
    before = Delivery.objects.values().get(pk=delivery.pk)
    leave, _ = WAYS_OUT[way]

    won = leave(_zombie(delivery))

    assert not won
    assert Delivery.objects.values().get(pk=delivery.pk) == before


@pytest.mark.parametrize("state", State)
def test_only_what_waits_is_claimed(state, make_effect):
    """A claim is the only way into RUNNING, and only the table's states lead there."""
    delivery = IN_STATE[state](make_effect())
    seen = [
        Seen("default", delivery.pk, delivery.effect, "effects", told, 0, None, delivery.event_id)
        for told in (State.PENDING, State.UNCERTAIN)  # what a reader may have believed
    ]

    claimed = [c for row in seen for c in claim([row])]

    assert bool(claimed) == (State.RUNNING in MOVES[state])


@pytest.mark.parametrize("state", State)
def test_a_person_redrives_what_the_table_allows(state, make_effect):
    """What waits, runs or succeeded is left alone."""
    delivery = IN_STATE[state](make_effect())

    changed = remedy.redrive(Delivery.objects.all(), by="ann", why="test")

    delivery.refresh_from_db()
    by_code = (State.RUNNING, State.SUCCEEDED)  # rescued or failed; still owed, and reopened
    allowed = State.PENDING in MOVES[state] and state not in by_code
    assert bool(changed) == allowed
    assert delivery.state == (State.PENDING if allowed else state)


@pytest.mark.parametrize("state", State)
def test_a_person_cancels_what_the_table_allows(state, make_effect):
    """What runs cannot be called back, and what has ended well stays."""
    delivery = IN_STATE[state](make_effect())

    changed = remedy.cancel(Delivery.objects.all(), by="ann", why="test")

    delivery.refresh_from_db()
    allowed = State.CANCELLED in MOVES[state]
    assert bool(changed) == allowed
    assert delivery.state == (State.CANCELLED if allowed else state)


@pytest.mark.parametrize("state", State)
def test_a_rescue_moves_only_what_runs(state, make_effect):
    """Only a lease can expire."""
    delivery = IN_STATE[state](make_effect(verify=lambda *_: None))
    Delivery.objects.filter(state=State.RUNNING).update(lease_expires_at=DbNow() - SPAN)

    rescue.rescue("default", Turn(None))

    delivery.refresh_from_db()
    assert (delivery.state != state) == (state is State.RUNNING)


@pytest.mark.parametrize(
    ("flags", "notes", "expected"),
    [
        (0, None, State.PENDING),
        (Flag.VERIFIABLE, None, State.UNCERTAIN),
        (0, {"kills": 2}, State.POISONED),
        (Flag.VERIFIABLE | Flag.VERIFYING, {"kills": 2}, State.UNCERTAIN),
    ],
)
def test_a_rescue_leads_where_the_table_says(flags, notes, expected):
    """Back into the line, to be verified, or set aside as a killer."""
    delivery = expired_delivery(flags=flags | Flag.BEGUN, notes=notes)

    rescue.rescue("default", Turn(None))

    delivery.refresh_from_db()
    assert delivery.state == expected
    assert delivery.claim_token is None
    assert expected in MOVES[State.RUNNING]


@pytest.mark.parametrize("state", State)
def test_an_unknown_name_is_poisoned_only_while_it_waits(state):
    """After a day nobody knows it; what has ended or runs is none of that matter."""
    long_ago = {"unknown_since": "2020-01-01T00:00:00+00:00"}
    delivery = IN_STATE[state]("gone.effect", notes=long_ago)

    unknown.put_off(
        Seen(
            "default", delivery.pk, "gone.effect", "effects", state, 0, long_ago, delivery.event_id
        )
    )

    delivery.refresh_from_db()
    waits = state in (State.PENDING, State.UNCERTAIN)
    assert (delivery.reason == Reason.UNKNOWN_EFFECT) == waits
    assert State.POISONED in MOVES[state] or delivery.state == state


@pytest.mark.parametrize("state", State)
def test_a_known_name_revives_only_what_was_set_aside_as_unknown(state, make_effect):
    """Another reason for POISONED waits for a person."""
    delivery = IN_STATE[state](make_effect())
    unknown_one = IN_STATE[State.POISONED](make_effect(), reason=Reason.UNKNOWN_EFFECT)

    unknown.revive("default")

    delivery.refresh_from_db()
    unknown_one.refresh_from_db()
    assert delivery.state == state
    assert unknown_one.state == State.PENDING


OUT_OF_POISONED = {
    "redrive": lambda rows: remedy.redrive(rows, by="ann", why="test"),
    "cancel": lambda rows: remedy.cancel(rows, by="ann", why="test"),
    "start_anew": lambda rows: remedy.start_anew(rows, by="ann", why="test", did_not_happen=True),
    "revive": lambda _: unknown.revive("default"),
}


@pytest.mark.parametrize("way", OUT_OF_POISONED)
def test_what_is_poisoned_no_more_belongs_to_no_group_of_failures(way, make_effect):
    """Left behind, the fingerprint would count it among its next failure's likes."""
    pill = IN_STATE[State.POISONED](
        make_effect(), reason=Reason.UNKNOWN_EFFECT, fingerprint="f" * 32
    )

    OUT_OF_POISONED[way](Delivery.objects.all())

    pill.refresh_from_db()
    assert pill.state != State.POISONED
    assert pill.fingerprint == ""


def test_what_another_release_left_on_a_row_is_gone_when_it_is_poisoned(make_effect):
    """N-1 does not know the column: its redrive keeps what this release had written there."""
    stale = {"fingerprint": "f" * 32}
    long_ago = {"unknown_since": "2020-01-01T00:00:00+00:00"}
    claimed = claim_of(pending_delivery(make_effect(), **stale))
    killer = expired_delivery(flags=Flag.BEGUN, notes={"kills": 2}, **stale)
    nameless = pending_delivery("gone.effect", notes=long_ago, **stale)

    finish.poison(claimed, Reason.REFUSED)
    rescue.rescue("default", Turn(None))
    unknown.put_off(
        Seen("default", nameless.pk, "gone.effect", "effects", 0, 0, long_ago, nameless.event_id)
    )

    rows = Delivery.objects.filter(pk__in=[claimed.id, killer.pk, nameless.pk])
    assert set(rows.values_list("state", "fingerprint")) == {(State.POISONED, "")}


@pytest.mark.parametrize(
    "broken",
    [
        {"state": State.RUNNING, "look_at": None},
        {"state": State.PENDING, "claim_token": 7},
        {"state": State.PENDING, "look_at": None},
        {"state": State.SUCCEEDED},
    ],
    ids=["running without token", "waiting with token", "waiting unseen", "ended and looked at"],
)
def test_the_database_refuses_rows_that_no_move_leads_to(broken):
    """Whoever writes past the verbs learns of it at once."""
    delivery = pending_delivery()

    with pytest.raises(IntegrityError), transaction.atomic():
        Delivery.objects.filter(pk=delivery.pk).update(**broken)


def test_an_answer_of_verify_gives_the_row_back_as_uncertain(make_effect):
    """Releasing a verification is no verdict: it may still have happened."""
    delivery = uncertain_delivery(make_effect(verify=lambda *_: True))
    claimed = claim_of(delivery)

    finish.release(claimed)

    delivery.refresh_from_db()
    assert delivery.state == State.UNCERTAIN
    assert delivery.attempts == 1


def _zombie(delivery: Delivery) -> Claimed:
    """A worker that once held *delivery* under another token."""
    return Claimed(
        using="default",
        id=delivery.pk,
        token=2**62 + 1,
        effect=registry.effect(delivery.effect),
        queue=delivery.queue,
        key=delivery.key,
        generation=0,
        attempt=1,
        flags=Flag.BEGUN,
        notes={},
        event=delivery.event,
        claimed_at=delivery.event.emitted_at,
    )
