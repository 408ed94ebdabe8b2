"""Did what the partners told by themselves come to rest in the shop as they meant it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def told_wrongly(messages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One line for each order of which the shop believes something else than its partners."""
    from example_project.shop.models import Capture, Order  # noqa: PLC0415  # after setup

    parcels = dict(Order.objects.values_list("reference", "parcel_status"))
    captures = Counter(Capture.objects.values_list("order__reference", flat=True))
    last: dict[str, Mapping[str, Any]] = {}
    captured: Counter[str] = Counter()
    for message in messages:
        order = message["order"]
        if message["type"] == "payment.captured":
            captured[order] += 1
        elif order not in last or message["version"] > last[order]["version"]:
            last[order] = message
    for order, message in last.items():
        if parcels.get(order) != message["status"]:
            yield f"{order}: the parcel is {message['status']}, the shop says {parcels.get(order)!r}"
    for order in sorted(captured.keys() | captures.keys()):
        if captured[order] != captures[order]:
            yield f"{order}: captured {captured[order]} times, in the books {captures[order]} times"


def in_short(messages: Iterable[Mapping[str, Any]]) -> str:
    """How much of it came more than once."""
    tries = [message["tries"] for message in messages]
    again = sum(n > 1 for n in tries)
    return f"{len(tries)} messages from partners came in {sum(tries)} requests, {again} repeatedly"
