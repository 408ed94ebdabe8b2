"""On the page of a delivery: the operations that it was in, and what became of it there."""

from __future__ import annotations

from collections.abc import Iterator

from ...outbox.models import Delivery
from ..timeline.timeline import Detail, Entry, also_tell
from .models import Outcome, RedriveItem


def register() -> None:
    """Let timelines know of ours."""
    also_tell(entries)


def entries(row: Delivery, limit: int) -> Iterator[Entry]:
    """Of the newest *limit* operations; one query."""
    items = RedriveItem.objects.using(row._state.db).of_delivery(row.pk)[:limit]
    for item in items:
        operation = item.operation
        yield Entry(
            item.released_at or operation.created_at,
            "person",
            _told(item),
            operation.by,
            [Detail("why", operation.why), Detail("left alone because", item.remark)],
        )


def _told(item: RedriveItem) -> str:
    if item.released_at is not None:
        return f"Redriven by {item.operation}"
    if item.outcome == Outcome.LEFT_ALONE:
        return f"Left alone by {item.operation}"
    return f"Chosen for {item.operation}"
