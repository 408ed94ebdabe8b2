"""
One thing that a request, a worker, a sweep or a person does, told so that any moment of it may fail.

A test prepares a scenario, lets it act while something strikes, lets the clock and the other workers
do what they would have done, and then judges: by the file that its effects write to, and by the
rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import connection

from reliable_effects.clock import moved
from reliable_effects.effects.effect import Effect
from reliable_effects.outbox.deliver import on_hint
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import State
from reliable_effects.outbox.worker import work
from reliable_effects.schedule.models import ScheduledJob
from tests.faults.evidence import Evidence
from tests.faults.locks import nobody_holds_a_lock
from tests.faults.outside import Outside
from tests.forgetting import forget_everything
from tests.outbox.conftest import pending_delivery
from tests.shop.models import Order
from tests.waiting import eventually

MakeEffect = Callable[..., Effect[Order, Any]]


@dataclass(frozen=True)
class Ending:
    """How each row of a scenario ends, whatever was struck."""

    state: State = State.SUCCEEDED
    runs: int = 1
    attempts: int = 1
    kept: int = 0  # rows of Attempt
    more_runs: int = 0  # that one strike may cost: 0 where the answer can be asked for
    more_attempts: int = 0  # and rows of Attempt: where the effect itself met the error


class Scenario:
    """Subclasses say what there is, what is done, and where it ends."""

    ending = Ending()

    def __init__(self, make_effect: MakeEffect, folder: Path) -> None:
        self._folder, self._strikes = folder, 0
        self.outside = Outside(folder / "0")
        self.rows: list[Delivery] = []
        self.error: BaseException | None = None  # what the client, or the person, was told
        self.declare(make_effect)

    # What a subclass says.

    def declare(self, make_effect: MakeEffect) -> None:
        self.effect = make_effect(self.acts)

    def prepare(self) -> list[Delivery]:
        return [pending_delivery(self.effect)]

    def act(self) -> None:
        """What is struck. What it raises, its client sees."""
        self.hint(*self.rows)

    def settle(self) -> None:
        """What its client does after an error; a worker does nothing."""

    def expects(self) -> dict[str, Ending]:
        """By what the effect writes outside."""
        return {_written_of(row): self.ending for row in self.rows}

    def judge_more(self) -> None:
        """Assert what else must be so."""

    # What tests call.

    def begin(self) -> None:
        """A new world outside, new rows, and a process that remembers nothing."""
        self._strikes += 1
        self.outside = Outside(self._folder / str(self._strikes))
        self.error = None
        for model in (Attempt, Delivery, OutboxEvent, ScheduledJob, Sweep):
            model._base_manager.all().delete()
        forget_everything()
        self.rows = self.prepare()

    def run(self) -> None:
        try:
            self.act()
        except Exception as error:  # noqa: BLE001  # the client's, whatever it is
            self.error = error

    def end(self) -> None:
        """The worker's, or client's, next task begins with a new connection; and time goes by."""
        connection.close()
        eventually(nobody_holds_a_lock)
        self.settle()
        drain()

    def judge(self, evidence: Evidence, where: str) -> None:
        expected = self.expects()
        done = Counter(call.what for call in self.outside.calls())
        verdict = self.outside.judge(what for what, end in expected.items() if end.runs)
        extra = sum((done - Counter({w: end.runs for w, end in expected.items()})).values())
        evidence.add(lost=verdict.lost, phantom=verdict.phantom, extra_runs=extra)

        for what, ending in expected.items():
            assert ending.runs <= done[what] <= ending.runs + ending.more_runs, (where, what)
        assert (verdict.lost, verdict.phantom, verdict.other_keys) == (0, 0, 0), where
        for row in self.rows:
            ending = expected[_written_of(row)]
            row.refresh_from_db()
            kept = list(Attempt.objects.filter(delivery=row).values_list("number", flat=True))
            more = row.attempts - ending.attempts
            assert row.state == ending.state, where
            assert 0 <= more <= ending.more_attempts, where
            assert len(kept) == len(set(kept)) == ending.kept + more, (where, kept)
        self.judge_more()

    # What subclasses lean on.

    def acts(self, order: Order, ctx: Any) -> None:
        """The effect: a call to the partner outside, and nothing on the database."""
        self.outside.write(f"order {order.pk}", ctx.idempotency_key)

    def acts_and_raises(self, error: BaseException) -> Callable[..., None]:
        def acts(order: Order, ctx: Any) -> None:
            self.acts(order, ctx)
            raise error

        return acts

    @staticmethod
    def hint(*rows: Delivery) -> None:
        on_hint({"v": 1, "db": "default", "ids": [row.pk for row in rows]})


def _written_of(row: Delivery) -> str:
    return f"order {row.event.subject_pk}"


def drain() -> None:
    """What the sweeps and the other workers do in the hours that follow."""
    for hours in range(1, 8):
        with moved(timedelta(hours=hours)):
            rescue("default", Turn(None))
            work((), lambda: False, drain=True)
        unfinished = Delivery.objects.filter(state__in=(State.PENDING, State.RUNNING))
        if not (unfinished | Delivery.objects.filter(look_at__isnull=False)).exists():
            return
