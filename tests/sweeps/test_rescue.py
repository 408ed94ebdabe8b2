"""A worker that is gone leaves nothing behind: every delivery goes on, and killers are convicted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from reliable_effects import clock, signals
from reliable_effects.clock import DbNow
from reliable_effects.outbox import finish, succeed
from reliable_effects.outbox import rescue as rescue_module
from reliable_effects.outbox.heartbeat import Swept, Turn
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import Flag, Reason, State
from reliable_effects.outbox.sweeps import RESCUE, sweep
from tests.outbox.conftest import (
    carry_out,
    claim_of,
    expired_delivery,
    listening,
    pending_delivery,
    poisoned_delivery,
    running_delivery,
    runs_of,
)
from tests.shop.effects import wrap
from tests.sweeps.conftest import DAY, HOUR, SECOND, from_now, locked, refusing

pytestmark = pytest.mark.django_db(transaction=True)

AS_USUAL = Turn(10 * SECOND)
AFTER_A_NIGHT = Turn(8 * HOUR)


def rescued(*rows: Delivery, turn: Turn = AS_USUAL) -> Swept:
    swept = rescue("default", turn)
    for row in rows:
        row.refresh_from_db()
    return swept


def expire_again(row: Delivery) -> None:
    """Its next worker dies too."""
    claim_of(row)
    Delivery.objects.filter(pk=row.pk).update(lease_expires_at=DbNow() - SECOND)


# What becomes of them


def test_a_lost_worker_s_delivery_is_due_at_once_and_alone():
    """It is owed still; and if it killed its worker it must not take others with it."""
    row = expired_delivery(attempts=1)

    rescued(row)

    assert row.state == State.PENDING
    assert from_now(row) <= timedelta(0)
    assert (row.attempts, row.claim_token, row.lease_expires_at) == (1, None, None)
    assert row.flags & Flag.ALONE
    assert row.notes == {"kills": 1}


def test_the_lost_attempt_is_kept():
    """People ask which worker it was."""
    row = expired_delivery(attempts=2, worker="shop-1:77")

    rescued(row)

    attempt = Attempt.objects.get(delivery=row)
    assert (attempt.number, attempt.outcome, attempt.host) == (2, "lost", "shop-1:77")


def test_who_is_within_its_lease_is_left_alone():
    """Slow is not dead."""
    row = running_delivery()

    swept = rescued(row)

    assert row.state == State.RUNNING
    assert (swept.seen, swept.done) == (0, 0)


def test_a_heartbeat_that_comes_in_between_wins(monkeypatch):
    """The worker is alive, and what the rescue has read is old."""
    row = pending_delivery()
    held = claim_of(row)
    Delivery.objects.update(lease_expires_at=DbNow() - SECOND)
    rows = list(Delivery.objects.all())
    finish.beat(held, held.effect.lease)
    monkeypatch.setattr(rescue_module, "_expired", lambda _using, _swept: rows)

    swept = rescued(row)

    assert row.state == State.RUNNING
    assert swept.done == 0
    assert not Attempt.objects.exists()


def test_a_rescue_of_an_older_run_leaves_the_newer_alone(monkeypatch):
    """Another sweep was quicker, and the run since then is over its lease as well, by itself."""
    row = pending_delivery()
    claim_of(row)
    Delivery.objects.update(lease_expires_at=DbNow() - SECOND)
    rows = list(Delivery.objects.all())
    rescued(row)
    newer = claim_of(row)
    Delivery.objects.update(lease_expires_at=DbNow() - SECOND)
    monkeypatch.setattr(rescue_module, "_expired", lambda _using, _swept: rows)

    swept = rescued(row)

    assert swept.done == 0
    assert (row.state, row.claim_token) == (State.RUNNING, newer.token)


def test_a_zombie_that_wakes_after_the_rescue_writes_nothing():
    """Its lease is over; somebody else may be at it already."""
    row = pending_delivery()
    held = claim_of(row)
    Delivery.objects.update(lease_expires_at=DbNow() - SECOND)
    rescued(row)

    won = succeed.succeed(held)

    row.refresh_from_db()
    assert not won
    assert row.state == State.PENDING


def test_a_lost_run_that_can_be_verified_is_asked_about_first():
    """It may have happened: asking is better than doing it twice."""
    row = expired_delivery(flags=Flag.BEGUN | Flag.VERIFIABLE)

    rescued(row)

    assert row.state == State.UNCERTAIN
    assert from_now(row) <= timedelta(0)


def test_a_lost_question_is_asked_again_until_it_has_killed_enough():
    """Even asking may kill. Then only a person can tell."""
    verifying = Flag.BEGUN | Flag.VERIFIABLE | Flag.VERIFYING
    again = expired_delivery(flags=verifying)
    enough = expired_delivery(flags=verifying, notes={"kills": 2})

    with listening(signals.delivery_uncertain) as told:
        rescued(again, enough)

    assert (again.state, enough.state) == (State.UNCERTAIN, State.UNCERTAIN)
    assert from_now(again) <= timedelta(0)
    assert enough.look_at is None
    assert {t["delivery_id"]: t["waits_for_a_person"] for t in told} == {
        again.pk: False,
        enough.pk: True,
    }


# Whose fault it was


def test_who_kills_again_and_again_is_set_aside(make_effect):
    """Else one row would take the whole fleet with it, worker by worker."""
    effect = make_effect(max_attempts=100)
    row = pending_delivery(effect)

    with listening(signals.delivery_poisoned) as told:
        for _ in range(3):
            expire_again(row)
            rescued(row)

    assert (row.state, row.reason) == (State.POISONED, Reason.KILLED_WORKERS)
    assert row.finished_at is not None
    [fact] = told
    assert (fact["sender"], fact["delivery_id"], fact["reason"]) == (
        effect,
        row.pk,
        Reason.KILLED_WORKERS,
    )


def test_the_alarm_is_raised_by_who_does_not_know_the_effect(caplog):
    """Any worker may be the one that sweeps."""
    row = expired_delivery("gone.away", notes={"kills": 2})

    with listening(signals.delivery_poisoned) as told:
        rescued(row)

    assert [(fact["sender"], fact["delivery_id"]) for fact in told] == [(None, row.pk)]
    assert f"poisoned gone.away delivery={row.pk} KILLED_WORKERS" in caplog.text


def test_who_is_within_its_kills_but_has_no_attempt_left_ends_as_well(make_effect):
    """A killer is set aside within its attempts, not after them."""
    row = pending_delivery(make_effect(max_attempts=2))
    for _ in range(2):
        expire_again(row)
        rescued(row)

    carry_out(row)

    assert (row.state, row.reason) == (State.POISONED, Reason.KILLED_WORKERS)
    assert runs_of(row) == 0


def test_a_group_that_died_spends_no_attempts_and_goes_on_one_by_one():
    """Any of them may have done it; the next death convicts the right one."""
    rows = [expired_delivery(flags=Flag.BEGUN | Flag.GROUP) for _ in range(3)]

    rescued(*rows)

    assert [row.state for row in rows] == [State.PENDING] * 3
    assert [row.attempts for row in rows] == [0, 0, 0]
    assert [row.flags for row in rows] == [Flag.BEGUN | Flag.ALONE] * 3
    assert [row.notes for row in rows] == [None] * 3
    assert Attempt.objects.count() == 3


# When nobody was there


def test_after_the_sweep_s_own_absence_a_death_is_forgiven_once():
    """The whole fleet was away: that says nothing of one effect."""
    row = expired_delivery(attempts=1)

    rescued(row, turn=AFTER_A_NIGHT)

    assert (row.attempts, row.notes) == (0, None)
    assert row.flags & Flag.FORGIVEN
    assert row.flags & Flag.ALONE


def test_nothing_is_forgiven_twice():
    """It may be what takes the fleet down each night."""
    row = expired_delivery(attempts=1)
    rescued(row, turn=AFTER_A_NIGHT)
    expire_again(row)

    rescued(row, turn=AFTER_A_NIGHT)

    assert (row.attempts, row.notes) == (1, {"kills": 1})


def test_forgiving_a_question_gives_no_attempt_back():
    """To verify has spent none."""
    row = expired_delivery(attempts=1, flags=Flag.BEGUN | Flag.VERIFIABLE | Flag.VERIFYING)

    rescued(row, turn=AFTER_A_NIGHT)

    assert (row.state, row.attempts, row.notes) == (State.UNCERTAIN, 1, None)


@pytest.mark.parametrize("turn", [Turn(None), Turn(89 * SECOND)], ids=["first ever", "restart"])
def test_a_short_absence_forgives_nothing(turn):
    """Within a lease somebody could have swept, had the worker been alive."""
    row = expired_delivery(attempts=1)

    rescued(row, turn=turn)

    assert row.attempts == 1


def test_the_sweep_s_absence_is_measured_by_its_heartbeat():
    """So it holds whichever process sweeps first after a night."""
    sweep("default", RESCUE)
    row = expired_delivery(attempts=1)

    with clock.moved(8 * HOUR):
        sweep("default", RESCUE)

    row.refresh_from_db()
    assert row.flags & Flag.FORGIVEN


# One bad row


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
def test_a_row_that_somebody_holds_keeps_no_other_waiting():
    """An `atomic` effect's heartbeat locks its row for as long as the effect runs."""
    held, other = expired_delivery(), expired_delivery()

    with locked(held):
        rescued(held, other)

    assert (held.state, other.state) == (State.RUNNING, State.PENDING)


