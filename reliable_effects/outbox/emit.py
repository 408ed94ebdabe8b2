"""
Write event and deliveries in the caller's transaction: what commits is owed.

In: a declared event, its effects, and (subject, payload) facts. Out: rows, and one hint after the
commit. On PostgreSQL one statement whatever the number of effects; elsewhere two, and up to three
more where a debt or a named event may stand already.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from .. import signals
from ..conf import settings, trace_id_path
from ..effects.effect import Effect
from ..effects.event import Event
from ..effects.keys import child_event_id, new_event_id, once_event_id
from ..effects.registry import Emitted
from ..exceptions import BadSubject, EmittedTwice, OutsideTransaction
from . import dispatch, emit_portable, emit_postgresql
from .batch import Batch, NewDelivery, NewEvent
from .failures import sanitise
from .run_context import Run, current_run

logger = logging.getLogger("reliable_effects")

_TRACE_ID = 200  # bytes of it are kept


@dataclass(frozen=True, slots=True)
class _Fact:
    """One (subject, payload) pair, checked."""

    event: NewEvent
    subject: Any


class OutboxWriter:
    """What `Event.emit` and `Effect.promise` call; see `effects.registry.Writer`."""

    def emit(
        self,
        event: Event[Any, Any],
        effects: Sequence[Effect[Any, Any]],
        facts: Sequence[tuple[Any, Any]],
        *,
        once: str | Sequence[str] | None,
        source: str,
        using: str | None,
    ) -> list[Emitted]:
        if not facts:
            return []
        pks = [event.pk_text(subject) for subject, _ in facts]
        alias = using or alias_of(event, [subject for subject, _ in facts])
        connection = connections[alias]
        if not in_open_transaction(connection):
            raise OutsideTransaction(event.name, alias)
        run = current_run()
        names = [once] * len(facts) if once is None or isinstance(once, str) else once
        checked = [
            _Fact(_new_event(event, pk, payload, name, run), subject)
            for pk, name, (subject, payload) in zip(pks, names, facts, strict=True)
        ]
        if run is not None:
            _refuse_twice(run, connection, event, checked)
        hinted = {effect.queue: dispatch.will_send(alias, effect.queue) for effect in effects}
        owed = {
            (fact.event.id, effect.name): _delivery(effect, fact, hinted)
            for fact in checked
            for effect in effects
        }
        hook = dispatch.hook_of(connection)
        batch = Batch(
            name=event.name,
            version=event.version,
            subject_model=event.subject_label,
            correlation=hook.correlation,
            trace_id=_trace_id(),
            source=source,
            # What stands twice in one call is one event, and one debt, under the newest.
            events=_in_order({fact.event.id: fact.event for fact in checked}),
            deliveries=_in_order({delivery.key: delivery for delivery in owed.values()}),
            parent=run if run is not None and run.using == alias else None,
            may_stand=once is not None
            or run is not None
            or any(effect.owed_query is not None for effect in effects),
        )
        write = emit_postgresql if connection.vendor == "postgresql" else emit_portable
        written = write.write(connection, batch)
        if run is not None:
            run.note(connection, [fact.event.id for fact in checked])
        hook.register()
        for delivery in batch.deliveries:
            if delivery.hinted and delivery.key in written:
                hook.add(delivery.queue, written[delivery.key])
        logger.info("emitted %s events=%d deliveries=%d", event.name, len(checked), len(written))
        newly = {(d.event_id, d.effect) for d in batch.deliveries if d.key in written}
        if signals.event_emitted.has_listeners(event):
            _tell_after_commit(event, batch, written, alias)
        return [_result(event.name, fact.event.id, effects, newly) for fact in checked]


def _tell_after_commit(
    event: Event[Any, Any], batch: Batch, written: Mapping[UUID, int], using: str
) -> None:
    told = partial(
        signals.event_emitted.send_robust,
        event,
        event_ids=[new.id for new in batch.events],
        promised=dict(Counter(d.effect for d in batch.deliveries if d.key in written)),
        source=batch.source,
        using=using,
    )
    transaction.on_commit(told, using=using, robust=True)


def in_open_transaction(connection: BaseDatabaseWrapper) -> bool:
    """A test case's own transaction does not count, as with Django's `durable=True`."""
    return connection.in_atomic_block and any(
        not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks
    )


def alias_of(event: Event[Any, Any], subjects: Sequence[Any]) -> str:
    """Where the subjects are written, as the router says: their rows and ours share a transaction."""
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


def _new_event(
    event: Event[Any, Any], pk: str, payload: Any, once: str | None, run: Run | None
) -> NewEvent:
    about = f"{event.subject_identity}:{pk}"
    if run is not None:
        event_id = child_event_id(
            run.key,
            generation=run.generation,
            round_=run.round,
            event=event.identity,
            subject=about,
            once=once or "",
        )
    elif once is not None:
        event_id = once_event_id(event.identity, about, once)
    else:
        event_id = new_event_id()
    return NewEvent(event_id, pk, event.codec.dump(payload, settings().payload_limit))


def _refuse_twice(
    run: Run, connection: BaseDatabaseWrapper, event: Event[Any, Any], facts: Sequence[_Fact]
) -> None:
    emitted = run.wrote_by_now(connection)
    for fact in facts:
        if fact.event.id in emitted:
            raise EmittedTwice(event.name, f"{event.subject_label}:{fact.event.subject_pk}")
        emitted.add(fact.event.id)


def _delivery(effect: Effect[Any, Any], fact: _Fact, hinted: Mapping[str, bool]) -> NewDelivery:
    key = effect.key_of(fact.event.id, fact.event.subject_pk, fact.subject)
    queue = effect.queue
    return NewDelivery(fact.event.id, effect.name, key, queue, hinted[queue])


def _in_order(rows: Mapping[UUID, Any]) -> list[Any]:
    """By key: two transactions that write the same rows wait for each other, and cannot deadlock."""
    return [rows[key] for key in sorted(rows)]


def _trace_id() -> str:
    path = trace_id_path()
    if not path:
        return ""
    try:
        # It often comes from a request's header, so it may hold anything.
        return sanitise(str(import_string(path)() or ""), _TRACE_ID)
    except Exception:
        logger.exception("%s gave no trace id; the event is written without", path)
        return ""


def _result(
    name: str, event_id: UUID, effects: Sequence[Effect[Any, Any]], newly: set[tuple[UUID, str]]
) -> Emitted:
    stood = tuple(effect.name for effect in effects if (event_id, effect.name) not in newly)
    if stood:
        logger.info("already_promised %s event=%s effects=%s", name, event_id, ", ".join(stood))
    promised = tuple(effect.name for effect in effects if effect.name not in stood)
    return Emitted(event_id, promised, stood)
