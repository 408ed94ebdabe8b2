"""What a person may do to an uncertain record: say how it ended. The same row, guarded, never deleted."""

from __future__ import annotations

import logging
from typing import Any

from django.apps import apps
from django.db import models, router, transaction

from ..conf import settings
from . import settle
from .models import IdempotencyRecord

logger = logging.getLogger("reliable_effects")


class Outcome(models.TextChoices):
    """What a person has found out about a request whose end nobody saw."""

    HAPPENED = "happened", "it was carried out"
    DID_NOT = "did_not", "it was not carried out"


def resolve(record: IdempotencyRecord, outcome: Outcome | str, reason: str, by: Any) -> bool:
    """
    Settle the uncertain *record*; whether it was uncertain until now.

    HAPPENED: whoever repeats the request is told so (409 `result-expired`), and the view is never
    run again for its key. DID_NOT: the next request with the key runs the view. *by* is a user, who
    gets an entry in the admin's log in the same transaction, or a name for the log file.

    Raises:
        ValueError: *reason* is empty, or *outcome* is none.
    """
    what = Outcome(outcome)
    if not reason.strip():
        raise ValueError("reason= is empty; say how you know, for whoever reads the log.")
    using = record._state.db or router.db_for_write(IdempotencyRecord)
    with transaction.atomic(using=using):
        known = settings()
        is_settled = (
            settle.done(
                using, record.pk, record.token, reason,
                key_span=known.idempotency_key_retention,
                body_span=known.idempotency_body_retention,
            )
            if what == Outcome.HAPPENED
            else settle.undone(using, record.pk, record.token, reason)
        )  # fmt: skip
        if is_settled:
            _write_down(record, what, reason, by)
    if is_settled:
        logger.info("resolved idempotency record %d: %s by=%r why=%r",
                    record.pk, what.value, str(by), reason)  # fmt: skip
    return is_settled


def _write_down(record: IdempotencyRecord, outcome: Outcome, reason: str, by: Any) -> None:
    """In the admin's log, where there is an admin and *by* is a user."""
    if getattr(by, "pk", None) is None or not apps.is_installed("django.contrib.admin"):
        return
    # Not at the top: the models of other apps are not loaded when this module is.
    from django.contrib.admin.models import CHANGE, LogEntry  # noqa: PLC0415

    LogEntry.objects.log_actions(
        user_id=by.pk,
        queryset=[record],
        action_flag=CHANGE,
        change_message=f"Resolved: {outcome.label}. {reason}",
    )
