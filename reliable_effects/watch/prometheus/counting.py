"""What this process does, counted and timed as it happens."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from prometheus_client import Counter, Histogram

from ... import signals
from ...effects.effect import Effect
from ...effects.event import Event
from ...outbox import instruments, tell
from ...outbox.claimed import Claimed
from ...outbox.states import Notes, Reason

logger = logging.getLogger("reliable_effects")

_LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 21600)
_RUNS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)  # seconds

EMITTED = Counter("reliable_effects_emitted", "Events that were committed.", ["event"])
PROMISED = Counter("reliable_effects_promised", "Deliveries that were promised.", ["effect"])
DELIVERED = Counter(
    "reliable_effects_delivered",
    "Deliveries that came to an end, or to where nobody knows: succeeded, skipped, poisoned,"
    " uncertain.",
    ["effect", "outcome"],
)
FAILED = Counter(
    "reliable_effects_attempts_failed", "Attempts that failed, the last included.", ["effect"]
)
POISONED = Counter(
    "reliable_effects_poisoned", "Deliveries that were set aside.", ["effect", "reason"]
)
REDRIVEN = Counter("reliable_effects_redriven", "Deliveries that a person redrove.", ["effect"])
EMIT_TO_START = Histogram(
    "reliable_effects_emit_to_start_seconds",
    "From the emit, in its transaction, to the first attempt.",
    ["queue"],
    buckets=_LAGS,
)
DUE_TO_START = Histogram(
    "reliable_effects_due_to_start_seconds",
    "From when it was due to the attempt, retries and snoozes included.",
    ["queue"],
    buckets=_LAGS,
)
RUN = Histogram(
    "reliable_effects_run_seconds",
    "What one call of an effect took, however it ended.",
    ["effect"],
    buckets=_RUNS,
)


def start() -> None:
    """Count and time from now on. Twice is once."""
    instruments.instrument(_measured)
    tell.overhear(signals.delivery_succeeded, _succeeded)
    for signal, receiver in _RECEIVERS:
        signal.connect(receiver, dispatch_uid=receiver)


def stop() -> None:
    instruments.take_out(_measured)
    tell.stop_overhearing(signals.delivery_succeeded, _succeeded)
    for signal, receiver in _RECEIVERS:
        signal.disconnect(receiver, dispatch_uid=receiver)


def _measured(claimed: Claimed) -> AbstractContextManager[None]:
    return nullcontext() if claimed.verifying else _measured_run(claimed)


@contextmanager
def _measured_run(claimed: Claimed) -> Iterator[None]:
    try:
        _note_lags(claimed)
    except Exception:  # a full disk in multiprocess mode; the effect has nothing to do with it
        logger.exception("could not measure how late a delivery was")
    begun = time.monotonic()
    try:
        yield
    finally:
        try:
            RUN.labels(claimed.effect.name).observe(time.monotonic() - begun)
        except Exception:
            logger.exception("could not measure how long an effect took")


def _note_lags(claimed: Claimed) -> None:
    if claimed.due_at is not None:
        late = (claimed.claimed_at - claimed.due_at).total_seconds()
        DUE_TO_START.labels(claimed.queue).observe(max(late, 0.0))
    is_first = claimed.attempt == 1 and not {Notes.ROUND, Notes.INTERRUPTED} & claimed.notes.keys()
    if is_first and claimed.event is not None:
        since = (claimed.claimed_at - claimed.event.emitted_at).total_seconds()
        EMIT_TO_START.labels(claimed.queue).observe(max(since, 0.0))


def _emitted(
    sender: Event[Any, Any], event_ids: list[Any], promised: dict[str, int], source: str, **_: Any
) -> None:
    if source != "promise":  # behind a promise stands no event that anybody declared
        EMITTED.labels(sender.name).inc(len(event_ids))
    for effect, count in promised.items():
        PROMISED.labels(effect).inc(count)


def _succeeded(effect: Effect[Any, Any] | None, _: dict[str, Any]) -> None:
    DELIVERED.labels(_name(effect), "succeeded").inc()


def _skipped(sender: Effect[Any, Any] | None, **_: Any) -> None:
    DELIVERED.labels(_name(sender), "skipped").inc()


def _failed(sender: Effect[Any, Any] | None, **_: Any) -> None:
    FAILED.labels(_name(sender)).inc()


def _poisoned(sender: Effect[Any, Any] | None, reason: str, **_: Any) -> None:
    DELIVERED.labels(_name(sender), "poisoned").inc()
    POISONED.labels(_name(sender), reason).inc()
    if reason in (Reason.ATTEMPTS_SPENT, Reason.TIMED_OUT):
        FAILED.labels(_name(sender)).inc()


def _uncertain(sender: Effect[Any, Any] | None, **_: Any) -> None:
    DELIVERED.labels(_name(sender), "uncertain").inc()


def _redriven(sender: Effect[Any, Any] | None, **_: Any) -> None:
    REDRIVEN.labels(_name(sender)).inc()


def _name(effect: Effect[Any, Any] | None) -> str:
    return effect.name if effect is not None else "unknown"


_RECEIVERS = (
    (signals.event_emitted, _emitted),
    (signals.delivery_skipped, _skipped),
    (signals.attempt_failed, _failed),
    (signals.delivery_poisoned, _poisoned),
    (signals.delivery_uncertain, _uncertain),
    (signals.delivery_redriven, _redriven),
)
