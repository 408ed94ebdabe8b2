"""
`make prove`: 200 orders while workers and broker are killed and the tables of reliable_effects are
truncated, and then an account of every effect.

Ends with 0 when every order was placed and every blow was dealt, and still nothing was lost,
nothing came from an order that rolled back, and nothing was done twice under different keys.
`--keep-tables` leaves the tables alone. DEMO_DIR chooses the folder, SEED the dice.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from example_project.chaos import Chaos
from example_project.checker import (
    Arrival,
    Charges,
    PlacedOrder,
    Verdict,
    asked_on_both_sides,
    charges,
    check,
)
from example_project.customers import Customers, Told, wishes
from example_project.processes import Fleet, NotReady, until
from example_project.stack import AlreadyRunning, Stack, demo_folder
from example_project.told import in_short, told_wrongly

if TYPE_CHECKING:
    from example_project.shop.models import Order

ORDERS = 200
DECLINED = 12
BETWEEN_BLOWS = 2.0  # seconds
PACE = 0.4  # seconds a customer rests, so that orders keep coming while the blows fall
DRAIN = 300.0  # seconds at most; half a minute where the machine has nothing else to do
STUCK = 45.0  # seconds in which nothing moves: longer than any lease, rest or backoff here
SHOW_EVERY = 5.0  # seconds
QUIET = 2.0  # seconds without an arrival, before the account is made up
BEHAVIOUR = {
    "*": {"fail": 0.2},
    "payment": {"fail": 0.1, "drop": 0.1},
    "mail": {"fail": 0.15, "drop": 0.05},
    "crm": {"fail": 0.15, "busy": 0.05},
    "warehouse": {"fail": 0.2, "stall": 0.05, "stall_seconds": 0.5},
}
# However late the charges come, some are made and never answered.
AFTERWARDS = {"*": {}, "payment": {"drop": 0.1}}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make prove")
    parser.add_argument(
        "--keep-tables", action="store_true", help="truncate neither deliveries nor events"
    )
    options = parser.parse_args(arguments)
    began = time.monotonic()
    seed = int(os.environ.get("SEED", "0")) or time.time_ns() % 100_000
    try:
        stack = Stack(demo_folder() / "prove", haste=True)
        with Fleet() as fleet:
            verdict, doubts = _prove(stack, fleet, seed, losses=not options.keep_tables)
    except (AlreadyRunning, NotReady) as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        print("\nStopped before there was anything to prove.")
        return 130
    print(f"\n  {time.monotonic() - began:.0f} s in all, SEED={seed}")
    if verdict.is_sound and not doubts:
        print("  Sound: nothing lost, no phantom, nothing twice under different keys.")
        return 0
    _complain(verdict, doubts, stack.logs)
    return 1


def _prove(stack: Stack, fleet: Fleet, seed: int, *, losses: bool) -> tuple[Verdict, list[str]]:
    _say("starting partners, broker, web, two workers and beat")
    stack.prepare()
    if not stack.redis:
        _say("no Redis here, so no broker: effects_worker carries the effects out")
    stack.start(fleet)
    requests.post(f"{stack.partners_url}/behaviour", json=BEHAVIOUR, timeout=10).raise_for_status()
    told, chaos = _shop_under_fire(stack, seed, losses=losses)
    requests.post(f"{stack.partners_url}/behaviour", json=AFTERWARDS, timeout=10).raise_for_status()
    _say("the faults have ended, but for answers of the payment partner that are dropped;")
    _say("waiting for what is still owed")
    verdict, at_rest = _drain(stack, told, chaos)
    _report(verdict, told, chaos)
    print(f"  By webhook: {in_short(_messages(stack))}")
    doubts = list(_doubts(told, chaos, at_rest=at_rest))
    doubts += _report_charges(charges(_arrivals(stack)))
    if losses:
        doubts += _report_losses(chaos, _arrivals(stack))
    return verdict, doubts


def _shop_under_fire(stack: Stack, seed: int, *, losses: bool) -> tuple[Told, Chaos]:
    crowd = Customers(stack.web_url, wishes(ORDERS, declined=DECLINED, seed=seed), pace=PACE)
    chaos = Chaos(stack, seed=seed, losses=losses)
    crowd.start()
    _say(f"{ORDERS} orders are being placed, and {DECLINED} that will roll back")
    try:
        next_blow = BETWEEN_BLOWS
        for gone in until(90):
            if crowd.are_done and chaos.is_over:
                break
            if gone >= next_blow and not chaos.is_over:
                if blow := chaos.strike():
                    _say(f"{len(crowd.told.placed):3} orders placed; {blow}")
                next_blow = gone + BETWEEN_BLOWS
    except BaseException:
        crowd.send_away()
        raise
    chaos.heal()
    return crowd.wait(), chaos


def _drain(stack: Stack, told: Told, chaos: Chaos) -> tuple[Verdict, bool]:
    """Judge again and again until it's sound and all is quiet, or the time is over."""
    from example_project.counting import counts  # noqa: PLC0415  # after setup

    arrived, quiet_since, shown = -1, 0.0, 0.0
    before, moved_at = -1, 0.0
    for gone in until(DRAIN, pause=1):
        # Only a hint of when to look: the verdict below does not ask the outbox.
        is_open = sum(counts()[word] for word in ("waiting", "running", "uncertain"))
        if gone - shown >= SHOW_EVERY:
            shown = gone
            _say(f"{is_open} deliveries are open")
        if is_open != before:
            before, moved_at = is_open, gone
        if gone - moved_at >= STUCK:
            break
        if is_open:
            continue
        arrivals = _arrivals(stack)
        if len(arrivals) != arrived:
            arrived, quiet_since = len(arrivals), gone
        elif gone - quiet_since >= QUIET:
            verdict = _judge(stack, arrivals, told, chaos)
            if verdict.is_sound:
                return verdict, True
    return _judge(stack, _arrivals(stack), told, chaos), not is_open


