"""One effect of each kind. Each follows the script, and acts on the outside world only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from reliable_effects import ONCE, Backoff, Event, Poison, Skip, Snooze, Uncertain, effect
from reliable_effects.effects.effect import Effect
from reliable_effects.exceptions import EffectTimeout
from tests.shop.models import LedgerEntry, Order

from .script import Call, Mood, script

SHORT = timedelta(seconds=10)  # of a run: with the grace, leases of 40 s
NAP = timedelta(hours=30)  # of a snooze: the sixth is one too many
LATER = Backoff(first=timedelta(minutes=1), longest=timedelta(hours=1))
AT_ONCE = Backoff(first=timedelta(0), longest=timedelta(0))
MOST = 3  # attempts


class BadLuck(Exception):
    """What a mood raises."""


@dataclass(frozen=True)
class Effects:
    placed: Event[Order, Any]  # → plain, tally, ask, parent
    seen: Event[Order, Any]  # → harmless, harmless_too
    plain: Effect[Order, Any]
    tally: Effect[Order, Any]  # atomic
    ask: Effect[Order, Any]  # can verify
    parent: Effect[Order, Any]  # emits
    child: Effect[Order, Any]
    harmless: Effect[Order, Any]
    harmless_too: Effect[Order, Any]
    owe: Effect[Order, Any]  # a debt, once in an order's life
    wrap: Effect[Order, Any]  # needed while the order is open

    def by_name(self) -> dict[str, Effect[Order, Any]]:
        return {e.name: e for e in vars(self).values() if isinstance(e, Effect)}


def what_of(effect: str, event_id: UUID, subject_pk: str) -> str:
    """The words for one debt, the same in the model and outside."""
    about = f"order {subject_pk}" if effect == "machine.owe" else f"event {event_id}"
    return f"{effect} because of {about}"


def owing() -> Any:
    return Order.objects.filter(status="placed", charge_id="")


def declare() -> Effects:
    """Into the registry, which the caller empties again."""
    placed: Event[Order, Any] = Event("machine.placed", subject="shop.Order", version=2)
    seen: Event[Order, Any] = Event("machine.seen", subject="shop.Order")
    born: Event[Order, Any] = Event("machine.born", subject="shop.Order")

    def bear(order: Order, ctx: Any) -> None:
        with transaction.atomic():
            emitted = born.emit(order, {"parent": ctx.idempotency_key})
        script.children.add(emitted.event_id)

    def write_down(order: Order, ctx: Any) -> None:
        LedgerEntry.objects.create(order_pk=order.pk, what="tally", key=ctx.idempotency_key)

    made = Effects(
        placed=placed,
        seen=seen,
        plain=_made("plain", on=placed, backoff=LATER),
        tally=_made("tally", write_down, on=placed, atomic=True, backoff=AT_ONCE),
        ask=_made("ask", on=placed, verify=_verify, backoff=LATER),
        parent=_made("parent", bear, on=placed, backoff=AT_ONCE),
        child=_made("child", on=born, backoff=AT_ONCE),
        harmless=_made("harmless", on=seen, harmless_to_repeat=True, backoff=AT_ONCE),
        harmless_too=_made("harmless_too", on=seen, harmless_to_repeat=True, backoff=LATER),
        owe=_made("owe", after=_charge, subject="shop.Order", queue="payments", backoff=AT_ONCE),
        wrap=_made(
            "wrap", subject="shop.Order", still_needed=lambda o: o.status == "placed", backoff=LATER
        ),
    )
    made.owe.owed(since="placed_at", grace=timedelta(minutes=15), debt=ONCE)(owing)
    return made


def _made(
    name: str,
    before: Callable[[Order, Any], None] | None = None,
    after: Callable[[Order, Any], None] | None = None,
    **options: Any,
) -> Effect[Order, Any]:
    name = f"machine.{name}"

    def function(order: Order, ctx: Any) -> None:
        what = what_of(name, ctx.event.id, ctx.event.subject_pk)
        call = script.begin(ctx.delivery_id, what, ctx.attempt)
        if call.mood is Mood.BEAT:
            ctx.heartbeat()
        if call.mood is Mood.FAIL and before is not None:
            before(order, ctx)  # what it wrote or emitted stands, where it is not atomic
        _raise_early(call)
        if before is not None:
            before(order, ctx)
        script.act(call, ctx.idempotency_key)
        _raise_late(call)
        if after is not None:
            after(order, ctx)

    options = {"max_attempts": MOST, "timeout": SHORT, **options}
    return effect(name, **options)(function)


def _charge(order: Order, ctx: Any) -> None:
    Order.objects.filter(pk=order.pk).update(charge_id=ctx.idempotency_key)


def _verify(_order: Order, ctx: Any) -> bool | None:
    """The truth, from outside."""
    what = what_of("machine.ask", ctx.event.id, ctx.event.subject_pk)
    call = script.begin(ctx.delivery_id, what, ctx.attempt, verifying=True)
    if call.mood is Mood.CANNOT_TELL:
        return None
    if call.mood is Mood.CANNOT_ASK:
        raise BadLuck
    call.answer = any(done.what == what for done in script.outside.calls())
    return call.answer


def _raise_early(call: Call) -> None:
    match call.mood:
        case Mood.FAIL:
            raise BadLuck
        case Mood.SNOOZE:
            raise Snooze(NAP)
        case Mood.SKIP:
            raise Skip("nothing to do")
        case Mood.POISON:
            raise Poison("never")
        case Mood.UNSURE:
            raise Uncertain("no answer")
        case Mood.TIMEOUT:
            raise EffectTimeout("machine", SHORT)  # as the alarm does


def _raise_late(call: Call) -> None:
    match call.mood:
        case Mood.FAIL_LATE:
            raise BadLuck
        case Mood.UNSURE_ACTED:
            raise Uncertain("no answer")
        case Mood.TIMEOUT_ACTED:
            raise EffectTimeout("machine", SHORT)
