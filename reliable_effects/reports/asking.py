"""
Ask for a build: where one is due, none is under way, and the last failure has had its rest.

One UPDATE decides who of many asks; its build is promised in the same transaction. So there is one
delivery for a report and its parameters at a time, whoever asks from wherever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction

from ..clock import DbNow
from ..conf import settings
from ..effects.backoff import Backoff
from ..outbox.models import Delivery
from ..outbox.states import WAITING, State
from .definition import ReportDefinition
from .models import Report

_LONGEST_REST = timedelta(days=1)
_STRAY = 0.1  # of `fresh_for`: what was built together does not go stale together


class Standing(StrEnum):
    """What became of the last build that was asked for."""

    IDLE = "idle"  # none is wanted: it was built, or never asked for
    BUILDING = "building"  # it waits for a worker, or one is at it, or it will be tried again
    FAILED = "failed"  # it was given up


@dataclass(frozen=True, slots=True)
class LastBuild:
    standing: Standing
    delivery: Delivery | None = None
    ask_again_at: datetime | None = None  # of what failed


def last_build(row: Report) -> LastBuild:
    if row.asked <= row.current_number or row.build_key is None:
        return LastBuild(Standing.IDLE)
    delivery = Delivery.objects.using(row._state.db).filter(key=row.build_key).first()
    if delivery is None or delivery.state == State.SUCCEEDED:
        return LastBuild(Standing.IDLE, delivery)  # pruned, lost; or it ended a moment ago
    if delivery.state in (*WAITING, State.RUNNING):
        return LastBuild(Standing.BUILDING, delivery)
    failures = row.asked - row.current_number
    rest = Backoff(first=min(settings().report_rest, _LONGEST_REST), longest=_LONGEST_REST)
    since = delivery.finished_at or row.asked_at or row.read_at
    return LastBuild(Standing.FAILED, delivery, since + rest.ceiling(failures))


def age_of(row: Report) -> timedelta | None:
    """Since its rows were read; None where there is no version to be served."""
    return row.read_at - row.current.started_at if row.current is not None else None


def is_fresh(definition: ReportDefinition, row: Report) -> bool:
    age = age_of(row)
    stray = (int(row.identity[:4], 16) / 0xFFFF * 2 - 1) * _STRAY
    return age is not None and age < definition.fresh_for * (1 + stray)


def is_servable(definition: ReportDefinition, row: Report) -> bool:
    """Fresh, or stale and still good enough."""
    age = age_of(row)
    if age is None or definition.stale_for is None:
        return age is not None
    return age < definition.fresh_for * (1 + _STRAY) + definition.stale_for


def ask(definition: ReportDefinition, row: Report, *, anyway: bool = False) -> bool:
    """
    Ask for a build of *row* where none is under way; whether it was us who did.

    After one that was given up it rests, longer each time; *anyway* is a person who does not wait.
    """
    last = last_build(row)
    if last.standing is Standing.BUILDING:
        return False
    rests = last.ask_again_at is not None and row.read_at < last.ask_again_at
    if rests and not anyway:
        return False
    using, number = row._state.db, row.asked + 1
    mine = Report.objects.using(using).filter(pk=row.pk)
    with transaction.atomic(using=using):
        # Many may have read the same number; one UPDATE finds it still there.
        if not mine.filter(asked=row.asked).update(asked=number, asked_at=DbNow()):
            return False
        promised = definition.effect.promise(
            row, {"number": number}, once=f"build {number}", using=using
        )
        key = definition.effect.key_of(promised.event_id, str(row.pk), row)
        mine.update(build_key=key)
    row.asked, row.asked_at, row.build_key = number, row.read_at, key
    return True
