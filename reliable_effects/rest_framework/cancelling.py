"""Give up what waits because a customer asked, and write down who it was."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import transaction
from rest_framework.request import Request

from ..outbox import remedy
from ..outbox.models import Delivery, OutboxEvent
from ..outbox.states import State

_WHY = "asked for through the API"


def cancel(rows: Any, request: Request, event: OutboxEvent) -> list[Delivery]:
    """
    Give up those of *rows* that wait. What is uncertain or set aside is left to a person of ours.

    Who asked goes to the log, and to the deliveries' history in the admin where there is one.
    """
    waiting = rows.filter(state=State.PENDING)
    by = getattr(request.user, "get_username", lambda: "")() or "anonymous"
    with transaction.atomic(using=waiting.db):  # change and audit entry share one fate
        changed = remedy.cancel(waiting, by=by, why=f"{_WHY}, event {event.pk}")
        _audit(changed, request)
    return changed


def _audit(changed: list[Delivery], request: Request) -> None:
    if not changed or not apps.is_installed("django.contrib.admin"):
        return
    if not isinstance(request.user, get_user_model()):
        return  # an entry needs a user's row; the log has the name
    # Not at the top: it is no model of ours, and only there where the admin is.
    from django.contrib.admin.models import CHANGE, LogEntry  # noqa: PLC0415

    rows: Any = changed  # a list will do
    LogEntry.objects.log_actions(
        user_id=request.user.pk,
        queryset=rows,
        action_flag=CHANGE,
        change_message=f"Cancelled: {_WHY}",
    )
