"""
What type checkers tell users of the public names: checked by mypy, never run.

A line that must be refused carries an ignore, and mypy refuses an ignore that is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, assert_type

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework.views import APIView

from reliable_effects import ONCE, Backoff, EffectContext, Event, Skip, Snooze, WallClock, effect
from reliable_effects.effects.effect import Effect
from reliable_effects.effects.registry import Emitted
from reliable_effects.effects.scheduling import Changed, Scheduled
from reliable_effects.idempotency import Idempotency, IdempotentView, idempotent
from reliable_effects.inbox import Claim, claim, consume_once, only_newer
from reliable_effects.models import ScheduledJob
from reliable_effects.outgoing import BodyField, Header
from reliable_effects.reports import CSV, ReportDefinition, report, report_response
from reliable_effects.rest_framework import IdempotentMixin
from tests.shop.models import LedgerEntry, Order
from tests.trials.models import TrialExpiry


@dataclass
class Placed:
    coupon: str = ""


class Seen(TypedDict):
    by: str


placed: Event[Order, Placed] = Event("typing.placed", subject="shop.Order", version=2)
seen: Event[Order, Seen] = Event("typing.seen", subject="shop.Order", payload=Seen)
night: Event[None, dict[str, Any]] = Event("typing.night", subject=None)


# Emitting


def a_view(order: Order, entry: LedgerEntry) -> None:
    assert_type(placed.emit(order, Placed(coupon="TEA")), Emitted)
    placed.emit(order)
    placed.emit(order, Placed(), once="first", using="other")
    seen.emit(order, {"by": "anna"})
    night.emit(None, {"any": 1})
    assert_type(placed.emit_many([(order, Placed()), (order, None)]), list[Emitted])

    placed.emit(entry, Placed())  # type: ignore[arg-type]  # another model
    placed.emit(order, {"coupon": "TEA"})  # type: ignore[arg-type]  # not the dataclass
    placed.emit(order, Placed(coupon=5))  # type: ignore[arg-type]  # not the field's type
    seen.emit(order, {"bye": "anna"})  # type: ignore[arg-type]  # no such key
    night.emit(order, {})  # type: ignore[arg-type]  # it is about no row
    placed.emit(subject=order)  # type: ignore[call-arg]  # positional only


# Scheduling


def a_trial(order: Order, entry: LedgerEntry, at: datetime) -> None:
    assert_type(placed.schedule(order, Placed(coupon="TEA"), at=at, key="a"), Scheduled)
    wall = WallClock(datetime(2027, 3, 28, 2, 30), "Europe/Berlin")  # noqa: DTZ001  # a wall's
    placed.schedule(order, at=wall, key="a", late=timedelta(hours=1), on_conflict="replace")
    seen.schedule(order, {"by": "anna"}, at=at, key="a", using="other")
    night.schedule(None, {"any": 1}, at=at, key="a")
    many = placed.schedule_many([(order, Placed(), at, "a"), (order, None, wall, "b")])
    assert_type(many, list[Scheduled])
    assert_type(placed.reschedule(key="a", at=wall), Changed)
    assert_type(placed.cancel(key="a").changed, int)

    placed.schedule(entry, at=at, key="a")  # type: ignore[arg-type]  # another model
    placed.schedule(order, {"coupon": "TEA"}, at=at, key="a")  # type: ignore[arg-type]  # not the dataclass
    placed.schedule(order, at="2027-03-28", key="a")  # type: ignore[arg-type]  # text is no time
    placed.schedule(order, at=at)  # type: ignore[call-arg]  # under which key?
    placed.schedule(order, at=at, key=7)  # type: ignore[arg-type]  # a key is text
    placed.schedule(order, at=at, key="a", late=60)  # type: ignore[arg-type]  # 60 of what?
    placed.schedule(order, at=at, key="a", on_conflict="ignore")  # type: ignore[arg-type]  # misspelt
    placed.cancel("a")  # type: ignore[call-arg]  # by name only


def typed_jobs(order: Order, at: datetime) -> None:
    job = TrialExpiry.objects.create(order=order, plan="pro", at=at, key="a")
    assert_type(job, TrialExpiry)
    assert_type(job.at, datetime)
    assert_type(job.key, str | None)
    assert_type(TrialExpiry.objects.due().count(), int)
    assert_type(TrialExpiry.objects.all().reschedule(at), int)
    assert_type(TrialExpiry.objects.filter(plan="pro").cancel(), int)
    assert_type(ScheduledJob.objects.for_subject(order).upcoming().first(), ScheduledJob | None)


# Effects of an event


@effect(
    "typing.receipt",
    on=placed,
    aliases=["typing.mail"],
    max_attempts=8,
    backoff=Backoff(first=timedelta(seconds=10), longest=timedelta(hours=1)),
    timeout=timedelta(seconds=30),
    max_runtime=timedelta(minutes=5),
    queue="mail",
    dependency="postmark",
    verify=lambda order, ctx: order.pk == ctx.attempt or None,
    still_needed=lambda order: order.status == "placed",
    expires_after=None,
    harmless_to_repeat=False,
    atomic=False,
    subject_gone="skip",
    retention={"SUCCEEDED": timedelta(days=30), "POISONED": None},
)
def receipt(order: Order, ctx: EffectContext[Placed]) -> None:
    assert_type(ctx.payload, Placed)
    assert_type(ctx.payload.coupon, str)
    assert_type(ctx.idempotency_key, str)
    assert_type(ctx.key_for("refund"), str)
    assert_type(ctx.attempt, int)
    assert_type(ctx.delivery_id, int)
    assert_type(ctx.event.name, str)
    ctx.heartbeat()
    ctx.logger.info("by %s", ctx.deadline)
    if order.status:
        raise Snooze(timedelta(minutes=1))
    raise Skip("nothing to do")


assert_type(receipt, Effect[Order, Placed])


@effect("typing.wrong_subject", on=placed)  # type: ignore[arg-type]  # it would get an Order
def wrong_subject(entry: LedgerEntry, ctx: EffectContext[Placed]) -> None: ...


@effect("typing.wrong_payload", on=placed)  # type: ignore[arg-type]  # it would get a Placed
def wrong_payload(order: Order, ctx: EffectContext[Seen]) -> None: ...


@effect("typing.no_context", on=placed)  # type: ignore[arg-type]  # it would get two arguments
def no_context(order: Order) -> None: ...


@effect("typing.late", on=placed)  # type: ignore[arg-type]  # refused at run time as well
async def late(order: Order, ctx: EffectContext[Placed]) -> None: ...


effect("typing.slip", on=placed, max_atempts=3)  # type: ignore[call-overload]  # misspelt
effect("typing.slip", on=placed, timeout=30)  # type: ignore[call-overload]  # seconds, or minutes?
effect("typing.slip", on=placed, subject_gone="ignore")  # type: ignore[call-overload]
effect("typing.slip", on=placed, subject="shop.Order")  # type: ignore[call-overload]  # the event's


# Effects that are promised


@effect("typing.wrap", subject="shop.Order", still_needed=lambda order: order.status == "placed")
def wrap(order: Order, ctx: EffectContext[dict[str, str]]) -> None:
    assert_type(order.status, str)
    assert_type(ctx.payload, dict[str, str])


assert_type(wrap, Effect[Order, dict[str, str]])


def promises(order: Order, entry: LedgerEntry) -> None:
    assert_type(wrap.promise(order), Emitted)
    wrap.promise(order, {"paper": "red"}, once="first", using="other")
    receipt.promise(order, Placed())

    wrap.promise(entry)  # type: ignore[arg-type]  # another model
    wrap.promise(order, {"paper": 1})  # type: ignore[dict-item]  # not of the payload's type
    receipt.promise(order, {"coupon": "TEA"})  # type: ignore[arg-type]  # not the dataclass


# Owed queries


@receipt.owed(since="placed_at", grace=timedelta(minutes=15), debt=ONCE)
def unpaid() -> QuerySet[Order]:
    return Order.objects.filter(charge_id="")


@wrap.owed(since="placed_at", grace=timedelta(minutes=15), debt=lambda order: str(order.placed_at))
def unwrapped() -> QuerySet[Order]:
    return Order.objects.all()


assert_type(unpaid, Callable[[], QuerySet[Order]])
receipt.owed(since="placed_at", grace=15, debt=ONCE)  # type: ignore[arg-type]  # minutes?
receipt.owed(since="placed_at", grace=timedelta(0), debt="month")  # type: ignore[arg-type]


# Sending


def a_call(ctx: EffectContext[Placed]) -> None:
    day = timedelta(days=1)
    ctx.send("POST", "https://bank.example/", key=Header("Idempotency-Key"), window=day, json={})
    ctx.send("POST", "https://bank.example/", key=BodyField("id"), data={"a": "1"}, call="refund")
    ctx.send("PUT", "https://bank.example/", key=None, timeout=timedelta(seconds=3))

    ctx.send("POST", "https://bank.example/")  # type: ignore[call-arg]  # where does the key go?
    ctx.send("POST", "https://bank.example/", key="Idempotency-Key")  # type: ignore[arg-type]  # a place
    ctx.send("POST", "https://bank.example/", key=None, timeout=3)  # type: ignore[arg-type]  # 3 of what?


# Idempotent views


@idempotent
def place(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(f"{request.path} {pk}")


@idempotent(required=True, lease=timedelta(seconds=20), scope=lambda request: request.path)
def pay(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"path": request.path})


assert_type(place(HttpRequest(), pk=1), HttpResponse)
assert_type(pay(HttpRequest()), JsonResponse)
place(HttpRequest(), pk="1")  # type: ignore[arg-type]  # the view's own signature
Idempotency(fingerprint="json", store_body=lambda _: b"")
idempotent(requierd=True)  # type: ignore[call-overload]  # misspelt
Idempotency(lease=20)  # type: ignore[arg-type]  # seconds?


class Orders(IdempotentMixin, APIView):
    idempotency = Idempotency(required=True)


class Refund(IdempotentView):
    idempotency = Idempotency(foreign=True)


# Messages


@consume_once("billing")
def capture(message_id: str, payload: bytes) -> int:
    return len(payload) + len(message_id)


@consume_once("parcels", id=lambda event: str(event["id"]), redelivered_for=timedelta(days=3))
def on_parcel(event: dict[str, object]) -> None: ...


assert_type(capture("evt_1", b""), int | Claim)
assert_type(claim(7, consumer="billing", payload={"a": 1}), Claim)
assert_type(only_newer(Order.objects.all(), version=1, field="told_version", status="x"), bool)
capture(1, b"")  # type: ignore[arg-type]  # the function's own signature
only_newer(Order.objects.all(), version=timedelta(1))  # type: ignore[arg-type]  # never a time


def may_read(user: User, customer: int) -> bool:
    return user.pk == customer


@report(
    "shop.usage", allowed=may_read, fresh_for=timedelta(hours=1), format=CSV(columns=("a", "b"))
)
def usage(customer: int) -> Iterator[tuple[int, str]]:
    yield customer, "used"


def a_report(request: HttpRequest) -> None:
    assert_type(usage, ReportDefinition)
    assert_type(report_response(request, usage, customer=3), HttpResponseBase)
