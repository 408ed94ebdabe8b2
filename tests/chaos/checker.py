"""
The judgement: in goes a `History`, out come findings, each of one kind.

A pure function of what the client, the partners and the shop's own tables say. It is worth what it
catches: `test_checker` hands it a history of each kind of wrong, and `make chaos PLANT=…` a shop
with a bug.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate

from example_project import checker as of_the_shop
from tests.chaos.history import Call, History, Message
from tests.chaos.journal import Told

ANSWERED = of_the_shop.ANSWERED


class Kind(StrEnum):
    LOST = "lost"  # acknowledged, and not done, or not written down
    PHANTOM = "phantom"  # done, and nobody owed it
    DOUBLED = "done twice"  # applied under different keys, or an own row twice
    REKEYED = "asked under another key"  # even where the partner noticed
    EXTRA = "too many extra runs"  # more than the faults account for
    REPLAYED_WRONGLY = "replayed wrongly"  # another answer under the same key
    PLACED_TWICE = "placed twice"  # one idempotency key, two orders
    OUT_OF_ORDER = "out of order"  # an older message won over a newer one
    ANSWERS_DIFFER = "two answers for one key"  # a partner gave one key two results


_MAY_PASS = (Kind.LOST, Kind.OUT_OF_ORDER)  # what is late looks like it


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How long after the end of a fault the last effect came that was owed before it ended."""

    blow: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Judgement:
    findings: dict[Kind, list[str]]
    orders: int
    acknowledged: int
    unknown: int
    promised: int
    done: int
    extra_runs: int
    extra_harmless: int  # of effects that said that they may run again
    struck: int  # runs that faults may have cut short
    recoveries: list[Recovery] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not any(self.findings.values())

    @property
    def is_beyond_help(self) -> bool:
        """Whether something is wrong that stays so, whatever is still done."""
        return any(self.findings[kind] for kind in Kind if kind not in _MAY_PASS)

    @property
    def extra_per_strike(self) -> float:
        return self.extra_runs / self.struck if self.struck else float(self.extra_runs)


def judge(history: History) -> Judgement:
    of_forms = [line for line in history.lines if line.way == "form"]
    verdict = of_the_shop.check(
        acknowledged=[line.name for line in of_forms if line.told is Told.PLACED],
        orders=history.orders,
        arrivals=history.calls,
    )
    struck = sum(blow.struck for blow in history.blows)
    findings: dict[Kind, list[str]] = {
        Kind.LOST: [*verdict.lost, *_too_few(history)],
        Kind.PHANTOM: [*verdict.phantom, *_declined_and_there(history)],
        Kind.DOUBLED: verdict.doubled,
        Kind.REKEYED: verdict.rekeyed,
        Kind.EXTRA: list(_extra(verdict.extra_runs, struck)),
        Kind.REPLAYED_WRONGLY: list(_replayed_wrongly(history)),
        Kind.PLACED_TWICE: list(_too_many(history)),
        Kind.OUT_OF_ORDER: list(_parcels(history)),
        Kind.ANSWERS_DIFFER: list(_answers_differ(history.calls)),
    }
    findings[Kind.LOST] += _uncaptured(history)
    findings[Kind.DOUBLED] += _captured_twice(history)
    return Judgement(
        findings=findings,
        orders=len(history.orders),
        acknowledged=sum(line.told is Told.PLACED for line in history.lines),
        unknown=sum(line.told is Told.UNKNOWN for line in history.lines),
        promised=verdict.promised,
        done=verdict.done,
        extra_runs=verdict.extra_runs,
        extra_harmless=verdict.extra_harmless,
        struck=struck,
        recoveries=list(_recoveries(history)),
    )


# Orders

Counts = tuple[str, int, int, int]  # customer, orders there are, acknowledged, unknown


def _by_api(history: History) -> Iterator[Counts]:
    """API orders are named by the shop, so they are counted by customer: each has one at a time."""
    there = Counter(order.email for order in history.orders)
    told: dict[str, Counter[Told]] = defaultdict(Counter)
    for line in history.lines:
        if line.way == "api":
            told[line.customer][line.told] += 1
    for customer, counted in told.items():
        yield customer, there[customer], counted[Told.PLACED], counted[Told.UNKNOWN]


