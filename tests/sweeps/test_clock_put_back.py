"""
The database's clock is put back an hour: nothing may wait until it has caught up with itself.

What is written before the jump then lies in the future. What waits for its time (a retry, a lease)
waits an hour more, since no one can know better; what only says "done lately" must not.
"""

from __future__ import annotations

import pytest

from reliable_effects import clock
from reliable_effects.clock import DbNow
from reliable_effects.outbox import heartbeat
from reliable_effects.outbox.heartbeat import note_claim, take_turn
from reliable_effects.outbox.models import Sweep
from reliable_effects.outbox.relay import relay
from reliable_effects.outbox.sweeps import RESCUE, sweep
from reliable_effects.watch import status
from tests.outbox.conftest import pending_delivery
from tests.sweeps import transport
from tests.sweeps.conftest import HOUR, MINUTE, SECOND

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_next_turn_does_not_wait_for_an_hour():
    """Else nobody would hint and nobody rescue, and all that time the heartbeat would look well."""
    take_turn("default", "relay", MINUTE)

    with clock.moved(-HOUR):
        turn = take_turn("default", "relay", MINUTE)
        again = take_turn("default", "relay", MINUTE)

    assert turn is not None
    assert again is None


def test_a_sweep_after_the_jump_takes_it_for_no_absence():
    """A gap of minus one hour forgives nobody."""
    take_turn("default", "rescue", MINUTE)

    with clock.moved(-HOUR):
        turn = take_turn("default", "rescue", MINUTE)

    assert turn.since_last < MINUTE


def test_a_jump_within_one_period_waits_for_two_at_most():
    """Two that ask in the same moment differ a little, too: that is no jump."""
    take_turn("default", "relay", MINUTE)

    with clock.moved(-30 * SECOND):
        assert take_turn("default", "relay", MINUTE) is None
        with clock.moved(2 * MINUTE):
            assert take_turn("default", "relay", MINUTE) is not None


@pytest.mark.usefixtures("_transport")
def test_claims_before_the_jump_do_not_say_that_somebody_is_there():
    """The alarm that nobody consumes a queue would come an hour late."""
    note_claim("default", "effects")
    with clock.moved(-HOUR):
        pending_delivery(due_at=DbNow() - 10 * MINUTE)

        relay("default")

        assert Sweep.objects.filter(name="unconsumed:effects").exists()
        [queue] = [queue for queue in status.of("default").queues if queue.name == "effects"]
        assert not queue.is_consumed


@pytest.mark.usefixtures("_transport")
def test_a_queue_that_is_consumed_stays_so():
    """The first claim after the jump says so."""
    note_claim("default", "effects")
    with clock.moved(-HOUR):
        rows = [pending_delivery(due_at=DbNow() - 10 * MINUTE) for _ in range(3)]
        heartbeat.forget_claims()  # ten seconds later
        note_claim("default", "effects")

        relay("default")

    assert sorted(transport.hinted_ids()) == [row.pk for row in rows]


def test_a_sweep_that_stopped_before_the_jump_is_an_alarm():
    """Its last run lies ahead, which is not the same as just now."""
    sweep("default", RESCUE, now=True)

    with clock.moved(-HOUR):
        [told] = [each for each in status.of("default").sweeps if each.name == RESCUE]

    assert told.is_stale
