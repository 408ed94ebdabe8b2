"""How an operation looks: numbers in, escaped HTML out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils.html import format_html
from django.utils.text import Truncator

from ...clock import spoken
from ...outbox.admin import looks
from ...outbox.models import Delivery
from ..groups.models import FailureGroup
from .models import OperationState, Outcome, RedriveItem, RedriveOperation
from .outcomes import COUNTED
from .ramp import takes
from .selection import Selection

_ITEMS = 20  # deliveries of one outcome on the page
_LINES = 100  # of a history


def progress(row: RedriveOperation) -> str:
    """How many of all have ended; the words say what the bar shows."""
    if row.state == OperationState.GATHERING:
        return f"{row.gathered:,} gathered so far"
    return format_html(
        '<progress class="re-progress" max="{}" value="{}" aria-label="ended">{}</progress>'
        ' <span class="re-count">{} of {} ended, {} released</span>',
        max(row.gathered, 1), row.settled if row.gathered else 1, "",
        f"{row.settled:,}", f"{row.gathered:,}", f"{row.released:,}",
    )  # fmt: skip


def counts(row: RedriveOperation) -> str:
    known = [(outcome.label, getattr(row, name)) for outcome, name in COUNTED.items()]
    lines = [
        (Outcome.WAITING.label, row.unreleased),
        (Outcome.RELEASED.label, row.under_way),
        *known,
    ]
    return looks.table(
        ("what became of them", "deliveries"), ((label, f"{n:,}") for label, n in lines)
    )


def pace(row: RedriveOperation) -> str:
    told = (
        f"At most {row.rate:,} in a minute, after a canary of {row.canary:,}; it halts when"
        f" {row.halt_percent} % of the last fail."
    )
    if row.pace:
        told += f" Now at most {row.pace:,} are under way at once."
    if row.unreleased and row.ended_at is None and row.state != OperationState.CANCELLED:
        told += f" The {row.unreleased:,} that wait take {span(takes(row.unreleased, row.rate))} at the least."
    return told


def history(row: RedriveOperation) -> str:
    lines = row.history if isinstance(row.history, list) else []
    return looks.table(("when", "what"), (_line(line) for line in lines[-_LINES:]))


def _line(line: Any) -> tuple[Any, ...]:
    """As the steps have written it; as it stands, where somebody else did."""
    try:
        at, words = line
        return looks.instant(datetime.fromisoformat(at)), str(words)
    except (TypeError, ValueError):
        return looks.NOTHING, str(line)


def items(row: RedriveOperation, outcome: Outcome, site: str) -> str:
    """The newest deliveries with that outcome."""
    if row.forgotten_at is not None:
        return "no longer kept"
    found = RedriveItem.objects.using(row._state.db).filter(operation=row, outcome=outcome)
    newest = list(found.order_by("-pk")[:_ITEMS])
    deliveries = Delivery.objects.using(row._state.db).in_bulk([i.delivery_id for i in newest])
    return looks.table(
        ("delivery", "effect", "state", "remark"),
        (
            (
                looks.page(Delivery, item.delivery_id, f"#{item.delivery_id}", site),
                delivery.effect if delivery else looks.NOTHING,
                looks.state(delivery) if delivery else "deleted",
                item.remark or (delivery.get_reason_display() if delivery else "") or looks.NOTHING,
            )
            for item in newest
            for delivery in [deliveries.get(item.delivery_id)]
        ),
    )


def short(text: str) -> str:
    return Truncator(text).chars(80)


def span(value: timedelta) -> str:
    return spoken(value)


def chosen(words: str, selection: Selection, using: str) -> str:
    """*words*, and which failure its group is of: nobody knows that by its fingerprint."""
    if not selection.group:
        return words
    group = FailureGroup.objects.using(using).filter(fingerprint=selection.group).first()
    return f"{words}: {group}" if group else words
