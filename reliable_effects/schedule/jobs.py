"""
Schedule, reschedule, cancel: one row a job, in the caller's transaction.

In: a declared event and what its `schedule` was given. Out: rows of `ScheduledJob`, and no message:
the sweep `tick` finds them when their time has come. All is checked before anything is written.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_never, get_args
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, router, transaction

from ..clock import DbNow
from ..conf import settings
from ..effects.event import Event
from ..effects.keys import NAMESPACE, derive, new_event_id
from ..effects.scheduling import Changed, OnConflict, Plan, Scheduled, When
from ..exceptions import AlreadyScheduled, BadSchedule, LeaseLost, OutsideTransaction
from ..outbox.emit import alias_of, in_open_transaction
from ..outbox.failures import sanitise
from ..outbox.models import Delivery
from ..outbox.run_context import Run, current_run
from .models import ScheduledJob, ScheduledJobQuerySet, standing_of
from .states import JobState
from .times import checked_late, moment

logger = logging.getLogger("reliable_effects")

_LONGEST_KEY = 200  # characters of it in a row
_AT_ONCE = 1000  # jobs in one statement: no database takes any number of parameters
_LOOK_THROUGH = 100  # jobs of one key, and of those that a collation takes for it
_TRIES = 3  # of a job whose key is taken and freed again while we look

ENDED: dict[str, Any] = {"reason": "", "ended_at": DbNow(), "key_held": None}
"""What every end of a job writes, beside its state."""


class JobWriter:
    """What `Event.schedule` and its like call; see `effects.scheduling.Scheduler`."""

    def schedule(
        self,
        event: Event[Any, Any],
        plans: Sequence[Plan[Any, Any]],
        *,
        late: timedelta | None,
        on_conflict: OnConflict,
        using: str | None,
    ) -> list[Scheduled]:
        if on_conflict not in get_args(OnConflict):
            raise BadSchedule(
                event.name, "on_conflict", f"is {on_conflict!r}. Give 'keep', 'replace' or 'raise'."
            )
        checked_late(event.name, late)
        run = current_run()
        wanted = [_Wanted(_row(event, plan, late, run)) for plan in plans]
        if not wanted:
            return []
        _refuse_same_keys(event, wanted)
        alias = using or alias_of(event, [subject for subject, *_ in plans])
        _check_transaction(event, "schedule", alias)
        if run is not None and run.using == alias:
            _refuse_the_late(run)
        with transaction.atomic(using=alias):
            # In the order of the keys: two that schedule the same ones wait for each other.
            in_order = sorted(wanted, key=lambda want: want.held)
            for start in range(0, len(in_order), _AT_ONCE):
                _write(alias, in_order[start : start + _AT_ONCE], on_conflict)
        results = [want.result() for want in wanted]
        changed = sum(result.changed for result in results)
        logger.info("scheduled %s jobs=%d changed=%d", event.name, len(results), changed)
        return results

    def reschedule(
        self, event: Event[Any, Any], *, key: str, at: When, using: str | None
    ) -> Changed:
        when = moment(event.name, at)
        return self._change(
            "reschedule",
            event,
            key,
            using,
            {"at": when.at, "wall_clock": when.wall_clock, "state": JobState.WAITING, "reason": ""},
        )

    def cancel(self, event: Event[Any, Any], *, key: str, using: str | None) -> Changed:
        return self._change(
            "cancel", event, key, using, ENDED | {"state": JobState.CANCELLED}, cancels=True
        )

    def _change(
        self,
        call: str,
        event: Event[Any, Any],
        key: str,
        using: str | None,
        columns: dict[str, Any],
        *,
        cancels: bool = False,
    ) -> Changed:
        _check_key(event, key)
        model = event.model
        alias = using or (router.db_for_write(model) if model else DEFAULT_DB_ALIAS)
        _check_transaction(event, call, alias)
        rows = ScheduledJob.objects.using(alias)
        held = held_by(event, key)
        changed = _change_standing(rows, held, columns)
        if cancels and (run := current_run()) is not None:
            run.note(connections[alias], [held])
        logger.info("%s %s key=%r changed=%d", call, event.name, key, changed)
        return Changed(changed, _last_state(rows, event, key))


def held_by(event: Event[Any, Any], key: str) -> UUID:
    """What stands in `key_held` of the one job of *event* that has *key* and has not ended."""
    return derive(NAMESPACE, "job", event.identity, key)


@dataclass(slots=True)
class _Wanted:
    """One job to be, and what came of it."""

    row: ScheduledJob
    changed: int = 0
    already: bool = False
    decided: bool = False
    standing: tuple[UUID, datetime] | None = None  # what was kept

    @property
    def held(self) -> UUID:
        assert self.row.key_held is not None  # noqa: S101  # it is new
        return self.row.key_held

    def result(self) -> Scheduled:
        job_id, at = self.standing or (self.row.pk, self.row.at)
        return Scheduled(job_id, at, self.changed, self.already)


def _row(
    event: Event[Any, Any], plan: Plan[Any, Any], late: timedelta | None, run: Run | None
) -> ScheduledJob:
    subject, payload, at, key = plan
    pk = event.pk_text(subject)
    _check_key(event, key)
    when = moment(event.name, at)
    held = held_by(event, key)
    # A repeated run finds what its first one scheduled, also when that has ended.
    job_id = new_event_id() if run is None else _id_in(run, held, 0)
    return ScheduledJob(
        id=job_id,
        event=event.name,
        subject_model=event.subject_label,
        subject_pk=pk,
        payload=json.loads(event.codec.dump(payload, settings().payload_limit)),
        version=event.version,
        key=key,
        key_held=held,
        at=when.at,
        wall_clock=when.wall_clock,
        late=late,
    )


def _id_in(run: Run, held: UUID, number: int) -> UUID:
    parts = ["job", str(run.generation), str(run.round), str(held)]
    return derive(run.key, *parts, str(number)) if number else derive(run.key, *parts)


def _check_key(event: Event[Any, Any], key: Any) -> None:
    if not isinstance(key, str):
        raise BadSchedule(
            event.name, "key", f"is {key!r}. Give a string, like f'trial:{{user.pk}}'."
        )
    if not key or len(key) > _LONGEST_KEY:
        raise BadSchedule(
            event.name, "key", f"has {len(key)} characters. Give 1 to {_LONGEST_KEY}."
        )
    if sanitise(key, _LONGEST_KEY * 4) != key:
        raise BadSchedule(
            event.name, "key", f"is {key!r}, which holds what no database keeps. Leave that out."
        )


def _refuse_same_keys(event: Event[Any, Any], wanted: Sequence[_Wanted]) -> None:
    seen: set[str] = set()
    for want in wanted:
        if want.row.key in seen:
            raise BadSchedule(event.name, "key", f"is {want.row.key!r} twice in one call.")
        seen.add(want.row.key)


def _check_transaction(event: Event[Any, Any], call: str, alias: str) -> None:
    if not in_open_transaction(connections[alias]):
        raise OutsideTransaction(event.name, alias, call)


def _refuse_the_late(run: Run) -> None:
    """What a worker writes whose lease is over would stand beside what the next one writes."""
    deliveries = Delivery.objects.using(run.using)
    if not deliveries.filter(pk=run.delivery_id, claim_token=run.token).exists():
        raise LeaseLost(run.delivery_id)


def _change_standing(rows: ScheduledJobQuerySet, held: UUID, columns: dict[str, Any]) -> int:
    """
    Guarded, and by id: found by the key, and locked there, it would lie across a tick's path on
    MariaDB, and one of both would be given up as a deadlock.
    """
    for _ in range(_TRIES):
        pk = rows.filter(key_held=held).values_list("pk", flat=True).first()
        if pk is None:
            return 0
        if changed := standing_of(rows.filter(pk=pk)).update(**columns):
            return changed
    return 0  # it ended, and others that took its place, each while we looked


def _last_state(rows: ScheduledJobQuerySet, event: Event[Any, Any], key: str) -> str | None:
    """Of the newest job under *key*; ended ones have no `key_held` by which to ask."""
    jobs = rows.by_key(key).filter(event__in=(event.name, *event.aliases))
    found = jobs.order_by("-created_at", "-pk").values_list("key", "state")[:_LOOK_THROUGH]
    # Compared again: to MariaDB's collation "A" is "a".
    return next((JobState(state).label for same, state in found if same == key), None)


def _write(alias: str, wanted: Sequence[_Wanted], on_conflict: OnConflict) -> None:
    rows = ScheduledJob.objects.using(alias)
    open_ = list(wanted)
    if (run := current_run()) is not None:
        open_ = _not_scheduled_before(rows, run, open_)
    for _ in range(_TRIES):
        open_ = _free(rows, open_, on_conflict)
        _insert_where_free(rows, open_)
        standing = _standing(rows, open_)
        for want in open_:
            if standing.get(want.held, (None,))[0] == want.row.pk:
                want.changed += 1
                want.decided = True
        open_ = [want for want in open_ if not want.decided]  # another was quicker: what is it?
        if not open_:
            return
    raise AlreadyScheduled(open_[0].row.event, open_[0].row.key)


def _free(
    rows: ScheduledJobQuerySet, wanted: Sequence[_Wanted], on_conflict: OnConflict
) -> list[_Wanted]:
    """Those whose key is free, or freed. Read without a lock, as `_change_standing` does."""
    standing = _standing(rows, wanted)
    for want in wanted:
        if want.held not in standing:
            continue
        want.already = True
        match on_conflict:
            case "keep":
                want.decided, want.standing = True, standing[want.held]
            case "raise":
                raise AlreadyScheduled(want.row.event, want.row.key)
            case "replace":
                pk, _ = standing[want.held]
                replaced = standing_of(rows.filter(pk=pk))
                want.changed += replaced.update(**ENDED, state=JobState.CANCELLED)
            case _:
                assert_never(on_conflict)
    return [want for want in wanted if not want.decided]


def _standing(
    rows: ScheduledJobQuerySet, wanted: Sequence[_Wanted]
) -> dict[UUID, tuple[UUID, datetime]]:
    """What stands under each key: its id and time."""
    found = rows.filter(key_held__in=[want.held for want in wanted])
    return {held: (pk, at) for held, pk, at in found.values_list("key_held", "pk", "at") if held}


def _not_scheduled_before(
    rows: ScheduledJobQuerySet, run: Run, wanted: list[_Wanted]
) -> list[_Wanted]:
    """
    Without what an earlier run of the same effect has scheduled, also when that has ended.

    What a run schedules under one key is numbered, and a repeated run begins at 0 again. A number
    is passed over where this run has used it, and where the run cancels what has the key, and so
    has cancelled what its predecessor made. What others have cancelled stays so.
    """
    connection = connections[rows.db]
    wrote = run.wrote_by_now(connection)
    number, looking = 0, wanted
    while looking:
        for want in looking:
            want.row.pk = _id_in(run, want.held, number)
        found = rows.filter(pk__in=[want.row.pk for want in looking])
        before = {pk: (state, at) for pk, state, at in found.values_list("pk", "state", "at")}
        looking = [want for want in looking if want.row.pk in before]
        for want in looking:
            state, at = before[want.row.pk]
            gave_up = state == JobState.CANCELLED and want.held in wrote
            if want.row.pk not in wrote and not gave_up:
                want.already, want.decided = True, True
                want.standing = (want.row.pk, at)
        looking = [want for want in looking if not want.decided]
        number += 1
    run.note(connection, [want.row.pk for want in wanted])
    return [want for want in wanted if not want.decided]


def _insert_where_free(rows: ScheduledJobQuerySet, wanted: Sequence[_Wanted]) -> None:
    made = [want.row for want in wanted]
    if connections[rows.db].vendor == "mysql":
        # INSERT IGNORE would pass over any error.
        rows.bulk_create(made, update_conflicts=True, update_fields=["key_held"])
    else:
        rows.bulk_create(made, ignore_conflicts=True)
