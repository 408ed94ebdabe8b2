"""
The evidence of a run: the client's journal, the partners' ledger, the shop's own tables.

The tables are read with plain SQL over plain drivers, and so is the ledger's file: nothing that is
being judged is asked.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from example_project.checker import Arrival, PlacedOrder
from tests.chaos.journal import Line

_ORDERS = """
SELECT o.reference, o.email, o.gift, p.slug, o.charge_id, o.receipt_sent_at, o.stock_reserved_at,
       o.crm_told_at, o.counted_at, o.indexed_at, o.wrapped_at, o.label_printed_at,
       s.carrier_reference, s.id,
       (SELECT count(*) FROM shop_loyaltyentry e WHERE e.order_id = o.id),
       (SELECT count(*) FROM shop_capture c WHERE c.order_id = o.id),
       o.parcel_status
FROM shop_order o JOIN shop_product p ON p.id = o.product_id
LEFT JOIN shop_shipment s ON s.order_id = o.id
"""
_MARKS = ("mail", "warehouse", "crm", "analytics", "search", "giftwrap", "labels", "carrier")
_ARRIVALS = "SELECT partner, key, reference, applied, status, answer, at FROM arrival ORDER BY id"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order(PlacedOrder):
    """A row of the shop, with what its customers and partners may ask about."""

    email: str = ""
    captures: int = 0  # payments that the books have
    parcel: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Arrival):
    at: float = 0.0  # seconds, the machine's clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What a partner told the shop by itself."""

    order: str
    kind: str  # "payment.captured" or "parcel.moved"
    version: int = 0
    status: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blow:
    """One fault: from when to when, and how many runs of effects it may have cut short."""

    name: str
    began_at: float
    ended_at: float
    struck: int = 0  # runs that it may have ended, or doubled
    told: str = ""


@dataclass(frozen=True, kw_only=True)
class History:
    lines: Sequence[Line]
    orders: Sequence[Order]
    calls: Sequence[Call]
    messages: Sequence[Message] = ()
    blows: Sequence[Blow] = field(default=())


def orders(connection: Any) -> list[Order]:
    """All of them, over *connection*, of whatever driver."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(_ORDERS)
        rows = cursor.fetchall()
    return [_order(*row) for row in rows]


def _order(reference: str, email: str, gift: Any, slug: str, charge: str, *rest: Any) -> Order:
    *marks, carrier, shipment, points, captures, parcel = rest
    done = zip(_MARKS, [*marks, carrier], strict=True)
    return Order(
        reference=reference,
        email=email,
        gift=bool(gift),
        cursed=slug == "cursed-vase",
        charge_id=charge,
        written_down=frozenset(partner for partner, mark in done if mark),
        has_shipment=shipment is not None,
        loyalty_entries=points,
        captures=captures,
        parcel=parcel,
    )


def calls(ledger: Path) -> list[Call]:
    """Every call that arrived at a partner, in its order."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=20)) as connection:
        rows = connection.execute(_ARRIVALS).fetchall()
    return [
        Call(
            partner=partner, key=key, reference=reference, applied=bool(applied), status=status,
            answer_id=json.loads(answer).get("id", ""), at=at,
        )
        for partner, key, reference, applied, status, answer, at in rows
    ]  # fmt: skip


def messages(told: Sequence[dict[str, Any]]) -> list[Message]:
    return [
        Message(
            order=m["order"], kind=m["type"], version=m.get("version", 0),
            status=m.get("status", ""),
        )
        for m in told
    ]  # fmt: skip
