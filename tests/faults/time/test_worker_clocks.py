"""
Workers whose own clocks are an hour ahead or behind: only the database's clock says what is due.

SQLite has no clock but that of whoever asks, so there it is one machine, and one clock.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction

from reliable_effects.clock import DbNow
from reliable_effects.outbox.models import Attempt, Delivery, Sweep
from reliable_effects.outbox.states import State
from reliable_effects.outbox.sweeps import RESCUE
from tests.faults.outside import Outside
from tests.faults.place.aliases import only_on_servers
from tests.faults.place.effects import HALF_AN_HOUR, named, promise, ring, snooze
from tests.outbox.conftest import expired_delivery, pending_delivery, running_delivery
from tests.services.wrong_clock import set_clock, shifted
from tests.shop.models import Order
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), only_on_servers]

HOUR = timedelta(hours=1)


class Standing:
    """Rows that a worker with a wrong clock would take too early, or never."""

    def __init__(self) -> None:
        self.later = pending_delivery(ring, due_at=DbNow() + HALF_AN_HOUR)
        self.retried = pending_delivery(
            ring, attempts=1, due_at=DbNow() + HALF_AN_HOUR, look_at=DbNow() + HALF_AN_HOUR
        )
        self.held = running_delivery(ring)  # by somebody else, for another five minutes
        self.lost = expired_delivery(ring)
        with transaction.atomic():
            self.snoozed = Order.objects.create()
            snooze.promise(self.snoozed)
        self.due = promise(ring, 30)
        self.due.append(f"ring {self.lost.event.subject_pk}")

    def is_done(self) -> bool:
        rows = Delivery.objects.filter(effect=ring.name)
        done = rows.filter(state=State.SUCCEEDED).count() == len(self.due)
        return done and Delivery.objects.filter(effect=snooze.name, due_at__gt=DbNow()).exists()

    def judge(self, outside: Outside) -> dict[str, int]:
        """What ought to wait has waited, also through the sweeps that followed."""
        rescues = Sweep.objects.filter(name=RESCUE)
        for _ in range(2):
            before = eventually(rescues.first, within=20).ran_at
            eventually(rescues.filter(ran_at__gt=before).first, within=20)
        before = {row.pk: (row.state, row.attempts, row.due_at) for row in self.waiting}
        for row in self.waiting:
            row.refresh_from_db()
        now = {row.pk: (row.state, row.attempts, row.due_at) for row in self.waiting}
        assert now == before
        assert not Attempt.objects.filter(delivery=self.held).exists()
        naps = named("snooze", self.snoozed)
        verdict = outside.judge([*self.due, naps])
        return {
            "strikes": len(self.due) + len(self.waiting),
            "lost": verdict.lost,
            "phantom": verdict.phantom,
            "extra_runs": verdict.extra_runs,
        }

    @property
    def waiting(self) -> list[Delivery]:
        return [self.later, self.retried, self.held]


def off_by(tmp_path: Path, hours: int) -> dict[str, str]:
    file = tmp_path / f"clock{hours}"
    set_clock(file, hours * HOUR)
    return shifted(file)


@pytest.mark.fault("workers without a broker whose clocks are an hour off", rows="T4")
def test_workers_an_hour_off_run_nothing_early_and_steal_no_lease(
    tmp_path, outside, effects_worker, evidence
):
    """One ahead and one behind, side by side on the same rows."""
    standing = Standing()
    with ExitStack() as workers:
        for hours in (1, -1):
            workers.enter_context(
                effects_worker(f"worker{hours}", processes=1, **off_by(tmp_path, hours))
            )
        eventually(standing.is_done, within=60)
        evidence.add(**standing.judge(outside))
    assert evidence.extra_runs == 0


@pytest.mark.fault("Celery workers whose clocks are an hour off", rows="T4 B12")
def test_celery_workers_an_hour_off_do_the_same(
    tmp_path, redis_server, outside, celery_worker, evidence
):
    """
    Each also consumes the other's hints: one that expired by a clock would never be read.

    Not in thread pools: libfaketime does not let a thread wait for a span under a wrong clock.
    """
    redis_server.wipe()
    standing = Standing()
    with ExitStack() as workers:
        for hours in (1, -1):
            workers.enter_context(
                celery_worker(
                    f"worker{hours}", redis_server.url, pool="prefork", slots=1,
                    **off_by(tmp_path, hours),
                )
            )  # fmt: skip
        eventually(standing.is_done, within=90)
        evidence.add(**standing.judge(outside))
    assert evidence.extra_runs == 0
