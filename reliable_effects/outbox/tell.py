"""What became of a delivery, told when it is committed: to the log, and to who listens."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from django.dispatch import Signal

from .. import signals
from ..effects.effect import Effect
from .states import Reason

logger = logging.getLogger("reliable_effects")


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
