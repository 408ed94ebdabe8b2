"""The machine is run: some examples always, thousands where TEST_FAULTS=full."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from reliable_effects.effects.registry import registry
from reliable_effects.outbox.pace import pace
from tests.faults.evidence import IS_FULL

from . import moves, rows
from .effects import declare
from .faults import LATE_WRITES
from .machine import Machine
from .script import Mood
from .world import World

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "2000")) if IS_FULL else 40
STEPS = 30
SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

# Hypothesis leaves rules out of an example at will, so of few only what happens often is expected.
OFTEN = {"emit", "hint", "claim", "group", "rescue", "relay"}
KINDS = {
    "emit", "promise", "redrive", "cancel", "business:", "hint", "forged", "late", "claim",
    "claimed", "group", "run:", "zombie", "zombie:", "rescue", "relay", "prune", "clock", "old",
    "backup", "restore",
}  # fmt: skip
RARE = {f"zombie: {way}" for way in LATE_WRITES} | {f"run: {mood.name}" for mood in Mood}


@pytest.fixture
def _world(settings: Any) -> Iterator[None]:
    settings.RELIABLE_EFFECTS = {
        "TRANSPORT": "tests.faults.machine.broker.send",
        # A busy machine is no broken broker: its breaker would keep the relay from sending.
        "PUBLISH_PATIENCE": timedelta(seconds=60),
    }
    World.acted = Counter()
    World.examples = World.lost = World.phantom = World.extra_runs = 0
    with registry.scratch(), moves.recorded():
        World.effects = declare()
        yield
        rows.clear()
    pace.forget()


@pytest.mark.fault("any order of work, crashes, zombies, lost hints and commits, restores")
@pytest.mark.timeout(7200 if IS_FULL else 400)  # a failing example is made smaller for minutes
@pytest.mark.usefixtures("_world")
def test_whatever_happens_nothing_is_lost_and_nothing_made_up(evidence, record_property):
    """Each part is tested alone elsewhere; what one leaves behind for the next is found here."""
    run_state_machine_as_test(Machine, settings=SETTINGS)

    evidence.add(
        strikes=World.examples,
        lost=World.lost,
        phantom=World.phantom,
        extra_runs=World.extra_runs,
    )
    for rule, times in sorted(World.acted.items()):
        record_property(rule, times)
        print(f"{times:7} {rule}")  # noqa: T201  # pytest shows it where the test fails, or with -s
    vacuous = (KINDS if IS_FULL else OFTEN) - {
        rule.split(maxsplit=1)[0].rstrip(",") for rule in World.acted
    }
    assert not vacuous, "these rules never found anything to act on"
    assert not IS_FULL or World.acted.keys() >= RARE
