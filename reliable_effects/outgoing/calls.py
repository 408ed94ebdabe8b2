"""What others ask of the rows of calls: what surely did not happen, and to delete and to blank them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.db import DEFAULT_DB_ALIAS

from ..effects.keys import outgoing_key
from ..outbox import evidence, forget, prune
from ..outbox.evidence import Evidence
from ..outbox.forget import Share
from ..outbox.models import Delivery
from ..outbox.states import WAITING, State
from . import ledger
from .classify import may_have_happened
from .models import Known, OutgoingCall

_BATCH = 200  # deliveries in one statement


def register() -> None:
    """Let prune, forget and the remedies know of our table."""
    prune.also(delete)
    forget.also("outgoing calls", blank)
    evidence.use(found)


def delete(using: str, delivery_ids: Collection[int]) -> None:
    OutgoingCall.objects.using(using).filter(delivery_id__in=delivery_ids).delete()


def blank(using: str, label: str, pk: str, *, even_pending: bool, dry_run: bool) -> Share:  # noqa: ARG001  # what waits is cancelled by now
    """The hash of what was asked for, and the partner's number; not of what may be sent again."""
    about = Delivery.objects.using(using).filter(event__subject_model=label, event__subject_pk=pk)
    open_ = about.filter(state__in=(State.RUNNING, *WAITING)).values("pk")
    telling = OutgoingCall.objects.using(using).exclude(request_hash="", request_id="")
    ended = telling.filter(delivery__in=about.values("pk")).exclude(delivery__in=open_)
    share = Share(left=telling.filter(delivery__in=open_).count())
    pks = list(ended.values_list("pk", flat=True))
    if dry_run:
        share.blanked = len(pks)
        return share
    for start in range(0, len(pks), _BATCH):
        rows = OutgoingCall.objects.using(using).filter(pk__in=pks[start : start + _BATCH])
        share.blanked += rows.update(request_hash="", request_id="")
    return share


def found(rows: Sequence[Delivery]) -> Evidence:
    """
    Those of *rows* that have sent something, by what is known of it.

    Only what was sent under the key that a row has now: an earlier generation was another promise.
    """
    if not rows:
        return Evidence()
    by_id = {row.pk: row for row in rows}
    using = rows[0]._state.db or DEFAULT_DB_ALIAS
    sent: set[int] = set()
    maybe_done: set[int] = set()
    in_doubt: set[int] = set()
    for call in OutgoingCall.objects.using(using).filter(delivery_id__in=by_id):
        row = by_id[call.delivery_id]
        if call.key != ledger.key_of(outgoing_key(row.key, row.generation), call.call):
            continue
        sent.add(row.pk)
        known = ledger.known_of(call, row.notes)
        if may_have_happened(known):
            maybe_done.add(row.pk)
            if known is not Known.DONE:
                in_doubt.add(row.pk)
    return Evidence(sent - maybe_done, in_doubt)
