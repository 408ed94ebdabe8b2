"""
MariaDB's isolation levels: REPEATABLE READ is refused by name, READ COMMITTED meets no deadlock.

Under the first, a claim locks gaps of the whole backlog: 7,000 deadlocks in ten seconds, measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from threading import Thread
from time import monotonic

import pytest
from django.db import OperationalError, connections

from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.relay import in_hints, take
from reliable_effects.outbox.states import State
from reliable_effects.outbox.sweeps import RELAY, RESCUE, sweep
from tests.faults.evidence import IS_FULL
from tests.faults.place.aliases import elsewhere, like_default, only_on_mariadb
from tests.faults.place.effects import promise, ring, ring_harmlessly
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), only_on_mariadb]

SECONDS = 30 if IS_FULL else 4


def manage(*arguments: str, level: str | None) -> subprocess.CompletedProcess[str]:
    config = like_default(OPTIONS={"isolation_level": level})
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        env=os.environ | elsewhere(config), check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.fault("MariaDB with REPEATABLE READ", rows="D6")
@pytest.mark.parametrize(
    ("command", "level"),
    [
        (["check", "--database", "default"], "repeatable read"),
        # The server's own, which is REPEATABLE READ unless somebody changed it.
        pytest.param(["check"], None, marks=pytest.mark.full),
        (["effects_worker", "--drain"], "repeatable read"),
    ],
    ids=["check", "the server's own", "effects_worker"],
)
def test_another_isolation_level_is_refused_by_name(command, level, outside, evidence):
    """Also by the worker itself: it does not start."""
    promise(ring, 1)

    done = manage(*command, level=level)

    assert done.returncode != 0
    assert "reliable_effects.E008" in done.stderr
    assert '["isolation_level"] = "read committed"' in done.stderr
    evidence.add(phantom=len(outside.calls()))


def claim() -> None:
    """As a child of `effects_worker` does."""
    for ids in in_hints(take("default", "effects", 20)):
        deliver("default", ids, hand_on=lambda *_: False)


def all_done() -> bool:
    waiting = Delivery.objects.exclude(state=State.SUCCEEDED)
    deliver("default", waiting.values_list("pk", flat=True)[:50], hand_on=lambda *_: False)
    return not waiting.exists()


@pytest.mark.fault("four that claim, two that emit, a relay and a rescue on MariaDB", rows="D6")
def test_under_read_committed_no_deadlock_escapes(outside, settings, evidence):
    """What must be written is written again; what a request emits meets none at all."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "tests.sweeps.transport.send"}
    committed: list[str] = []
    escaped: Counter[str] = Counter()
    ends = monotonic() + SECONDS

    def meanwhile(who: str, act) -> Thread:
        def go_on() -> None:
            try:
                while monotonic() < ends:
                    try:
                        act()
                    except OperationalError as error:
                        escaped[f"{who}: {error}"] += 1
            finally:
                connections.close_all()

        return Thread(target=go_on, name=who)

    def emit() -> None:
        committed.extend(promise(ring, 1))
        committed.extend(promise(ring_harmlessly, 1))

    crew = [
        *(meanwhile("claim", claim) for _ in range(4)),
        *(meanwhile("emit", emit) for _ in range(2)),
        meanwhile("relay", lambda: sweep("default", RELAY, now=True)),
        meanwhile("rescue", lambda: sweep("default", RESCUE, now=True)),
    ]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(SECONDS + 60)

    eventually(all_done, within=60)
    verdict = outside.judge(committed)
    assert not escaped
    assert len(committed) > 20
    evidence.judged(verdict, strikes=len(committed))
    assert verdict.extra_runs == 0
