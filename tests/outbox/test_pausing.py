"""A paused effect: nothing new of it begins, nothing is lost, and nobody stands in its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from reliable_effects import effect
from reliable_effects.clock import DbNow, moved, read_clock
from reliable_effects.controls.models import EffectControl
from reliable_effects.effects.effect import Effect
from reliable_effects.effects.registry import registry
from reliable_effects.exceptions import BadPause, UnknownEffect
from reliable_effects.outbox import heartbeat, held_back
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.heartbeat import CLAIMS
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.pausing import pause, resume
from reliable_effects.outbox.relay import relay
from reliable_effects.outbox.states import State
from reliable_effects.outbox.worker import _work_once
from reliable_effects.watch import rules, status
from tests.outbox.conftest import carry_out, pending_delivery, runs_of, uncertain_delivery
from tests.shop.models import Order
from tests.sweeps import transport

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


def paused(effect: str, *, until: datetime | None = None) -> None:
    pause(effect, by="ada", why="the bank is away", until=until)


def ready() -> int:
    return Delivery.objects.due().filter(look_at__lte=DbNow()).count()


def test_a_paused_effect_does_not_begin_and_spends_no_attempt(make_effect):
    """Rule 3; and hints of it leave the budget of the others."""
    row = pending_delivery(make_effect(), hints=2)
    paused(row.effect)

    carry_out(row)

    assert (row.state, row.attempts, row.hints, runs_of(row)) == (State.PENDING, 0, 0, 0)


def test_the_others_of_a_hint_run(make_effect):
    """Rule 7: it never stands in their way."""
    away, here = pending_delivery(make_effect(name="shop.away")), pending_delivery(make_effect())
    paused("shop.away")

    carry_out(away, here)

    assert (away.state, here.state) == (State.PENDING, State.SUCCEEDED)


def test_what_may_have_happened_is_not_verified_either(make_effect):
    """Whoever pauses a partner's effects does so because it does not answer."""
    asked = []
    row = uncertain_delivery(make_effect(verify=lambda *_: asked.append(1)), look_at=DbNow())
    paused(row.effect)

    carry_out(row)

    assert (row.state, asked) == (State.UNCERTAIN, [])


def test_rows_under_an_alias_are_paused_and_resumed_too(make_effect):
    """They carry the name of the release that emitted them."""
    make_effect(name="shop.new", aliases=["shop.old"])
    row = pending_delivery("shop.old")
    paused("shop.new")
    carry_out(row)
    assert row.state == State.PENDING

    brought_back = resume("shop.old", by="ada", why="it is back")
    carry_out(row)

    assert (brought_back, row.state) == (1, State.SUCCEEDED)


def test_resumed_it_comes_back_at_once(make_effect):
    """And not in the twenty minutes for which it was put off."""
    effect = make_effect()
    rows = [pending_delivery(effect) for _ in range(3)]
    paused(rows[0].effect)
    carry_out(*rows)
    assert ready() == 0

    assert resume(rows[0].effect, by="ada", why="it is back") == 3
    assert ready() == 3


def test_resume_leaves_what_waits_for_another_reason(make_effect):
    """A retry has its own rest, and another effect its own pause."""
    make_effect(name="shop.other")
    later = pending_delivery(make_effect(), due_at=DbNow() + HOUR, look_at=DbNow() + HOUR)
    other = pending_delivery("shop.other", look_at=DbNow() + held_back.LONGEST * 0.9)
    paused(later.effect)

    assert resume(later.effect, by="ada", why="it is back") == 0
    assert {later.pk, other.pk} == set(
        Delivery.objects.filter(look_at__gt=DbNow()).values_list("pk", flat=True)
    )


def test_a_pause_ends_by_itself(make_effect):
    """Nobody has to come back at four in the morning."""
    row = pending_delivery(make_effect())
    paused(row.effect, until=read_clock("default") + timedelta(minutes=5))
    carry_out(row)
    assert row.look_at - read_clock("default") < timedelta(minutes=6)

    held_back.forget()  # two seconds pass
    with moved(timedelta(minutes=6)):
        carry_out(row)

    assert row.state == State.SUCCEEDED


