"""Effects that kill and hang, in real worker processes, beside innocents."""

from __future__ import annotations

import pytest
from django.db import transaction

from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import Reason, State
from tests.shop.models import LedgerEntry, Order
from tests.waiting import eventually

from . import effects

pytestmark = pytest.mark.django_db(transaction=True)


def promise(effect, times: int = 1) -> None:
    with transaction.atomic():
        for _ in range(times):
            effect.promise(Order.objects.create())


def the(effect) -> Delivery:
    return Delivery.objects.get(effect=effect.name)


def all_succeeded(effect) -> bool:
    return not Delivery.objects.filter(effect=effect.name).exclude(state=State.SUCCEEDED).exists()


def times_done(what: str) -> int:
    return LedgerEntry.objects.filter(what=what).count()


class Killers:
    """What a delivery may do to its process, whoever's process it is."""

    def test_everything_that_is_due_is_carried_out(self):
        """Once each: with no hint sent, the sweep of any worker is enough."""
        promise(effects.innocent, 120)

        eventually(lambda: all_succeeded(effects.innocent), within=40)
        assert times_done("innocent") == 120

    @pytest.mark.parametrize("killer", [effects.kill, effects.segfault], ids=["SIGKILL", "SIGSEGV"])
    def test_only_the_killer_is_convicted(self, killer):
        """A process that dies says nothing of those that stood beside it."""
        promise(effects.innocent, 30)
        promise(killer)

        eventually(lambda: the(killer).state == State.POISONED, within=60)
        eventually(lambda: all_succeeded(effects.innocent), within=30)
        assert the(killer).reason == Reason.KILLED_WORKERS
        assert the(killer).attempts == 2

    def test_an_effect_that_hangs_is_ended_by_its_timeout(self):
        """The slot comes back, and the traceback says where it hung."""
        promise(effects.hang)
        promise(effects.innocent, 5)

        eventually(lambda: the(effects.hang).state == State.POISONED, within=60)
        eventually(lambda: all_succeeded(effects.innocent), within=30)
        assert the(effects.hang).reason == Reason.TIMED_OUT
        attempt = Attempt.objects.filter(delivery__effect="worker.hang").first()
        assert attempt.outcome == Attempt.Outcome.TIMED_OUT
        assert "time.sleep(3600)" in attempt.traceback

    def test_what_hears_no_signal_ends_with_its_process(self):
        """A loop in C holds the GIL: only a thread that needs none can end it."""
        promise(effects.hang_in_c)
        promise(effects.innocent, 5)

        eventually(lambda: the(effects.hang_in_c).state == State.POISONED, within=60)
        eventually(lambda: all_succeeded(effects.innocent), within=30)
        assert the(effects.hang_in_c).reason == Reason.KILLED_WORKERS

    def test_a_heartbeat_keeps_timeout_and_lease_away(self):
        """Work that says it is at it may take as long as it takes."""
        promise(effects.beat)

        eventually(lambda: the(effects.beat).state == State.SUCCEEDED, within=40)
        assert times_done("beat") == 1
        assert the(effects.beat).attempts == 1

    def test_an_effect_that_exits_does_not_take_the_worker_along(self):
        """SystemExit is an outcome like any other."""
        promise(effects.leave)

        eventually(lambda: the(effects.leave).state == State.POISONED, within=40)
        assert the(effects.leave).reason == Reason.ATTEMPTS_SPENT


@pytest.mark.usefixtures("effects_worker_for_all")
class TestEffectsWorker(Killers):
    """No broker, no Celery."""


@pytest.mark.usefixtures("celery_worker_for_all")
class TestCeleryWorker(Killers):
    """A stock prefork worker that sweeps on its timer."""
