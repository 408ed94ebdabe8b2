"""A sweep dies: relay, rescue, prune, names that nobody knew."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction

from reliable_effects.clock import DbNow
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import Flag, Reason, State
from reliable_effects.outbox.sweeps import PRUNE, RELAY, RESCUE, sweep
from reliable_effects.reconcile.sweeps import RECONCILE_ALL
from tests.shop.models import Order

from .. import effects, outer_world
from .act import Act, hint_all, key_of, promise, put


def overdue() -> None:
    with transaction.atomic():
        order = Order.objects.create()
        effects.placed.emit(order)
    promise(effects.wrap, effects.label, effects.bill, order=order)
    put(effects.label, State.PENDING, flags=Flag.ALONE | Flag.BEGUN)
    Delivery.objects.update(look_at=DbNow(), hints=0)


def relay() -> None:
    sweep("default", RELAY, now=True)


def relay_without_a_broker() -> None:
    outer_world.break_broker()
    relay()


def widows() -> None:
    """Workers died: over one, over one of a group, over one that can verify, over a killer."""
    order = promise(effects.wrap, effects.thank, effects.pay, effects.label, effects.doubt)
    put(effects.wrap, State.RUNNING)
    put(effects.thank, State.RUNNING, flags=Flag.BEGUN | Flag.GROUP)
    put(effects.pay, State.RUNNING, flags=Flag.BEGUN | Flag.VERIFIABLE)
    put(effects.label, State.RUNNING, attempts=3, notes={"kills": 2})
    put(
        effects.doubt,
        State.RUNNING,
        flags=Flag.BEGUN | Flag.VERIFIABLE | Flag.VERIFYING,
        notes={"kills": 2, "verifies": 1},
    )
    outer_world.partner().write(f"{order.pk} pay", key_of(effects.pay, order))


def rescue() -> None:
    sweep("default", RESCUE, now=True)


def strangers() -> None:
    """Names from another release: one is new, one has been unknown for days."""
    promise(effects.wrap, effects.label, effects.pay)
    long_ago = {"unknown_since": "2020-01-01T00:00:00+00:00"}
    rename = Delivery.objects.filter
    rename(effect="crash.label").update(notes=long_ago)
    put(effects.pay, State.UNCERTAIN, look_at=DbNow(), notes=long_ago)
    for word in ("wrap", "label", "pay"):
        rename(effect=f"crash.{word}").update(effect=f"stranger.{word}")


def come_to_be_known() -> None:
    """The release that drains calls them by other names."""
    for word in ("wrap", "label", "pay"):
        Delivery.objects.filter(effect=f"stranger.{word}").update(effect=f"crash.{word}")


def known_again() -> None:
    promise(effects.wrap, effects.pay)
    unknown: dict[str, Any] = {"reason": Reason.UNKNOWN_EFFECT, "attempts": 0}
    put(
        effects.wrap,
        State.POISONED,
        notes={"unknown_since": "2020-01-01T00:00:00+00:00"},
        **unknown,
    )
    put(effects.pay, State.POISONED, notes={"was_uncertain": True}, **unknown)


def old_ones() -> None:
    """Of every state; only what ended well, and is owed no more, may go."""
    order = promise(*_OLD)
    waiting = promise(effects.wrap, order=order)
    for effect in (effects.receipt, effects.label, effects.bill):
        outer_world.partner().write(
            f"{waiting.pk} {effect.name.removeprefix('crash.')}", key_of(effect, order)
        )
        put(effect, State.SUCCEEDED, finished_at=_LONG_AGO)
    put(effects.skip, State.SKIPPED, reason=Reason.NOT_NEEDED, finished_at=_LONG_AGO)
    put(effects.refuse, State.POISONED, reason=Reason.REFUSED, finished_at=_LONG_AGO)
    put(effects.needless, State.CANCELLED, finished_at=_LONG_AGO)
    for row in Delivery.objects.all():
        Attempt.objects.create(delivery=row, number=1, outcome=Attempt.Outcome.FAILED)
    OutboxEvent.objects.update(emitted_at=_LONG_AGO)


_LONG_AGO = DbNow() - timedelta(days=30)
_OLD = (
    effects.receipt,
    effects.label,
    effects.bill,
    effects.skip,
    effects.refuse,
    effects.needless,
)


def prune() -> None:
    sweep("default", PRUNE, now=True)


def owed_to_nobody() -> None:
    """Four orders owe a bill: never promised, skipped too early, without an event, and paid."""
    never, skipped, orphaned, billed = (Order.objects.create(charge_id="paid") for _ in range(4))
    for order in (skipped, orphaned, billed):
        promise(effects.bill, order=order)
    put(effects.bill, State.SKIPPED, of=skipped, reason=Reason.NOT_NEEDED)
    OutboxEvent.objects.filter(subject_pk=str(orphaned.pk)).delete()
    put(effects.bill, State.SUCCEEDED, of=billed)
    outer_world.partner().write(f"{billed.pk} bill", key_of(effects.bill, billed))
    Order.objects.filter(pk=billed.pk).update(status="billed")
    Order.objects.filter(pk__in=[never.pk, skipped.pk, orphaned.pk]).update(placed_at=_LONG_AGO)


def reconcile() -> None:
    sweep("default", RECONCILE_ALL, now=True)


ACTS = [
    Act(
        name="relay",
        prepare=overdue,
        play=relay,
        owed=("receipt", "points", "charge", "thank", "wrap", "label", "bill"),
        extra_runs=0,
    ),
    Act(
        name="relay while the broker is down",
        prepare=overdue,
        play=relay_without_a_broker,
        owed=("receipt", "points", "charge", "thank", "wrap", "label", "bill"),
        extra_runs=0,
    ),
    Act(
        name="rescue",
        prepare=widows,
        play=rescue,
        owed=("wrap", "thank", "pay"),
        extra_runs=0,
    ),
    Act(
        name="put unknown names off",
        prepare=strangers,
        play=hint_all,
        owed=("wrap", "pay"),
        may_stay=True,
        extra_runs=0,
        meanwhile=come_to_be_known,
    ),
    Act(
        name="unknown names return",
        prepare=known_again,
        play=rescue,
        owed=("wrap", "pay"),
        extra_runs=0,
    ),
    Act(
        name="reconcile",
        prepare=owed_to_nobody,
        play=reconcile,
        owed=("bill",),
        extra_runs=0,
        meanwhile=reconcile,
    ),
    Act(
        name="prune",
        prepare=old_ones,
        play=prune,
        owed=("wrap", "receipt", "label", "bill"),
        extra_runs=0,
    ),
]