def test_nothing_that_was_resumed_meanwhile_is_put_off(make_effect):
    """A worker has read that it is paused, and is slow to write so."""
    row = pending_delivery(make_effect())
    paused(row.effect)
    seen = look("default", [row.pk])
    resume(row.effect, by="ada", why="it is back")

    held_back.put_off("default", seen)

    assert ready() == 1


def test_what_a_worker_took_meanwhile_is_its_own(make_effect):
    """Two workers read the same hint; one of them before the pause."""
    row = pending_delivery(make_effect())
    paused(row.effect)
    seen = look("default", [row.pk])
    [held] = claim(seen)

    held_back.put_off("default", seen)

    row.refresh_from_db()
    assert (row.state, row.claim_token, row.look_at) == (State.RUNNING, held.token, None)


def test_the_relay_hints_what_is_paused_no_more(make_effect):
    """Of a million paused rows each would cost a message a minute."""
    row = pending_delivery(make_effect())
    paused(row.effect)
    carry_out(row)

    with moved(timedelta(minutes=10)):
        assert relay("default").seen == 0


def test_another_process_hears_of_it_by_and_by(make_effect, monkeypatch):
    """Each hint asking would double what it costs to read one."""
    row = pending_delivery(make_effect())
    deliver("default", [pending_delivery(row.effect).pk])
    with in_another_process():
        paused(row.effect)
    monkeypatch.setattr(held_back, "_READ_EVERY", -1.0)  # two seconds pass

    carry_out(row)

    assert row.state == State.PENDING


@contextmanager
def in_another_process() -> Iterator[None]:
    """As if another process did what the block does."""
    before = dict(held_back._pauses)
    yield
    held_back._pauses.update(before)


@pytest.mark.parametrize(
    ("why", "until", "said"),
    [
        (" ", None, "reason"),
        ("broken", datetime(2100, 1, 1), "zone"),  # noqa: DTZ001  # that is the point
        ("broken", datetime(2020, 1, 1, tzinfo=UTC), "is over"),
    ],
)
def test_a_bad_pause_says_what_is_wrong_and_changes_nothing(make_effect, why, until, said):
    """Section 5."""
    effect = make_effect()

    with pytest.raises(BadPause, match=said):
        pause(effect.name, by="ada", why=why, until=until)

    assert not EffectControl.objects.paused().exists()


@pytest.mark.parametrize("verb", [pause, resume])
def test_a_name_that_nobody_declared_is_refused(verb):
    """A typing error would pause nothing, and look as if it did."""
    with pytest.raises(UnknownEffect, match=r"shop\.chrage"):
        verb("shop.chrage", by="ada", why="broken")


def test_a_pause_shows_with_its_reason_and_what_waits(make_effect):
    """And what waits for a person is not late."""
    effect = make_effect()
    rows = [pending_delivery(effect, due_at=DbNow() - HOUR) for _ in range(2)]
    paused(rows[0].effect)
    carry_out(*rows)

    facts = status.of("default")

    [told] = facts.paused
    assert (told.effect, told.waiting, told.by, told.why) == (
        rows[0].effect, 2, "ada", "the bank is away",
    )  # fmt: skip
    assert rules.ask("late", facts) == rules.ask("unconsumed", facts) == []


@pytest.mark.parametrize("later", [timedelta(0), timedelta(minutes=11), timedelta(minutes=55)])
def test_what_is_paused_is_never_due(make_effect, later):
    """Nor a little before it is looked at again: requests would be turned away for it."""
    row = pending_delivery(make_effect(), due_at=DbNow() - HOUR)
    paused(row.effect)
    carry_out(row)

    with moved(later):
        facts = status.of("default")

        assert not Delivery.objects.in_front(row.queue).exists()
        assert rules.ask("late", facts) == rules.ask("unconsumed", facts) == []
        assert [each.waiting for each in facts.paused] == [1]