def _doubts(told: Told, chaos: Chaos, *, at_rest: bool) -> Iterator[str]:
    """Say what makes the verdict worthless: a shop that did nothing loses nothing."""
    if len(told.placed) != ORDERS or len(told.declined) != DECLINED:
        yield (
            f"{len(told.placed)} of {ORDERS} orders were placed, {len(told.declined)} of"
            f" {DECLINED} declined; {len(told.unknown)} got no answer."
        )
    if not chaos.is_over:
        yield "There was no time for every blow."
    if not at_rest:
        yield "The outbox did not come to rest."


def _judge(stack: Stack, arrivals: list[Arrival], told: Told, chaos: Chaos) -> Verdict:
    verdict = check(
        acknowledged=told.placed, orders=placed_orders(), arrivals=arrivals, crashes=chaos.crashes
    )
    return replace(verdict, lost=[*verdict.lost, *told_wrongly(_messages(stack))])


def placed_orders() -> list[PlacedOrder]:
    """Read the business tables, and nothing of reliable_effects."""
    from django.db.models import Count  # noqa: PLC0415  # after setup

    from example_project.shop.models import CURSED, Order  # noqa: PLC0415

    rows = Order.objects.select_related("product", "shipment").annotate(
        entries=Count("loyaltyentry")
    )
    return [
        PlacedOrder(
            reference=order.reference,
            gift=order.gift,
            cursed=order.product.slug == CURSED,
            charge_id=order.charge_id,
            written_down=frozenset(_written_down(order)),
            loyalty_entries=order.entries,
            has_shipment=hasattr(order, "shipment"),
        )
        for order in rows
    ]


def _written_down(order: Order) -> Iterator[str]:
    """Say whose part is done, as the rows have it. The charge is compared by its number."""
    done = {
        "mail": order.receipt_sent_at,
        "warehouse": order.stock_reserved_at,
        "crm": order.crm_told_at,
        "analytics": order.counted_at,
        "search": order.indexed_at,
        "giftwrap": order.wrapped_at,
        "labels": order.label_printed_at,
        "carrier": hasattr(order, "shipment") and order.shipment.carrier_reference,
    }
    return (partner for partner, mark in done.items() if mark)


