"""What this process remembers between two calls of ours, and a test must not learn from another."""

from __future__ import annotations

from reliable_effects.console.groups import grouping
from reliable_effects.inbox import prune as old_messages
from reliable_effects.outbox import (
    dispatch,
    heartbeat,
    held_back,
    low_water,
    prune,
    rescue,
    unknown,
)
from reliable_effects.outbox.pace import pace
from reliable_effects.schedule import forget as ended_jobs
from reliable_effects.schedule import tick, zones
from reliable_effects.watch import channels, health, rules


def forget_rows() -> None:
    """Shortcuts past rows that were seen: wherever a test empties the tables."""
    for forget in (
        pace.forget,
        heartbeat.forget_claims,
        held_back.forget,
        low_water.forget,
        prune.forget,
        rescue.forget,
        unknown.forget,
        ended_jobs.forget,
        tick.forget,
        old_messages.forget,
        zones.forget,
        channels.forget,
        health.forget,
        grouping.forget,
        rules.forget,
    ):
        forget()


def forget_everything() -> None:
    """The rows, and the way to the broker: its publisher, its breaker, what it was refused."""
    forget_rows()
    dispatch.forget_transport()
