"""The broker, as it says of itself, and whether each queue has somebody who consumes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from ...clock import spoken
from ...conf import settings
from ...effects.registry import registry
from ...outbox.broker_answers import BrokerAnswer, QueueAnswer, ask
from .. import status
from ..status import Database, Queue
from .fact import Fact, Severity

_ABOUT = "broker"
_SHORT = 60.0  # seconds


def examine(readings: list[Database]) -> Iterator[Fact]:
    carried_by = status.transport()
    if carried_by.startswith("broken"):
        yield Fact(Severity.WRONG, "transport", carried_by, "Mend RELIABLE_EFFECTS['TRANSPORT'].")
    else:
        yield Fact(Severity.FINE, "transport", carried_by)
    names = registry.queues() | {queue.name for reading in readings for queue in reading.queues}
    answer = ask(sorted(names)) if carried_by == "celery" else None
    if answer is not None:
        yield from _broker(answer)
    answered = {each.name: each for each in answer.queues} if answer is not None else {}
    for name in sorted(names):
        claims = [queue for reading in readings for queue in reading.queues if queue.name == name]
        yield _queue(name, claims, answered.get(name))


def _broker(answer: BrokerAnswer) -> Iterator[Fact]:
    if answer.problem:
        yield Fact(
            Severity.WRONG,
            _ABOUT,
            f"{answer.kind} did not answer all we asked: {answer.problem}",
            "Hints wait for it; to go on without it, run effects_worker with TRANSPORT 'none'.",
        )
    if answer.version:
        yield Fact(Severity.FINE, _ABOUT, f"{answer.kind} {answer.version}")
    if answer.takes_publishes is False:
        yield Fact(
            Severity.WRONG,
            _ABOUT,
            "it takes no messages: its memory is full, or its disk",
            "Rows are written as ever. Free what fills it: often a queue that nobody consumes.",
        )
    if answer.memory_limit and (answer.eviction or "").startswith("allkeys"):
        yield Fact(
            Severity.DOUBTFUL,
            _ABOUT,
            f"maxmemory-policy is {answer.eviction}: when it is full it drops messages, all tasks'",
            "CONFIG SET maxmemory-policy noeviction; keep a cache in a Redis of its own.",
        )
    elif answer.eviction is not None:
        yield Fact(Severity.FINE, _ABOUT, f"maxmemory-policy is {answer.eviction}")
    if answer.visibility_timeout is not None:
        is_short = answer.visibility_timeout < _SHORT
        yield Fact(
            Severity.DOUBTFUL if is_short else Severity.FINE,
            _ABOUT,
            f"what a dead worker had fetched comes back after {answer.visibility_timeout:g} s"
            " (visibility_timeout); the relay hints its rows again before",
            "Shorter than a task takes, it is delivered twice." if is_short else "",
        )
    if answer.confirms is not None:
        can = "can" if answer.confirms else "cannot"
        yield Fact(
            Severity.FINE,
            _ABOUT,
            f"it {can} confirm what is published; hints do not ask for it, since rows are the truth",
        )


def _queue(name: str, claims: list[Queue], answer: QueueAnswer | None) -> Fact:
    about = f"queue {name}"
    start = f"Start a worker with -Q {name}, or `manage.py effects_worker`."
    ages = [abs(queue.last_claim) for queue in claims if queue.last_claim is not None]
    claimed = f"last claimed from {spoken(min(ages))} ago" if ages else "never claimed from"
    if not all(queue.is_consumed for queue in claims):
        return Fact(Severity.WRONG, about, f"nobody consumes it; {claimed}", start)
    if answer is None or answer.consumers is None:
        length = "" if answer is None else f", {answer.messages} messages"
        return Fact(Severity.FINE, about, f"{claimed}{length}")
    if answer.consumers:
        told = f"{answer.consumers} consumers, {answer.messages} messages, {claimed}"
        return Fact(Severity.FINE, about, told)
    if ages and min(ages) <= max(settings().unconsumed_after, timedelta(minutes=1)):
        return Fact(
            Severity.DOUBTFUL,
            about,
            f"no Celery worker consumes it; {claimed}, so another process does",
            "Where effects_worker does all, RELIABLE_EFFECTS['TRANSPORT'] = 'none' spares the hints.",
        )
    there = (
        "no worker consumes it" if answer.messages is not None else "the broker has no such queue"
    )
    return Fact(Severity.WRONG, about, f"{there}; {claimed}", start)