def _arrivals(stack: Stack) -> list[Arrival]:
    answer = requests.get(f"{stack.partners_url}/ledger", timeout=30)
    answer.raise_for_status()
    return as_arrivals(answer.json()["arrivals"])


def _messages(stack: Stack) -> list[dict[str, Any]]:
    """What the partners told the shop by themselves."""
    answer = requests.get(f"{stack.partners_url}/webhooks", timeout=30)
    answer.raise_for_status()
    return answer.json()["messages"]


def as_arrivals(lines: Iterable[Mapping[str, Any]]) -> list[Arrival]:
    return [
        Arrival(
            partner=line["partner"],
            key=line["key"],
            reference=line["reference"],
            applied=line["applied"],
            status=line["status"],
            answer_id=line["answer"].get("id", ""),
        )
        for line in lines
    ]


def _report(verdict: Verdict, told: Told, chaos: Chaos) -> None:
    from example_project.counting import as_line, counts  # noqa: PLC0415  # after setup

    extra = (
        f"{verdict.extra_per_crash:.2f} per crash, always under the same key;"
        f" {verdict.extra_harmless} more of effects that are harmless to repeat"
    )
    rows = [
        ("promised", verdict.promised, f"effects of {len(told.placed)} orders"),
        ("done", verdict.done, "as the partners and the business tables have it"),
        ("skipped", verdict.skipped, "no longer needed: not a gift"),
        ("poisoned", verdict.poisoned, "cannot succeed: no label sticks to a cursed vase"),
        ("lost", len(verdict.lost), ""),
        ("phantom", len(verdict.phantom), f"{len(told.declined)} orders were rolled back"),
        ("twice", len(verdict.doubled), "done again under another key"),
        ("other key", len(verdict.rekeyed), "asked again under another key"),
        ("extra runs", verdict.extra_runs, extra),
    ]
    print()
    for name, number, remark in rows:
        print(f"  {name:<12}{number:>6}   {remark}".rstrip())
    print(
        f"\n  SIGKILLs {chaos.kills} ({chaos.crashes} processes that run effects),"
        f" broker wiped {chaos.wipes}, broker killed {chaos.broker_kills}"
    )
    print(f"  For comparison, not judged: the outbox counts {as_line(counts())}")


def _report_charges(made: Charges) -> list[str]:
    """Print what the payment partner's ledger says; return what makes that worthless."""
    print(
        f"\n  {made.applied} cards were charged, {made.unanswered} of them on a connection that was"
        f" dropped before the answer;\n  {made.asked_again} payments were asked for more than once,"
        f" and {len(made.twice)} cards charged twice"
    )
    doubts = [f"charged twice: {order}" for order in made.twice]
    return doubts if made.unanswered else [*doubts, "No answer of the payment partner was lost."]


def _report_losses(chaos: Chaos, arrivals: list[Arrival]) -> list[str]:
    """Print what was lost and found again; return what makes that worthless."""
    from example_project.loss import found  # noqa: PLC0415  # after setup

    again = found()
    asked, kept = asked_on_both_sides(arrivals, [calls for _, calls in chaos.losses])
    print("\n  Truncated by hand, with SQL:")
    for loss, _ in chaos.losses:
        print(f"    {loss}")
    print(
        "  Found by the workers, from what the orders owe:"
        f"\n    {again.promised} effects were promised anew, and {again.events} events made up"
        f"\n    {asked} effects were asked for before a loss and after it,"
        f" {kept} of them under the same key"
    )
    if again.promised and asked:
        return []
    return ["Nothing of what was truncated had to be found again."]


def _complain(verdict: Verdict, doubts: list[str], logs: Path) -> None:
    print("  NOT SOUND" if not verdict.is_sound else "  NOT PROVED")
    for name in ("lost", "phantom", "doubled", "rekeyed"):
        for line in getattr(verdict, name)[:10]:
            print(f"    {name}: {line}")
    for doubt in doubts:
        print(f"    {doubt}")
    print(f"  The logs are in {logs}, the databases beside them.")


def _say(what: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
