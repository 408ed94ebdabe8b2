"""
Why a delivery is not running: one sentence, from what the database says now.

In: one row. Out: a word for programs and a sentence for people; at most six small queries, whatever
lies in the tables. Nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.utils.timezone import localtime

from ...clock import DbNow, in_utc, read_clock, spoken
from ...conf import settings
from ...controls.models import EffectControl
from ...effects.registry import registry
from ...outbox import dispatch
from ...outbox.heartbeat import CLAIMS
from ...outbox.models import LONGEST_GRACE, Attempt, Delivery, Sweep
from ...outbox.states import ENDED_WELL, Flag, Notes, Reason, State, noted
from ...outbox.unknown import SINCE
from ...watch.status import COUNT_AT_MOST, shown, transport


class Kind(StrEnum):
    """What it waits for."""

    ENDED = "ended"
    PERSON = "person"
    RUNNING = "running"
    LOST = "lost"  # its lease is over
    PAUSED = "paused"
    RETRY = "retry"
    VERIFY_LATER = "verify later"
    NOT_DUE = "not due"
    UNKNOWN = "unknown"  # no worker knows its effect, or this release does not
    PUT_OFF = "put off"
    NO_WORKER = "no worker"
    NO_HINTS = "no hints"  # emit sends none to its queue
    BEHIND = "behind"  # the relay has as many hints outstanding as it may
    VERIFY = "verify"
    HINTED = "hinted"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Why:
    kind: Kind
    sentence: str


def why(row: Delivery) -> Why:
    """Why *row* is not running now, or that it is, or has ended."""
    using = row._state.db or "default"
    now = read_clock(using)
    state = State(row.state)
    if state in ENDED_WELL:
        return Why(Kind.ENDED, f"It has ended: {_label(row)}{_at(row.finished_at, now)}.")
    if state == State.POISONED or (state == State.UNCERTAIN and row.look_at is None):
        return Why(Kind.PERSON, _for_a_person(row, now))
    if state == State.RUNNING:
        return _running(row, now)
    return (
        _paused(row, using, now)
        or _not_due(row, using, now)
        or _unknown(row, now)
        or _put_off(row, now)
        or _in_line(row, using, now)
    )


# How it stands


def _label(row: Delivery) -> str:
    told = row.get_reason_display()
    return f"{State(row.state).label}{f' ({told})' if told else ''}"


def _for_a_person(row: Delivery, now: datetime) -> str:
    if row.state == State.UNCERTAIN:
        return (
            "A person must decide: it was sent, and nobody knows whether it happened."
            " Ask the partner, with its key, and settle it; redrive it under the same key"
            " where the partner knows repeats."
        )
    set_aside = f"A person must decide: it was set aside{_at(row.finished_at, now)}"
    told = row.get_reason_display()
    because = f", because {told}" if told else ""
    if row.reason == Reason.UNKNOWN_EFFECT:
        return f"{set_aside}{because}. It comes back by itself when a worker knows it."
    return f"{set_aside}{because}. Mend the cause and redrive it, edit its payload, or cancel it."


def _running(row: Delivery, now: datetime) -> Why:
    worker = row.worker or "a worker"
    work = "asks what became of it" if row.flags & Flag.VERIFYING else "is running it"
    ends = row.lease_expires_at
    if ends is not None and in_utc(ends) <= now:
        return Why(
            Kind.LOST,
            f"{worker} had it until {_told(ends, now)} and was not heard of since;"
            " the next rescue takes it back.",
        )
    until = f" and holds its lease until {_told(ends, now)}" if ends is not None else ""
    return Why(Kind.RUNNING, f"{worker} {work}{until}.")


# What keeps it from running, the longest first


def _paused(row: Delivery, using: str, now: datetime) -> Why | None:
    names = registry.names_like(row.effect)
    controls = EffectControl.objects.using(using).paused().filter(effect__in=names)
    control = controls.order_by("effect").first()
    if control is None:
        return None
    until = (
        f"until {_told(control.paused_until, now)}"
        if control.paused_until
        else "until a person resumes it"
    )
    by = f" by {control.by}" if control.by else ""
    since = f" since {_told(control.paused_at, now)}" if control.paused_at else ""
    reason = f": {control.why}" if control.why else ""
    later = f" And it is not due until {_told(row.due_at, now)}." if _is_later(row, now) else ""
    return Why(Kind.PAUSED, f"Its effect was paused{by}{since}, {until}{reason}.{later}")


def _not_due(row: Delivery, using: str, now: datetime) -> Why | None:
    if not _is_later(row, now):
        return None
    due = _told(row.due_at, now)
    if row.state == State.UNCERTAIN:
        return Why(
            Kind.VERIFY_LATER,
            f"It was sent, and nobody knows whether it happened; its verify is asked {due}.",
        )
    snoozed = noted(row.notes, Notes.SNOOZED)
    slept = f" It has asked for {spoken(timedelta(seconds=snoozed))} of rest in all."
    if row.attempts:
        failed = Attempt.objects.using(using).filter(delivery_id=row.pk).order_by("-pk")
        last = failed.values_list("ended_at", flat=True).first()
        return Why(
            Kind.RETRY,
            f"Attempt {row.attempts} failed{_at(last, now)}; it is tried again {due}."
            f"{slept if snoozed else ''}",
        )
    return Why(Kind.NOT_DUE, f"It is not due until {due}.{slept if snoozed else ''}")


def _unknown(row: Delivery, now: datetime) -> Why | None:
    noted_since = row.notes.get(SINCE) if isinstance(row.notes, dict) else None
    since = ""
    if isinstance(noted_since, str):
        try:
            since = f" since {_told(datetime.fromisoformat(noted_since), now)}"
        except ValueError:
            since = f" since {noted_since}"
    if registry.find_effect(row.effect) is None:
        others = f", and no worker has known it{since}" if since else ""
        return Why(Kind.UNKNOWN, f"This release does not know the effect {row.effect}{others}.")
    if since:
        return Why(
            Kind.UNKNOWN,
            f"No worker has known its effect, or the version of its payload,{since}."
            " Deploy what this process runs to the workers too.",
        )
    return None


def _put_off(row: Delivery, now: datetime) -> Why | None:
    if row.hints or row.look_at is None or in_utc(row.look_at) <= now:
        return None
    if noted(row.notes, Notes.INTERRUPTED):
        because = "the database failed while it ran"
    elif row.flags & Flag.ALONE:
        because = "it died while running, so it runs alone, and another one like it is at it"
    else:
        because = "it could not be run when its turn came"
    return Why(Kind.PUT_OFF, f"It was put off until {_told(row.look_at, now)}: {because}.")


def _in_line(row: Delivery, using: str, now: datetime) -> Why:
    """It may run: so it is about who would take it up."""
    marker, name = dispatch.UNCONSUMED + row.queue, CLAIMS + row.queue
    sweeps = {s.name: s for s in Sweep.objects.using(using).filter(name__in=(marker, name))}
    claims, patience = sweeps.get(name), settings().unconsumed_after
    last = f" The last was seen {_told(claims.ran_at, now)}." if claims else ""
    seen_lately = claims is not None and abs(now - in_utc(claims.ran_at)) <= patience
    gate = " Until then emit sends no hints, and the relay one a minute."
    if not seen_lately and (marker in sweeps or now - in_utc(row.due_at) >= patience):
        none = "No worker was seen" if claims else "No worker was ever seen"
        lately = f" for {spoken(patience)}" if claims else ""
        return Why(
            Kind.NO_WORKER,
            f"{none} for its queue, {row.queue}{lately}.{last} Start one that consumes it."
            f"{gate if marker in sweeps else ''}",
        )
    if marker in sweeps:
        return Why(
            Kind.NO_HINTS,
            f"Nobody took anything from its queue, {row.queue}, for a while, so emit sends it no"
            f" hints.{last} The next sweep of the relay ends that.",
        )
    return _taken_up(row, using, now)


def _taken_up(row: Delivery, using: str, now: datetime) -> Why:
    outstanding, in_front = _outstanding(row, using), _in_front(row, using)
    most = settings().relay_outstanding
    front = f"{shown(in_front)} in front of it" if in_front else "it is the first in line"
    if not row.hints and outstanding >= most and transport() != "none":
        return Why(
            Kind.BEHIND,
            f"The relay has {shown(outstanding)} hints outstanding in the queue {row.queue}, as many"
            f" as it may (RELAY_OUTSTANDING); {front}.",
        )
    if row.state == State.UNCERTAIN:
        return Why(Kind.VERIFY, f"The next free worker asks its verify what became of it; {front}.")
    if row.hints:
        again = f"the relay sends another {_told(row.look_at, now)}" if row.look_at else ""
        return Why(
            Kind.HINTED,
            f"{_counted(row.hints)} under way to a worker, {shown(max(outstanding - 1, 0))} others"
            f" with it; where it is lost {again}.",
        )
    who = "effects_worker" if transport() == "none" else "the next sweep of the relay"
    return Why(Kind.NEXT, f"It has been due{_for(row.due_at, now)}; {who} takes it up: {front}.")


def _outstanding(row: Delivery, using: str) -> int:
    rows = Delivery.objects.using(using).in_line(row.queue)
    hinted = rows.filter(
        hints__gt=0,
        due_at__lte=DbNow(),
        look_at__gt=DbNow(),
        look_at__lte=DbNow() + LONGEST_GRACE,
    )
    return hinted.values("pk")[: min(settings().relay_outstanding, COUNT_AT_MOST)].count()


def _in_front(row: Delivery, using: str) -> int:
    rows = Delivery.objects.using(using).in_front(row.queue)
    return rows.filter(look_at__lt=row.look_at).values("pk")[:COUNT_AT_MOST].count()


# In words


def _is_later(row: Delivery, now: datetime) -> bool:
    return in_utc(row.due_at) > now


def _counted(hints: int) -> str:
    return "A hint is" if hints == 1 else f"The last of {hints} hints is"


def _for(since: datetime, now: datetime) -> str:
    return f" for {spoken(now - in_utc(since))}"


def _at(at: datetime | None, now: datetime) -> str:
    return f" {_told(at, now)}" if at is not None else ""


def _told(at: datetime, now: datetime) -> str:
    """The instant as a clock on the wall shows it, and how far away it is."""
    span = in_utc(at) - now
    away = f"in {spoken(span)}" if span > timedelta(0) else f"{spoken(span)} ago"
    stamp = localtime(in_utc(at))
    return f"{stamp:%Y-%m-%d %H:%M:%S} {stamp:%Z} ({away})"
