"""Which failure a pill is of: read from its last attempt, or made where nothing was raised."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max

from ...effects.registry import registry
from ...outbox.models import Attempt, Delivery
from .samples import WITHOUT_ATTEMPT


@dataclass(frozen=True, slots=True)
class Pill:
    """One poison pill, as it was read: whoever writes about it asks again whether it is the same."""

    id: int
    ended_at: datetime | None
    release: str


@dataclass(frozen=True, slots=True)
class Kind:
    """What makes failures equal, and what tells people which they are."""

    fingerprint: str
    effect: str
    exception_type: str
    place: str
    reason: str


def kinds_of(using: str, ids: Sequence[int]) -> dict[str, tuple[Kind, list[Pill]]]:
    """The pills among *ids*, by fingerprint; two queries and none of them reads a text."""
    rows = Delivery.objects.using(using).filter(pk__in=ids).order_by("pk")
    last = last_attempts(using, ids)
    found: dict[str, tuple[Kind, list[Pill]]] = {}
    for pk, effect, reason, ended_at in rows.values_list("pk", "effect", "reason", "finished_at"):
        attempt = None if reason in WITHOUT_ATTEMPT else last.get(pk)
        kind = _kind(effect, reason, attempt)
        pill = Pill(pk, ended_at, attempt.release if attempt else "")
        found.setdefault(kind.fingerprint, (kind, []))[1].append(pill)
    return found


def last_attempts(using: str, ids: Sequence[int]) -> dict[int, Attempt]:
    """The last attempt of each delivery that has one, without its texts."""
    attempts = Attempt.objects.using(using).order_by()
    of_each = attempts.filter(delivery_id__in=ids).values("delivery_id").annotate(last=Max("pk"))
    pks = [row["last"] for row in of_each]
    told = attempts.filter(pk__in=pks).defer("message", "traceback")
    return {row.delivery_id: row for row in told}


def _kind(effect: str, reason: str, attempt: Attempt | None) -> Kind:
    known = registry.find_effect(effect)
    name = known.name if known is not None else effect
    if attempt is None or not attempt.fingerprint:
        return Kind(_made(name, reason), name, "", "", reason)
    return Kind(attempt.fingerprint, name, attempt.exception_type, attempt.place, reason)


def _made(*parts: Any) -> str:
    text = "\x1f".join(map(str, parts))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