def test_a_forgotten_pause_is_told_of(make_effect):
    """Somebody paused it on Friday."""
    effect = make_effect()
    paused(effect.name)
    assert rules.ask("paused", status.of("default")) == []

    with moved(timedelta(days=2)):
        [finding] = rules.ask("paused", status.of("default"))

    assert finding.subject == effect.name
    assert "2 days by ada: the bank is away" in finding.text


def test_a_pause_outlives_a_change_of_name(make_effect):
    """It was paused by the release that knew it as something else."""
    make_effect(name="shop.old")
    paused("shop.old")
    with registry.scratch():
        row = pending_delivery(make_renamed())

        carry_out(row)

        assert row.state == State.PENDING


def make_renamed() -> Effect[Order, Any]:
    registry._effects.pop("shop.old")
    return effect("shop.new", aliases=["shop.old"], subject="shop.Order")(lambda *_: None)


def test_the_pause_of_an_effect_that_is_gone_can_be_ended():
    """Else its alert lasts for ever."""
    EffectControl.objects.create(effect="shop.gone", paused_at=DbNow(), by="ada", why="broken")

    resume("shop.gone", by="ada", why="we took it out")

    assert not EffectControl.objects.paused().exists()


def test_a_pause_that_is_shortened_ends_in_time(make_effect):
    """What the first one put off would sleep past its end."""
    row = pending_delivery(make_effect())
    paused(row.effect)
    carry_out(row)

    paused(row.effect, until=read_clock("default") + timedelta(minutes=1))

    with moved(timedelta(minutes=2)):
        assert ready() == 1


def test_a_worker_that_has_not_heard_of_the_end_runs_what_it_took(make_effect):
    """It has the hint, and nobody else will have one soon."""
    row = pending_delivery(make_effect())
    paused(row.effect)
    deliver("default", [pending_delivery(row.effect).pk])
    with in_another_process():
        resume(row.effect, by="ada", why="it is back")

    carry_out(row)

    assert row.state == State.SUCCEEDED


def test_a_paused_crowd_is_not_in_the_way_where_there_is_no_broker(make_effect):
    """A child takes what it got through the last time, twice over."""
    away, here = make_effect(), make_effect()
    crowd = [pending_delivery(away, look_at=DbNow() - HOUR) for _ in range(120)]
    row = pending_delivery(here)
    paused(away.name)
    appetite: dict[tuple[str, str], int] = {}

    for _ in range(4):
        _work_once("default", (), lambda: False, appetite, {})

    assert runs_of(row) == 1
    assert Delivery.objects.filter(pk__in=[each.pk for each in crowd], attempts=0).count() == 120


@pytest.mark.skipif(connection.vendor == "sqlite", reason="it has one writer at a time")
def test_a_paused_row_that_somebody_has_locked_keeps_nobody_waiting(make_effect):
    """Rule 7; nor does its worker wait for it."""
    away, here = pending_delivery(make_effect()), pending_delivery(make_effect())
    paused(away.effect)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(
                "SELECT 1 FROM reliable_effects_delivery WHERE id = %s FOR UPDATE", [away.pk]
            )
        carry_out(away, here)
    finally:
        other.close()

    assert (away.attempts, runs_of(here)) == (0, 1)


def test_after_a_pause_all_of_it_is_hinted(make_effect, settings):
    """Nobody has claimed in its queue for long, for there was nothing that could be."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "tests.sweeps.transport.send"}
    transport.reset()
    effect_ = make_effect()
    rows = [pending_delivery(effect_, due_at=DbNow() - HOUR) for _ in range(20)]
    paused(effect_.name)
    carry_out(*rows)
    Sweep.objects.filter(name__startswith=CLAIMS).update(ran_at=DbNow() - HOUR)
    heartbeat.forget_claims()

    resume(effect_.name, by="ada", why="it is back")

    assert relay("default").done == 20
