"""
How a claimed key ends: done, with its answer; released, as nothing was done; or uncertain.

Each is one UPDATE that says the token, and whether it won.
"""

from __future__ import annotations

import logging
from typing import Any

from ..clock import DbNow
from .answers import Storable
from .claim import Claimed
from .held import update_unless_held
from .models import IdempotencyRecord, IdempotencyRecordQuerySet
from .states import RecordState
from .sweeps import BLANK

logger = logging.getLogger("reliable_effects")

# A request that outlived its lease knows how it ended, so it may say so where nobody took over.
_OPEN = (RecordState.IN_PROGRESS, RecordState.UNCERTAIN)


def complete(claimed: Claimed, answer: Storable) -> bool:
    """
    Keep *answer*, in the transaction of the business rows. False: the key is not ours any more.

    Whoever was forgotten since the request began has no answer kept: nobody would find it again.
    """
    options = claimed.options
    key_ends, body_ends = DbNow() + options.key_span, DbNow() + options.body_span
    done = {
        "state": RecordState.DONE,
        "status": answer.status,
        "omitted": answer.omitted,
        "finished_at": DbNow(),
        "expires_at": key_ends,
        "reason": "",
    }
    kept = {"body": answer.body, "headers": answer.headers, "body_expires_at": body_ends}
    ours = _mine(claimed).filter(state__in=_OPEN)
    known = ours.filter(principal=claimed.principal)
    if known.update(**done, **kept, look_at=body_ends) == 1:
        return True
    return ours.update(**done, **BLANK, look_at=key_ends) == 1


def is_done(claimed: Claimed) -> bool:
    """After a lost answer: was the completion committed?"""
    return _mine(claimed).filter(state=RecordState.DONE).exists()


def release(claimed: Claimed) -> bool:
    """
    Nothing was done: the next request with this key runs. The sweep takes the row meanwhile.

    False: it is not ours any more, or somebody holds it, and its lease ends it.
    """
    columns: dict[str, Any] = {"state": RecordState.RELEASED, "finished_at": DbNow()}
    open_one = _mine(claimed).filter(state=RecordState.IN_PROGRESS)
    return update_unless_held(open_one, **columns, expires_at=DbNow(), look_at=DbNow()) == 1


def _mine(claimed: Claimed) -> IdempotencyRecordQuerySet:
    rows = IdempotencyRecord.objects.using(claimed.using)
    return rows.filter(pk=claimed.id, token=claimed.token)
