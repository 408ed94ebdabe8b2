"""How long each is kept: the project says it, an effect knows better, and the rest is for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from reliable_effects import ONCE
from reliable_effects.clock import DbNow
from reliable_effects.conf import RETENTION_KEYS
from reliable_effects.outbox import prune as prune_module
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.prune import prune
from reliable_effects.outbox.retention import kept_for
from reliable_effects.outbox.states import Reason, State
from tests.outbox.conftest import (
    cancelled_delivery,
    pending_delivery,
    poisoned_delivery,
    running_delivery,
    skipped_delivery,
    succeeded_delivery,
    uncertain_delivery,
)
from tests.shop.models import Order
from tests.sweeps.conftest import DAY, HOUR, SECOND

pytestmark = pytest.mark.django_db(transaction=True)


def ended(days: float, make, of="shop.wrap", **columns) -> Delivery:
    then = DbNow() - days * DAY
    return make(of, **{"finished_at": then, "event": {"emitted_at": then}, **columns})


def remain() -> set[int]:
    return set(Delivery.objects.values_list("pk", flat=True))


def setting(settings, **by_state) -> None:
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "RETENTION_BY_STATE": by_state}


# What the project says


def test_a_state_may_be_kept_for_longer_than_others(settings):
    """Whoever must answer for a charge keeps that it was made."""
    setting(settings, SUCCEEDED=30 * DAY)
    kept = ended(29, succeeded_delivery)
    ended(31, succeeded_delivery)
    ended(8, cancelled_delivery)

    prune("default")

    assert remain() == {kept.pk}


def test_a_state_may_be_kept_for_ever(settings):
    """None is no number of days."""
    setting(settings, SUCCEEDED=None)
    kept = ended(3000, succeeded_delivery)

    prune("default")

    assert remain() == {kept.pk}


def test_what_expired_or_was_skipped_goes_only_where_it_is_named(settings):
    """It did not happen, so somebody must have said that it may be forgotten."""
    setting(settings, **{"SKIPPED:EXPIRED": 30 * DAY})
    ended(31, skipped_delivery, reason=Reason.EXPIRED)
    kept = {
        ended(29, skipped_delivery, reason=Reason.EXPIRED).pk,
        ended(31, skipped_delivery, reason=Reason.EFFECT_SKIPPED).pk,
    }
    ended(8, skipped_delivery)  # not needed: the usual week

    prune("default")

    assert remain() == kept


def test_a_poison_pill_goes_only_where_it_is_named(settings):
    """Deleted only by a person, or by its own retention."""
    old_ones = {
        reason: ended(400, poisoned_delivery, reason=reason)
        for reason in (Reason.ATTEMPTS_SPENT, Reason.REFUSED)
    }
    recent = ended(1, poisoned_delivery, reason=Reason.REFUSED)

    prune("default")
    before = remain()
    setting(settings, **{"POISONED:REFUSED": 365 * DAY})
    prune("default")

    assert before == {row.pk for row in old_ones.values()} | {recent.pk}
    assert remain() == {old_ones[Reason.ATTEMPTS_SPENT].pk, recent.pk}


def test_a_poison_pill_that_was_redriven_meanwhile_stays(settings, monkeypatch):
    """Its retention was that of an end that it has no more."""
    setting(settings, POISONED=DAY)
    row = ended(2, poisoned_delivery)
    asked = prune_module._owed_no_more

    def redriven_meanwhile(using, batch):
        free = asked(using, batch)
        Delivery.objects.update(state=State.PENDING, reason="", finished_at=None, look_at=DbNow())
        return free

    monkeypatch.setattr(prune_module, "_owed_no_more", redriven_meanwhile)

    prune("default")

    assert remain() == {row.pk}


def test_what_waits_or_runs_or_is_uncertain_stays_whatever_is_set(settings, make_effect):
    """No age ends what has not ended."""
    every = dict.fromkeys(RETENTION_KEYS, SECOND)
    setting(settings, **every)
    eager = make_effect(retention=every)
    kept = {
        make(eager, due_at=DbNow() - 9 * DAY, event={"emitted_at": DbNow() - 9 * DAY}).pk
        for make in (pending_delivery, running_delivery, uncertain_delivery)
    }

    prune("default")

    assert remain() == kept
    assert OutboxEvent.objects.count() == 3


# What an effect says


def test_an_effect_knows_better(settings, make_effect):
    """A thousand pings a second need no week, and a payment needs a year."""
    ping, pay = make_effect(retention=HOUR), make_effect(retention=365 * DAY)
    setting(settings, SUCCEEDED=30 * DAY)
    ended(0.1, succeeded_delivery, ping)
    kept = {ended(364, succeeded_delivery, pay).pk, ended(29, succeeded_delivery).pk}

    prune("default")

    assert remain() == kept


def test_a_span_of_an_effect_is_of_what_ended_well(make_effect):
    """`retention=timedelta(hours=1)` throws no poison away."""
    ping = make_effect(retention=HOUR)
    kept = {
        ended(9, poisoned_delivery, ping).pk,
        ended(9, skipped_delivery, ping, reason=Reason.EXPIRED).pk,
    }

    prune("default")

    assert remain() == kept


@pytest.mark.parametrize(
    "case",
    [
        (None, {}, "SUCCEEDED", 7 * DAY),
        (None, {}, "POISONED:REFUSED", None),
        (None, {}, "SKIPPED:EXPIRED", None),
        (None, {"SKIPPED": DAY}, "SKIPPED:EXPIRED", DAY),
        (None, {"SKIPPED": DAY, "SKIPPED:EXPIRED": HOUR}, "SKIPPED:EXPIRED", HOUR),
        (None, {"SKIPPED": DAY, "SKIPPED:EXPIRED": None}, "SKIPPED:EXPIRED", None),
        (HOUR, {"SUCCEEDED": DAY, "POISONED": DAY}, "SUCCEEDED", HOUR),
        (HOUR, {"SUCCEEDED": DAY, "POISONED": DAY}, "POISONED:REFUSED", DAY),
        ({"POISONED": HOUR}, {"POISONED:REFUSED": DAY}, "POISONED:REFUSED", HOUR),
        ({"POISONED": None}, {"POISONED": DAY}, "POISONED:REFUSED", None),
        ({"POISONED": HOUR}, {"SUCCEEDED": DAY}, "SUCCEEDED", DAY),
    ],
)
def test_what_is_said_more_closely_comes_first(settings, make_effect, case):
    """The effect before the project, the reason before the state, and for the rest the default."""
    own, projects, end, expected = case
    setting(settings, **projects)
    state, _, reason = end.partition(":")

    kept = kept_for(make_effect(retention=own), State[state], reason)

    assert kept == expected


# What is asked first


def test_a_poison_pill_that_is_still_owed_stays(make_effect):
    """Without its row reconcile would promise it again, against a person's wish."""
    charge = make_effect(retention={"POISONED": DAY})

    @charge.owed(since="placed_at", grace=SECOND, debt=ONCE)
    def unpaid():
        return Order.objects.filter(charge_id="")

    owing = ended(2, poisoned_delivery, charge, subject=Order.objects.create())
    ended(2, poisoned_delivery, charge, subject=Order.objects.create(charge_id="ch_1"))

    prune("default")

    assert remain() == {owing.pk}


