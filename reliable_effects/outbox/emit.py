"""
Write event and deliveries in the caller's transaction: what commits is owed.

In: a declared event, its effects, and (subject, payload) facts. Out: rows, and one hint after the
commit. On PostgreSQL one statement whatever the number of effects; elsewhere two, and up to three
more where a debt or a named event may stand already.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from ..conf import settings
from ..effects.effect import Effect
from ..effects.event import Event
from ..effects.keys import child_event_id, delivery_key, new_event_id, once_event_id
from ..effects.owed import key_of_debt
from ..effects.registry import Emitted
from ..exceptions import BadSubject, EmittedTwice, OutsideTransaction
from . import dispatch, emit_portable, emit_postgresql
from .batch import Batch, NewDelivery, NewEvent
from .run_context import current_run

logger = logging.getLogger("reliable_effects")


class OutboxWriter:
    """What `Event.emit` and `Effect.promise` call; see `effects.registry.Writer`."""

    def emit(
        self,
        event: Event[Any, Any],
        effects: Sequence[Effect[Any, Any]],
        facts: Sequence[tuple[Any, Any]],
        *,
        once: str | None,
        source: str,
        using: str | None,
    ) -> list[Emitted]:
        for subject, _ in facts:
            event.check_subject(subject)
        if not facts:
            return []
        alias = _alias(event, [subject for subject, _ in facts], using)
        connection = connections[alias]
        if not in_open_transaction(connection):
            raise OutsideTransaction(event.name, alias)
        limit = settings().payload_limit
        payloads = [event.codec.dump(payload, limit) for _, payload in facts]
        ids = [_event_id(event, subject, once) for subject, _ in facts]
        owed = {
            (event_id, effect.name): _delivery(event, effect, event_id, subject, alias)
            for event_id, (subject, _) in zip(ids, facts, strict=True)
            for effect in effects
        }
        hook = dispatch.hook_of(connection)
        run = current_run()
        batch = Batch(
            name=event.name,
            version=event.version,
            subject_model=event.subject_label,
            correlation=hook.correlation,
            trace_id=_trace_id(),
            source=source,
            # A key that stands twice in one call is one debt, under the newest event.
            events=list(
                {
                    event_id: NewEvent(event_id, _pk(subject), payload)
                    for event_id, (subject, _), payload in zip(ids, facts, payloads, strict=True)
                }.values()
            ),
            deliveries=sorted(
                {delivery.key: delivery for delivery in owed.values()}.values(),
                key=lambda delivery: delivery.key,
            ),
            parent=run if run is not None and run.using == alias else None,
            may_stand=once is not None
            or run is not None
            or any(effect.owed_query is not None for effect in effects),
        )
        write = emit_postgresql if connection.vendor == "postgresql" else emit_portable
        written = write.write(connection, batch)
        if run is not None:
            run.emitted.update((event.name, _pk(subject), once or "") for subject, _ in facts)
        return _report(event, ids, effects, owed, written, hook)


def in_open_transaction(connection: BaseDatabaseWrapper) -> bool:
    """A test case's own transaction does not count, as with Django's `durable=True`."""
    return connection.in_atomic_block and any(
        not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks
    )


def _alias(event: Event[Any, Any], subjects: Sequence[Any], using: str | None) -> str:
    if using is not None:
        return using
    model = event.model
    if model is None:
        return DEFAULT_DB_ALIAS
    aliases = {router.db_for_write(model, instance=subject) for subject in subjects}
    if len(aliases) > 1:
        raise BadSubject(
            event.name,
            f"subjects lie on several databases ({', '.join(sorted(aliases))})."
            " One transaction is one database: emit for each by itself, or say using=.",
        )
    return aliases.pop()


def _pk(subject: Any) -> str:
    return "" if subject is None else str(subject.pk)


def _event_id(event: Event[Any, Any], subject: Any, once: str | None) -> UUID:
    run = current_run()
    about = f"{event.subject_identity}:{_pk(subject)}"
    if run is not None:
        if (event.name, _pk(subject), once or "") in run.emitted:
            raise EmittedTwice(event.name, about)
        return child_event_id(run.key, run.generation, run.round, event.name, about, once or "")
    return new_event_id() if once is None else once_event_id(event.name, about, once)


def _delivery(
    event: Event[Any, Any], effect: Effect[Any, Any], event_id: UUID, subject: Any, alias: str
) -> NewDelivery:
    if effect.owed_query is None:
        key = delivery_key(event_id, effect.identity)
    else:
        key = key_of_debt(effect.identity, effect.owed_query, event.subject_identity, subject)
    hinted = dispatch.will_send(alias, effect.queue)
    return NewDelivery(event_id, effect.name, key, effect.queue, hinted)


def _trace_id() -> str:
    path = settings().trace_id
    return str(import_string(path)() or "")[:200] if path else ""


def _report(
    event: Event[Any, Any],
    ids: Sequence[UUID],
    effects: Sequence[Effect[Any, Any]],
    owed: dict[tuple[UUID, str], NewDelivery],
    written: dict[UUID, int],
    hook: dispatch.HintAfterCommit,
) -> list[Emitted]:
    """Tell the hook and the log what was written, and the caller what stood already."""
    newest = {delivery.key: delivery for delivery in owed.values()}
    hook.register()
    for key, delivery_id in written.items():
        if newest[key].hinted:
            hook.add(newest[key].queue, delivery_id)
    results = []
    for event_id in ids:
        mine = [(effect.name, owed[event_id, effect.name]) for effect in effects]
        new = tuple(n for n, d in mine if d.key in written and newest[d.key] is d)
        stood = tuple(n for n, _ in mine if n not in new)
        if stood:
            logger.info("already_promised %s event=%s effects=%s", event.name, event_id, stood)
        results.append(Emitted(event_id, new, stood))
    logger.info("emitted %s events=%d deliveries=%d", event.name, len(ids), len(written))
    return results
