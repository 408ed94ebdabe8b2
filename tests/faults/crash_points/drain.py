"""
A fresh process after a death: hints that were on their way, then sweeps, until nothing waits.

Its clock is put on by an hour for each round, so that leases have ended and rests are over.
"""

from __future__ import annotations

from datetime import timedelta

from reliable_effects.clock import moved
from reliable_effects.outbox import heartbeat, low_water
from reliable_effects.outbox.deliver import on_hint
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.prune import prune
from reliable_effects.outbox.relay import relay
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import State
from reliable_effects.schedule.tick import tick
from tests.faults.locks import nobody_holds_a_lock
from tests.waiting import eventually

from . import outer_world

_ROUNDS = 12  # what ends at all has ended before; the longest here needs five


def drain() -> None:
    eventually(nobody_holds_a_lock)
    _deliver_hints(0)
    for round_ in range(1, _ROUNDS):
        with moved(timedelta(hours=round_)):
            # Each round is another worker.
            heartbeat.forget_claims()
            low_water.forget()
            tick("default")
            rescue("default", Turn(since_last=None))
            sent = len(outer_world.hints())
            while not _is_quiet():
                relay("default")
                _deliver_hints(sent)
                if sent == (sent := len(outer_world.hints())):
                    break
            else:
                break
    _deliver_hints(0)  # each once more, and late: they change nothing
    prune("default")


def _deliver_hints(since: int) -> None:
    for hint in outer_world.hints()[since:]:
        on_hint(hint)


def _is_quiet() -> bool:
    return not (
        Delivery.objects.waiting().filter(look_at__isnull=False).exists()
        or Delivery.objects.filter(state=State.RUNNING).exists()
    )