def test_what_was_owed_is_asked_about_again_some_hours_later(make_effect, monkeypatch):
    """A row that was kept once is not read at each sweep, and not kept for ever."""
    charge = make_effect()

    @charge.owed(since="placed_at", grace=SECOND, debt=ONCE)
    def unpaid():
        return Order.objects.filter(charge_id="")

    row = ended(8, succeeded_delivery, charge, subject=Order.objects.create())
    now = [1.0]
    monkeypatch.setattr(prune_module, "monotonic", lambda: now[0])
    prune("default")
    Order.objects.update(charge_id="ch_1")
    second = prune("default")
    kept = remain()
    now[0] += prune_module._ANEW + 1

    prune("default")

    assert second.seen == 0
    assert kept == {row.pk}
    assert not remain()


def test_a_walk_that_takes_longer_comes_to_its_end_all_the_same(make_effect, monkeypatch):
    """It begins again only when it is through; else what is far behind would never be reached."""
    charge = make_effect()

    @charge.owed(since="placed_at", grace=SECOND, debt=ONCE)
    def unpaid():
        return Order.objects.filter(charge_id="")

    for _ in range(4):
        ended(9, succeeded_delivery, charge, subject=Order.objects.create())
    gone = ended(8, succeeded_delivery)
    monkeypatch.setattr(prune_module, "_BATCH", 1)
    ticks = iter(range(1, 1000))
    monkeypatch.setattr(prune_module, "monotonic", lambda: next(ticks) * prune_module._ANEW)

    for _ in range(5):
        prune("default")

    assert gone.pk not in remain()
    assert len(remain()) == 4