def _too_few(history: History) -> Iterator[str]:
    for customer, there, placed, _ in _by_api(history):
        if there < placed:
            yield f"{customer}: {placed} orders acknowledged, and there are {there}"


def _too_many(history: History) -> Iterator[str]:
    for customer, there, placed, unknown in _by_api(history):
        if there > placed + unknown:
            yield f"{customer}: {placed} orders acknowledged, {unknown} unknown; there are {there}"


def _declined_and_there(history: History) -> Iterator[str]:
    there = {order.reference for order in history.orders}
    for line in history.lines:
        if line.way == "form" and line.told is Told.DECLINED and line.name in there:
            yield f"{line.name}: declined, and the order is there"


def _replayed_wrongly(history: History) -> Iterator[str]:
    first: dict[str, str] = {}
    for line in history.lines:
        for answer in line.answers:
            if first.setdefault(line.name, answer) != answer:
                yield f"{line.customer}: key {line.name} was answered in two ways"
    owners: dict[str, set[str]] = defaultdict(set)
    for line in history.lines:
        for answer in line.answers if line.told is Told.PLACED else ():
            owners[answer].add(line.name)
    for answer, keys in owners.items():
        if len(keys) > 1:  # each order has an id of its own in its answer
            yield f"answer {answer} was given for {len(keys)} keys"


# What partners told, and answered


def _uncaptured(history: History) -> Iterator[str]:
    yield from _captures(history, lambda told, there: there < told)


def _captured_twice(history: History) -> Iterator[str]:
    yield from _captures(history, lambda told, there: there > told)


def _captures(history: History, is_wrong: Callable[[int, int], bool]) -> Iterator[str]:
    told = Counter(m.order for m in history.messages if m.kind == "payment.captured")
    for order in history.orders:
        if is_wrong(told[order.reference], order.captures):
            yield (
                f"{order.reference}: captured {told[order.reference]} times, in the books"
                f" {order.captures} times"
            )


def _parcels(history: History) -> Iterator[str]:
    newest: dict[str, Message] = {}
    for message in history.messages:
        if message.kind == "parcel.moved" and (
            message.order not in newest or message.version > newest[message.order].version
        ):
            newest[message.order] = message
    there = {order.reference: order.parcel for order in history.orders}
    for order, message in newest.items():
        if there.get(order) != message.status:
            yield f"{order}: the parcel is {message.status}, the shop says {there.get(order)!r}"


def _answers_differ(calls: Iterable[Call]) -> Iterator[str]:
    first: dict[tuple[str, str], str] = {}
    for call in calls:
        if call.status == ANSWERED:
            known = first.setdefault((call.partner, call.key), call.answer_id)
            if known != call.answer_id:
                yield f"{call.reference}: {call.partner} answered {known}, then {call.answer_id}"


# Runs and time


def _extra(extra_runs: int, struck: int) -> Iterator[str]:
    if extra_runs > struck:
        yield f"{extra_runs} calls were sent again after a good answer; faults explain {struck}"


def _recoveries(history: History) -> Iterator[Recovery]:
    """
    Of each blow, from its end to the last first success of what was acknowledged before that end.

    What a partner refused meanwhile is in it too, so this is an upper bound.
    """
    last: dict[str, float] = {}  # of each order, when the last of its effects was done first
    seen: set[tuple[str, str]] = set()
    for call in history.calls:
        if call.applied and (call.partner, call.reference) not in seen:
            seen.add((call.partner, call.reference))
            last[call.reference] = max(call.at, last.get(call.reference, 0.0))
    acknowledged = sorted(
        (line.told_at, last.get(line.name, 0.0))
        for line in history.lines
        if line.way == "form" and line.told is Told.PLACED
    )
    told_at = [at for at, _ in acknowledged]
    # A long run has thousands of orders and hundreds of blows, and is judged again and again.
    done_at = list(accumulate((at for _, at in acknowledged), max, initial=0.0))
    for blow in history.blows:
        seconds = done_at[bisect_right(told_at, blow.ended_at)] - blow.ended_at
        yield Recovery(blow=blow.name, seconds=max(seconds, 0.0))
