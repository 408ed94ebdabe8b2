"""A run that does not simply succeed: each way to end, and the worker dies while it writes it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from reliable_effects.clock import DbNow
from reliable_effects.effects.effect import Effect
from reliable_effects.outbox import timeout
from reliable_effects.outbox.models import OutboxEvent
from reliable_effects.outbox.states import Flag, State
from tests.shop.models import Order

from .. import effects
from .act import Act, hint_all, promise, put


def to_promise(*owed: Effect[Any, Any]) -> Any:
    return lambda: promise(*owed)


def time_out() -> None:
    timeout.enforce_here()
    hint_all()


def a_second_attempt_to_pay() -> None:
    """The one that reaches the partner."""
    promise(effects.pay)
    put(effects.pay, State.PENDING)


def a_last_attempt() -> None:
    promise(effects.fail_always)
    put(effects.fail_always, State.PENDING)


def a_debt_that_is_paid() -> None:
    order = promise(effects.bill)
    Order.objects.filter(pk=order.pk).update(status="paid otherwise")


def late() -> None:
    promise(effects.expire)
    OutboxEvent.objects.update(emitted_at=DbNow() - timedelta(hours=2))


def of_nobody() -> None:
    promise(effects.wrap, effects.skip).delete()


def of_the_next_release() -> None:
    promise(effects.wrap)
    OutboxEvent.objects.update(version=2)


def the_next_release() -> None:
    OutboxEvent.objects.update(version=1)


def to_verify(*, asked: int = 0) -> None:
    promise(effects.pay, effects.doubt)
    verifiable = {"look_at": DbNow(), "flags": Flag.BEGUN | Flag.VERIFIABLE}
    put(effects.pay, State.UNCERTAIN, **verifiable)
    put(effects.doubt, State.UNCERTAIN, notes={"verifies": asked}, **verifiable)


def _ending(effect: Effect[Any, Any], owed: tuple[str, ...] = (), **options: Any) -> Act:
    word = effect.name.removeprefix("crash.")
    return Act(
        name=f"end: {word}",
        **{"prepare": to_promise(effect), "play": hint_all, "owed": owed} | options,
    )


ACTS = [
    _ending(effects.fail_once, ("fail_once",)),
    _ending(effects.fail_atomic, ("fail_atomic",)),
    _ending(effects.fail_always, prepare=a_last_attempt),
    _ending(effects.time_out, ("time_out",), play=time_out),
    _ending(effects.refuse),
    _ending(effects.skip),
    _ending(effects.expire, prepare=late),
    _ending(effects.needless),
    Act(name="end: a debt that is paid", prepare=a_debt_that_is_paid, play=hint_all),
    Act(name="end: the subject is gone", prepare=of_nobody, play=hint_all),
    _ending(effects.snooze_once, ("snooze_once",)),
    _ending(effects.pay, ("pay",), extra_runs=0),
    Act(
        name="end: pay, and the partner was called",
        prepare=a_second_attempt_to_pay,
        play=hint_all,
        owed=("pay",),
        extra_runs=0,
    ),
    _ending(effects.doubt),
    _ending(effects.ask_a_person),
    Act(name="verify", prepare=to_verify, play=hint_all, owed=("pay",), extra_runs=0),
    Act(
        name="end: of the next release",
        prepare=of_the_next_release,
        play=hint_all,
        owed=("wrap",),
        meanwhile=the_next_release,
    ),
]
