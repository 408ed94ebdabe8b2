"""
Whether the keys in rows are those that this release computes.

A debt that gets another key is another debt: after a deploy reconcile would promise it again, and a
partner be asked twice. Renames without aliases, and a changed `debt=`, do that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ...effects.effect import Effect
from ...effects.keys import delivery_key
from ...effects.owed import ONCE
from ...effects.registry import registry
from ...outbox.models import Delivery, OutboxEvent
from .fact import Fact, Severity

_LOOK_THROUGH = 5000  # newest deliveries
_SAMPLE = 200  # of each effect; each may cost a query of the project's own
_ENOUGH = 5  # where each of so many differs, it is no change of the subject


@dataclass(slots=True)
class _Compared:
    asked: int = 0
    others: list[int] = field(default_factory=list)  # deliveries whose key is another
    by_event: int = 0  # written when the effect had no owed query
    problem: str = ""


def examine(using: str) -> Iterator[Fact]:
    about = f"database {using}"
    for effect, rows in _sample(using).items():
        compared = _compare(using, effect, rows)
        if compared.problem:
            yield Fact(
                Severity.WRONG, about, f"debt= of {effect.name}: {compared.problem}", "Mend it."
            )
        # A debt that depends on the subject is another when the subject has changed since.
        is_once = effect.owed_query is not None and effect.owed_query.debt is ONCE
        all_differ = _ENOUGH <= len(compared.others) == compared.asked
        if compared.others and (is_once or all_differ):
            yield Fact(
                Severity.WRONG,
                about,
                f"{len(compared.others)} of {compared.asked} keys of {effect.name} are not those"
                f" that this release computes (delivery {compared.others[0]}, for one)",
                "Its debts would be promised again under other keys. Keep the earlier names, oldest"
                " first, in aliases= and subject_aliases=, and debt= as it was.",
            )
        elif compared.asked:
            told = f"{compared.asked} keys of {effect.name} are as this release computes them"
            if compared.by_event:
                told += f"; {compared.by_event} are from before its owed query, and keep theirs"
            yield Fact(Severity.FINE, about, told)


_Row = tuple[int, UUID, UUID]  # delivery, its key, its event


def _sample(using: str) -> dict[Effect[Any, Any], list[_Row]]:
    with_query = {
        name: effect
        for name in registry.effect_names()
        if (effect := registry.effect(name)).owed_query is not None
    }
    sample: dict[Effect[Any, Any], list[_Row]] = defaultdict(list)
    newest = Delivery.objects.using(using).order_by("-pk")
    found = newest.values_list("pk", "effect", "key", "event_id")[:_LOOK_THROUGH]
    for pk, name, key, event_id in found if with_query else ():
        if name in with_query and len(sample[with_query[name]]) < _SAMPLE:
            sample[with_query[name]].append((pk, key, event_id))
    return sample


def _compare(using: str, effect: Effect[Any, Any], rows: list[_Row]) -> _Compared:
    compared = _Compared()
    model: Any = effect.event.model
    events = OutboxEvent.objects.using(using).filter(pk__in={row[2] for row in rows})
    pks = dict(events.values_list("pk", "subject_pk"))
    subjects = {
        str(subject.pk): subject
        for subject in model._base_manager.using(using).filter(pk__in=set(pks.values()))
    }
    for pk, key, event_id in rows:
        subject = subjects.get(pks.get(event_id, ""))
        if subject is None:
            continue  # gone; nothing is owed for it any more
        try:
            computed = effect.key_of(event_id, str(subject.pk), subject)
        except Exception as error:  # noqa: BLE001  # the project's own function
            compared.problem = f"{type(error).__name__}: {error}"
            continue
        compared.asked += 1
        if key == delivery_key(event_id, effect.identity):
            compared.by_event += 1
        elif key != computed:
            compared.others.append(pk)
    return compared
