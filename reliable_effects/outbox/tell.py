"""What became of a delivery, told when it is committed: to the log, and to who listens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.dispatch import Signal

from .. import signals
from ..effects.effect import Effect
from .states import Reason

logger = logging.getLogger("reliable_effects")


Overhearing = Callable[[Effect[Any, Any] | None, dict[str, Any]], None]

_overhearing: dict[Signal, list[Overhearing]] = {}


def overhear(signal: Signal, listen: Overhearing) -> None:
    """
    Tell *listen* too, of (effect, facts): for what counts, and takes microseconds.

    A receiver of `delivery_succeeded` makes each success a round trip of its own, since it must
    hear of one before the next is begun. Who overhears does not.
    """
    listening = _overhearing.setdefault(signal, [])
    if listen not in listening:
        listening.append(listen)


def stop_overhearing(signal: Signal, listen: Overhearing) -> None:
    if listen in _overhearing.get(signal, ()):
        _overhearing[signal].remove(listen)


def tell(
    signal: Signal,
    effect: Effect[Any, Any] | None,
    *,
    delivery_id: int,
    key: UUID,
    using: str,
    **facts: Any,
) -> None:
    """Send *signal*. *effect* is None where this release does not know it, as a rescuer may not."""
    for listen in _overhearing.get(signal, ()):
        try:
            listen(effect, facts)
        except Exception:  # as of receivers: what is told has happened, whoever cannot hear it
            logger.exception("could not tell %r", listen)
    if signal.has_listeners(effect):
        signal.send_robust(effect, delivery_id=delivery_id, key=key, using=using, **facts)


def poisoned(
    name: str,
    effect: Effect[Any, Any] | None,
    reason: Reason,
    exception: BaseException | None = None,
    **row: Any,
) -> None:
    """It is set aside. *row* is what `tell` wants to know of it."""
    logger.error("poisoned %s delivery=%d %s", name, row["delivery_id"], reason)
    tell(signals.delivery_poisoned, effect, reason=str(reason), exception=exception, **row)


def uncertain(
    name: str,
    effect: Effect[Any, Any] | None,
    exception: BaseException | None = None,
    *,
    waits_for_a_person: bool,
    why: str = "",
    **row: Any,
) -> None:
    """Nobody knows whether it happened."""
    then = "a person must decide" if waits_for_a_person else "verify will be asked"
    logger.warning("uncertain %s delivery=%d: %s%s", name, row["delivery_id"], why, then)
    tell(
        signals.delivery_uncertain,
        effect,
        waits_for_a_person=waits_for_a_person,
        exception=exception,
        **row,
    )