def test_what_others_are_kept_for_is_passed_once(make_effect):
    """Else an effect that is kept for an hour would make each sweep read a month of the others."""
    ping = make_effect(retention=HOUR)
    for _ in range(5):
        ended(3, succeeded_delivery)
    prune("default")
    ended(2, succeeded_delivery, ping)

    swept = prune("default")

    assert swept.seen == 1
    assert len(remain()) == 5


# What is refused


@pytest.mark.parametrize(
    ("by_state", "said"),
    [
        ({"PENDING": DAY}, "may be deleted by age"),
        ({"UNCERTAIN": DAY}, "may be deleted by age"),
        ({"SUCEEDED": DAY}, "Did you mean 'SUCCEEDED'"),
        ({"SKIPPED:EXPIRE": DAY}, "Did you mean 'SKIPPED:EXPIRED'"),
        ({"SUCCEEDED": 30}, "positive timedelta"),
        ({"SUCCEEDED": timedelta(0)}, "positive timedelta"),
        ({"SUCCEEDED": timedelta.max}, "positive timedelta"),
        ([("SUCCEEDED", DAY)], "dict"),
    ],
)
def test_a_span_that_makes_no_sense_is_refused(by_state, said, settings, make_effect):
    """By name, and before anything is deleted by it."""
    row = ended(9, succeeded_delivery)
    settings.RELIABLE_EFFECTS = {"RETENTION_BY_STATE": by_state}

    with pytest.raises(ImproperlyConfigured, match="RETENTION_BY_STATE") as refused:
        prune("default")
    with pytest.raises((TypeError, ValueError), match=r"retention=") as of_effect:
        make_effect(retention=by_state)

    assert said in str(refused.value)
    assert said in str(of_effect.value)
    assert remain() == {row.pk}


@pytest.mark.parametrize("span", [timedelta(0), timedelta.max, 7])
def test_a_span_of_an_effect_that_makes_no_sense_is_refused(span, make_effect):
    """At decoration, where it is written."""
    with pytest.raises((TypeError, ValueError), match="retention="):
        make_effect(retention=span)


def test_what_a_person_cancelled_has_no_age_where_it_can_be_found_owed(make_effect):
    """Two wishes that cannot both be granted."""
    charge = make_effect(retention={"CANCELLED": DAY})

    with pytest.raises(ValueError, match="'CANCELLED'"):
        charge.owed(since="placed_at", grace=SECOND, debt=ONCE)


def test_every_end_has_its_key():
    """The settings are read below the states, so they spell them out."""
    ends = {State.SUCCEEDED, State.CANCELLED, State.SKIPPED, State.POISONED}

    assert {key for key in RETENTION_KEYS if ":" not in key} == {state.name for state in ends}
    assert {key.partition(":")[2] for key in RETENTION_KEYS if ":" in key} == {
        reason.value for reason in Reason if reason
    }
