"""Assertions about what was promised. They read rows, so what was rolled back is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import Model, QuerySet

from ..conf import settings
from ..effects.effect import Effect
from ..effects.event import Event
from ..outbox.models import OutboxEvent
from .aliases import usable_databases

_SHOWN = 10  # of what was emitted instead


def assertEmitted(  # noqa: N802  # named as unittest names its assertions
    event: Event[Any, Any] | Effect[Any, Any],
    subject: Model | None = None,
    payload: Any = None,
    *,
    count: int | None = None,
) -> None:
    """
    Fail unless *event* was emitted about *subject*, `count` times, or at least once.

    Without *subject* about whichever; without *payload* with whichever, else with exactly this
    one. Given an effect, it looks at what was promised by `effect.promise()`.
    """
    wanted = _Wanted(event, subject, payload)
    found = wanted.count()
    if found == count or (count is None and found):
        return
    how = "was not emitted" if count is None else f"was emitted {found} times, not {count}"
    raise AssertionError(f"{wanted} {how}. {_all_emitted()}")


def assertNotEmitted(  # noqa: N802  # see above
    event: Event[Any, Any] | Effect[Any, Any], subject: Model | None = None
) -> None:
    """Fail if *event* was emitted about *subject*; without one, if it was emitted at all."""
    wanted = _Wanted(event, subject, None)
    if wanted.count():
        raise AssertionError(f"{wanted} was emitted. {_all_emitted()}")


class _Wanted:
    def __init__(
        self, event: Event[Any, Any] | Effect[Any, Any], subject: Model | None, payload: Any
    ) -> None:
        self.event = event.own_event if isinstance(event, Effect) else event
        self.subject = subject
        self.payload = None
        if subject is not None:
            self.event.check_subject(subject)
        if payload is not None:
            self.payload = json.loads(self.event.codec.dump(payload, settings().payload_limit))

    def count(self) -> int:
        return sum(row.payload == self.payload or self.payload is None for row in self._rows())

    def _rows(self) -> Iterator[OutboxEvent]:
        about = {}
        if self.subject is not None:
            about["subject_model"] = self.event.subject_label
            about["subject_pk"] = str(self.subject.pk)
        for rows in _events():
            yield from rows.filter(name=self.event.name, **about)

    def __str__(self) -> str:
        pk = "" if self.subject is None else str(self.subject.pk)
        label = self.event.subject_label if pk else ""
        return _told(self.event.name, label, pk, self.payload)


def _events() -> Iterator[QuerySet[OutboxEvent]]:
    for using in usable_databases():
        yield OutboxEvent.objects.using(using).order_by("emitted_at", "pk")


def _all_emitted() -> str:
    rows = [row for rows in _events() for row in rows]
    if not rows:
        return "Nothing was emitted."
    lines = [_told(row.name, row.subject_model, row.subject_pk, row.payload) for row in rows]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "Emitted were:" + "".join(f"\n  {line}" for line in lines[:_SHOWN] + more)


def _told(name: str, model: str, pk: str, payload: Any) -> str:
    about = f" about {model} {pk}" if pk else ""
    return f"{name}{about}{f' with {payload!r}' if payload else ''}"
