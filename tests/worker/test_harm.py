"""
Every kind of harm an effect can do, in one hint with innocents, in real worker processes.

Only who does harm comes to harm; each slot works again afterwards, and new innocents of the same
queue flow within about a lease of the last kill. The world outside the database is the judge.
"""

from __future__ import annotations

import pytest

from reliable_effects.outbox.models import Attempt
from tests.waiting import eventually

from . import harm, innocents
from .courts import RECOVERY, SLOTS, Court, all_slots_work, seconds_until_innocents_flow, warm_up
from .harm import HARMS

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.one_database,  # the first is PostgreSQL
]

KILLERS = [kind for kind, harm in HARMS.items() if harm.kills]
OTHERS = [kind for kind in HARMS if kind not in KILLERS]


class Harms:
    """What no worker that may lose a process may be hurt by."""

    @pytest.mark.fault("effects that kill their process, or hang it beyond rescue", rows="W1 W4 W6")
    def test_killers_convict_nobody_but_themselves(self, outside, evidence):
        """All kinds at once, so that each dies beside others that kill; one of them in a group."""
        warm_up(outside, ["kill_a_group"])
        court = Court(outside)
        court.promise(KILLERS, each=10)

        eventually(court.ended, within=100)
        for kind in KILLERS:
            in_a_group = HARMS[kind].effect.harmless_to_repeat
            assert harm.ATTEMPTS <= court.runs_of(kind) <= harm.ATTEMPTS + in_a_group, kind
        court.judge(evidence)
        all_slots_work(outside)

    @pytest.mark.fault(
        "effects that raise what nobody raises, or leave their process a mess", rows="W3 W5 W6"
    )
    def test_a_mess_hurts_nobody_who_comes_after(self, outside, evidence):
        """Each delivery finds a process, a connection and an alarm that are as they were."""
        court = Court(outside)
        court.promise(OTHERS, each=10)

        eventually(court.ended, within=100)
        court.judge(evidence)
        hanging = Court(outside)
        hanging.owe(innocents.hang, SLOTS)  # one for each process, whoever's habits it has
        eventually(hanging.ended, within=30)
        ends = Attempt.objects.filter(delivery__in=hanging.words)
        told = list(ends.values_list("outcome", "exception_type", "message"))
        # Where eat_memory limited its process, what comes after may find too little to begin with.
        hung = [end for end in told if "MemoryError" not in end[1]]
        assert {outcome for outcome, *_ in hung} == {Attempt.Outcome.TIMED_OUT}, told
        all_slots_work(outside)

    @pytest.mark.fault("every slot of a worker is killed at once", rows="W1 W4 W17")
    def test_innocents_flow_again_within_a_lease(self, outside, evidence):
        """The time counts from the kill; what stands behind it waits for no timeout of anybody."""
        court = Court(outside)
        for _ in range(SLOTS):
            court.promise(["kill"])
        eventually(lambda: court.runs_of("kill") >= SLOTS, within=30)

        assert seconds_until_innocents_flow(outside) < RECOVERY
        eventually(court.ended, within=60)
        court.judge(evidence)

    @pytest.mark.full
    @pytest.mark.parametrize("kind", HARMS)
    @pytest.mark.fault(
        "each kind of harm by itself, in a line with innocents", rows="W1 W3 W4 W5 W6"
    )
    def test_each_harm_by_itself(self, kind, outside, evidence):
        """Measured as quick, it stands in the same line, and strikes there."""
        warm_up(outside, [kind])
        court = Court(outside)
        court.promise([kind], each=20)
        eventually(lambda: court.runs_of(kind) > 0, within=30)

        assert seconds_until_innocents_flow(outside) < RECOVERY
        eventually(court.ended, within=60)
        assert court.runs_of(kind) <= harm.ATTEMPTS + (HARMS[kind].effect.harmless_to_repeat)
        court.judge(evidence)
        all_slots_work(outside)


@pytest.mark.usefixtures("effects_worker_of_four")
class TestEffectsWorker(Harms):
    """No broker, no Celery."""


@pytest.mark.usefixtures("celery_worker_of_four")
class TestCeleryPrefork(Harms):
    """A stock worker of the pool that is Celery's default."""
