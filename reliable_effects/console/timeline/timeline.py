"""
What has become of one delivery, from its event until now: read, and put in order.

In: one row. Out: entries, the oldest first, at most `AT_MOST` of them; what was cut is said. The
number of queries is fixed. A part of the console that knows more adds a source with `also_tell`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from ...clock import in_utc
from ...outbox import redaction
from ...outbox.models import Attempt, Delivery, OutboxEvent
from ...outbox.payloads import PayloadEdit
from ...outbox.states import ENDED_WELL, SET_ASIDE, Reason, State
from ...outgoing.models import Known, OutgoingCall

AT_MOST = 100  # entries
# Of the admin's log no index says what a row is about, and bulk remedies write one for each delivery.
LOOKED_THROUGH = 20_000  # entries of it, the newest: 40 ms on MariaDB, 10 on PostgreSQL

EDITED = "Payload edited (edit"  # how the audit entry of an edit begins
SEES_EVENTS = "reliable_effects.view_outboxevent"
SEES_ERRORS = "reliable_effects.view_attempt"
SEES_CALLS = "reliable_effects.view_outgoingcall"


@dataclass(frozen=True, slots=True)
class Detail:
    """More about an entry. `needs`: the permission without which nobody sees it."""

    name: str
    text: str
    needs: str = ""
    is_long: bool = False  # shown when asked for


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened to a delivery. Texts are plain: who shows them escapes them."""

    at: datetime
    kind: str  # one word: "emitted", "attempt", "edited", …
    text: str
    by: str = ""
    details: Sequence[Detail] = ()
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    entries: list[Entry] = field(default_factory=list)  # the oldest first
    is_cut: bool = False  # the beginning stays, and the newest; what lies between is left out
    may_lack_remedies: bool = False  # the admin's log is longer than was looked through


Source = Callable[[Delivery, int], Iterable[Entry]]
"""The newest entries about a delivery, at most so many."""

_others: list[Source] = []


def also_tell(source: Source) -> None:
    """Let *source* add entries. It makes a fixed number of queries."""
    if source not in _others:
        _others.append(source)


def of(row: Delivery, may_see: Callable[[str], bool] = lambda _: True) -> Timeline:
    """What is known of *row*, for whoever *may_see* what a permission's name stands for."""
    begins = list(_emitted(row))
    entries: list[Entry] = []
    log_begins_at = _newest_in_log() - LOOKED_THROUGH
    entries += _history(row, AT_MOST + 1, log_begins_at)
    for source in (_attempts, _calls, _edits, *_others):
        entries += source(row, AT_MOST + 1)
    entries += _ended(row)
    visible = [_seen(entry, may_see) for entry in entries if _is_seen(entry.needs, may_see)]
    visible.sort(key=lambda entry: in_utc(entry.at))
    kept = visible[-(AT_MOST - len(begins)) :]
    first = [_seen(entry, may_see) for entry in begins]
    return Timeline(
        [*first, *kept], is_cut=len(kept) < len(visible), may_lack_remedies=log_begins_at > 0
    )


def _is_seen(needs: str, may_see: Callable[[str], bool]) -> bool:
    return not needs or may_see(needs)


def _seen(entry: Entry, may_see: Callable[[str], bool]) -> Entry:
    details = [d for d in entry.details if d.text and _is_seen(d.needs, may_see)]
    return Entry(entry.at, entry.kind, entry.text, entry.by, details)


def _newest(rows: QuerySet[Any], limit: int) -> QuerySet[Any]:
    return rows.order_by("-pk")[:limit]


# What there is to tell


def _emitted(row: Delivery) -> Iterator[Entry]:
    event = _event_of(row)
    if event is None:
        return
    how = {
        "promise": "Promised",
        "schedule": "Emitted by a scheduled job",
        "reconcile": "Made up, because it was owed and nobody had promised it",
    }
    yield Entry(
        event.emitted_at,
        "emitted",
        how.get(event.source, "Its event was emitted"),
        details=[
            Detail("event", f"{event.name}, version {event.version}", SEES_EVENTS),
            Detail("correlation", str(event.correlation), SEES_EVENTS),
            Detail("trace id", event.trace_id, SEES_EVENTS),
        ],
    )


def _event_of(row: Delivery) -> OutboxEvent | None:
    try:
        return row.event
    except OutboxEvent.DoesNotExist:
        return None