def test_a_row_that_cannot_be_written_stops_no_other(caplog):
    """A sweep that gives up at the first bad row rescues nobody behind it, ever."""
    bad, good = expired_delivery(), expired_delivery()

    with refusing("reliable_effects_delivery", "UPDATE", f"OLD.id = {bad.pk}"):
        swept = rescued(bad, good)

    assert (bad.state, good.state) == (State.RUNNING, State.PENDING)
    assert (swept.seen, swept.done) == (2, 1)
    assert f"could not rescue delivery {bad.pk}" in caplog.text


@pytest.mark.parametrize("notes", [["a list"], "text", 7, {"kills": "many"}])
def test_notes_of_a_wrong_type_stop_nobody(notes):
    """Whoever wrote them: the others are owed."""
    bad, good = expired_delivery(notes=notes), expired_delivery()

    rescued(bad, good)

    assert good.state == State.PENDING
    assert bad.state == State.PENDING


def test_bad_rows_by_the_page_stop_no_other(monkeypatch):
    """However many are bad, those behind them are looked at."""
    monkeypatch.setattr(rescue_module, "_PAGE", 2)
    bad = [expired_delivery(queue="bad") for _ in range(5)]
    good = expired_delivery()

    with refusing("reliable_effects_delivery", "UPDATE", "OLD.queue = 'bad'"):
        swept = rescued(good, *bad)

    assert good.state == State.PENDING
    assert (swept.seen, swept.done) == (6, 1)


