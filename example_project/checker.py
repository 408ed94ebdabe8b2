"""
The checker: did everything that was promised happen, once, and nothing else?

In go the orders as the business tables have them, what customers were told, and the partners'
ledger; out comes a verdict. It never looks at the state of reliable_effects: what is being judged
is not asked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

ALWAYS = ("payment", "mail", "warehouse", "crm", "analytics", "search", "carrier")
HARMLESS = ("analytics", "search")  # a whole group of these may run again after one crash
ANSWERED = 200


@dataclass(frozen=True, kw_only=True)
class PlacedOrder:
    """One row of the business tables."""

    reference: str
    gift: bool = False
    cursed: bool = False
    charge_id: str | None = None
    written_down: frozenset[str] = frozenset()  # partners whose part the rows say is done
    loyalty_entries: int = 0
    has_shipment: bool = False


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One line of the partners' ledger."""

    partner: str
    key: str
    reference: str
    applied: bool
    status: int
    answer_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    promised: int  # effects owed by the orders that exist
    done: int
    skipped: int  # no longer needed, and never sent
    poisoned: int  # can't succeed, and never sent
    lost: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    rekeyed: list[str] = field(default_factory=list)  # asked for under keys of which one is wrong
    extra_runs: int = 0  # calls sent again although an earlier one was answered
    extra_harmless: int = 0  # the same, of effects that said they may run again
    crashes: int = 0

    @property
    def is_sound(self) -> bool:
        return not (self.lost or self.phantom or self.doubled or self.rekeyed)

    @property
    def extra_per_crash(self) -> float:
        return self.extra_runs / self.crashes if self.crashes else float(self.extra_runs)


def check(
    *,
    acknowledged: Iterable[str],
    orders: Iterable[PlacedOrder],
    arrivals: Iterable[Arrival],
    crashes: int = 0,
) -> Verdict:
    """
    Compare what exists with what arrived.

    acknowledged: references of orders whose customers were told "placed".
    crashes: how many processes that run effects were killed.
    """
    placed = {order.reference: order for order in orders}
    calls: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        calls[arrival.partner, arrival.reference].append(arrival)
    lost = [f"{reference}: acknowledged, but there is no such order"
            for reference in sorted(set(acknowledged) - set(placed))]  # fmt: skip
    done = 0
    for order in placed.values():
        missing = list(_missing(order, calls))
        lost += [f"{order.reference}: {what}" for what in missing]
        done += _owed(order) - len(missing)
    extra = _extra_runs(calls.values())
    return Verdict(
        promised=sum(_owed(order) + (not order.gift) + order.cursed for order in placed.values()),
        done=done,
        skipped=sum(not order.gift for order in placed.values()),
        poisoned=sum(order.cursed for order in placed.values()),
        lost=lost,
        phantom=list(_phantoms(placed, calls)),
        doubled=list(_doubled(placed, calls)),
        rekeyed=list(_rekeyed(calls)),
        extra_runs=sum(n for partner, n in extra.items() if partner not in HARMLESS),
        extra_harmless=sum(n for partner, n in extra.items() if partner in HARMLESS),
        crashes=crashes,
    )


@dataclass(frozen=True, kw_only=True)
class Charges:
    """What the payment partner did, by its own ledger."""

    applied: int  # cards that were charged
    unanswered: int  # of them, how many on a connection that it dropped before it answered
    asked_again: int  # payments that it was asked for more than once
    twice: list[str]  # orders that were charged more than once


def charges(arrivals: Iterable[Arrival]) -> Charges:
    calls: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        if arrival.partner == "payment":
            calls[arrival.reference].append(arrival)
    applied = {order: [call for call in made if call.applied] for order, made in calls.items()}
    return Charges(
        applied=sum(map(len, applied.values())),
        unanswered=sum(call.status != ANSWERED for made in applied.values() for call in made),
        asked_again=sum(len(made) > 1 for made in calls.values()),
        twice=sorted(order for order, made in applied.items() if len(made) > 1),
    )


