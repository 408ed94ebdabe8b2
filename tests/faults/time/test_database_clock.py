"""
The database's own clock jumps an hour forward and back while rows run.

Leases end early or late with it, and what waits for its time comes early or late. But the fence
lets one worker win, nothing is lost, and the sweeps go on.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from reliable_effects.clock import DbNow, read_clock
from reliable_effects.outbox import finish
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.models import Attempt, Delivery, Sweep
from reliable_effects.outbox.states import State
from reliable_effects.outbox.succeed import succeed
from reliable_effects.outbox.sweeps import PRUNE, RESCUE, sweep
from tests.faults.evidence import IS_FULL
from tests.faults.place.aliases import elsewhere, only_on_servers
from tests.faults.place.effects import call_back, count, promise, ring, ring_harmlessly
from tests.shop.models import Order
from tests.waiting import eventually

pytestmark = only_on_servers

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
JUMPS = [HOUR, timedelta(0), -HOUR, timedelta(0)] * (4 if IS_FULL else 1)


def unfinished(using: str) -> int:
    return Delivery.objects.using(using).exclude(state=State.SUCCEEDED).count()


@pytest.mark.fault(
    "the database's clock jumps an hour, forward and back, while rows run", rows="T5"
)
def test_nothing_is_lost_while_the_databases_clock_jumps(
    clocked, outside, effects_worker, evidence
):
    """Each jump finds rows waiting, running and leased."""
    using = clocked.alias
    effects = (ring, ring_harmlessly, count, call_back)
    committed = [what for each in effects for what in promise(each, 5, using=using)]
    with effects_worker(**elsewhere(clocked.config)):
        for off in JUMPS:
            clocked.is_off_by(off)
            committed += [what for each in effects for what in promise(each, 5, using=using)]
            now = read_clock(using)

            def swept_since(now=now) -> bool:
                """Also by what the jump has left: not before it, and not in the time to come."""
                around = {"ran_at__gte": now, "ran_at__lt": now + HOUR / 2}
                return Sweep.objects.using(using).filter(name=RESCUE, **around).exists()

            eventually(swept_since, within=20)
            evidence.add()
        # What was waiting, or leased, when it went back waits an hour more at most.
        clocked.is_off_by(3 * HOUR)
        eventually(lambda: not unfinished(using), within=60)

    counted = {what for what in committed if what.startswith("count")}
    called = {what.replace("call back", "ring") for what in committed if what.startswith("call")}
    verdict = outside.judge({*committed, *called} - counted)
    by_count = Order.objects.using(using).filter(status="counted").count()
    evidence.add(
        strikes=0,
        lost=verdict.lost + len(counted) - by_count,
        phantom=verdict.phantom,
        extra_runs=verdict.extra_runs,
    )
    assert verdict.other_keys == 0
    # One more for each lease that a jump has ended, and those were lost by living workers.
    assert verdict.extra_runs <= Attempt.objects.using(using).filter(outcome="lost").count()


@pytest.mark.fault("a lease ends because the database's clock jumps forward", rows="T5")
def test_who_loses_its_lease_to_a_jump_writes_nothing(clocked, outside, evidence):
    """Its successor has another token; also when the clock is put back, and the lease is alive."""
    using = clocked.alias
    promise(ring, 1, using=using)
    ids = list(Delivery.objects.using(using).values_list("pk", flat=True))
    [first] = claim(look(using, ids))

    clocked.is_off_by(HOUR)
    sweep(using, RESCUE, now=True)
    [second] = claim(look(using, ids))
    clocked.is_off_by(timedelta(0))

    assert not succeed(first)
    assert not finish.beat(first, HOUR)
    assert sweep(using, RESCUE, now=True).done == 0  # the second's lease is an hour longer
    assert succeed(second)
    assert not succeed(second)
    evidence.add(lost=unfinished(using), phantom=len(outside.calls()))


@pytest.mark.fault("the database's clock is put back under a lease", rows="T5")
def test_a_dead_workers_lease_ends_when_the_clock_has_caught_up(clocked, outside, evidence):
    """Later, but not never; and to the rescue it is one death, not an absence of its own."""
    using = clocked.alias
    committed = promise(ring, 1, using=using)
    clocked.is_off_by(HOUR)
    [row] = Delivery.objects.using(using)
    claim(look(using, [row.pk]))
    sweep(using, RESCUE, now=True)

    clocked.is_off_by(timedelta(0))
    assert sweep(using, RESCUE, now=True).done == 0
    clocked.is_off_by(HOUR + 3 * MINUTE)
    sweep(using, RESCUE, now=True)

    row.refresh_from_db()
    evidence.add(lost=int(row.state != State.PENDING), phantom=len(outside.calls()))
    assert committed


@pytest.mark.fault("a jump of the database's clock while nothing is swept", rows="T5")
@pytest.mark.parametrize("name", [RESCUE, PRUNE])
def test_no_sweep_waits_for_the_clock_to_catch_up(name, clocked, evidence):
    """Prune's period is ten minutes; an hour back is no reason to wait for seventy."""
    using = clocked.alias
    sweep(using, name)
    clocked.is_off_by(-HOUR)

    assert sweep(using, name) is not None
    assert sweep(using, name) is None
    clocked.is_off_by(HOUR)
    assert sweep(using, name) is not None
    evidence.add(strikes=2)


@pytest.mark.fault(
    "emit, claim, retry and heartbeat in a transaction ten minutes old", rows="C3 T5"
)
def test_an_old_transaction_writes_the_instants_of_now(clocked, evidence):
    """Else its rows would be overdue, or its leases over, before anybody could see them."""
    using = clocked.alias
    with transaction.atomic(using=using):
        Order.objects.using(using).exists()  # begins it, for databases that begin late
        clocked.is_off_by(10 * MINUTE)
        emitted = ring.promise(Order.objects.using(using).create(), using=using)
        rows = Delivery.objects.using(using).filter(event_id=emitted.event_id)
        row = rows.select_related("event").get()
        now = read_clock(using)
        for instant in (row.due_at, row.look_at, row.event.emitted_at):
            assert timedelta(0) <= now - instant < MINUTE

        [held] = claim(look(using, [row.pk]))
        row.refresh_from_db()
        assert row.lease_expires_at - now > ring.lease - MINUTE
        assert abs(held.claimed_at - now) < MINUTE
        clocked.is_off_by(20 * MINUTE)
        assert finish.beat(held, ring.lease)
        row.refresh_from_db()
        assert row.lease_expires_at - read_clock(using) > ring.lease - MINUTE
        assert finish.snooze(held, MINUTE)
        row.refresh_from_db()
        assert abs(row.due_at - read_clock(using) - MINUTE) < MINUTE / 2
        assert row.look_at == row.due_at

    late = Delivery.objects.using(using).filter(due_at__lte=DbNow() - MINUTE).count()
    evidence.add(lost=1 - rows.count(), phantom=late)