def _attempts(row: Delivery, limit: int) -> Iterator[Entry]:
    rows = Attempt.objects.using(row._state.db).filter(delivery_id=row.pk)
    for attempt in _newest(rows, limit):
        known = {outcome.value: outcome.label for outcome in Attempt.Outcome}
        what = known.get(attempt.outcome, "")
        took = f", {_span(attempt)}" if attempt.started_at else ""
        yield Entry(
            attempt.ended_at,
            "attempt",
            f"Attempt {attempt.number}: {attempt.outcome}{took} ({what})",
            details=[
                Detail("worker", attempt.host),
                Detail("release", attempt.release),
                Detail("error", attempt.exception_type, SEES_ERRORS),
                Detail("message", attempt.message, SEES_ERRORS),
                Detail("traceback", attempt.traceback, SEES_ERRORS, is_long=True),
            ],
        )


def _span(attempt: Attempt) -> str:
    assert attempt.started_at is not None  # noqa: S101  # asked by the caller
    seconds = (in_utc(attempt.ended_at) - in_utc(attempt.started_at)).total_seconds()
    return f"after {seconds:.1f} s"


def _calls(row: Delivery, limit: int) -> Iterator[Entry]:
    rows = OutgoingCall.objects.using(row._state.db).filter(delivery_id=row.pk)
    for call in _newest(rows, limit):
        known = {each.value: each.label for each in Known}
        name = f" ({call.call})" if call.call else ""
        yield Entry(
            call.last_sent_at,
            "call",
            f"Call to {call.target}{name}: {call.known}, {known.get(call.known, '')}",
            details=[
                Detail("key", str(call.key)),
                Detail("times sent", str(call.times_sent)),
                Detail("first sent", f"{in_utc(call.first_sent_at):%Y-%m-%d %H:%M:%S} UTC"),
                Detail("status", str(call.status or "")),
                Detail("partner's own id", call.request_id),
            ],
            needs=SEES_CALLS,
        )


def _edits(row: Delivery, limit: int) -> Iterator[Entry]:
    event = _event_of(row)
    rows = PayloadEdit.objects.using(row._state.db).filter(delivery_id=row.pk)
    for edit in _newest(rows, limit):
        name = event.name if event is not None else row.effect
        text, is_all = redaction.shown(name, edit.payload)
        hidden = "" if is_all else " (what looks secret is hidden)"
        yield Entry(
            edit.edited_at,
            "edited",
            f"{EDITED} {edit.pk}), from then on generation {edit.generation}",
            edit.by,
            [
                Detail("why", edit.why),
                Detail(f"payload{hidden}", text, SEES_EVENTS, is_long=True),
            ],
        )


def _newest_in_log() -> int:
    from django.contrib.admin.models import LogEntry  # noqa: PLC0415  # as below

    newest: int | None = LogEntry.objects.order_by("-pk").values_list("pk", flat=True).first()
    return newest or 0


def _history(row: Delivery, limit: int, after: int) -> Iterator[Entry]:
    # Not at the top: the models of other apps are not loaded when this module is.
    from django.contrib.admin.models import LogEntry  # noqa: PLC0415
    from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415

    about = ContentType.objects.get_for_model(Delivery)
    rows = LogEntry.objects.filter(pk__gt=after, content_type=about, object_id=str(row.pk))
    told_as_edits = rows.exclude(change_message__startswith=EDITED)
    for entry in _newest(told_as_edits.select_related("user"), limit):
        yield Entry(
            entry.action_time, "person", entry.get_change_message(), entry.user.get_username()
        )


def _ended(row: Delivery) -> Iterator[Entry]:
    if row.finished_at is None or row.state not in (*ENDED_WELL, *SET_ASIDE):
        return
    reasons = {reason.value: reason.label for reason in Reason}
    because = reasons.get(row.reason, row.reason)
    did = "Set aside" if row.state == State.POISONED else State(row.state).label.capitalize()
    nth = f", attempt {row.attempts}" if row.state == State.SUCCEEDED and row.attempts else ""
    yield Entry(
        row.finished_at,
        "ended",
        f"{did}{nth}{f': {because}' if because else ''}",
        details=[Detail("worker", row.worker)] if row.state == State.SUCCEEDED else [],
    )