def asked_on_both_sides(arrivals: Sequence[Arrival], losses: Iterable[int]) -> tuple[int, int]:
    """
    How many effects were asked for before a loss and after it, and how many of them under one key.

    losses: for each, how many of *arrivals*, which are in their order, came before it.
    """
    asked: set[tuple[str, str]] = set()
    changed: set[tuple[str, str]] = set()
    for loss in losses:
        before, after = _keys(arrivals[:loss]), _keys(arrivals[loss:])
        both = before.keys() & after.keys()
        asked |= both
        changed |= {call for call in both if before[call] != after[call]}
    return len(asked), len(asked - changed)


Calls = dict[tuple[str, str], list[Arrival]]


def _keys(arrivals: Iterable[Arrival]) -> dict[tuple[str, str], set[str]]:
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for arrival in arrivals:
        keys[arrival.partner, arrival.reference].add(arrival.key)
    return keys


def _owed(order: PlacedOrder) -> int:
    """How many effects must have been seen by somebody: calls, points and the shipment."""
    return len(_partners(order)) + 2


def _partners(order: PlacedOrder) -> list[str]:
    wrapped = ["giftwrap"] if order.gift else []
    labelled = [] if order.cursed else ["labels"]
    return [*ALWAYS, *wrapped, *labelled]


def _missing(order: PlacedOrder, calls: Calls) -> Iterator[str]:
    """One line per effect that did not happen, or whose result the shop never wrote down."""
    for partner in _partners(order):
        applied = [a for a in calls.get((partner, order.reference), ()) if a.applied]
        if not applied:
            yield f"{partner} was never reached"
        elif partner == "payment" and order.charge_id not in {a.answer_id for a in applied}:
            yield f"paid as {applied[0].answer_id}, written down as {order.charge_id}"
        elif partner != "payment" and partner not in order.written_down:
            yield f"{partner} did its part, but that is not written down"
    if not order.loyalty_entries:
        yield "no loyalty points"
    if not order.has_shipment:
        yield "no shipment"


def _phantoms(placed: dict[str, PlacedOrder], calls: Calls) -> Iterator[str]:
    for partner, reference in calls:
        order = placed.get(reference)
        if order is None:
            yield f"{reference}: {partner} was called, but there is no such order"
        elif partner not in _partners(order):
            yield f"{reference}: {partner} was called, which nothing asked for"


def _doubled(placed: dict[str, PlacedOrder], calls: Calls) -> Iterator[str]:
    """What was done twice because the second time came under another key."""
    for (partner, reference), arrivals in calls.items():
        keys = {arrival.key for arrival in arrivals if arrival.applied}
        if len(keys) > 1:
            yield f"{reference}: {partner} applied it under {len(keys)} keys"
    for order in placed.values():
        if order.loyalty_entries > 1:
            yield f"{order.reference}: {order.loyalty_entries} entries of loyalty points"


def _rekeyed(calls: Calls) -> Iterator[str]:
    """What was asked for under several keys, also where only one of the calls was applied."""
    for (partner, reference), arrivals in calls.items():
        keys = {arrival.key for arrival in arrivals}
        if len(keys) > 1:
            yield f"{reference}: {partner} was asked under {len(keys)} keys"


def _extra_runs(calls: Iterable[list[Arrival]]) -> Counter[str]:
    """
    Per partner, the calls that were sent after an earlier one had been answered well.

    A call repeated after a failure or a lost answer is what retrying is for; one repeated after a
    good answer means that the worker died, or lost its lease, before it could write that down.
    """
    extra: Counter[str] = Counter()
    for arrivals in calls:
        answered: set[str] = set()
        for arrival in arrivals:
            extra[arrival.partner] += arrival.key in answered
            if arrival.status == ANSWERED:
                answered.add(arrival.key)
    return extra