def test_a_sweep_that_is_cut_short_says_so_and_goes_on_where_it_was(monkeypatch):
    """Else bad rows that take up its time would be all that it ever looks at."""
    bad = [expired_delivery(queue="bad") for _ in range(5)]
    good = expired_delivery()
    ticks = iter(range(1000))
    monkeypatch.setattr(rescue_module, "monotonic", lambda: next(ticks) * 2.0)

    with refusing("reliable_effects_delivery", "UPDATE", "OLD.queue = 'bad'"):
        first = rescued(good, *bad)
        for _ in range(4):
            rescued(good)

    assert first.truncated
    assert good.state == State.PENDING


# What was set aside as unknown


def unknown_for_a_day(of: str, **columns) -> Delivery:
    return poisoned_delivery(
        of,
        reason=Reason.UNKNOWN_EFFECT,
        attempts=0,
        notes={"unknown_since": "2020-01-01T00:00:00+00:00"},
        **columns,
    )


def test_what_nobody_knew_comes_back_where_it_is_known():
    """A deploy that was rolled back for a day has lost nothing."""
    known, unknown = unknown_for_a_day(wrap.name), unknown_for_a_day("gone.away")

    rescued(known, unknown)

    assert known.state == State.PENDING
    assert (known.reason, known.notes, known.finished_at) == ("", None, None)
    assert from_now(known) <= timedelta(0)
    assert unknown.state == State.POISONED


def test_what_is_poisoned_for_another_reason_stays():
    """Only a person brings that back."""
    row = poisoned_delivery(wrap.name)

    rescued(row)

    assert row.state == State.POISONED


def test_what_nobody_knows_for_a_day_is_alerted_on(caplog):
    """Poison that nobody hears of is lost."""
    row = pending_delivery(
        "gone.away", notes={"unknown_since": "2020-01-01T00:00:00+00:00"}, due_at=DbNow() - DAY
    )

    with listening(signals.delivery_poisoned) as told:
        carry_out(row)

    assert (row.state, row.reason) == (State.POISONED, Reason.UNKNOWN_EFFECT)
    [fact] = told
    assert (fact["sender"], fact["delivery_id"], fact["key"]) == (None, row.pk, row.key)
    assert "UNKNOWN_EFFECT" in caplog.text
