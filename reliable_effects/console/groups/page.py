"""What the page of a group tells of its newest pills: where they failed, and about whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.db import DEFAULT_DB_ALIAS

from ...outbox.models import Delivery, OutboxEvent
from .counting import pills_of
from .kinds import last_attempts
from .models import FailureGroup

LOOKED_AT = 200  # newest pills whose last attempts are counted by release and host
LISTED = 20  # subjects


@dataclass(frozen=True, slots=True)
class Where:
    """Of how many pills, and how often in which release and on which host."""

    pills: int
    releases: Counter[str]
    hosts: Counter[str]


def where(group: FailureGroup) -> Where:
    """By the newest pills: an index-only look-up, and their last attempts by id."""
    using = group._state.db or DEFAULT_DB_ALIAS
    newest = pills_of(using, group.fingerprint).order_by("-pk").values_list("pk", flat=True)
    ids = list(newest[:LOOKED_AT])
    attempts = last_attempts(using, ids).values()
    releases = Counter(attempt.release or "(no name)" for attempt in attempts)
    # With its process: of those there are as many as the host ever had.
    hosts = Counter(attempt.host.rpartition(":")[0] or attempt.host for attempt in attempts)
    return Where(len(ids), releases, hosts)


def about(group: FailureGroup) -> list[Delivery]:
    """The newest pill of each subject, with its event; the first of them."""
    using = group._state.db or DEFAULT_DB_ALIAS
    # No join: MariaDB would read all events for it.
    rows = pills_of(using, group.fingerprint).prefetch_related("event").order_by("-pk")
    return list(islice(_one_of_each(list(rows[:LOOKED_AT])), LISTED))


def _one_of_each(rows: list[Delivery]) -> Iterator[Delivery]:
    seen: set[tuple[str, str]] = set()
    for row in rows:
        try:
            subject = (row.event.subject_model, row.event.subject_pk)
        except OutboxEvent.DoesNotExist:
            continue  # no constraint holds it
        if row.event.subject_model and subject not in seen:
            seen.add(subject)
            yield row
